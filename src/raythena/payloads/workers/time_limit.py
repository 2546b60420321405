"""How far ahead to feed a worker, and how long one event may take: both measured, neither guessed.

Rules: a worker holds about `AHEAD_S` seconds of work beside the event it computes, so that no core waits for a round trip and
little is stuck behind a slow event. The time limit follows the longest event seen, as the agent's own clock saw it, so that a
worker that reports wrong times cannot outwit it.
"""

from __future__ import annotations

from raythena.runtime.payload_interface import PayloadContext

AHEAD_S = 0.075
MAX_AHEAD = 64
ONE_AHEAD_BELOW_S = 2.0
"""Events longer than this are not queued in a worker at all: a round trip of a millisecond is nothing against them."""
MEMORY = 32
"""The mean event time remembers about this many events."""
BACKLOG_FACTOR = 2
"""Ranges kept in the agent for each one queued in a worker."""
EVENTS_FOR_LIMIT = 10
"""Finished events needed before the measured time limit replaces the first one."""


class Pace:
    """Event times of one payload on one node."""

    def __init__(self, context: PayloadContext) -> None:
        self._context = context
        self.finished = 0
        self.mean_s = 0.0
        self.longest_s = 0.0
        self.ahead = 0
        """Ranges to queue in a worker beside the one it computes."""

    def observe(self, wall_s: float, held_s: float) -> None:
        """An event took `wall_s` by the worker's clock; by ours it was the worker's current one for `held_s` seconds."""
        self.finished += 1
        sample = wall_s or held_s
        self.mean_s += (sample - self.mean_s) / min(self.finished, MEMORY)
        self.longest_s = max(self.longest_s, held_s)
        self.ahead = self._depth()

    def _depth(self) -> int:
        if self.mean_s >= ONE_AHEAD_BELOW_S:
            return 0
        return max(1, int(min(MAX_AHEAD, AHEAD_S / max(self.mean_s, 1e-9))))

    @property
    def wanted_per_core(self) -> int:
        """Ranges to hold for each core: the current one, those queued in its worker, those waiting in the agent."""
        return 1 + self.ahead * (1 + BACKLOG_FACTOR)

    @property
    def time_limit_s(self) -> float:
        """An event that takes longer counts as hanging."""
        if self.finished < EVENTS_FOR_LIMIT:
            return self._context.first_time_limit_s
        return max(self._context.min_time_limit_s, self._context.time_limit_factor * self.longest_s)
