"""Events without physics, for tests and benchmarks: a payload function of the payload `python`.

An event costs what it is told to cost, its output is made from the id of its range, and events can be told to go wrong in each of
the ways real ones do. Nothing here needs more than the standard library.

Options of `setup`, all of them optional:

    wall_s          seconds an event sleeps
    cpu_s           seconds of CPU time an event burns
    spread          0 to 1: the cost of an event lies this fraction around the mean, decided by its range id; 0 by default
    output_bytes    size of the output, 64 by default
    as_file         true: the output is a file of its own; false: bytes handed back
    fail, crash, hang, bad_output
                    which events go wrong: numbers of events in their file, or ids of ranges
    attempts_to_fail
                    after so many failed attempts an event that goes wrong goes right; needs `attempts_dir`; 0: it never does
    attempts_dir    existing directory, shared by all nodes, where attempts are counted
"""

from __future__ import annotations

import os
import random
import signal
import time
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import EventRange

A_LONG_TIME_S = 86_400.0


class EventContext(Protocol):
    """What the payload `python` tells the function."""

    @property
    def state(self) -> Any:
        """What `setup` returned."""

    def new_output(self, suffix: str = "") -> Path:
        """A path for a new file, below the scratch directory."""


class SyntheticFailure(Exception):
    """An event that was told to fail did."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The options, checked. The module describes them."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    spread: float = 0.0
    output_bytes: int = 64
    as_file: bool = True
    fail: Collection[int | str] = ()
    crash: Collection[int | str] = ()
    hang: Collection[int | str] = ()
    bad_output: Collection[int | str] = ()
    attempts_to_fail: int = 0
    attempts_dir: str = ""


def setup(options: dict[str, Any]) -> Behaviour:
    """Check the options. Raises InvalidInput."""
    known = {entry.name for entry in fields(Behaviour)}
    if unknown := options.keys() - known:
        raise InvalidInput("synthetic", min(unknown), "is not an option", expected=f"one of {', '.join(sorted(known))}")
    behaviour = Behaviour(**options)
    for name in ("wall_s", "cpu_s", "spread", "output_bytes", "attempts_to_fail"):
        value = getattr(behaviour, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise InvalidInput("synthetic", name, f"is {value!r}", expected="a number, not negative")
    if behaviour.attempts_to_fail and not Path(behaviour.attempts_dir or "/nowhere").is_dir():
        raise InvalidInput("synthetic", "attempts_dir", f"{behaviour.attempts_dir!r} is not a directory")
    return behaviour


def process(event_range: EventRange, context: EventContext) -> Path | bytes:
    """Compute the event as told; the output is `expected_output`."""
    behaviour: Behaviour = context.state
    factor = _cost_factor(event_range.range_id, behaviour.spread)
    time.sleep(behaviour.wall_s * factor)
    _burn(behaviour.cpu_s * factor)
    misdeed = _misdeed(behaviour, event_range)
    if misdeed is not None and _still_bad(behaviour, event_range.range_id):
        return misdeed(context)
    content = expected_output(event_range.range_id, behaviour.output_bytes)
    if not behaviour.as_file:
        return content
    output = context.new_output(".bin")
    output.write_bytes(content)
    return output


def expected_output(range_id: str, size_bytes: int = 64) -> bytes:
    """The output of a range: a line with its id, filled up with letters that depend on it; at least the whole line."""
    line = f"{range_id}\n".encode()
    letters = bytes(65 + value % 26 for value in random.Random(range_id).randbytes(256))
    missing = max(0, size_bytes - len(line))
    return line + (letters * (missing // len(letters) + 1))[:missing]


def _cost_factor(range_id: str, spread: float) -> float:
    return 1.0 + spread * (zlib.crc32(range_id.encode()) % 2001 / 1000 - 1)


def _burn(cpu_s: float) -> None:
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        sum(range(200))


def _misdeed(behaviour: Behaviour, event_range: EventRange) -> Callable[[EventContext], Path | bytes] | None:
    misdeeds: dict[str, Callable[[EventContext], Path | bytes]] = {
        "fail": _fail,
        "crash": _crash,
        "hang": _hang,
        "bad_output": _promise_nothing,
    }
    for name, misdeed in misdeeds.items():
        told = getattr(behaviour, name)
        if event_range.range_id in told or any(
            event_range.first_event <= n <= event_range.last_event for n in told if isinstance(n, int)
        ):
            return misdeed
    return None


def _still_bad(behaviour: Behaviour, range_id: str) -> bool:
    """Count this attempt, and say whether it is one of those that go wrong."""
    if not behaviour.attempts_to_fail:
        return True
    for attempt in range(1, behaviour.attempts_to_fail + 1):
        marker = Path(behaviour.attempts_dir, f"{zlib.crc32(range_id.encode()):08x}-{attempt}")
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            continue
        return True
    return False


def _fail(context: EventContext) -> bytes:
    raise SyntheticFailure("told to fail")


def _crash(context: EventContext) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(A_LONG_TIME_S)
    raise AssertionError("survived")


def _hang(context: EventContext) -> bytes:
    time.sleep(A_LONG_TIME_S)
    raise SyntheticFailure("woke up")


def _promise_nothing(context: EventContext) -> Path:
    return context.new_output(".never-written")
