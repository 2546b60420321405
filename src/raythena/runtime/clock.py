"""The clocks of a process as an object that is passed in, so that a test can pass one that it moves itself.

Rules: durations and time limits use the monotonic clock, which nobody sets back; the wall clock is for what a person or another
machine reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Protocol


class Clock(Protocol):
    """What is asked for the time, and waited with."""

    def monotonic_s(self) -> float:
        """Seconds since some moment; never set back."""

    def wall_s(self) -> float:
        """Seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""


class SystemClock:
    """The clock of this machine."""

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def wall_s(self) -> float:
        """See `Clock`."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK: Clock = SystemClock()


def wall_of(clock: Clock, monotonic_s: float) -> float:
    """The wall-clock time of a moment that was read from the monotonic clock."""
    return clock.wall_s() - (clock.monotonic_s() - monotonic_s)


async def answer_within(limit_s: float, answer: Awaitable[None], clock: Clock) -> bool:
    """Wait for an answer, no longer than `limit_s`; False: it did not come, and is not waited for any more.

    Raises what the answer raises.
    """
    asked, alarm = asyncio.ensure_future(answer), asyncio.ensure_future(clock.sleep(limit_s))
    try:
        await asyncio.wait({asked, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            return False
        await asked
        return True
    finally:
        asked.cancel()
        alarm.cancel()
