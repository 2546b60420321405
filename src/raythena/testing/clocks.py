"""Clocks for tests of whatever waits: one that is turned by hand, one that cannot wait long."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field

from raythena.runtime.clock import SystemClock

_TURNS = 50
"""Turns of the event loop that whoever woke up gets before time goes on."""


@dataclass(order=True)
class _Sleeper:
    until_s: float
    serial: int
    alarm: asyncio.Future[None] = field(compare=False)


class ManualClock:
    """A clock that stands still until `advance` turns it. Its wall clock reads `epoch_s` at the beginning."""

    def __init__(self, epoch_s: float = 1_000_000.0) -> None:
        self._now_s = 0.0
        self._epoch_s = epoch_s
        self._sleepers: list[_Sleeper] = []
        self._serial = 0

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return self._now_s

    def wall_s(self) -> float:
        """See `Clock`."""
        return self._epoch_s + self._now_s

    async def sleep(self, seconds: float) -> None:
        """See `Clock`: until the clock has been turned so far."""
        self._serial += 1
        sleeper = _Sleeper(self._now_s + seconds, self._serial, asyncio.get_running_loop().create_future())
        heapq.heappush(self._sleepers, sleeper)
        await sleeper.alarm

    async def advance(self, seconds: float) -> None:
        """Let time pass: whoever sleeps wakes up at the right moment, one after the other, and gets its turns."""
        until_s = self._now_s + seconds
        await self._let_others_work()
        while self._sleepers and self._sleepers[0].until_s <= until_s:
            sleeper = heapq.heappop(self._sleepers)
            if not sleeper.alarm.done():
                self._now_s = max(self._now_s, sleeper.until_s)
                sleeper.alarm.set_result(None)
                await self._let_others_work()
        self._now_s = until_s

    async def _let_others_work(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)


class HurriedClock(SystemClock):
    """The clock of this machine, but nobody sleeps longer than `longest_s`."""

    def __init__(self, longest_s: float = 0.01) -> None:
        self._longest_s = longest_s

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        await super().sleep(min(seconds, self._longest_s))
