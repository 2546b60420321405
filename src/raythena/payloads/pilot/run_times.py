"""Where the time of a node goes: before the first event, between two events, after the last. No I/O, no clock.

Times between events are those the payload sees: from the end of one event of a worker to the beginning of that worker's next one.
A pilot reports events in no order, so everything is computed at the end. All times are seconds; `at` are seconds since the epoch.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from itertools import pairwise

from raythena.payloads.latency import LatencySummary

KEPT = 100_000
"""Events remembered; of more, the first ones."""


@dataclass(slots=True)
class RunTimes:
    """One pilot, from its start to its end."""

    started_at: float
    job_asked_at: float | None = None
    first_ranges_at: float | None = None
    final_update_at: float | None = None
    ended_at: float | None = None
    spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Beginning and end of each event, by worker."""
    events: int = 0

    def event(self, worker: str, begun_at: float, ended_at: float) -> None:
        """An event was computed by `worker` (any name that is its own)."""
        self.events += 1
        if self.events <= KEPT:
            self.spans.setdefault(worker, []).append((begun_at, ended_at))

    def gaps(self) -> list[float]:
        """Time between two events of the same worker, shortest first."""
        found = []
        for spans in self.spans.values():
            spans.sort()
            found += [max(0.0, begin - end) for (_, end), (begin, _) in pairwise(spans)]
        return sorted(found)

    def in_words(self) -> str:
        """One line for a log."""
        told = [
            f"{name[:-2].replace('_', ' ')} {value} s" for name, value in self.figures().items() if name.endswith("_s") and value
        ]
        return f"{self.events} events, " + ", ".join(told)

    def figures(self) -> dict[str, float | int | None]:
        """Everything in figures, for `pilot.json`."""
        gaps = self.gaps()
        spans = [span for worker in self.spans.values() for span in worker]
        first = min((begin for begin, _ in spans), default=None)
        last = max((end for _, end in spans), default=None)
        return {
            "start_to_job_s": _between(self.started_at, self.job_asked_at),
            "start_to_first_ranges_s": _between(self.started_at, self.first_ranges_at),
            "start_to_first_event_s": _between(self.started_at, first),
            "events": self.events,
            "mean_event_s": round(statistics.fmean(end - begin for begin, end in spans), 4) if spans else None,
            "median_gap_s": round(statistics.median(gaps), 4) if gaps else None,
            "mean_gap_s": round(statistics.fmean(gaps), 4) if gaps else None,
            "longest_gap_s": round(gaps[-1], 4) if gaps else None,
            "last_event_to_final_update_s": _between(last, self.final_update_at),
            "last_event_to_end_s": _between(last, self.ended_at),
        }


def summary(runs: list[RunTimes]) -> LatencySummary:
    """The account of a node, over all its pilots. A pilot cannot tell a wait for lack of ranges from any other."""
    gaps = sorted(gap for run in runs for gap in run.gaps())
    first_at = next((run.first_ranges_at for run in runs if run.first_ranges_at is not None), None)
    ends = [run.figures()["last_event_to_end_s"] for run in runs]
    return LatencySummary(
        first_range_s=_between(runs[0].started_at, first_at) if runs else None,
        waits=len(gaps),
        mean_wait_s=statistics.fmean(gaps) if gaps else None,
        median_wait_s=statistics.median(gaps) if gaps else None,
        p99_wait_s=gaps[int(0.99 * (len(gaps) - 1))] if gaps else None,
        longest_wait_s=gaps[-1] if gaps else None,
        exit_s=next((end for end in reversed(ends) if end is not None), None),
    )


def _between(begin: float | None, end: float | None) -> float | None:
    # clocks of the node and of the file system differ by some milliseconds
    return max(0.0, round(end - begin, 3)) if begin is not None and end is not None else None
