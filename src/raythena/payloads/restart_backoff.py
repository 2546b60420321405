"""When a payload starts what has died again: a worker, AthenaMP, a pilot. Decisions only: no clock, no process.

A run that ends without a single result may do so again: each one after the first makes the pause before the next start longer.
A run that does not even come up (a worker that never says it is ready, a transform or pilot that never asks for ranges) is a
*failed start*; so many of them in a row, and there is no point in another.
"""

from __future__ import annotations

from dataclasses import dataclass

_MAX_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class BackOff:
    """Pauses before starts, in seconds."""

    first_s: float
    longest_s: float
    free: int = 0
    """Failures in a row that cost no pause."""

    def pause_s(self, failures: int) -> float:
        """Before the start that follows so many failures in a row."""
        beyond = failures - self.free
        return 0.0 if beyond < 1 else min(self.longest_s, self.first_s * 2.0 ** min(beyond - 1, _MAX_DOUBLINGS))


class RestartPolicy:
    """What is known of the runs so far of one thing, and what follows from it for the next."""

    def __init__(self, back_off: BackOff, max_failed_starts: int) -> None:
        self._back_off = back_off
        self._max_failed_starts = max_failed_starts
        self.failed_starts = 0
        """Runs in a row that did not come up."""
        self.runs_without_result = 0
        """Runs in a row that ended without a result."""

    def came_up(self) -> None:
        """The run of the moment has started as it should."""
        self.failed_starts = 0

    def had_result(self) -> None:
        """The run of the moment has given a result."""
        self.failed_starts = self.runs_without_result = 0

    def ended(self, *, came_up: bool, had_result: bool) -> float:
        """A run is over; the pause before the next one, in seconds."""
        self.failed_starts = 0 if came_up else self.failed_starts + 1
        self.runs_without_result = 0 if had_result else self.runs_without_result + 1
        return self._back_off.pause_s(self.runs_without_result)

    @property
    def is_exhausted(self) -> bool:
        """Whether so many starts have failed that there should be no other."""
        return self.failed_starts >= self._max_failed_starts
