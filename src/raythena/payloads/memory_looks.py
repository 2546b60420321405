"""Looks at the memory of a payload again and again, asks the policy, and hands on what is to be ended.

A look reads a file for each process, which takes the kernel a moment for a large one: it is done in a thread, and never for more
than a small share of the time. What the policy does not see in time the kernel may: its count of deaths for want of memory tells
such a death from others, if it has grown lately. One count explains one death.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from raythena.engine.memory_policy import MemoryPolicy, MemorySight, MemoryVerdict
from raythena.runtime.node_memory import NodeMemory
from raythena.runtime.payload_interface import PayloadContext

LOOK_S = 1.0
SHARE = 0.05
"""Of the time, spent on looking."""
FRESH_S = 60.0
"""A death that is told later than this after the kernel has killed is another one. AthenaMP may hold its reports back."""

Look = Callable[[NodeMemory], MemorySight]
Prepare = Callable[[], Look]
"""Called in the event loop: says what a thread is to look at."""


class MemoryLooks:
    """Of one payload on one node, which has so many workers at most."""

    def __init__(self, context: PayloadContext, workers: int, memory: NodeMemory | None = None) -> None:
        self.node = memory or NodeMemory()
        self.policy = MemoryPolicy(context.memory, workers)
        self._clock = context.clock
        self._kills = self.node.kills()
        self._unexplained: deque[float] = deque()
        """When deaths were counted that nobody has asked about."""
        self._task: asyncio.Task[None] | None = None

    def start(self, prepare: Prepare, end: Callable[[MemoryVerdict], None]) -> None:
        """Begin to look; `end` ends a worker and charges its event."""
        self._task = asyncio.create_task(self._watch(prepare, end))

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()

    def explains_a_death(self) -> bool:
        """Whether the kernel has lately killed for want of memory, once more often than this has said so."""
        self._count()
        now = self._clock.monotonic_s()
        while self._unexplained and now - self._unexplained[0] > FRESH_S:
            self._unexplained.popleft()
        if not self._unexplained:
            return False
        self._unexplained.popleft()
        return True

    def _count(self) -> None:
        kills = self.node.kills()
        self._unexplained.extend([self._clock.monotonic_s()] * min(max(0, kills - self._kills), 1000))
        self._kills = kills

    async def _watch(self, prepare: Prepare, end: Callable[[MemoryVerdict], None]) -> None:
        while True:
            began = self._clock.monotonic_s()
            sight = await asyncio.to_thread(prepare(), self.node)
            now = self._clock.monotonic_s()
            self._count()
            for verdict in self.policy.look(sight, now):
                end(verdict)
            await self._clock.sleep(max(LOOK_S, (now - began) / SHARE))
