"""What AthenaMP and whoever feeds it say to each other, as values. No sockets here.

AthenaMP says `Ready for events`; the answer is a JSON list with one range, or `No more events`. It reports

    <output path>[,<another path>],ID:<range id>,CPU:<seconds>,WALL:<seconds>
    ERR_ATHENAMP_PROCESS <range id>: <reason>
    ERR_ATHENAMP_PARSE "<the range it was given>": <reason>

Two habits of AthenaMP decide how ranges are named here. It takes the JSON apart at commas, so no value may hold one. And it finds
the output of a range by looking for the id anywhere in the paths of the worker's directory, so an id must be part of no other
id and of no directory: `lfn-1` would also find the output of `lfn-12`. Hence a `token` of fixed length instead of the range id.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from raythena.domain.ranges import EventRange

READY = b"Ready for events"
NO_MORE = b"No more events"
TOKEN = re.compile(r"rt[0-9a-f]{10}x")
NO_SUCH_EVENT = 2_000_000_000
"""Larger than any event number, and a number AthenaMP's `int` can hold."""
_ERROR = re.compile(r"\s*(ERR_[A-Z_]+)\s+(.*)", re.DOTALL)
_FIELD = re.compile(r"(ID|CPU|WALL):(.*)", re.DOTALL)
CRASH_REASON = "Failed to process event range"
"""What AthenaMP says of a range whose worker died; also of one whose algorithms failed."""
OUTPUT_REASON = "Failed to make output file"


class Unintelligible(ValueError):
    """A message that is none of AthenaMP's. The text says why."""


@dataclass(frozen=True, slots=True)
class RangeReady:
    """A worker is free: a range is asked for."""


@dataclass(frozen=True, slots=True)
class RangeDone:
    """A range is finished. Several paths: AthenaMP found several files with the id."""

    token: str
    paths: tuple[str, ...]
    cpu_s: float
    wall_s: float

    @property
    def path(self) -> str:
        """The one output, or "" when it cannot be told which of several it is."""
        if len(self.paths) == 1:
            return self.paths[0]
        candidates = [path for path in self.paths if path.endswith(f".{self.token}")]
        return candidates[0] if len(candidates) == 1 else ""


@dataclass(frozen=True, slots=True)
class RangeFailed:
    """A range failed. `error` is AthenaMP's own word for the kind, such as `ERR_ATHENAMP_PROCESS`."""

    token: str
    error: str
    reason: str


Message = RangeReady | RangeDone | RangeFailed


def token_of(number: int) -> str:
    """The name under which AthenaMP knows the `number`-th range it is given."""
    return f"rt{number:010x}x"


def encode_range(token: str, event_range: EventRange) -> bytes:
    """The answer to `Ready for events`. Raises ValueError when a value would be misread by AthenaMP."""
    for name, value in (("path", event_range.pfn), ("GUID", event_range.guid)):
        if any(char in ',"\\' or char < " " for char in value):
            problem = "has a comma, quote, backslash or control character, which AthenaMP misreads"
            raise ValueError(f"the {name} {value!r} of an input {problem}")
    return _encode(token, event_range, event_range.first_event, event_range.last_event)


def encode_flush(token: str, like: EventRange) -> bytes:
    """A range that no file has: AthenaMP passes it to a worker, which refuses it and is free again."""
    return _encode(token, like, NO_SUCH_EVENT, NO_SUCH_EVENT)


def _encode(token: str, event_range: EventRange, first: int, last: int) -> bytes:
    fields = {
        "eventRangeID": token,
        "startEvent": first,
        "lastEvent": last,
        "PFN": event_range.pfn,
        "GUID": event_range.guid or "00000000-0000-0000-0000-000000000000",
    }
    return json.dumps([fields], ensure_ascii=False).encode()


def decode(message: bytes) -> Message:
    """One message of AthenaMP. Raises Unintelligible."""
    if message.strip(b"\0 \r\n") == READY:
        return RangeReady()
    try:
        text = message.decode().strip("\0\r\n ")
    except UnicodeDecodeError:
        raise Unintelligible("it is no text") from None
    error = _ERROR.fullmatch(text)
    if error is not None:
        return _failure(error[1], error[2])
    return _result(text)


def _failure(error: str, rest: str) -> RangeFailed:
    tokens = set(TOKEN.findall(rest))
    if len(tokens) != 1:
        raise Unintelligible(f"it names {len(tokens)} ranges instead of one")
    return RangeFailed(tokens.pop(), error, rest.rpartition(":")[2].strip() or "no reason given")


def _result(text: str) -> RangeDone:
    paths: list[str] = []
    fields: dict[str, str] = {}
    for part in text.split(","):
        field = _FIELD.fullmatch(part)
        if field is None:
            paths.append(part)
        else:
            fields[field[1]] = field[2]
    token = fields.get("ID", "")
    if not TOKEN.fullmatch(token):
        raise Unintelligible("it names no range" if not token else f"{token!r} is no range of ours")
    if not any(paths):
        raise Unintelligible("it names no output")
    return RangeDone(token, tuple(path for path in paths if path), _seconds(fields, "CPU"), _seconds(fields, "WALL"))


def _seconds(fields: dict[str, str], name: str) -> float:
    """Seconds, or 0 when AthenaMP does not know."""
    try:
        value = float(fields.get(name, "0"))
    except ValueError:
        return 0.0
    return value if 0.0 <= value < 1e9 else 0.0
