"""What a failure costs: attempts, pauses, and the end of a range's chances.

Two accounts are kept apart. An *attempt* is charged when a range itself failed: it was reported failed, killed its
payload, hung, or gave a bad output. A *loss* is charged when the node vanished while the range was on a core: most
likely not the range's fault, so it has more chances, but an event that takes nodes down must end too. Either way only
that range pays; its neighbours are merged.

Which range took a node down is not known for certain: it may have begun after the node's last report. So everything the
node held is charged, and a range lost more than once is a *suspect*: a node gets one suspect at a time. The innocent ones
are soon computed elsewhere; the guilty one goes on alone to its limit.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from raythena.domain.ids import NodeNumber, RangeIndex
from raythena.engine.engine_config import EngineConfig

_MAX_DELAY_S = 60.0
_SUSPICIOUS = 2


class RetryLedger:
    """Losses, pauses and the node to avoid, for the few ranges that have failed at all."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._losses: dict[RangeIndex, int] = {}
        self._delayed: list[tuple[float, RangeIndex]] = []
        self._due_at: dict[RangeIndex, float] = {}
        self._avoid: dict[RangeIndex, NodeNumber] = {}
        self.attempts_failed = 0

    def charge_attempt(self) -> None:
        """An attempt at some range failed."""
        self.attempts_failed += 1

    def charge_loss(self, index: RangeIndex) -> bool:
        """The node vanished under the range. True when that was once too often."""
        losses = self._losses.get(index, 0) + 1
        self._losses[index] = losses
        return losses >= self._config.max_losses

    def restore_losses(self, index: RangeIndex, losses: int) -> None:
        """Take over what an earlier coordinator recorded. A range at its limit gets one more chance: it was not given up."""
        self._losses[index] = min(losses, self._config.max_losses - 1)

    def pause(self, index: RangeIndex, attempt: int, node: NodeNumber, now: float) -> None:
        """The range is to be tried again after a while, elsewhere if possible."""
        due_at = now + min(self._config.retry_delay_s * 2.0 ** (attempt - 1), _MAX_DELAY_S)
        self._due_at[index] = due_at
        heapq.heappush(self._delayed, (due_at, index))
        self._avoid[index] = node

    def due(self, now: float) -> list[RangeIndex]:
        """Ranges whose pause is over."""
        due: list[RangeIndex] = []
        while self._delayed and self._delayed[0][0] <= now:
            due_at, index = heapq.heappop(self._delayed)
            if self._due_at.get(index) == due_at:
                del self._due_at[index]
                due.append(index)
        return due

    def resume(self, indices: Iterable[RangeIndex]) -> None:
        """These ranges are with a node, or done: whatever pause they had is over."""
        if self._due_at:
            for index in indices:
                self._due_at.pop(index, None)

    @property
    def waiting(self) -> int:
        """Ranges pausing now."""
        return len(self._due_at)

    def is_pausing(self, index: RangeIndex) -> bool:
        """Whether the range's pause is not over."""
        return index in self._due_at

    def is_suspect(self, index: RangeIndex) -> bool:
        """Whether the range was lost with its node more than once."""
        return self._losses.get(index, 0) >= _SUSPICIOUS

    def failed_last_on(self, index: RangeIndex, node: NodeNumber) -> bool:
        """Whether this is the node to avoid."""
        return self._avoid.get(index) == node

    def failed_elsewhere(self, index: RangeIndex, node: NodeNumber) -> bool:
        """Whether the range's last failure was on another node."""
        return self._avoid.get(index, node) != node

    @property
    def any_on_record(self) -> bool:
        """Whether any range failed or was lost anywhere and is not settled."""
        return bool(self._avoid or self._losses)

    def settled(self, index: RangeIndex) -> None:
        """The range is done with, one way or the other."""
        self._losses.pop(index, None)
        self._avoid.pop(index, None)
        self._due_at.pop(index, None)
