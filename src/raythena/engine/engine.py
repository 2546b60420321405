"""The engine: events in, commands out, no I/O.

`Engine.step(event, now)` is the whole interface. It owns the state of every range and decides who computes what, what
is committed, what is merged, what is tried again, and when the job is over. It never waits, never reads a clock, never
touches a file: whoever drives it (the coordinator, a test, a simulation) carries the commands out and comes back with
what happened.

How a range lives. READY → LEASED to a node → ACCEPTED when the node reports a durable group that holds it → STORED once
the ledger has committed the group (only then is the node told that it may forget it) → MERGED once the ledger has
committed the merged output. Failures are charged (see `retry`); a range out of chances goes FAILING → FAILED the same
way, through the ledger.

Exactly once. A range is accepted from whoever reports it first, its present holder or not: leases say who *should*
compute, commits say who *did*. Everything reported later is refused, and a group of which nothing was accepted is
discarded.

Two kinds of jobs. Either the job cuts its own ranges, and what is stored is merged here; or somebody else hands the ranges out
while the job runs, and what is stored is reported to them: a range is MERGED when its report was taken. One object, the
`Completion`, makes all of that difference.

The parts, each to be read alone; one may use those above it, and all share the `state`:

    state          the job, every range, every node, how far the session has come
    holders        who leases which range, second holders included
    failures       attempts that failed, ranges that got lost
    awaited_inputs inputs that another task makes while this job runs
    leasing        which node gets how much of what
    completion     merged here, or ...
    range_source   ... asked for elsewhere, and reported there
    result_intake  groups accepted, committed, refused
    merges         merges from their order to the commit of their output
    tail           the last events of a job: recalls and duplicates
    membership     nodes that join, report, give ranges back, and vanish
    stopping       why and when the session ends

What follows is only who is told of which event. The rules that hold after every step are in `invariants`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from raythena.domain.core_time import Idle
from raythena.domain.errors import InternalError
from raythena.domain.ids import RangeIndex
from raythena.domain.job import Job
from raythena.domain.ranges import Indices, RangeState
from raythena.domain.records import (
    AttemptFailed,
    GroupStored,
    OutputMerged,
    RangesTaken,
    Record,
    ReportsTaken,
    Restored,
)
from raythena.domain.results import GroupReport
from raythena.domain.upstream import InputTaken
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.awaited_inputs import AwaitedInputs
from raythena.engine.completion import Completion, MergedHere
from raythena.engine.engine_config import EngineConfig
from raythena.engine.failures import Failures
from raythena.engine.journal import Journal
from raythena.engine.leasing import Leasing
from raythena.engine.membership import Membership
from raythena.engine.merges import Merges
from raythena.engine.range_source import RangeSource
from raythena.engine.result_intake import Results
from raythena.engine.state import JobState
from raythena.engine.stopping import Stopping
from raythena.engine.tail import Tail


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What engines are made of; tests put in parts that are wrong."""

    journal: Callable[[], Journal] = Journal
    failures: Callable[..., Failures] = Failures
    awaited_inputs: Callable[..., AwaitedInputs] = AwaitedInputs
    results: Callable[..., Results] = Results
    merges: Callable[..., Merges] = Merges
    leasing: Callable[..., Leasing] = Leasing
    membership: Callable[..., Membership] = Membership
    merged_here: Callable[..., MergedHere] = MergedHere
    range_source: Callable[..., RangeSource] = RangeSource
    stopping: Callable[..., Stopping] = Stopping


class Engine:
    """One job. `wall_clock_offset` is added to `now` where a record carries the time of day."""

    made_of: ClassVar[EngineParts] = EngineParts()

    def __init__(
        self, job: Job, restored: Restored | None = None, config: EngineConfig | None = None, wall_clock_offset: float = 0.0
    ) -> None:
        parts = self.made_of
        self.state = state = JobState(job, config or EngineConfig(), wall_clock_offset, parts.journal())
        self._failures = parts.failures(state)
        self._inputs = parts.awaited_inputs(state, self._failures)
        self._leasing = parts.leasing(state)
        self._completion: Completion = parts.range_source(state, self._leasing) if job.ranges_given else parts.merged_here(state)
        self._results = parts.results(state, self._completion)
        self._merges = parts.merges(state, self._results, self._failures)
        self._tail = Tail(state, self._completion)
        self._membership = parts.membership(state, self._failures, self._leasing, self._tail)
        self._stopping = parts.stopping(state, self._completion)
        self.resumed = 0
        """Ranges that earlier sessions finished."""
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            ev.NodeJoined: self._membership.joined,
            ev.NodeLost: self._membership.lost,
            ev.NodeReport: self._membership.reported,
            ev.RangesReturned: self._membership.returned,
            ev.GroupReported: self._results.reported,
            ev.AttemptReported: self._failures.reported,
            ev.Committed: self._committed,
            ev.StorageStalled: self._storage_stalled,
            ev.StorageRecovered: self._storage_recovered,
            ev.MergeSucceeded: self._merges.succeeded,
            ev.MergeFailed: self._merges.failed,
            ev.MergeStalled: self._merges.stalled,
            ev.RangesGiven: self._completion.given,
            ev.RangesEnded: self._completion.ended,
            ev.ReportsAcknowledged: self._completion.acknowledged,
            ev.InputMade: self._inputs.made,
            ev.InputWithheld: self._inputs.withheld,
            ev.UpstreamSeen: self._inputs.upstream_seen,
            ev.StopRequested: self._stopping.requested,
            ev.DeadlineSet: self._stopping.deadline_set,
            ev.Tick: self._tick,
        }
        self._share()
        if restored is not None:
            self._restore(restored)

    def _share(self) -> None:
        """What others may look at. It is the state's; nobody else changes it."""
        state = self.state
        self.job, self.config = state.job, state.config
        self.table, self.outputs, self.merges = state.table, state.outputs, state.merges
        self.fleet, self.pool, self.retries = state.fleet, state.pool, state.retries
        self.budget, self.deadline = state.budget, state.deadline
        self.completion = self._completion
        self.duplicates = state.holders.duplicates
        """Range → number of the second node computing it."""

    def step(self, event: ev.Event, now: float) -> list[do.Command]:
        """Take one event at time `now` (monotonic seconds); return what is to be done, in order.

        Nothing happens after `Finish`. Raises InternalError when one of our own rules is broken, with the last steps of the range
        that it is about.
        """
        if self.finished is not None:
            return []
        journal = self.state.journal
        journal.begin(event, now)
        try:
            self._handlers[type(event)](event, now)
            if isinstance(event, _MAY_END):
                self._stopping.look_for_end(now)
            self._stopping.look_at_budget(now)
        except InternalError as broken:
            journal.take_commands()  # they are part of the story
            if broken.range_index is None:
                raise
            story = journal.story(broken.range_index)
            raise InternalError(f"{broken}; its last steps:\n{story}", broken.range_index) from broken
        return journal.take_commands()

    @property
    def finished(self) -> do.Finish | None:
        """How the session ended; None: it goes on."""
        return self._stopping.finished

    @property
    def stopping(self) -> str | None:
        """Why nothing more is begun; None: work goes on."""
        return self.state.stopping

    @property
    def stalled(self) -> str | None:
        """Why the ledger takes nothing; None: it does."""
        return self.state.stalled

    @property
    def groups(self) -> dict[str, GroupReport]:
        """Groups whose record is on its way to the ledger, by name."""
        return self._results.waiting

    @property
    def stored_groups(self) -> set[str]:
        """Names of groups in the ledger whose output is not merged yet, or lacks events."""
        return self._results.stored

    @property
    def idle_means(self) -> Idle:
        """What a core waits for whose node has no range."""
        leased = self.table.count(RangeState.LEASED)
        if self.stopping is not None:
            return Idle.DRAINING if leased else Idle.MERGING
        if self.stalled is not None:
            return Idle.DISK
        if any(self.table.count(state) for state in (RangeState.READY, RangeState.GIVEN, RangeState.AWAITED)):
            return Idle.RANGES
        if self._completion.may_grow:
            return Idle.STEERING
        return Idle.TAIL if leased else Idle.MERGING

    @property
    def warnings(self) -> list[str]:
        """What people should know before it is too late, oldest first."""
        return self.state.budget.warnings

    # ---- the ledger

    def _committed(self, event: ev.Committed, now: float) -> None:
        journal = self.state.journal
        records = journal.close(event.tickets)
        for record in records:
            self._record_stored(record)
        took_s = journal.commit_took_s(event.tickets, now)
        if took_s is not None:
            self.state.deadline.commit_took(took_s)
        self._completion.failed([record for record in records if isinstance(record, AttemptFailed) and record.final])
        self._completion.go_on(now)
        self._results.release_refused()
        self._merges.start()

    def _record_stored(self, record: Record) -> None:
        match record:
            case GroupStored():
                self._results.committed(record.group)
            case AttemptFailed():
                self._failures.stored(record)
            case OutputMerged():
                self._merges.committed(record)
            case RangesTaken():
                self._completion.taken(record)
            case ReportsTaken():
                self._completion.acknowledgement_stored()
            case InputTaken():
                self._inputs.stored(record)

    def _storage_stalled(self, event: ev.StorageStalled, now: float) -> None:
        self.state.stall(event.reason)

    def _storage_recovered(self, event: ev.StorageRecovered, now: float) -> None:
        self.state.stall(None)

    # ---- time

    def _tick(self, event: ev.Tick, now: float) -> None:
        state = self.state
        due = state.retries.due(now)
        if due:
            state.pool.put_back(np.asarray(sorted(due), dtype=np.int64))
        state.fleet.note_presence(now)
        state.budget.look_at_nodes(now)
        self._stopping.look_at_deadline(now)
        if state.stopping is None and state.stalled is None:
            self._tail.look(now)
        self._completion.go_on(now)
        self._stopping.look_at_patience(now)
        if vain := self._inputs.waits_in_vain(now):
            self._stopping.wait_no_longer(vain, now)
        self._merges.start()

    # ---- starting from a ledger

    def _restore(self, restored: Restored) -> None:
        """Take over what the ledger remembers. Everything else is READY."""
        table = self.table
        self._completion.restore_ranges(restored)
        for file in restored.inputs:
            self._inputs.stored(file)
        for index, attempts in restored.attempts:
            table.restore_attempts(index, attempts)
        self._restore_failed(restored.failed)
        final = self._merges.restore(restored)
        self._results.stored.update(group.name for group in restored.groups if group.output in final)
        restored = replace(restored, groups=tuple(group for group in restored.groups if group.output not in final))
        for group in restored.groups:
            self._results.restore(group)
        self._completion.restore_groups(restored)
        for index, losses in restored.losses:
            if table.state[index] == RangeState.READY:
                self.retries.restore_losses(RangeIndex(index), losses)
        self.resumed = table.count(RangeState.STORED) + table.count(RangeState.MERGED)
        self.budget.restore(self.resumed)

    def _restore_failed(self, failed: Indices) -> None:
        if not len(failed):
            return
        for state in (RangeState.FAILING, RangeState.FAILED):
            self.table.move(failed, state)
        self._completion.restore_failed(failed)


_MAY_END = (ev.Committed, ev.MergeFailed, ev.RangesEnded, ev.StopRequested, ev.Tick)
"""Events after which everything may be done. What else happens is looked at with the next tick."""
