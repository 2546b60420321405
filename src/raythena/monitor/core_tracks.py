"""On which core of its node an event may have been: the ledger knows when, not where.

Events of a node are laid on as few cores as hold them without overlapping, each on the one that has been free longest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

SAME_S = 1e-4
"""Times of one clock that are written with less precision than this may seem to overlap."""


class CoreTracks:
    """The cores of one node. Events come in the order of their starts."""

    def __init__(self) -> None:
        self._free: list[tuple[float, int]] = []
        self.n_cores = 0

    def place(self, start: float, wall_s: float) -> int:
        """The core of an event, from 1."""
        if self._free and self._free[0][0] <= start + SAME_S:
            _, core = heapq.heappop(self._free)
        else:
            self.n_cores += 1
            core = self.n_cores
        heapq.heappush(self._free, (start + wall_s, core))
        return core


def cores_of(events: Iterable[tuple[float, float]]) -> list[int]:
    """The core of each (start, wall seconds), which come in the order of their starts."""
    tracks = CoreTracks()
    return [tracks.place(start, wall_s) for start, wall_s in events]
