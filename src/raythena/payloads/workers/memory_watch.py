"""Watches the memory of a pool's workers, and says what the end of one is charged as.

Looking and deciding are common to all payloads (`memory_looks`); here is what is special about a pool: a worker is a slot's, and
how it ended is known.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from functools import partial

from raythena.domain.results import FailureKind
from raythena.engine.memory_policy import MemorySight, MemoryVerdict, WorkerMemory, in_words
from raythena.payloads.memory_looks import Look, MemoryLooks
from raythena.payloads.workers.slot import SlotState, WorkerSlot
from raythena.runtime.node_memory import NodeMemory
from raythena.runtime.payload_interface import PayloadContext

logger = logging.getLogger(__name__)

Ender = Callable[[WorkerSlot, FailureKind, str], None]


class MemoryWatch:
    """For the workers on `slots`."""

    def __init__(self, context: PayloadContext, slots: Sequence[WorkerSlot], memory: NodeMemory | None = None) -> None:
        self._slots = slots
        self._looks = MemoryLooks(context, len(slots), memory)
        self._policy = self._looks.policy
        self._sizes: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        """Process ids by slot, at the last look."""

    def start(self, end: Ender) -> None:
        """Begin to look; `end` ends a worker and charges its event."""
        self._looks.start(self._prepare, partial(self._carry_out, end))

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        self._looks.stop()

    def has_room(self) -> bool:
        """Whether there may be one more worker."""
        return sum(slot.state is not SlotState.EMPTY for slot in self._slots) < self._policy.allowed

    def came(self, pid: int) -> None:
        """A worker was started."""
        self._looks.node.mark_expendable(pid)

    def cause_of_death(self, slot: WorkerSlot) -> tuple[FailureKind, str]:
        """What the end of a worker is charged as."""
        text = f"the worker died: {slot.exit_summary()}"
        if slot.status != -signal.SIGKILL or not self._looks.explains_a_death():
            return FailureKind.CRASH, text
        size = in_words(self._sizes.get(slot.number, 0))
        return FailureKind.OUT_OF_MEMORY, f"killed by the kernel for want of memory, with {size} when last seen; {text}"

    def _prepare(self) -> Look:
        self._pids = {slot.number: slot.pid for slot in self._slots if slot.pid is not None and slot.status is None}
        return partial(self._look, self._pids)

    def _look(self, pids: dict[int, int], node: NodeMemory) -> MemorySight:
        taken = node.of_trees(pids.values())
        total, available = node.total_and_available()
        self._sizes = {number: taken[pid] for number, pid in pids.items()}
        since = {slot.number: slot.current_since for slot in self._slots}
        workers = tuple(WorkerMemory(number, size, since[number]) for number, size in self._sizes.items())
        return MemorySight(workers, 0, available, total)

    def _carry_out(self, end: Ender, verdict: MemoryVerdict) -> None:
        slot = next(slot for slot in self._slots if slot.number == verdict.number)
        if slot.pid != self._pids[slot.number] or slot.status is not None or slot.state is SlotState.ENDING:
            return  # it has ended meanwhile
        logger.warning("worker %d is ended: %s; there may be %d workers", slot.number, verdict.text, self._policy.allowed)
        end(slot, verdict.kind, verdict.text)
