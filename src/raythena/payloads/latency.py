"""Where the time of a node's cores goes besides events: before the first, between two, after the last.

A payload that hands out ranges one by one tells an `IdleClock` what it sees; `summary` is what the agent's log and the job
report say of it. Memory is constant: waits are counted in classes, each a quarter longer than the one before.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "latency.json"
_SHORTEST_S = 1e-5
_GROWTH = 1.25
_CLASSES = 100


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Seconds. A value that was never measured is None."""

    first_range_s: float | None = None
    """From the start of the payload to the first range given to a worker."""
    waits: int = 0
    """How many times a core waited for a range while there was one, the first time of each core left out."""
    mean_wait_s: float | None = None
    median_wait_s: float | None = None
    p99_wait_s: float | None = None
    longest_wait_s: float | None = None
    starved: int = 0
    """How many times a core waited because the node had no range left."""
    starved_s: float = 0.0
    exit_s: float | None = None
    """From the last result to the exit of the payload's processes."""

    def in_words(self) -> str:
        """One line for a log."""
        parts = []
        if self.first_range_s is not None:
            parts.append(f"first range after {self.first_range_s:.2f} s")
        if self.mean_wait_s is not None and self.median_wait_s is not None:
            waits = f"{self.waits} waits for the next range: mean {_ms(self.mean_wait_s)}, median {_ms(self.median_wait_s)}"
            parts.append(f"{waits}, 99% below {_ms(self.p99_wait_s)}, longest {_ms(self.longest_wait_s)}")
        if self.starved:
            parts.append(f"{self.starved} waits of {self.starved_s:.1f} s together without a range on the node")
        if self.exit_s is not None:
            parts.append(f"exit {self.exit_s:.2f} s after the last result")
        return "; ".join(parts) or "no event was begun"

    def write(self, log_dir: Path) -> None:
        """Put the summary into `latency.json` of a payload's log directory. Raises OSError."""
        (log_dir / FILE_NAME).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def read_summary(log_dir: Path) -> LatencySummary | None:
    """What `write` wrote; None when there is none."""
    try:
        return LatencySummary(**json.loads((log_dir / FILE_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _ms(seconds: float | None) -> str:
    return f"{1000 * (seconds or 0.0):.1f} ms"


class IdleClock:
    """Measures one payload on one node. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._first: float | None = None
        self._last_result: float | None = None
        self._exit_s: float | None = None
        self._counts = [0] * _CLASSES
        self._total_s = 0.0
        self._longest_s = 0.0
        self._starved = 0
        self._starved_s = 0.0

    def given(self, now: float, waited_s: float | None, *, starved: bool = False) -> None:
        """A core got a range after waiting `waited_s`; None: its first one. `starved`: the node had no range in the meantime."""
        if self._first is None:
            self._first = now - self._began
        if waited_s is None:
            return
        if starved:
            self._starved += 1
            self._starved_s += waited_s
            return
        self._total_s += waited_s
        self._longest_s = max(self._longest_s, waited_s)
        self._counts[_class_of(waited_s)] += 1

    def result(self, now: float) -> None:
        """An event ended."""
        self._last_result = now

    def exited(self, now: float) -> None:
        """The payload's processes are gone."""
        if self._last_result is not None:
            self._exit_s = now - self._last_result

    def summary(self) -> LatencySummary:
        """All that was measured so far."""
        waits = sum(self._counts)
        if not waits:
            return LatencySummary(self._first, starved=self._starved, starved_s=self._starved_s, exit_s=self._exit_s)
        return LatencySummary(
            self._first,
            waits,
            self._total_s / waits,
            min(self._longest_s, self._below(0.5 * waits)),
            min(self._longest_s, self._below(0.99 * waits)),
            self._longest_s,
            self._starved,
            self._starved_s,
            self._exit_s,
        )

    def _below(self, count: float) -> float:
        """The upper end of the class in which the count-th wait is."""
        seen = 0
        for number, here in enumerate(self._counts[:-1]):  # the last class has no upper end
            seen += here
            if seen >= count:
                return _SHORTEST_S * _GROWTH**number
        return math.inf


def _class_of(seconds: float) -> int:
    if seconds <= _SHORTEST_S:
        return 0
    return min(_CLASSES - 1, math.ceil(math.log(seconds / _SHORTEST_S, _GROWTH)))
