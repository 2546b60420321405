"""What memory has to do with the ends of ranges the pilot has, and how many workers the next pilot gets.

A worker of AthenaMP that takes too much is killed here, below the pilot. AthenaMP reports its range as failed, and the pilot that
report, neither of them knowing why: so the verdict is kept until the report comes, or the pilot ends.

Rule: a pilot cannot be told to use fewer workers than it was started with. When there may be fewer it gets no more ranges, does
what it has, and its successor is started with fewer.
"""

from __future__ import annotations

from collections.abc import Callable

from raythena.domain.results import FailureKind
from raythena.payloads.athena_memory import AthenaMemory, AthenaTree, RangeInWorker
from raythena.payloads.pilot.range_queue import RangeQueue
from raythena.payloads.pilot.running import RunningPilot
from raythena.runtime.node_memory import NodeMemory
from raythena.runtime.payload_interface import PayloadContext

_WORKER_DIED = "Failed to process event range"
"""What AthenaMP says of a range whose worker died."""


class PilotMemory:
    """Of one payload."""

    def __init__(self, context: PayloadContext, range_queue: RangeQueue, memory: NodeMemory | None = None) -> None:
        self._cores = context.cores
        self._range_queue = range_queue
        self._memory = AthenaMemory(context, memory)
        self._verdicts: dict[str, tuple[FailureKind, str]] = {}
        """By token, of ranges whose workers were killed here."""

    @property
    def cores(self) -> int:
        """Workers the next pilot may have."""
        return min(self._cores, self._memory.allowed)

    def start(self, pilot: Callable[[], RunningPilot | None]) -> None:
        """Begin to look at the pilot of the moment."""
        self._memory.start(lambda: self._tree(pilot()), lambda *verdict: self.condemn(pilot(), *verdict))

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        self._memory.stop()

    def came(self, pid: int) -> None:
        """A pilot was started."""
        self._memory.came(pid)
        self._verdicts.clear()

    def condemn(self, pilot: RunningPilot | None, token: str, kind: FailureKind, text: str) -> None:
        """Kill the worker that has a range; its failure is told when it is reported."""
        root = pilot.root_pid if pilot is not None else None
        if pilot is not None and root is not None and self._range_queue.is_out(token) and pilot.workers.kill(token, root):
            self._verdicts[token] = kind, text

    def explained(self, token: str, kind: FailureKind, text: str) -> tuple[FailureKind, str]:
        """A range has failed: as what, and why, if memory has to do with it; otherwise as was said."""
        if token in self._verdicts:
            known, reason = self._verdicts.pop(token)
            return known, f"{reason}; {text}"
        if _WORKER_DIED in text and (word := self._memory.kernels_word(token)):
            return FailureKind.OUT_OF_MEMORY, f"{word}; {text}"
        return kind, text

    def condemned(self, *, crashed: bool) -> set[str]:
        """The pilot is gone: ranges that are to be charged now, because their reports will not come.

        `crashed`: nothing else explains its end. Then it may be the kernel that killed, and one range that is to blame for that.
        """
        found = {token for token in self._verdicts if self._range_queue.is_out(token)}
        if crashed and not found:
            token, text = self._memory.blamed_for_the_end()
            if token and self._range_queue.is_out(token):
                self._verdicts[token] = FailureKind.OUT_OF_MEMORY, text
                found.add(token)
        return found

    def _tree(self, pilot: RunningPilot | None) -> AthenaTree | None:
        if pilot is None or (root := pilot.root_pid) is None or pilot.status is not None:
            return None
        out = self._range_queue.in_flight_ranges
        in_flight = {one.token: RangeInWorker(one.index, one.running_since or one.given_at) for one in out}
        return AthenaTree(root, pilot.workers, in_flight)
