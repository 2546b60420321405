"""Where the time of a node goes: before the first event, between two events, after the last. No I/O, no clock.

Times between events are those the payload sees: from the end of one event of a worker to the beginning of that worker's next one.
All times are seconds; `at` are seconds since the epoch.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

KEPT = 10_000
"""Gaps remembered; of more, every other one is forgotten."""


@dataclass(slots=True)
class RunTimes:
    """One pilot, from its start to its end."""

    started_at: float
    job_asked_at: float | None = None
    first_ranges_at: float | None = None
    first_event_at: float | None = None
    last_event_at: float | None = None
    final_update_at: float | None = None
    ended_at: float | None = None
    events: int = 0
    event_s: float = 0.0
    """Sum of the times of all events."""
    gaps: list[float] = field(default_factory=list)
    _worker_ends: dict[str, float] = field(default_factory=dict)
    _stride: int = 1

    def event(self, worker: str, begun_at: float, ended_at: float) -> None:
        """An event was computed by `worker` (any name that is its own)."""
        self.events += 1
        self.event_s += max(0.0, ended_at - begun_at)
        self.first_event_at = min(begun_at, self.first_event_at or begun_at)
        self.last_event_at = max(ended_at, self.last_event_at or ended_at)
        before = self._worker_ends.get(worker)
        if before is not None and begun_at >= before and self.events % self._stride == 0:
            self.gaps.append(begun_at - before)
            if len(self.gaps) > KEPT:
                self.gaps, self._stride = self.gaps[::2], 2 * self._stride
        self._worker_ends[worker] = max(ended_at, before or ended_at)

    def summary(self) -> dict[str, float | int | None]:
        """Everything in figures, for the log and for `pilot.json`."""
        gaps = sorted(self.gaps)
        return {
            "to_job_s": _between(self.started_at, self.job_asked_at),
            "to_first_ranges_s": _between(self.started_at, self.first_ranges_at),
            "to_first_event_s": _between(self.started_at, self.first_event_at),
            "events": self.events,
            "mean_event_s": round(self.event_s / self.events, 4) if self.events else None,
            "gap_median_s": round(statistics.median(gaps), 4) if gaps else None,
            "gap_mean_s": round(statistics.fmean(gaps), 4) if gaps else None,
            "gap_p95_s": round(gaps[int(0.95 * (len(gaps) - 1))], 4) if gaps else None,
            "last_event_to_final_update_s": _between(self.last_event_at, self.final_update_at),
            "last_event_to_end_s": _between(self.last_event_at, self.ended_at),
        }


def _between(begin: float | None, end: float | None) -> float | None:
    return round(end - begin, 3) if begin is not None and end is not None else None
