"""The channel to AthenaMP: a thread that answers `Ready for events` from a queue of ranges, and passes everything else on.

yampl has no way to wait for a message with others, only `try_recv_raw`, so somebody has to look again and again; a thread of its
own, because a worker that is free must not wait until the agent's event loop comes round. The thread looks every 2 milliseconds
while events are computed, ten times as often for a moment after a message (the next one follows at once), and rarely while
there is nothing to expect. That costs two to four hundredths of one core.

Rules: the thread decides nothing but what to answer. Whatever happened is a value, handed to `on_news` in the order in which it
happened. The queue outlives the channel: ranges that were not given out wait there for the next one.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from raythena.payloads.athenamp.messages import NO_MORE, READY

SHORT_NAP_S, LONG_NAP_S, IDLE_NAP_S = 0.0002, 0.002, 0.02
NAP_GROWTH = 1.3
LAST_WORDS_S = 0.15
"""When the transform has exited: silence after which nothing more is expected to be in the socket."""


class Socket(Protocol):
    """What is used of yampl's server socket."""

    def send_raw(self, message: bytes) -> Any:
        """Answer the client last heard."""

    def try_recv_raw(self) -> tuple[int, Any]:
        """(size, message), size -1 for nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A worker is free. Times are monotonic seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Given:
    """A range was given to the worker that had asked at `asked_at`; `starved`: the queue was empty then."""

    token: str
    at: float
    asked_at: float
    starved: bool


@dataclass(frozen=True, slots=True)
class Told:
    """AthenaMP was told that there are no more events."""

    at: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A message other than `Ready for events`."""

    message: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Silence:
    """After `finish`: everything that was in the socket has been heard; the channel is closed."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The socket raised an error; the channel is closed."""

    problem: str


News = Asked | Given | Told | Heard | Silence | Broken


class ChannelQueue:
    """Ranges ready to be given out, oldest first, shared between the event loop and the thread of the moment."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._waiting: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, token: str, answer: bytes, *, in_front: bool = False) -> None:
        """Add a range."""
        with self.changed:
            self._waiting[token] = answer
            if in_front:
                self._waiting.move_to_end(token, last=False)
            self.changed.notify()

    def withdraw(self, tokens: Iterable[str]) -> list[str]:
        """Take ranges back; those that are still here."""
        with self.changed:
            return [token for token in tokens if self._waiting.pop(token, None) is not None]

    def take(self) -> tuple[str, bytes] | None:
        """The next range, gone from the queue; None when it is empty. The caller holds `changed`."""
        return self._waiting.popitem(last=False) if self._waiting else None


class Channel:
    """One server socket, for one run of the transform."""

    def __init__(self, socket: Socket, range_queue: ChannelQueue, on_news: Callable[[News], None]) -> None:
        self._socket: Socket | None = socket
        self._range_queue = range_queue
        self._on_news = on_news
        self._asked_at: float | None = None
        self._starved = False
        self._flush: bytes | None = None
        self._closing = False
        self._finishing = False
        self._stopped = False
        self._given = 0
        self._returned = 0
        self._limit: int | None = None
        self._in_flight = 0
        self._thread = threading.Thread(target=self._run, name="athenamp-channel", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    @property
    def starved_since(self) -> float | None:
        """Since when a worker has been waiting for a range that is not there, or is withheld."""
        return self._asked_at if self._starved else None

    def account(self, given: int, in_flight: int, limit: int | None) -> None:
        """Of `given` ranges given out so far, as far as the owner knows, `in_flight` have not come back; `limit` may be out."""
        self._returned, self._in_flight, self._limit = given - in_flight, in_flight, limit

    @property
    def is_full(self) -> bool:
        """As many ranges are out as may be: what waits is withheld."""
        return self._limit is not None and self._given - self._returned >= self._limit

    def flush(self, answer: bytes) -> bool:
        """Answer a waiting worker with this instead of a range, unless a range comes first; False: another flush is waiting."""
        with self._range_queue.changed:
            if self._flush is not None:
                return False
            self._flush = answer
            self._range_queue.changed.notify()
        return True

    def close(self) -> None:
        """Answer `No more events` from now on."""
        self._set("_closing", True)

    def finish(self) -> None:
        """The other side is gone: hear what is still in the socket, say `Silence`, end."""
        self._set("_finishing", True)

    def stop(self) -> None:
        """End now and wait for the thread."""
        self._set("_stopped", True)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()
        self._socket = None

    def _set(self, name: str, value: Any) -> None:
        with self._range_queue.changed:
            setattr(self, name, value)
            self._range_queue.changed.notify()

    # ---- in the thread

    def _run(self) -> None:
        try:
            self._work()
        except Exception as problem:  # noqa: BLE001 (whatever yampl raises; it goes on as news)
            self._on_news(Broken(f"{type(problem).__name__}: {problem}"))
        self._socket = None  # yampl closes a socket when nobody holds it any more

    def _work(self) -> None:
        nap_s, last = IDLE_NAP_S, time.monotonic()
        while not self._stopped:
            heard = self._listen()
            with self._range_queue.changed:
                if heard or self._answer():
                    nap_s, last = SHORT_NAP_S, time.monotonic()
                    continue
                if self._finishing and time.monotonic() - last > LAST_WORDS_S:
                    break
                self._range_queue.changed.wait(nap_s)
            nap_s = min(nap_s * NAP_GROWTH, LONG_NAP_S if self._in_flight or self._asked_at else IDLE_NAP_S)
        if not self._stopped:
            self._on_news(Silence())

    def _listen(self) -> bool:
        assert self._socket is not None  # noqa: S101
        size, message = self._socket.try_recv_raw()
        if size == -1:
            return False
        now = time.monotonic()
        content = bytes(message) if not isinstance(message, str) else message.encode("utf-8", "surrogateescape")
        if content.strip(b"\0 \r\n") == READY:
            self._asked_at, self._starved = now, False
            self._on_news(Asked(now))
        else:
            self._on_news(Heard(content, now))
        return True

    def _answer(self) -> bool:
        """Answer the worker that asks, if there is something to say. The lock is held."""
        if self._asked_at is None or self._finishing:
            return False
        asked_at, starved = self._asked_at, self._starved
        if self._closing:
            if self._send(NO_MORE):
                self._on_news(Told(time.monotonic()))
            return True
        taken = None if self.is_full else self._range_queue.take()
        if taken is not None:
            token, answer = taken
            if self._send(answer):
                self._given += 1
                self._on_news(Given(token, time.monotonic(), asked_at, starved))
            else:
                self._range_queue.put(token, answer, in_front=True)
            return True
        self._starved = True
        if self._flush is not None:
            return self._send(self._flush)
        return False

    def _send(self, answer: bytes) -> bool:
        """Answer; False when the other side is gone, which shows in its exit as well."""
        self._asked_at, self._starved, self._flush = None, False, None
        assert self._socket is not None  # noqa: S101
        try:
            self._socket.send_raw(answer)
        except OSError:
            return False
        return True
