"""The event-server protocol on the wire: messages, their strict decoding, and the cutting of a byte stream into lines.

One message is one line of JSON in UTF-8, at most `MAX_LINE_BYTES` long with its newline. `docs/event-server-protocol.md` is the
text for people who write workers; this module is its exact form. It knows nothing of sockets or processes.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 64 * 1024
_KEPT_BYTES = MAX_LINE_BYTES // 4

Token = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e12)]
ByteCount = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class ProtocolViolation(Exception):
    """A worker said something the protocol does not allow. The text says what."""


class _Message(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, gc=False):
    """Common settings: the field `type` says which message it is; unknown fields are refused."""


class Ready(_Message, tag="ready"):
    """First message of a worker: it can take ranges."""

    version: int
    pid: int


class DoneMessage(_Message, tag="done"):
    """A range is finished. `offset` and `size` (both or neither) name a stretch of a spool file.

    Of a range of several events `offset` and `sizes` name a stretch for each, one right behind the other.
    """

    range: Token
    output: str
    cpu_s: Seconds
    wall_s: Seconds
    started_at: Seconds
    offset: ByteCount | None = None
    size: ByteCount | None = None
    sizes: list[ByteCount] | None = None


class FailedMessage(_Message, tag="failed"):
    """The worker could not compute the range, and says why."""

    range: Token
    reason: str


class ReleasedMessage(_Message, tag="released"):
    """The worker hands back a range it has not started."""

    range: Token


WorkerMessage = Ready | DoneMessage | FailedMessage | ReleasedMessage


class RangeMessage(msgspec.Struct, tag_field="type", tag="range", gc=False, omit_defaults=True):
    """One range to compute. `range` is the token results refer to, `id` the name people know.

    `seeds` are those of its events, in a job without input files, `point` that of a hyper-parameter scan.
    """

    range: str
    id: str
    lfn: str
    pfn: str
    guid: str
    first: int
    last: int
    attempt: int
    seeds: tuple[int, ...] = ()
    point: str = ""


class CancelMessage(msgspec.Struct, tag_field="type", tag="cancel", gc=False):
    """Hand these ranges back if they have not been started."""

    ranges: list[str]


class DrainMessage(msgspec.Struct, tag_field="type", tag="drain", gc=False):
    """Finish what runs, hand back the rest, exit with status 0."""


_DECODER: msgspec.json.Decoder[WorkerMessage] = msgspec.json.Decoder(WorkerMessage)
_ENCODER = msgspec.json.Encoder()
CANCEL_CHUNK = 1000
"""Tokens in one cancel message, so that its line stays far below the limit."""


def decode(line: bytes) -> WorkerMessage:
    """The message on one line (without newline). Raises ProtocolViolation saying what is wrong with it."""
    problem: Exception | str = f"a line of {len(line)} bytes; at most {MAX_LINE_BYTES} are allowed"
    if len(line) < MAX_LINE_BYTES:
        try:
            return _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as refusal:
            problem = refusal
    told = _failed_somehow(line)
    if told is None:
        raise ProtocolViolation(f"{problem}, in the line {excerpt(line)}")
    return told


_IS_FAILED = re.compile(rb'^\s*\{.{0,300}?"type"\s*:\s*"failed"', re.DOTALL)
_RANGE = re.compile(rb'"range"\s*:\s*"([^"\\]{1,200})"')
_REASON = re.compile(rb'"reason"\s*:\s*"')


def _failed_somehow(line: bytes) -> FailedMessage | None:
    """A failure whose reason is too long, or no proper text: it comes from far below, and is worth more than its form."""
    token, reason = _RANGE.search(line), _REASON.search(line)
    if not _IS_FAILED.match(line) or token is None or reason is None:
        return None
    text = line[reason.end() :].decode("utf-8", "replace").rstrip().removesuffix("}").rstrip().removesuffix('"')
    return FailedMessage(token[1].decode("utf-8", "replace"), text.replace("\\n", "\n").replace('\\"', '"'))


def excerpt(line: bytes, length: int = 120) -> str:
    """The beginning of a line, fit for an error message."""
    shown = ascii(line[:length].decode("utf-8", errors="replace"))
    return shown + "…" if len(line) > length else shown


def encode(message: RangeMessage | CancelMessage | DrainMessage) -> bytes:
    """One line, newline included."""
    return _ENCODER.encode(message) + b"\n"


class LineCutter:
    """Cuts a stream into lines. Keeps at most one unfinished line."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines completed by `data`, without newlines. A line that grows too long is given out as it is, to be refused by
        `decode`."""
        if self._pending:
            data = self._pending + data
        lines = data.split(b"\n")
        self._pending = lines.pop()
        if len(self._pending) >= MAX_LINE_BYTES:
            if _IS_FAILED.match(self._pending):  # both ends are kept: what failed, and the end of why
                self._pending = self._pending[:_KEPT_BYTES] + self._pending[-_KEPT_BYTES:]
            else:
                lines.append(self._pending)
                self._pending = b""
        return lines
