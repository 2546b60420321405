"""What becomes of ranges that failed, or were lost with their node: charged, tried again, or given up.

How often each is tried, and after which pause, is in `retry`; what it says of nodes and of the whole job is in `budget`.
"""

from __future__ import annotations

import numpy as np

from raythena.domain.ids import RangeIndex
from raythena.domain.ranges import RangeState
from raythena.domain.records import AttemptFailed
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import events as ev
from raythena.engine.budget import Witness
from raythena.engine.fleet import Node
from raythena.engine.state import JobState

_OWN_FAULT = {FailureKind.REPORTED, FailureKind.CRASH, FailureKind.HANG, FailureKind.OUT_OF_MEMORY}
_NODES_FAULT = {FailureKind.SCRATCH_REFUSED, FailureKind.MEMORY_SHORT}
"""What an event may do to its payload wherever it is computed."""


def witness(node: Node) -> Witness:
    """A node, as the failure budget needs to know it."""
    return Witness(node.number, node.host, node.cores)


class Failures:
    """Attempts that failed and ranges that got lost."""

    def __init__(self, state: JobState) -> None:
        self._state = state
        self._table = state.table
        self._holders = state.holders
        self._retries = state.retries

    def reported(self, event: ev.AttemptReported, now: float) -> None:
        """A node says that an attempt failed. Only who holds a range can fail at it."""
        failure = event.failure
        index = failure.range_index
        node = self._state.fleet.get(failure.node)
        if node is None or not 0 <= index < len(self._table) or self._table.state[index] != RangeState.LEASED:
            return
        is_second = self._holders.duplicates.get(index) == node.number
        if self._table.node[index] != node.number and not is_second:
            return
        if failure.kind in _NODES_FAULT:
            self._not_its_fault(failure, now, is_second=is_second)
            return
        attempt = self.charge(index)
        self._note_culprit(failure, node, now)
        if is_second:
            self._holders.drop_duplicate(index)
            self.note(failure, attempt, final=False, now=now)
        elif self._holders.promote(index):
            self.note(failure, attempt, final=False, now=now)
        elif attempt >= self._state.config.max_attempts:
            self.give_up(failure, attempt, now)
        else:
            self.note(failure, attempt, final=False, now=now)
            self._holders.make_ready(np.asarray([index], dtype=np.int64), to_pool=False)
            self._retries.pause(index, attempt, node.number, now)

    def _not_its_fault(self, failure: RangeFailure, now: float, *, is_second: bool) -> None:
        """The node is to blame, by its own account: a loss, as if the node had vanished, not an attempt."""
        index = failure.range_index
        if self.charge_loss(index, failure, noted=True, now=now):
            return
        if is_second:
            self._holders.drop_duplicate(index)
        elif not self._holders.promote(index):
            self._holders.make_ready(np.asarray([index], dtype=np.int64))

    def _note_culprit(self, failure: RangeFailure, node: Node, now: float) -> None:
        """Put a failure on its node's account. A node suspected of failing everything is slowed down, and tries another file."""
        index, accused, budget = failure.range_index, witness(node), self._state.budget
        elsewhere = self._retries.failed_elsewhere(index, node.number)
        budget.attempt_failed(failure.kind, failure.message, accused, self._table.file_of(index), failed_elsewhere=elsewhere)
        if budget.is_suspected(accused, node.unreported):
            self._state.fleet.hold_off(node, now + self._state.config.retry_delay_s)
            self._state.pool.move_on(node.number)

    def charge(self, index: RangeIndex) -> int:
        """An attempt at a range is used up; how many are now."""
        self._retries.charge_attempt()
        return self._table.charge(index)

    def charge_loss(self, index: RangeIndex, lost: RangeFailure, *, noted: bool, now: float) -> bool:
        """The range was on a node that vanished, or whose disk refused.

        True when that was once too often: it is given up, whoever else computes it.

        `noted`: a later coordinator should know of it. Those that have been lost before are noted always, so that their losses
        add up however often the coordinator dies; not every range in a full queue, which would be many rows for nothing.
        """
        failure = RangeFailure(index, lost.kind, lost.message, lost.node)
        attempt = int(self._table.attempt[index])
        if self._retries.charge_loss(index):
            self._holders.tell_others(np.asarray([index], dtype=np.int64), self._state.fleet.get(lost.node))
            self.give_up(failure, attempt, now)
            return True
        if noted or self._retries.is_suspect(index):
            self.note(failure, attempt, final=False, now=now)
        return False

    def give_up(self, failure: RangeFailure, attempt: int, now: float) -> None:
        """A range is out of chances: it is failed as soon as the ledger knows."""
        fatal = self._is_fatal(failure)
        self._table.move(np.asarray([failure.range_index], dtype=np.int64), RangeState.FAILING)
        self._retries.settled(failure.range_index)
        if failure.kind is not FailureKind.UPSTREAM:  # that is no sign of trouble here
            self._state.budget.event_given_up(failure.kind, failure.message)
        self.note(failure, attempt, final=True, now=now, fatal=fatal)

    def _is_fatal(self, failure: RangeFailure) -> bool:
        """A range that is given up is to blame itself, and nobody else need try it: it made the payload fail, on different nodes,
        in a session in which more events succeeded than attempts failed, so that neither node nor release can be the reason."""
        node, budget = self._state.fleet.get(failure.node), self._state.budget
        elsewhere = node is not None and self._retries.failed_elsewhere(failure.range_index, node.number)
        return failure.kind in _OWN_FAULT and elsewhere and budget.succeeded > budget.failed_attempts

    def note(self, failure: RangeFailure, attempt: int, *, final: bool, now: float, fatal: bool = False) -> None:
        """Have the ledger remember an attempt that failed."""
        reason = (failure.kind, failure.message, final)
        at = now + self._state.wall_clock_offset
        self._state.journal.commit(AttemptFailed(failure.range_index, attempt, failure.node, *reason, at, fatal), now)

    def stored(self, record: AttemptFailed) -> None:
        """The ledger knows of a failed attempt."""
        if record.final:
            self._table.move(np.asarray([record.range_index], dtype=np.int64), RangeState.FAILED)
