"""What becomes of results in the end, and when the job is over: the one difference between the two kinds of jobs.

In a job that cuts its own ranges, stored groups are merged here (`MergedHere`). In a job whose ranges somebody else hands out,
they are reported to whoever did (`range_source.RangeSource`). The engine chooses one when it begins; no other part asks which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from raythena.domain.errors import InternalError
from raythena.domain.ids import OutputNumber
from raythena.domain.ranges import Indices, RangeState
from raythena.domain.records import AttemptFailed, RangesTaken, Restored
from raythena.domain.results import GroupReport
from raythena.engine import events as ev
from raythena.engine.state import JobState


class Completion(Protocol):
    """The way of a job's results from the ledger to whoever wants them."""

    success: str
    """What is said of a job in which everything succeeded."""

    @property
    def may_grow(self) -> bool:
        """More ranges may come."""

    def interval(self, output: OutputNumber) -> tuple[int, int] | None:
        """Ranges [start, stop) that may be in a group of this output, which comes from a node; None: there is no such output."""

    # ---- results

    def stored(self, group: GroupReport) -> None:
        """A group is in the ledger."""

    def failed(self, failures: Sequence[AttemptFailed]) -> None:
        """These ranges are failed for good, and the ledger knows."""

    def go_on(self, now: float) -> None:
        """Do what has become due."""

    # ---- ranges and reports, of jobs whose ranges are handed out

    def given(self, event: ev.RangesGiven, now: float) -> None:
        """Somebody hands ranges out. Raises InternalError in a job that cuts its own."""

    def taken(self, record: RangesTaken) -> None:
        """Ranges that were handed out are in the ledger."""

    def ended(self, event: ev.RangesEnded, now: float) -> None:
        """There are no more ranges."""

    def acknowledged(self, event: ev.ReportsAcknowledged, now: float) -> None:
        """Reports were taken."""

    def acknowledgement_stored(self) -> None:
        """The ledger knows of the oldest acknowledgement."""

    # ---- the end

    @property
    def is_over(self) -> bool:
        """Everything is where it should be, as far as the ledger knows."""

    @property
    def has_open_ends(self) -> bool:
        """Something is under way that is worth waiting for, although nothing more is begun."""

    def waits_in_vain(self, now: float) -> str:
        """Why nobody should wait any longer for somebody who does not answer; empty: go on."""

    # ---- starting from a ledger

    def restore_ranges(self, restored: Restored) -> None:
        """Ranges that earlier coordinators were given."""

    def restore_failed(self, failed: Indices) -> None:
        """Ranges that earlier sessions gave up."""

    def restore_groups(self, restored: Restored) -> None:
        """Groups that earlier coordinators stored."""


class MergedHere:
    """Of a job that cuts its own ranges: an output is merged when it is complete."""

    success = "every event is in an output"

    def __init__(self, state: JobState) -> None:
        self._table = state.table
        self._outputs = state.outputs
        self._planner = state.merges

    @property
    def may_grow(self) -> bool:
        """See `Completion`: inputs are still to come."""
        return self._table.count(RangeState.AWAITED) > 0

    def interval(self, output: OutputNumber) -> tuple[int, int] | None:
        """See `Completion`."""
        return self._outputs.interval(output) if 0 <= output < self._outputs.n_outputs else None

    def stored(self, group: GroupReport) -> None:
        """See `Completion`: its output waits for fewer."""
        self._planner.stored_in(group.output, group.name, len(group.entries))

    def failed(self, failures: Sequence[AttemptFailed]) -> None:
        """See `Completion`: their outputs wait for fewer."""
        for failure in failures:
            self._planner.given_up(self._outputs.output_of(failure.range_index))

    def go_on(self, now: float) -> None:
        """See `Completion`: merges are ordered by `Merges`."""

    def given(self, event: ev.RangesGiven, now: float) -> None:
        """See `Completion`."""
        raise InternalError("ranges were handed out in a job that cuts its own")

    def taken(self, record: RangesTaken) -> None:
        """See `Completion`: never happens."""

    def ended(self, event: ev.RangesEnded, now: float) -> None:
        """See `Completion`: nobody asked."""

    def acknowledged(self, event: ev.ReportsAcknowledged, now: float) -> None:
        """See `Completion`: nothing was reported."""

    def acknowledgement_stored(self) -> None:
        """See `Completion`: never happens."""

    @property
    def is_over(self) -> bool:
        """See `Completion`."""
        return self._planner.all_final

    @property
    def has_open_ends(self) -> bool:
        """See `Completion`."""
        return self._planner.pending

    def waits_in_vain(self, now: float) -> str:
        """See `Completion`: nobody else is waited for."""
        return ""

    def restore_ranges(self, restored: Restored) -> None:
        """See `Completion`: the table is whole from the start."""

    def restore_failed(self, failed: Indices) -> None:
        """See `Completion`."""
        for output, count in zip(*np.unique(self._outputs.outputs_of(failed), return_counts=True), strict=True):
            self._planner.restore_failed(OutputNumber(int(output)), int(count))

    def restore_groups(self, restored: Restored) -> None:
        """See `Completion`."""
        for group in restored.groups:
            if len(group.entries):
                self.stored(group)
        self._planner.settle_empty()
