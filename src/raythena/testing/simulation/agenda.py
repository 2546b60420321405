"""Virtual time: what is to happen, in order.

Time jumps from one appointment to the next. Appointments at the same time are kept in the order in which they were made, so
that a simulation is a function of its seed alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Agenda:
    """`now` is virtual seconds since the beginning."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._appointments: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something `delay_s` from now."""
        self._serial += 1
        heapq.heappush(self._appointments, (self.now + delay_s, self._serial, action))

    def step(self) -> None:
        """Do the next thing. Raises IndexError when nothing is left to do."""
        self.now, _, action = heapq.heappop(self._appointments)
        self.steps += 1
        action()
