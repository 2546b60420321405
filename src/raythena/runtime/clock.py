"""The two clocks a process has, as a value that is passed in, so that a test can pass another.

Rules: durations and time limits use `monotonic`, which nobody sets back; `wall` is for what a person or another machine reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Both in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    """Since the epoch."""

    def wall_of(self, monotonic_s: float) -> float:
        """The wall-clock time of a moment given by the monotonic clock."""
        return self.wall() - (self.monotonic() - monotonic_s)


SYSTEM_CLOCK = Clock()
