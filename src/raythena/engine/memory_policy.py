"""Which worker is ended when memory runs short, what its event is charged with, and how many workers there may be. No I/O.

Whoever watches the memory of a payload shows a policy what it sees and does what it is told. Rules:

- A worker above its own limit is ended; its event took too much, and is charged with it.
- When the payload takes more than the node may give, or the node has less left than its reserve, one worker is ended. If one
  takes far more than the others, or is alone, it is that one, and its event took too much. Otherwise no event is to blame: there
  are too many workers. The youngest of the large ones is ended, its event is charged a loss, and there is one worker less.
- Memory needs a moment to come back: until then nobody else is ended. Nobody is ended in vain, either: where all workers together
  could not make up for what is missing, it is others who take it.
- After a quiet while with room for one more worker as large as the largest seen, there may be one more.

Sizes are bytes, times seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from raythena.domain.results import FailureKind

SETTLE_S = 2.0
"""After the end of a worker its memory counts as taken for so long."""
QUIET_S = 60.0
"""Without a shortage for so long, one more worker may be tried."""
FAR_MORE = 2.0
"""A worker that takes so many times what the others do is to blame for a shortage."""
LARGE = 0.5
"""Workers that take so much of what the largest one does are large."""
ROOM = 1.25
"""Room for another worker is so many times the largest one seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """What a payload may take of a node's memory."""

    worker_memory_bytes: int = 0
    """One worker, with all it has started; 0: no limit but the node's."""
    node_memory_bytes: int = 0
    """All workers of the node together; 0: what the machine, or the batch system's control group, has."""
    memory_reserve: float = 0.03
    """Share of the node's memory that is kept free."""


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """What one worker takes, and since when it has computed its event."""

    number: int
    size_bytes: int
    since: float


@dataclass(frozen=True, slots=True)
class MemorySight:
    """The memory of a node at one look."""

    workers: Sequence[WorkerMemory]
    shared_bytes: int = 0
    """What the payload takes besides its workers."""
    available_bytes: int | None = None
    """What the node still has; None: not known."""
    node_bytes: int = 0
    """What the node has altogether, or may use."""

    @property
    def payload_bytes(self) -> int:
        """All the payload takes."""
        return self.shared_bytes + sum(worker.size_bytes for worker in self.workers)


@dataclass(frozen=True, slots=True)
class MemoryVerdict:
    """A worker is to be ended, and its event charged."""

    number: int
    kind: FailureKind
    text: str


class MemoryPolicy:
    """The decisions for the payload of one node, which has `cores` workers at most."""

    def __init__(self, limits: MemoryLimits, cores: int) -> None:
        self._limits = limits
        self._cores = cores
        self._settled_at = self._quiet_since = float("-inf")
        self._largest_bytes = 0
        self.allowed = cores
        """Workers there may be."""

    def look(self, sight: MemorySight, now: float) -> list[MemoryVerdict]:
        """Who is to be ended now; the workers named are taken to be gone afterwards."""
        self._largest_bytes = max([self._largest_bytes, *(worker.size_bytes for worker in sight.workers)])
        verdicts = self._above_their_own(sight)
        if not verdicts and now >= self._settled_at and (missing := self._missing_bytes(sight)) > 0:
            self._quiet_since = now
            verdicts = self._short(sight, missing)
        elif not verdicts:
            self._grow(sight, now)
        if verdicts:
            self._settled_at = now + SETTLE_S
        return verdicts

    def _above_their_own(self, sight: MemorySight) -> list[MemoryVerdict]:
        limit = self._limits.worker_memory_bytes
        text = "the event took {} of memory; payload.worker_memory_bytes allows {}"
        return [
            MemoryVerdict(worker.number, FailureKind.OUT_OF_MEMORY, text.format(in_words(worker.size_bytes), in_words(limit)))
            for worker in sight.workers
            if limit and worker.size_bytes > limit
        ]

    def _missing_bytes(self, sight: MemorySight) -> int:
        """What the payload takes too much, or the node has too little; 0 or less: nothing is missing."""
        missing = sight.payload_bytes - self._limits.node_memory_bytes if self._limits.node_memory_bytes else 0
        if sight.available_bytes is not None:
            missing = max(missing, int(self._limits.memory_reserve * sight.node_bytes) - sight.available_bytes)
        return missing

    def _short(self, sight: MemorySight, missing: int) -> list[MemoryVerdict]:
        if not sight.workers or sum(worker.size_bytes for worker in sight.workers) < missing:
            return []
        if (culprit := to_blame(sight.workers)) is not None:
            text = f"the event took {in_words(culprit.size_bytes)} of memory, when {self._shortage(sight)}"
            return [MemoryVerdict(culprit.number, FailureKind.OUT_OF_MEMORY, text)]
        largest_bytes = max(worker.size_bytes for worker in sight.workers)
        large = [worker for worker in sight.workers if worker.size_bytes >= LARGE * largest_bytes]
        youngest = max(large, key=lambda worker: worker.since)
        self.allowed = max(1, min(self.allowed, len(sight.workers)) - 1)
        text = (
            f"{len(sight.workers)} workers took {in_words(sight.payload_bytes)} of memory, this one "
            f"{in_words(youngest.size_bytes)}, when {self._shortage(sight)}"
        )
        return [MemoryVerdict(youngest.number, FailureKind.MEMORY_SHORT, text)]

    def _shortage(self, sight: MemorySight) -> str:
        limit = self._limits.node_memory_bytes
        if limit and sight.payload_bytes > limit:
            return f"payload.node_memory_bytes allows {in_words(limit)} on a node"
        return f"the node had {in_words(sight.available_bytes or 0)} left of {in_words(sight.node_bytes)}"

    def _grow(self, sight: MemorySight, now: float) -> None:
        if self.allowed >= self._cores or now - self._quiet_since < QUIET_S or now < self._settled_at:
            return
        wanted = WorkerMemory(-1, int(ROOM * self._largest_bytes), now)
        left = None if sight.available_bytes is None else sight.available_bytes - wanted.size_bytes
        if self._missing_bytes(replace(sight, workers=(*sight.workers, wanted), available_bytes=left)) <= 0:
            self.allowed += 1
            self._quiet_since = now


def to_blame(workers: Sequence[WorkerMemory]) -> WorkerMemory | None:
    """The worker to blame for a shortage: the only one, or one that takes far more than the others; None when there is none."""
    largest = max(workers, key=lambda worker: worker.size_bytes, default=None)
    if largest is None:
        return None
    others = [worker.size_bytes for worker in workers if worker is not largest]
    return largest if not others or largest.size_bytes > FAR_MORE * median(others) else None


def in_words(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
