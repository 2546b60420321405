"""Calls between processes of one machine, over Unix sockets in a private directory.

A process *serves* an object: its public asynchronous methods can be called from outside, and their annotations say what goes over
the line (see `message_codec`). A *caller* holds one connection, over which calls may overlap.

Rules: who connects must be of the same user, which the kernel tells, and must first say the session's token; nothing is decoded
before. A connection that says anything else is closed without a word. A call whose connection ends is `Unanswered`, and may have
been carried out; what the other side raises comes back as `RemoteFailure`, with its text and exit code.

On the line: the token, then messages, each led by its length in four bytes. A call is (number, method, arguments), its answer
(number, value, failure).
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import logging
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import msgspec

from raythena.domain.errors import ExitCode, RaythenaError
from raythena.runtime.message_codec import BadMessage, decoder, encode

logger = logging.getLogger(__name__)

TOKEN_BYTES = 32
LONGEST_MESSAGE = 1 << 30
_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")
_NOTHING = encode(None)


class Unanswered(Exception):
    """The line ended, or could not be opened, before there was an answer. The text says how."""


class RemoteFailure(RaythenaError):
    """What was called failed; `is_defect`: with something that is no error of ours."""

    def __init__(self, message: str, exit_code: ExitCode, *, is_defect: bool) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.is_defect = is_defect


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """A failure on the line."""

    text: str
    exit_code: int
    is_defect: bool

    @classmethod
    def of(cls, problem: BaseException) -> Failure:
        """What is told of an exception."""
        if isinstance(problem, RaythenaError):
            return cls(str(problem), int(problem.exit_code), is_defect=False)
        return cls(f"{type(problem).__name__}: {problem}", int(ExitCode.INTERNAL), is_defect=True)

    def error(self) -> RemoteFailure:
        """The exception to raise for it here."""
        return RemoteFailure(self.text, ExitCode(self.exit_code), is_defect=self.is_defect)


class Call(NamedTuple):
    """A call on the line."""

    number: int
    method: str
    arguments: msgspec.Raw


class Answer(NamedTuple):
    """Its answer: a value, or a failure."""

    number: int
    value: msgspec.Raw
    failure: Failure | None


read_call = decoder(Call)
read_answer = decoder(Answer)


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is served, and what lets one in."""

    path: str
    token: bytes


# ---- messages on a line


def framed(content: bytes) -> bytes:
    """A message as it goes over the line."""
    return _LENGTH.pack(len(content)) + content


class Frames:
    """Cuts what comes over the line into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole now. Raises BadMessage for one of a length nobody sends."""
        self._pending += data
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if length > LONGEST_MESSAGE:
                raise BadMessage(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._pending) < end:
                return
            message = bytes(self._pending[_LENGTH.size : end])
            del self._pending[:end]
            yield message


class Doorkeeper:
    """Cuts what a stranger says into messages, once it has said the token."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._first: bytes | None = b""
        self._frames = Frames()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole now. Raises BadMessage when it is not let in."""
        if self._first is not None:
            self._first += data
            if len(self._first) < TOKEN_BYTES:
                return
            said, data = self._first[:TOKEN_BYTES], self._first[TOKEN_BYTES:]
            if not hmac.compare_digest(said, self._token):
                raise BadMessage("a stranger")
            self._first = None
        yield from self._frames.feed(data)


def is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end belongs to this user."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(packed)[1] == os.getuid())


def listen(path: Path) -> socket.socket:
    """A socket at `path`, which must be free. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener


# ---- what can be called


class Method(NamedTuple):
    """How a method's arguments and its value are read."""

    arguments: Callable[[bytes | msgspec.Raw], tuple[Any, ...]]
    value: Callable[[bytes | msgspec.Raw], Any]


_KNOWN: dict[type, dict[str, Method]] = {}


def methods_of(served: type) -> dict[str, Method]:
    """What can be called of a class."""
    if served not in _KNOWN:
        found = {name: value for name, value in vars(served).items() if not name.startswith("_")}
        _KNOWN[served] = {name: _method(value) for name, value in found.items() if inspect.iscoroutinefunction(value)}
    return _KNOWN[served]


def _method(function: Callable[..., object]) -> Method:
    hints = get_type_hints(function)
    value = hints.pop("return")
    arguments: Any = tuple[tuple(hints.values())] if hints else tuple[()]  # type: ignore[misc]
    return Method(decoder(arguments), decoder(value))


# ---- serving


class _Served(asyncio.Protocol):
    """One connection to what is served."""

    def __init__(self, served: object, methods: dict[str, Method], token: bytes) -> None:
        self._served = served
        self._methods = methods
        self._doorkeeper = Doorkeeper(token)
        self._transport: asyncio.Transport | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (of a stream it is)
        self._transport = transport
        connection: socket.socket = transport.get_extra_info("socket")
        if not is_ours(connection):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._doorkeeper.feed(data):
                call = read_call(message)
                task = asyncio.ensure_future(self._answer(call))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
        except BadMessage as problem:
            logger.warning("a connection is closed: %s", problem)
            if self._transport is not None:
                self._transport.abort()

    async def _answer(self, call: Call) -> None:
        failure = None
        value = _NOTHING
        try:
            method = self._methods.get(call.method)
            if method is None:
                raise BadMessage(f"nothing is called {call.method!r}")
            value = encode(await getattr(self._served, call.method)(*method.arguments(call.arguments)))
        except Exception as problem:
            failure = Failure.of(problem)
            if failure.is_defect:
                logger.error("%s failed", call.method, exc_info=problem)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(encode(Answer(call.number, msgspec.Raw(value), failure))))


async def serve(served: object, listener: socket.socket, token: bytes) -> None:
    """Have the methods of `served` called by whoever connects to `listener`, for ever."""
    methods = methods_of(type(served))
    server = await asyncio.get_running_loop().create_unix_server(lambda: _Served(served, methods, token), sock=listener)
    async with server:
        await server.serve_forever()


# ---- calling


class _Line(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._frames = Frames()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._transport: asyncio.Transport | None = None
        self._made = 0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (of a stream it is)
        self._transport = transport
        transport.write(self._token)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                answer = read_answer(message)
                waiting = self._waiting.pop(answer.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except BadMessage as problem:
            logger.warning("an answer cannot be read: %s", problem)
            self.close()

    def connection_lost(self, problem: Exception | None) -> None:
        self.closed = True
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(Unanswered(str(problem) if problem else "the line ended"))

    async def ask(self, method: str, arguments: Sequence[object]) -> Answer:
        self._made += 1
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[self._made] = answer
        if self._transport is None or self.closed:
            raise Unanswered("the line ended")
        self._transport.write(framed(encode((self._made, method, tuple(arguments)))))
        return await answer

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


class Caller:
    """Calls what is served at `address`, an object of class `served`. Belongs to one event loop."""

    def __init__(self, address: Address, served: type) -> None:
        self._address = address
        self._methods = methods_of(served)
        self._line: _Line | None = None
        self._opening = asyncio.Lock()

    async def call(self, method: str, *arguments: object) -> Any:
        """Call and wait for the answer. Raises Unanswered, RemoteFailure."""
        line = await self._opened()
        answer = await line.ask(method, arguments)
        if answer.failure is not None:
            raise answer.failure.error()
        return self._methods[method].value(answer.value)

    async def _opened(self) -> _Line:
        async with self._opening:
            if self._line is None or self._line.closed:
                token = self._address.token
                try:
                    _, self._line = await asyncio.get_running_loop().create_unix_connection(
                        lambda: _Line(token), self._address.path
                    )
                except OSError as problem:
                    raise Unanswered(problem.strerror or str(problem)) from problem
            return self._line

    def close(self) -> None:
        """End the line; the next call opens another."""
        if self._line is not None:
            self._line.close()


class BlockingCall:
    """One call over a line of its own, for a process or thread without an event loop."""

    def __init__(self, address: Address, served: type, method: str, *arguments: object) -> None:
        """Make the call. Raises Unanswered."""
        self._value = methods_of(served)[method].value
        self._frames = Frames()
        self._answer: Answer | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(address.path)
            self._socket.sendall(address.token + framed(encode((1, method, arguments))))
        except OSError as problem:
            self.close()
            raise Unanswered(problem.strerror or str(problem)) from problem
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)

    def is_answered(self, wait_s: float) -> bool:
        """Wait at most `wait_s` for the answer. Raises Unanswered."""
        until = time.monotonic() + wait_s
        while self._answer is None:
            if not self._readable.poll(1000.0 * max(0.0, until - time.monotonic())):
                return False
            self._read()
        return True

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except OSError as problem:
            raise Unanswered(problem.strerror or str(problem)) from problem
        if not data:
            raise Unanswered("the line ended")
        for message in self._frames.feed(data):
            self._answer = read_answer(message)

    def value(self, limit_s: float) -> Any:
        """Wait for the answer. Raises Unanswered, RemoteFailure."""
        try:
            if not self.is_answered(limit_s) or self._answer is None:
                raise Unanswered(f"no answer within {limit_s:.0f} s")
        finally:
            self.close()
        if self._answer.failure is not None:
            raise self._answer.failure.error()
        return self._value(self._answer.value)

    def close(self) -> None:
        """End the line, answered or not."""
        self._socket.close()
