"""A node that leaves before the job is over, because its own allocation ends first: when it begins nothing more.

What would not be finished, grouped and acknowledged by then is better computed elsewhere. A node knows its own event times only,
and events differ: so it stops by a few mean event times before, and not at all before it has finished one.
"""

from __future__ import annotations

from dataclasses import dataclass

_EVENTS = 1.5
"""Mean event times kept for those that are longer than the mean."""


@dataclass(frozen=True, slots=True)
class Departure:
    """When a node leaves, in the seconds of the clock it is asked with; infinite: it stays."""

    at: float = float("inf")
    kept_s: float = 15.0
    """For the last group and its acknowledgement."""

    def notice(self, now: float, mean_event_s: float) -> str:
        """Why nothing may be begun any more; "" while something may."""
        if now < self.at - self.kept_s - _EVENTS * mean_event_s:
            return ""
        return "its allocation ends before another event would"
