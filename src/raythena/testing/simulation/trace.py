"""What happened at the site, for the one who has to find out why.

Notable things (faults, lives, sessions) are always kept, the last few of them. Told in full, as a failing seed is when it is run
again, the trace also knows the life of every range, and condenses it all to what led to a broken promise: the faults and the
last doings of the range in question.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_NOTABLE = 25
_OF_A_RANGE = 25
_RANGE = re.compile(r"\brange (\d+)")


@dataclass(frozen=True)
class _Entry:
    at_s: float
    serial: int
    text: str
    ranges: frozenset[int]


class Trace:
    """`clock` gives virtual seconds; `in_full` keeps everything."""

    def __init__(self, clock: Callable[[], float], *, in_full: bool) -> None:
        self.in_full = in_full
        self.faults: Counter[str] = Counter()
        """How often each kind of fault happened."""
        self._clock = clock
        self._notable: deque[_Entry] = deque(maxlen=_NOTABLE)
        self._of_ranges: list[_Entry] = []
        self._serial = 0

    def tell(self, text: str, fault: str = "") -> None:
        """Something notable; `fault` is its kind if it is one."""
        if fault:
            self.faults[fault] += 1
        self._notable.append(self._entry(text, ()))

    def tell_of(self, ranges: Iterable[int], text: str) -> None:
        """Something that happened to ranges. Remembered only in full."""
        if self.in_full:
            self._of_ranges.append(self._entry(text, ranges))

    def condensed(self, promise: str) -> list[str]:
        """What led to a broken promise: the last faults, and the last doings of the range it names."""
        named = _RANGE.search(promise)
        index = int(named[1]) if named else -1
        of_range = [entry for entry in self._of_ranges if index in entry.ranges][-_OF_A_RANGE:]
        entries = sorted([*self._notable, *of_range], key=lambda entry: entry.serial)
        return [f"{entry.at_s:10.3f} s  {f'range {index} ' if entry.ranges else ''}{entry.text}" for entry in entries]

    def _entry(self, text: str, ranges: Iterable[int]) -> _Entry:
        self._serial += 1
        return _Entry(self._clock(), self._serial, text, frozenset(ranges))
