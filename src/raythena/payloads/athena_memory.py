"""Watches the memory of AthenaMP's workers, for every payload that runs it.

What the policy calls a worker is here a range in flight: its size is what the processes of the worker that has it take. Workers
without a range, and the processes they were forked from, are what the payload takes besides. AthenaMP replaces a worker that is
killed and reports its range as failed, without saying why: whoever ends one must remember it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from raythena.domain.results import FailureKind
from raythena.engine.memory_policy import MemorySight, MemoryVerdict, WorkerMemory, in_words, to_blame
from raythena.payloads.athena_workers import AthenaWorkers
from raythena.payloads.memory_looks import Look, MemoryLooks
from raythena.runtime.node_memory import NodeMemory
from raythena.runtime.payload_interface import PayloadContext

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RangeInWorker:
    """A range in flight: its index, and since when (monotonic seconds)."""

    index: int
    since: float


@dataclass(frozen=True, slots=True)
class AthenaTree:
    """The transform that runs now, and what it was given."""

    root_pid: int
    workers: AthenaWorkers
    in_flight: Mapping[str, RangeInWorker] = field(default_factory=dict)
    """By token."""


End = Callable[[str, FailureKind, str], None]
"""Token, kind and reason of a range whose worker is to be ended. The range may be gone by then."""


class AthenaMemory:
    """Of the payload of one node."""

    def __init__(self, context: PayloadContext, memory: NodeMemory | None = None) -> None:
        self._looks = MemoryLooks(context, context.cores, memory)
        self._sizes: dict[str, int] = {}
        """By token, at the last look."""
        self._tokens: dict[int, str] = {}

    @property
    def allowed(self) -> int:
        """Workers there may be."""
        return self._looks.policy.allowed

    def start(self, tree: Callable[[], AthenaTree | None], end: End) -> None:
        """Begin to look at the transform of the moment; `end` ends a worker and charges its range."""
        self._looks.start(partial(self._prepare, tree), partial(self._carry_out, end))

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        self._looks.stop()

    def came(self, pid: int) -> None:
        """A transform was started, or a pilot: it and all it starts go before those that keep the job going."""
        self._looks.node.mark_expendable(pid)

    def kernels_word(self, token: str) -> str:
        """Why a worker died that had this range: "" unless the kernel has lately killed for want of memory."""
        if not self._looks.explains_a_death():
            return ""
        seen = self._sizes.get(token)
        figure = f", with {in_words(seen)} when last seen" if seen is not None else ""
        return f"its worker was killed by the kernel for want of memory{figure}"

    def blamed_for_the_end(self) -> tuple[str, str]:
        """Token and reason of the range to blame when the kernel has killed the transform for want of memory; else ("", "")."""
        workers = [WorkerMemory(number, self._sizes.get(token, 0), 0.0) for number, token in self._tokens.items()]
        if not self._sizes or not self._looks.explains_a_death() or (worker := to_blame(workers)) is None:
            return "", ""
        text = f"the event took {in_words(worker.size_bytes)} of memory, when the kernel killed for want of it"
        return self._tokens[worker.number], text

    def _prepare(self, tree: Callable[[], AthenaTree | None]) -> Look:
        return partial(self._look, tree())

    def _look(self, tree: AthenaTree | None, node: NodeMemory) -> MemorySight:
        total, available = node.total_and_available()
        if tree is None:
            return MemorySight((), 0, available, total)
        taken = tree.workers.memory(tree.root_pid, node)
        seen = {token: size for token, size in taken.of_ranges.items() if token in tree.in_flight}
        self._sizes, self._tokens = seen, {tree.in_flight[token].index: token for token in seen}
        workers = [WorkerMemory(tree.in_flight[token].index, size, tree.in_flight[token].since) for token, size in seen.items()]
        idle = sum(size for token, size in taken.of_ranges.items() if token not in seen)
        return MemorySight(workers, taken.rest + idle, available, total)

    def _carry_out(self, end: End, verdict: MemoryVerdict) -> None:
        LOG.warning("range %d: %s; there may be %d workers", verdict.number, verdict.text, self.allowed)
        end(self._tokens[verdict.number], verdict.kind, verdict.text)
