"""Ranges that somebody else hands out: asked for in time, leased once they are durable, reported once they are settled.

This is the `Completion` of a job whose ranges are given. When to ask is decided in `supply`, how far each report has come is
known to `reports`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raythena.domain.given_ranges import GivenRanges
from raythena.domain.id_index import IdIndex
from raythena.domain.ids import OutputNumber
from raythena.domain.ranges import Indices, RangeState
from raythena.domain.records import AttemptFailed, RangesTaken, Restored
from raythena.domain.results import GroupReport
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.fleet import Node
from raythena.engine.leasing import Leasing
from raythena.engine.reports import ReportQueue
from raythena.engine.state import JobState
from raythena.engine.supply import Supply


class RangeSource:
    """The engine's side of the conversation with whoever hands ranges out and wants to know what became of them."""

    success = "every event is reported"

    def __init__(self, state: JobState, leasing: Leasing) -> None:
        self._state = state
        self._table = state.table
        self._leasing = leasing
        self._config = state.config.supply
        self.supply = Supply(self._config)
        self.reports = ReportQueue(self._config.max_unacknowledged)
        self._ids = IdIndex(state.table.range_id)
        self._n_durable = 0
        """Given ranges the ledger has."""

    # ---- asking

    @property
    def may_grow(self) -> bool:
        """See `Completion`."""
        return not self.supply.ended

    def interval(self, output: OutputNumber) -> tuple[int, int] | None:
        """See `Completion`: "outputs" are input files, whose ranges may lie anywhere."""
        return (0, len(self._table)) if 0 <= output < len(self._state.job.inputs) and len(self._table) else None

    def ask(self, now: float) -> None:
        """Ask for more ranges in time, so that no core waits for the answer."""
        state, supply = self._state, self.supply
        if supply.ended or supply.asked_at is not None:
            return
        if state.stopping is not None or state.stalled is not None:
            return
        ready = self._table.count(RangeState.READY) + self._table.count(RangeState.GIVEN)
        nodes = [node for node in state.fleet.up() if not node.aside]
        cores = sum(node.cores for node in nodes)
        count = supply.wanted(ready, cores, state.fleet.total_speed, self._beginnable(nodes, now))
        if count > 0:
            supply.asked(now)
            state.journal.do(do.RequestRanges(count))

    def _beginnable(self, nodes: list[Node], now: float) -> int | None:
        if self._state.deadline.at is None or not nodes:
            return None
        return sum(self._leasing.beginnable(node, now) or 0 for node in nodes)

    def given(self, event: ev.RangesGiven, now: float) -> None:
        """Ranges came; those that came before are left out, and whoever gave them is told how many are new."""
        self.supply.answered(now)
        chunk, hashes = event.chunk, event.chunk.id_hashes()
        known = self._ids.is_known(hashes, chunk.range_id)
        if known.any():
            chunk = chunk.take(np.flatnonzero(~known).astype(np.int64))
        if len(chunk):
            self._append(chunk)
            self._state.journal.commit(RangesTaken(chunk), now)
        self._state.journal.do(do.AcceptRanges(len(chunk)))
        self.ask(now)

    def _append(self, chunk: GivenRanges) -> None:
        self._ids.add(chunk.id_hashes())
        self._table.append(chunk)
        self._state.budget.job_grew(len(self._table))

    def taken(self, record: RangesTaken) -> None:
        """The next given ranges are durable: they may be leased."""
        start, self._n_durable = self._n_durable, self._n_durable + len(record.chunk)
        self._table.move(np.arange(start, self._n_durable, dtype=np.int64), RangeState.READY)
        self._state.pool.grow(self._n_durable)

    def ended(self, event: ev.RangesEnded, now: float) -> None:
        """There are no more ranges."""
        self.supply.end(now)

    # ---- reporting

    def acknowledged(self, event: ev.ReportsAcknowledged, now: float) -> None:
        """Reports were taken: the ledger is to know."""
        record = self.reports.acknowledged(event.numbers, now)
        if record is not None:
            self._state.journal.commit(record, now)
        self._publish(now)

    def acknowledgement_stored(self) -> None:
        """The ledger knows of the oldest acknowledgement."""
        self._table.move(self.reports.committed(), RangeState.MERGED)

    def stored(self, group: GroupReport) -> None:
        """A group is in the ledger: it is to be reported."""
        self.reports.finished(group)

    def failed(self, failures: Sequence[AttemptFailed]) -> None:
        """These are failed for good, and the ledger knows: they are to be reported."""
        self.reports.given_up(failures)

    def go_on(self, now: float) -> None:
        """Publish what is due, ask for what is needed."""
        self._publish(now)
        self.ask(now)

    def _publish(self, now: float) -> None:
        while (command := self.reports.next(now)) is not None:
            self._state.journal.do(command)

    # ---- waiting

    @property
    def n_in_work(self) -> int:
        """Given ranges that are neither finished nor given up."""
        done = (RangeState.STORED, RangeState.MERGED, RangeState.FAILED)
        return len(self._table) - sum(self._table.count(state) for state in done)

    @property
    def is_over(self) -> bool:
        """No more ranges come, none is in work, every report is taken."""
        return self.supply.ended and self.reports.is_empty and self.n_in_work == 0

    @property
    def has_open_ends(self) -> bool:
        """Reports have not been taken."""
        return not self.reports.is_empty

    def waits_in_vain(self, now: float) -> str:
        """Why nobody should wait any longer, with nothing left to do, for somebody who does not answer; empty: go on."""
        if self.n_in_work:
            return ""
        limit_s = self._config.report_patience_s
        if self.supply.is_overdue(now):
            return f"no event ranges came for {self._config.patience_s:.0f} s"
        if not self.reports.is_empty and now - self.reports.moved_at > limit_s:
            return f"nobody took a report for {limit_s:.0f} s"
        return ""

    # ---- starting from a ledger

    def restore_ranges(self, restored: Restored) -> None:
        """Ranges handed out to earlier coordinators."""
        for chunk in restored.given:
            self._append(chunk)
            self.taken(RangesTaken(chunk))

    def restore_failed(self, failed: Indices) -> None:
        """Ranges that earlier sessions gave up; what of them is to be reported comes with the groups."""

    def restore_groups(self, restored: Restored) -> None:
        """Stored groups that were reported are done with; the others, and failures, are to be reported."""
        for group in restored.groups:
            if group.name in restored.reported:
                self._table.move(group.entries["range"].astype(np.int64), RangeState.MERGED)
            else:
                self.reports.finished(group)
        self.reports.given_up(restored.unreported_failures)
