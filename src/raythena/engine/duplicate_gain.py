"""Whether beginning an event a second time probably ends it sooner.

How long an event takes is its own affair, as far as is known: begun anew on an equal node it takes as long again, and the first
copy has the lead. A second copy gains in three cases only:

- the node computes so slowly that another one overtakes it;
- the event has run longer than any event did that ended: something holds it up that need not be there elsewhere;
- the node has not reported when it had to, and may be gone.

What an event will take, of which only is known that it takes longer than so far, is the mean of all longer ones that ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from raythena.engine.deadline import EventTimes

_MISSED_REPORTS = 2.0
"""A node counts as silent when it has said nothing for so many times the pause that was agreed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Straggler:
    """An event under way. `slowness` is that of its node, how many times longer than usual events take there."""

    age_s: float
    """How long it has been on a core, by the node's last report."""
    silent_s: float
    """Since that report."""
    expected_report_s: float
    """When that node was to report again, after the last time."""
    slowness: float


def probably_gains(event: Straggler, slowness_there: float, times: EventTimes) -> bool:
    """Whether a copy begun now on a node of that slowness probably ends before the event does."""
    if event.silent_s > _MISSED_REPORTS * event.expected_report_s:
        return True
    age_s = event.age_s + event.silent_s
    needed_s = times.mean_above_s(age_s / event.slowness)
    return needed_s is None or needed_s * slowness_there < needed_s * event.slowness - age_s
