"""Watches the memory of a pool's workers: looks, asks the policy, and has workers ended.

A look reads a file for each process, which takes the kernel a moment for a large one: it is done in a thread, and never for more
than a small share of the time. What the policy does not see in time the kernel may: a worker that it killed for want of memory is
recognised by its count of such deaths.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence

from raythena.domain.results import FailureKind
from raythena.engine.memory_policy import MemoryPolicy, MemorySight, MemoryVerdict, WorkerMemory, in_words
from raythena.payloads.workers.slot import SlotState, WorkerSlot
from raythena.runtime.node_memory import NodeMemory
from raythena.runtime.payload_interface import PayloadContext

logger = logging.getLogger(__name__)

LOOK_S = 1.0
SHARE = 0.05
"""Of the time, spent on looking."""

Ender = Callable[[WorkerSlot, FailureKind, str], None]


class MemoryWatch:
    """For the workers on `slots`."""

    def __init__(self, context: PayloadContext, slots: Sequence[WorkerSlot], memory: NodeMemory | None = None) -> None:
        self._slots = slots
        self._clock = context.clock
        self._memory = memory or NodeMemory()
        self._policy = MemoryPolicy(context.memory, len(slots))
        self._sizes: dict[int, int] = {}
        self._kills = self._memory.kills()
        self._task: asyncio.Task[None] | None = None

    def start(self, end: Ender) -> None:
        """Begin to look; `end` ends a worker and charges its event."""
        self._task = asyncio.create_task(self._watch(end))

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()

    def has_room(self) -> bool:
        """Whether there may be one more worker."""
        return sum(slot.state is not SlotState.EMPTY for slot in self._slots) < self._policy.allowed

    def came(self, pid: int) -> None:
        """A worker was started."""
        self._memory.mark_expendable(pid)

    def cause_of_death(self, slot: WorkerSlot) -> tuple[FailureKind, str]:
        """What the end of a worker is charged as."""
        text = f"the worker died: {slot.exit_summary()}"
        if slot.status != -signal.SIGKILL or (kills := self._memory.kills()) <= self._kills:
            return FailureKind.CRASH, text
        self._kills = kills
        size = in_words(self._sizes.get(slot.number, 0))
        return FailureKind.OUT_OF_MEMORY, f"killed by the kernel for want of memory, with {size} when last seen; {text}"

    async def _watch(self, end: Ender) -> None:
        while True:
            began = self._clock.monotonic_s()
            pids = {slot.number: slot.pid for slot in self._slots if slot.pid is not None and slot.status is None}
            sight = await asyncio.to_thread(self._look, pids)
            now = self._clock.monotonic_s()
            for verdict in self._policy.look(sight, now):
                self._carry_out(verdict, pids, end)
            await self._clock.sleep(max(LOOK_S, (now - began) / SHARE))

    def _look(self, pids: dict[int, int]) -> MemorySight:
        taken = self._memory.of_trees(pids.values())
        total, available = self._memory.total_and_available()
        self._sizes = {number: taken[pid] for number, pid in pids.items()}
        since = {slot.number: slot.current_since for slot in self._slots}
        workers = tuple(WorkerMemory(number, size, since[number]) for number, size in self._sizes.items())
        return MemorySight(workers, 0, available, total)

    def _carry_out(self, verdict: MemoryVerdict, pids: dict[int, int], end: Ender) -> None:
        slot = next(slot for slot in self._slots if slot.number == verdict.number)
        if slot.pid != pids[slot.number] or slot.status is not None or slot.state is SlotState.ENDING:
            return  # it has ended meanwhile
        logger.warning("worker %d is ended: %s; there may be %d workers", slot.number, verdict.text, self._policy.allowed)
        end(slot, verdict.kind, verdict.text)
