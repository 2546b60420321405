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

Given ranges. When somebody else hands the ranges out, the table grows while the job runs: more are asked for in time (see
`supply`), a chunk is leased once the ledger has it, and instead of being merged a committed group is reported (see `reports`). A
range is MERGED when its report was taken.

The rules that hold after every step are in `check` (see `raythena.engine.invariants`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raythena.domain.errors import InternalError
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.id_index import IdIndex
from raythena.domain.job import NO_MERGE, Job
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import NO_NODE, Indices, RangeState, RangeTable
from raythena.domain.records import (
    AttemptFailed,
    GroupStored,
    OutputMerged,
    RangesRetracted,
    RangesTaken,
    Record,
    ReportsTaken,
    Restored,
)
from raythena.domain.results import FailureKind, GroupReport, RangeFailure
from raythena.domain.taxonomy import EndCause
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.budget import FailureBudget, Witness
from raythena.engine.config import EngineConfig
from raythena.engine.deadline import Deadline, StopTimes
from raythena.engine.ending import EndMeter
from raythena.engine.fleet import Fleet, Node
from raythena.engine.merging import MergePlanner
from raythena.engine.pool import ReadyPool
from raythena.engine.reports import ReportQueue
from raythena.engine.retry import RetryLedger
from raythena.engine.supply import Supply
from raythena.engine.tail import RECALL_PATIENCE_S, plan_duplicates, plan_recalls

_SIFTINGS = 4
"""How often a lease is filled up when ranges had to be left for others."""

_SHORTEST_LEASE_S = 0.05
"""Leases shrink towards the end of a job, but not below this much work: a message costs time too."""
_FEW_PER_CORE = 4
"""A lost node that held no more than this has them all noted: any of them may have been on a core when it died."""
_NO_RANGES: Indices = np.empty(0, dtype=np.int64)
_OWN_FAULT = {FailureKind.REPORTED, FailureKind.CRASH, FailureKind.HANG}
"""What an event may do to its payload wherever it is computed."""


class Engine:
    """One job. `wall_clock_offset` is added to `now` where a record carries the time of day."""

    def __init__(
        self, job: Job, restored: Restored | None = None, config: EngineConfig | None = None, wall_clock_offset: float = 0.0
    ) -> None:
        self.job = job
        self.config = config or EngineConfig()
        self.table = RangeTable(job.inputs, given=job.ranges_given)
        self.supply = Supply(self.config.supply) if job.ranges_given else None
        self.reports = ReportQueue(self.config.supply.max_unacknowledged)
        """Only of given ranges."""
        self._ids = IdIndex(self.table.range_id)
        """Of given ranges."""
        self._n_durable = 0
        """Given ranges the ledger has."""
        events = [] if job.ranges_given else [file.n_events for file in job.inputs]
        self.outputs = OutputMap.plan(events, job.events_per_output)
        self.merges = MergePlanner(self.outputs, self.config, merges=job.merge.kind != NO_MERGE)
        self.retries = RetryLedger(self.config)
        self.budget = FailureBudget(self.config.budget, len(self.table))
        self.deadline = Deadline(self.config.deadline)
        self.fleet = Fleet(self.table)
        self.pool = ReadyPool(self.table)
        self.duplicates: dict[int, int] = {}
        """Range → number of the second node computing it."""
        self.groups: dict[str, GroupReport] = {}
        """Groups whose record is on its way to the ledger, by name."""
        self._refused: dict[str, tuple[int, str]] = {}
        """Groups nobody needs, by name: (ticket all earlier ones of which must be committed first, node)."""
        self.stored_groups: set[str] = set()
        """Names of groups in the ledger whose output is not merged yet."""
        self.stalled: str | None = None
        self.stopping: str | None = None
        self.stop_outcome = do.Outcome.STOPPED
        self._stop_cause = EndCause.NONE
        self.finished: do.Finish | None = None
        self.resumed = 0
        self._offset = wall_clock_offset
        self._commands: list[do.Command] = []
        self._next_ticket = 1
        self._tickets: dict[int, Record] = {}
        self._tail_looked_at = float("-inf")
        self._stop_times = StopTimes(0.0, 0.0)
        self._end_meter: EndMeter | None = None
        self._now = 0.0
        self._probe: tuple[int, float] | None = None
        """A ticket, and when it was given out."""
        self._without_node_since: float | None = None
        self._troubled: set[str] = set()
        """Places that were in trouble."""
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            ev.NodeJoined: self._node_joined,
            ev.NodeLost: self._node_lost,
            ev.NodeReport: self._node_report,
            ev.GroupReported: self._group_reported,
            ev.AttemptReported: self._attempt_reported,
            ev.RangesReturned: self._ranges_returned,
            ev.Committed: self._committed,
            ev.StorageStalled: self._storage_stalled,
            ev.StorageRecovered: self._storage_recovered,
            ev.MergeSucceeded: self._merge_succeeded,
            ev.MergeFailed: self._merge_failed,
            ev.MergeStalled: self._merge_stalled,
            ev.RangesGiven: self._ranges_given,
            ev.RangesEnded: self._ranges_ended,
            ev.ReportsAcknowledged: self._reports_acknowledged,
            ev.StopRequested: self._stop_requested,
            ev.DeadlineSet: self._deadline_set,
            ev.Tick: self._tick,
        }
        if restored is not None:
            self._restore(restored)

    def step(self, event: ev.Event, now: float) -> list[do.Command]:
        """Take one event at time `now` (monotonic seconds); return what is to be done, in order.

        Nothing happens after `Finish`. Raises InternalError when one of our own rules is broken.
        """
        if self.finished is not None:
            return []
        self._now = now
        self._handlers[type(event)](event, now)
        if self.budget.exceeded is not None and self.stopping is None and self.finished is None:
            times = StopTimes(now + self.config.drain_limit_s, now + self.config.abort_merge_limit_s)
            self._stop(self.budget.exceeded, do.Outcome.ABORTED, self.budget.exceeded_by, times, now)
        commands, self._commands = self._commands, []
        return commands

    @property
    def warnings(self) -> list[str]:
        """What people should know before it is too late, oldest first."""
        return self.budget.warnings

    # ---- starting from a ledger

    def _restore(self, restored: Restored) -> None:
        """Take over what the ledger remembers. Everything else is READY."""
        table = self.table
        self._restore_given(restored)
        for index, attempts in restored.attempts:
            table.attempt[index] = min(attempts, 255)
        if len(restored.failed):
            self._pass_through(restored.failed, RangeState.FAILING, RangeState.FAILED)
        if len(restored.failed) and self.supply is None:
            for output, count in zip(*np.unique(self.outputs.outputs_of(restored.failed), return_counts=True), strict=True):
                self.merges.open_ranges[output] -= count
        for merged in restored.merged:
            start, stop = self.outputs.interval(merged.output)
            indices = np.arange(start, stop, dtype=np.int64)
            kept = indices[table.state[start:stop] != RangeState.FAILED]
            self._pass_through(kept, RangeState.ACCEPTED, RangeState.STORED, RangeState.MERGED)
            self.merges.restore_merged(merged.output)
        for group in restored.groups:
            indices = group.entries["range"].astype(np.int64)
            self._pass_through(indices, RangeState.ACCEPTED, RangeState.STORED)
            self.stored_groups.add(group.name)
            if len(indices) and self.supply is None:
                self.merges.stored_in(group.output, group.name, len(indices))
        self._restore_reports(restored)
        self.merges.settle_empty()
        for index, losses in restored.losses:
            if table.state[index] == RangeState.READY:
                self.retries.restore_losses(index, losses)
        self.resumed = table.count(RangeState.STORED) + table.count(RangeState.MERGED)
        self.budget.succeeded = self.resumed

    def _restore_given(self, restored: Restored) -> None:
        for chunk in restored.given:
            self._append(chunk)
            self._ranges_taken(len(chunk))

    def _restore_reports(self, restored: Restored) -> None:
        for group in restored.groups if self.supply is not None else ():
            if group.name in restored.reported:
                self.table.move(group.entries["range"].astype(np.int64), RangeState.MERGED)
            else:
                self.reports.finished(group)
        if self.supply is not None:
            self.reports.given_up(restored.unreported_failures)

    def _pass_through(self, indices: Indices, *states: RangeState) -> None:
        for state in states:
            self.table.move(indices, state)

    # ---- nodes

    def _node_joined(self, event: ev.NodeJoined, now: float) -> None:
        known = self.fleet.get(event.node)
        expected = self.fleet.held(known) if known is not None and known.up else _NO_RANGES
        node = self.fleet.join(event.node, event.cores, now)
        node.draining = False
        self.budget.node_up(node.place, node.name)
        held = np.unique(event.held[(event.held >= 0) & (event.held < len(self.table))])
        states = self.table.state[held]
        adopted = held[states == RangeState.READY]
        self.table.move(adopted, RangeState.LEASED, node.number)
        self.retries.resume(adopted.tolist())
        kept = held[(states == RangeState.LEASED) & (self.table.node[held] == node.number)]
        node.leases, node.listed = [], 0
        self.fleet.lend(node, np.union1d(adopted, kept))
        self._make_ready(self._promote_duplicates(np.setdiff1d(expected, held, assume_unique=True)))
        settled = np.setdiff1d(held, np.union1d(adopted, kept), assume_unique=True)
        duplicates = [index for index in settled.tolist() if self.duplicates.get(index) == node.number]
        for index in node.duplicates.difference(duplicates):
            self.duplicates.pop(index, None)
        node.duplicates = set(duplicates)
        self._revoke(node, np.setdiff1d(settled, np.asarray(duplicates, dtype=np.int64), assume_unique=True))
        if node.place in self.budget.aside:
            self._set_aside(node)
        self._note_presence(now)

    def _note_presence(self, now: float) -> None:
        """Since when there has been nobody to do the work."""
        if self.fleet.n_usable > 0:
            self._without_node_since = None
        elif self._without_node_since is None:
            self._without_node_since = now

    def _node_lost(self, event: ev.NodeLost, now: float) -> None:
        node = self.fleet.get(event.node)
        if node is None or not node.up:
            return
        held = self.fleet.held(node)
        duplicates = list(node.duplicates)
        few = len(held) + len(duplicates) <= _FEW_PER_CORE * node.cores
        noted = {*held.tolist(), *duplicates} if few else {index for index, _ in node.running}
        node.duplicates.clear()
        self.pool.forget(node.number)
        self.fleet.leave(node)
        self.budget.node_down(node.place, node.name, now)
        self._note_presence(now)
        lost = RangeFailure(-1, FailureKind.NODE_LOST, event.reason, event.node)
        for index in duplicates:
            self.duplicates.pop(index, None)
        survivors = [
            index for index in [*held.tolist(), *duplicates] if not self._charge_loss(index, lost, noted=index in noted, now=now)
        ]
        mine = np.intersect1d(held, np.asarray(survivors, dtype=np.int64), assume_unique=True)
        self._make_ready(self._promote_duplicates(mine))

    def _promote_duplicates(self, held: Indices) -> Indices:
        """Let second holders become first ones; returns the ranges that have none."""
        if not self.duplicates:
            return held
        orphans = []
        for index in held.tolist():
            if not self._promote_duplicate(index):
                orphans.append(index)
        return np.asarray(orphans, dtype=np.int64)

    def _promote_duplicate(self, index: int) -> bool:
        second = self.duplicates.pop(index, None)
        if second is None:
            return False
        node = self.fleet.number(second)
        node.duplicates.discard(index)
        one = np.asarray([index], dtype=np.int64)
        self._make_ready(one, to_pool=False)
        self.table.move(one, RangeState.LEASED, node.number)
        self.fleet.lend(node, one)
        return True

    def _make_ready(self, indices: Indices, *, to_pool: bool = True) -> None:
        if len(indices):
            self.table.move(indices, RangeState.READY)
            if to_pool:
                self.pool.put_back(indices)

    def _node_report(self, event: ev.NodeReport, now: float) -> None:
        node = self.fleet.get(event.node)
        if node is None or not node.up:
            return
        node.queued, node.running, node.waiting = event.queued, event.running, event.waiting
        node.unreported, node.reported_at = event.unreported, now
        if event.trouble != node.trouble:
            self._note_trouble(node, event.trouble)
        if event.computed > 0:
            self.fleet.learn(node, event.computed, event.computed_s)
        if node.has_nothing:
            self._reclaim(node)
        if self.budget.failed_attempts:
            self._judge(node, now)
        if self.stopping is not None or node.aside:
            self._drain(node)
        elif self.stalled is None and not node.trouble and now >= node.held_until:
            self._lease(node, now)
            self._look_at_tail(now)
            self._recall_late(node, now)

    def _note_trouble(self, node: Node, trouble: str) -> None:
        """A node can take no work, or can again. People are told of its first trouble; its state shows the others."""
        self.fleet.set_trouble(node, trouble)
        if trouble and node.place not in self._troubled:
            self._troubled.add(node.place)
            self.warnings.append(f"node {node.place} takes no work: {trouble}")

    def _judge(self, node: Node, now: float) -> None:
        """Whether failures have an explanation beyond single events: a broken release, a bad node."""
        budget = self.budget
        if budget.has_unjudged:
            budget.judge_repetition(self.fleet.n_usable, sum(other.unreported for other in self.fleet.up()))
        if budget.is_shaky(node.number) and self.fleet.n_usable > 1:
            witness = _witness(node)
            if budget.is_suspected(witness, node.unreported) and budget.is_bad(witness):
                budget.set_aside(witness)
                self._set_aside(node)
                self._note_presence(now)

    def _set_aside(self, node: Node) -> None:
        self.fleet.set_aside(node)
        self.pool.forget(node.number)
        self._drain(node)

    def _reclaim(self, node: Node) -> None:
        """A node that says it has nothing has nothing: leases that got lost on their way to it are given to others."""
        if node.listed:
            self._make_ready(self._promote_duplicates(self.fleet.held(node)))
            node.leases, node.listed = [], 0

    # ---- leases

    def _lease(self, node: Node, now: float) -> None:
        ready = self.table.count(RangeState.READY) - self.retries.waiting
        if ready <= 0:
            return
        count = self._lease_size(node, ready, now)
        if count <= 0:
            return
        ranges = self.pool.take(node.number, count)
        if self.retries.any_on_record:
            ranges = self._suitable(node, ranges)
        if len(ranges):
            self.table.move(ranges, RangeState.LEASED, node.number)
            self.fleet.lend(node, ranges)
            node.queued += len(ranges)
            self.deadline.leased(now)
            self._do(do.Lease(node.name, ranges))

    def _recall_late(self, node: Node, now: float) -> None:
        """Ask back what a node will not begin in time; another one might, or the next session."""
        beginnable = self._beginnable(node, now)
        asked = node.recalling > 0 and now - node.recalled_at < RECALL_PATIENCE_S
        if beginnable is not None and node.queued > beginnable and not asked:
            node.recalling, node.recalled_at = node.queued - beginnable, now
            self._do(do.Recall(node.name, node.recalling))

    def _beginnable(self, node: Node, now: float) -> int | None:
        """How many events the node can begin before the end of the allocation is too near; None: any number."""
        if self.deadline.at is None:
            return None
        mean_s = node.mean_event_s or self.fleet.mean_event_s or 0.0
        return self.deadline.beginnable(now, node.cores, mean_s, self.fleet.slowness(node))

    def _lease_size(self, node: Node, ready: int, now: float) -> int:
        """Enough for `buffer_s` of computing, no more than a fair share of what is left, never fewer than the idle cores, never
        what cannot be finished."""
        config = self.config
        in_hand = node.queued + len(node.running)
        mean_s = node.mean_event_s or self.fleet.mean_event_s
        if mean_s is None:
            target = node.cores * config.first_lease_per_core
        else:
            target = node.cores + int(node.cores * config.buffer_s / mean_s)
        wanted = min(target - in_hand, config.max_lease)
        if self.fleet.total_speed > 0.0 and node.speed > 0.0:
            share = node.speed / self.fleet.total_speed
            worth_a_message = int(node.speed * _SHORTEST_LEASE_S)
            wanted = min(wanted, max(1, worth_a_message, int(0.5 * ready * share)))
        beginnable = self._beginnable(node, now)
        late = len(self.table) if beginnable is None else max(beginnable - node.queued, 0)
        return min(max(wanted, node.idle_cores), ready, late)

    def _suitable(self, node: Node, ranges: Indices) -> Indices:
        """Without ranges that pause, suspects (but for one), and ranges that failed on this very node while another node is idle.

        Others are taken instead, within reason.
        """
        wanted = len(ranges)
        sifted = _Sifted()
        for _ in range(_SIFTINGS):
            self._sift(node, ranges, sifted)
            if len(sifted.kept) == wanted or len(ranges) == 0:
                break
            ranges = self.pool.take(node.number, wanted - len(sifted.kept))
        else:
            sifted.for_others.extend(ranges.tolist())
        if not sifted.kept:  # nothing better is to be had, and others may be as badly off
            sifted.kept, sifted.failed_here = sifted.failed_here[:wanted], sifted.failed_here[wanted:]
        self.pool.put_back(np.asarray(sifted.for_others + sifted.failed_here, dtype=np.int64))
        return np.asarray(sifted.kept, dtype=np.int64)

    def _sift(self, node: Node, ranges: Indices, sifted: _Sifted) -> None:
        """Sort ranges for the node from ranges for other nodes. What pauses is in neither: it is put back when it is due."""
        others_are_idle = self._others_are_idle(node)
        is_shaky = self.budget.is_shaky(node.number) and self.fleet.n_usable > 1
        for index in ranges.tolist():
            if self.retries.is_pausing(index):
                continue
            if self.retries.is_suspect(index):
                suspect = node.suspect
                if suspect is not None and suspect != index and (suspect in sifted.kept or self._is_held(suspect, node)):
                    sifted.for_others.append(index)
                    continue
                node.suspect = index
            elif (others_are_idle or is_shaky) and self.retries.failed_last_on(index, node.number):
                (sifted.for_others if others_are_idle else sifted.failed_here).append(index)
                continue
            sifted.kept.append(index)

    def _others_are_idle(self, node: Node) -> bool:
        """Whether another node will ask for work at once; if not, a range is better tried again here."""
        return any(other.idle_cores > 0 for other in self.fleet.up() if other is not node)

    def _ranges_returned(self, event: ev.RangesReturned, now: float) -> None:
        node = self.fleet.get(event.node)
        if node is None:
            return
        node.recalling = 0
        ranges = np.unique(event.ranges[(event.ranges >= 0) & (event.ranges < len(self.table))])
        mine = ranges[(self.table.state[ranges] == RangeState.LEASED) & (self.table.node[ranges] == node.number)]
        self._make_ready(self._promote_duplicates(mine))
        for index in node.duplicates.intersection(ranges.tolist()):
            self._drop_duplicate(index)
        node.barren_at = now if len(ranges) == 0 else float("-inf")

    def _drop_duplicate(self, index: int) -> None:
        second = self.duplicates.pop(index, None)
        if second is not None:
            self.fleet.number(second).duplicates.discard(index)

    # ---- the end of the job

    def _look_at_tail(self, now: float) -> None:
        if self.supply is not None and not self.supply.ended:
            return
        if now - self._tail_looked_at < self.config.tail_interval_s or self.table.count(RangeState.LEASED) == 0:
            return
        if self.table.count(RangeState.READY) > self.retries.waiting:
            return
        self._tail_looked_at = now
        up = self.fleet.up()
        wanted = sum(node.idle_cores for node in up)
        for node in up:
            if node.unreported or node.queued:
                self._do(do.Flush(node.name))
        if wanted == 0:
            return
        recalls = plan_recalls(up, wanted, now)
        for recall in recalls:
            recall.node.recalling, recall.node.recalled_at = recall.count, now
            self._do(do.Recall(recall.node.name, recall.count))
        if not recalls:
            self._duplicate_stragglers(up, now)

    def _duplicate_stragglers(self, up: list[Node], now: float) -> None:
        for plan in plan_duplicates(up, self.duplicates.keys(), self.fleet.mean_event_s, self.config, now):
            in_time = self.deadline.may_begin(now, self.fleet.slowness(plan.node))
            if in_time and self._may_be_duplicated(plan.index, plan.holder):
                self._duplicate(plan.index, plan.node)

    def _may_be_duplicated(self, index: int, holder: Node) -> bool:
        """Every copy may fail, or kill its node: together they must stay within what is left to the range."""
        if not self._is_held(index, holder) or self.retries.is_suspect(index):
            return False
        return int(self.table.attempt[index]) + 2 <= self.config.max_attempts

    def _duplicate(self, index: int, node: Node) -> None:
        self.duplicates[index] = node.number
        node.duplicates.add(index)
        node.queued += 1
        self._do(do.Lease(node.name, np.asarray([index], dtype=np.int64)))

    def _is_held(self, index: int, node: Node) -> bool:
        table = self.table
        return 0 <= index < len(table) and table.state[index] == RangeState.LEASED and int(table.node[index]) == node.number

    # ---- results

    def _group_reported(self, event: ev.GroupReported, now: float) -> None:
        group = event.group
        if group.name in self.stored_groups:
            self._do(do.Acknowledge(group.node, group.name))
            return
        if group.name in self.groups or group.name in self._refused:
            return
        accepted = self._acceptable(group)
        if len(accepted) == 0:
            self._refused[group.name] = (self._next_ticket, group.node)
            self._release_refused()
            return
        entries = group.entries[accepted]  # a copy: what arrived may be shared and read-only
        indices = entries["range"].astype(np.int64)
        entries["attempt"] = np.minimum(self.table.attempt[indices].astype(np.int64) + 1, 255)
        group = replace(group, entries=entries)
        node = self.fleet.get(group.node)
        self._tell_other_holders(indices, node)
        self.table.move(indices, RangeState.ACCEPTED)
        if self.retries.any_on_record:
            for index in indices.tolist():
                self.retries.settled(index)
        if node is not None:
            _credit(node, group)
            self.deadline.group_took(now + self._offset - node.last_end)
        self.deadline.times.add(entries["wall_s"].copy())
        if self._end_meter is not None:
            self._end_meter.finished(entries)
        number = NO_NODE if node is None else node.number
        self.budget.attempts_succeeded(number, len(indices), self.table.file_of(int(indices[0])))
        self.groups[group.name] = group
        self._commit(GroupStored(group))

    def _release_refused(self) -> None:
        """Acknowledge refused groups once what made them superfluous is in the ledger; the ledger commits in order."""
        oldest = next(iter(self._tickets), self._next_ticket)
        for name, (ticket, node) in list(self._refused.items()):
            if ticket > oldest:
                break
            del self._refused[name]
            self._do(do.Acknowledge(node, name))
            self._do(do.DiscardGroups((name,)))

    def _acceptable(self, group: GroupReport) -> Indices:
        """Positions in `group.entries` of ranges that belong to the group's output and are not settled yet."""
        n_outputs = self.outputs.n_outputs if self.supply is None else len(self.job.inputs)
        if not 0 <= group.output < n_outputs or not len(self.table):
            return _NO_RANGES
        indices = group.entries["range"].astype(np.int64)
        start, stop = self.outputs.interval(group.output) if self.supply is None else (0, len(self.table))
        inside = (indices >= start) & (indices < stop)
        if not inside.all():
            indices = np.where(inside, indices, start)
        states = self.table.state[indices]
        good = inside & ((states == RangeState.LEASED) | (states == RangeState.READY))
        positions = np.flatnonzero(good)
        if len(positions) > 1 and not (np.diff(indices[positions]) > 0).all():
            _, first = np.unique(indices[positions], return_index=True)
            positions = np.sort(positions[first])
        return positions

    def _tell_other_holders(self, indices: Indices, reporter: Node | None) -> None:
        """Tell whoever else holds these ranges that it is too late."""
        number = NO_NODE if reporter is None else reporter.number
        holders = self.table.node[indices]
        others = (holders != number) & (holders != NO_NODE)
        if others.any():
            for holder in np.unique(holders[others]).tolist():
                self._revoke(self.fleet.number(holder), indices[holders == holder])
        for index in self.duplicates.keys() & set(indices.tolist()) if self.duplicates else ():
            second = self.fleet.number(self.duplicates[index])
            self._drop_duplicate(index)
            if second is not reporter:
                self._revoke(second, np.asarray([index], dtype=np.int64))

    def _revoke(self, node: Node, ranges: Indices) -> None:
        if len(ranges):
            self._do(do.Revoke(node.name, ranges))

    # ---- failures

    def _attempt_reported(self, event: ev.AttemptReported, now: float) -> None:
        failure = event.failure
        index = failure.range_index
        node = self.fleet.get(failure.node)
        if node is None or not 0 <= index < len(self.table) or self.table.state[index] != RangeState.LEASED:
            return
        is_second = self.duplicates.get(index) == node.number
        if self.table.node[index] != node.number and not is_second:
            return
        if failure.kind is FailureKind.SCRATCH_REFUSED:
            self._scratch_refused(failure, now, is_second=is_second)
            return
        attempt = self._charge(index)
        self._note_culprit(failure, node, now)
        if is_second:
            self._drop_duplicate(index)
            self._note_failure(failure, attempt, final=False, now=now)
        elif self._promote_duplicate(index):
            self._note_failure(failure, attempt, final=False, now=now)
        elif attempt >= self.config.max_attempts:
            self._give_up(failure, attempt, now)
        else:
            self._note_failure(failure, attempt, final=False, now=now)
            self._make_ready(np.asarray([index], dtype=np.int64), to_pool=False)
            self.retries.pause(index, attempt, node.number, now)

    def _scratch_refused(self, failure: RangeFailure, now: float, *, is_second: bool) -> None:
        """The node's disk is to blame, by the node's own account: a loss, as if the node had vanished, not an attempt."""
        index = failure.range_index
        if self._charge_loss(index, failure, noted=True, now=now):
            return
        if is_second:
            self._drop_duplicate(index)
        elif not self._promote_duplicate(index):
            self._make_ready(np.asarray([index], dtype=np.int64))

    def _note_culprit(self, failure: RangeFailure, node: Node, now: float) -> None:
        """Put a failure on its node's account. A node suspected of failing everything is slowed down, and tries another file."""
        index, witness = failure.range_index, _witness(node)
        elsewhere = self.retries.failed_elsewhere(index, node.number)
        self.budget.attempt_failed(failure.kind, failure.message, witness, self.table.file_of(index), failed_elsewhere=elsewhere)
        if self.budget.is_suspected(witness, node.unreported):
            node.held_until = now + self.config.retry_delay_s
            self.pool.move_on(node.number)

    def _charge(self, index: int) -> int:
        attempt = min(int(self.table.attempt[index]) + 1, 255)
        self.table.attempt[index] = attempt
        self.retries.attempts_failed += 1
        return attempt

    def _charge_loss(self, index: int, lost: RangeFailure, *, noted: bool, now: float) -> bool:
        """The range was on a node that vanished, or whose disk refused.

        True when that was once too often: it is given up, whoever else computes it.

        `noted`: a later coordinator should know of it. Those that have been lost before are noted always, so that their losses
        add up however often the coordinator dies; not every range in a full queue, which would be many rows for nothing.
        """
        failure = RangeFailure(index, lost.kind, lost.message, lost.node)
        attempt = int(self.table.attempt[index])
        if self.retries.charge_loss(index):
            self._tell_other_holders(np.asarray([index], dtype=np.int64), self.fleet.get(lost.node))
            self._give_up(failure, attempt, now)
            return True
        if noted or self.retries.is_suspect(index):
            self._note_failure(failure, attempt, final=False, now=now)
        return False

    def _give_up(self, failure: RangeFailure, attempt: int, now: float) -> None:
        fatal = self._is_fatal(failure)
        self.table.move(np.asarray([failure.range_index], dtype=np.int64), RangeState.FAILING)
        self.retries.settled(failure.range_index)
        self.budget.event_given_up(failure.kind, failure.message)
        self._note_failure(failure, attempt, final=True, now=now, fatal=fatal)

    def _is_fatal(self, failure: RangeFailure) -> bool:
        """A range that is given up is to blame itself, and nobody else need try it: it made the payload fail, on different nodes,
        in a session in which more events succeeded than attempts failed, so that neither node nor release can be the reason."""
        node = self.fleet.get(failure.node)
        elsewhere = node is not None and self.retries.failed_elsewhere(failure.range_index, node.number)
        return failure.kind in _OWN_FAULT and elsewhere and self.budget.succeeded > self.budget.failed_attempts

    def _note_failure(self, failure: RangeFailure, attempt: int, *, final: bool, now: float, fatal: bool = False) -> None:
        reason = (failure.kind, failure.message, final)
        self._commit(AttemptFailed(failure.range_index, attempt, failure.node, *reason, now + self._offset, fatal))

    # ---- the ledger

    def _commit(self, record: Record) -> None:
        ticket = self._next_ticket
        self._next_ticket += 1
        self._tickets[ticket] = record
        if self._probe is None:
            self._probe = (ticket, self._now)
        self._do(do.Commit(ticket, record))

    def _committed(self, event: ev.Committed, now: float) -> None:
        given_up: list[AttemptFailed] = []
        for ticket in event.tickets:
            record = self._tickets.pop(ticket, None)
            if record is None:
                raise InternalError(f"the ledger committed ticket {ticket}, which was not asked for")
            self._record_stored(record)
            if isinstance(record, AttemptFailed) and record.final:
                given_up.append(record)
        if self._probe is not None and self._probe[0] in event.tickets:
            self.deadline.commit_took(now - self._probe[1])
            self._probe = None
        if self.supply is not None:
            self.reports.given_up(given_up)
            self._publish(now)
            self._ask(now)
        self._release_refused()
        self._start_merges()
        self._look_for_end(now)

    def _record_stored(self, record: Record) -> None:
        match record:
            case GroupStored():
                self._group_stored(record.group)
            case AttemptFailed():
                self._failure_stored(record)
            case OutputMerged():
                self._merge_stored(record)
            case RangesTaken():
                self._ranges_taken(len(record.chunk))
            case ReportsTaken():
                self.table.move(self.reports.committed(), RangeState.MERGED)

    def _group_stored(self, group: GroupReport) -> None:
        del self.groups[group.name]
        self.stored_groups.add(group.name)
        self.table.move(group.entries["range"].astype(np.int64), RangeState.STORED)
        if self.supply is None:
            self.merges.stored_in(group.output, group.name, len(group.entries))
        else:
            self.reports.finished(group)
        self._do(do.Acknowledge(group.node, group.name))

    def _failure_stored(self, record: AttemptFailed) -> None:
        if record.final:
            self.table.move(np.asarray([record.range_index], dtype=np.int64), RangeState.FAILED)
            if self.supply is None:
                self.merges.given_up(self.outputs.output_of(record.range_index))

    def _merge_stored(self, record: OutputMerged) -> None:
        start, stop = self.outputs.interval(record.merged.output)
        stored = np.flatnonzero(self.table.state[start:stop] == RangeState.STORED) + start
        self.table.move(stored, RangeState.MERGED)
        groups = self.merges.committed(record.merged.output)
        self.stored_groups.difference_update(groups)
        self._do(do.DiscardGroups(groups))

    def _storage_stalled(self, event: ev.StorageStalled, now: float) -> None:
        self.stalled = event.reason

    def _storage_recovered(self, event: ev.StorageRecovered, now: float) -> None:
        self.stalled = None

    # ---- merges

    def _start_merges(self) -> None:
        while (planned := self.merges.next_merge()) is not None:
            merge, output, attempt = planned
            start, stop = self.outputs.interval(output)
            missing = np.flatnonzero(self.table.state[start:stop] == RangeState.FAILED) + start
            delay_s = self.config.merge_retry_delay_s * (attempt - 1)
            self._do(
                do.StartMerge(
                    merge,
                    output,
                    self.merges.groups_of(output),
                    stop - start - len(missing),
                    tuple(missing.tolist()),
                    delay_s,
                    attempt,
                )
            )

    def _merge_succeeded(self, event: ev.MergeSucceeded, now: float) -> None:
        if event.merge in self.merges.running:
            output = self.merges.succeeded(event.merge)
            self.deadline.merge_took(event.merged.wall_s)
            self._commit(OutputMerged(event.merged, self.merges.groups_of(output)))
            self._start_merges()

    def _merge_failed(self, event: ev.MergeFailed, now: float) -> None:
        if event.merge not in self.merges.running:
            return
        output = self.merges.running[event.merge].output
        lost = self._stored_in(output, event.bad)
        if lost:
            self.merges.abandoned(event.merge, sum(len(ranges) for ranges in lost.values()))
            for group, ranges in lost.items():
                self._retract(group, ranges, event.message, now)
        else:
            self.merges.failed(event.merge, event.message)
        self._start_merges()
        self._look_for_end(now)

    def _merge_stalled(self, event: ev.MergeStalled, now: float) -> None:
        if event.merge in self.merges.running:
            if not self.merges.stalled:
                self.warnings.append(f"merging waits for the disk: {event.reason}")
            self.merges.stalled[event.merge] = event.reason

    def _stored_in(self, output: int, bad: tuple[tuple[str, tuple[int, ...]], ...]) -> dict[str, list[int]]:
        """What of an accusation can be true: groups the output is made from, stored ranges of it, each once."""
        start, stop = self.outputs.interval(output)
        known = set(self.merges.groups_of(output))
        seen: set[int] = set()
        lost: dict[str, list[int]] = {}
        for group, ranges in bad:
            for index in sorted(set(ranges).difference(seen)) if group in known else ():
                if start <= index < stop and self.table.state[index] == RangeState.STORED:
                    lost.setdefault(group, []).append(index)
                    seen.add(index)
        return lost

    def _retract(self, group: str, ranges: list[int], message: str, now: float) -> None:
        """Stored outputs are lost: compute their ranges again, at the cost of an attempt each."""
        self._commit(RangesRetracted(group, tuple(ranges)))
        for index in ranges:
            failure = RangeFailure(index, FailureKind.STORED_OUTPUT_LOST, message)
            attempt = self._charge(index)
            if attempt >= self.config.max_attempts:
                self._give_up(failure, attempt, now)
            else:
                self._note_failure(failure, attempt, final=False, now=now)
                self._make_ready(np.asarray([index], dtype=np.int64))

    # ---- ranges handed out by somebody else

    def _ask(self, now: float) -> None:
        """Ask for more ranges in time, so that no core waits for the answer."""
        supply = self.supply
        if supply is None or supply.ended or supply.asked_at is not None or self.stopping is not None or self.stalled is not None:
            return
        ready = self.table.count(RangeState.READY) + self.table.count(RangeState.GIVEN)
        nodes = [node for node in self.fleet.up() if not node.aside]
        count = supply.wanted(
            ready, sum(node.cores for node in nodes), self.fleet.total_speed, self._beginnable_in_all(nodes, now)
        )
        if count > 0:
            supply.asked(now)
            self._do(do.RequestRanges(count))

    def _beginnable_in_all(self, nodes: list[Node], now: float) -> int | None:
        if self.deadline.at is None or not nodes:
            return None
        return sum(self._beginnable(node, now) or 0 for node in nodes)

    def _ranges_given(self, event: ev.RangesGiven, now: float) -> None:
        if self.supply is None:
            raise InternalError("ranges were handed out in a job that cuts its own")
        self.supply.answered(now)
        chunk, hashes = event.chunk, event.chunk.id_hashes()
        known = self._ids.is_known(hashes, chunk.range_id)
        if known.any():
            chunk = chunk.take(np.flatnonzero(~known).astype(np.int64))
        if len(chunk):
            self._append(chunk)
            self._commit(RangesTaken(chunk))
        self._ask(now)

    def _append(self, chunk: GivenRanges) -> None:
        self._ids.add(chunk.id_hashes())
        self.table.append(chunk)
        self.budget.n_events = len(self.table)

    def _ranges_taken(self, count: int) -> None:
        """The next `count` given ranges are durable: they may be leased."""
        start, self._n_durable = self._n_durable, self._n_durable + count
        self.table.move(np.arange(start, self._n_durable, dtype=np.int64), RangeState.READY)
        self.pool.grow(self._n_durable)

    def _ranges_ended(self, event: ev.RangesEnded, now: float) -> None:
        if self.supply is not None:
            self.supply.answered(now)
            self.supply.ended = True
            self._look_for_end(now)

    def _reports_acknowledged(self, event: ev.ReportsAcknowledged, now: float) -> None:
        record = self.reports.acknowledged(event.numbers, now)
        if record is not None:
            self._commit(record)
        self._publish(now)

    def _publish(self, now: float) -> None:
        while (command := self.reports.next(now)) is not None:
            self._do(command)

    def _look_at_outside(self, now: float) -> None:
        """Whether to go on waiting for somebody who does not answer, when nothing else is left to do."""
        supply = self.supply
        if supply is None or self.stopping is not None or self._n_in_work():
            return
        limit_s = self.config.supply.report_patience_s
        if supply.is_overdue(now):
            reason = f"no event ranges came for {self.config.supply.patience_s:.0f} s"
        elif not self.reports.is_empty and now - self.reports.moved_at > limit_s:
            reason = f"nobody took a report for {limit_s:.0f} s"
        else:
            return
        self._stop(reason, do.Outcome.ABORTED, EndCause.OUTSIDE, StopTimes(now, now), now)

    def _n_in_work(self) -> int:
        """Given ranges that are neither finished nor given up."""
        done = (RangeState.STORED, RangeState.MERGED, RangeState.FAILED)
        return len(self.table) - sum(self.table.count(state) for state in done)

    # ---- time, stop and end

    def _tick(self, event: ev.Tick, now: float) -> None:
        due = self.retries.due(now)
        if due:
            self.pool.put_back(np.asarray(sorted(due), dtype=np.int64))
        self._note_presence(now)
        self.budget.look_at_nodes(now)
        self._look_at_deadline(now)
        if self.stopping is None and self.stalled is None:
            self._look_at_tail(now)
        if self.supply is not None:
            self._publish(now)
            self._ask(now)
            self._look_at_outside(now)
        self._start_merges()
        self._look_for_end(now)

    def _stop_requested(self, event: ev.StopRequested, now: float) -> None:
        if event.within_s is None:
            times = StopTimes(now + self.config.drain_limit_s, now + self.config.drain_limit_s)
        else:
            times = self.deadline.stop_times(now, event.within_s)
        if self.stopping is None:
            outcome = do.Outcome.ABORTED if event.abort else do.Outcome.STOPPED
            self._stop(event.reason, outcome, event.cause, times, now)
        else:
            self._hurry(times)
        self._look_for_end(now)

    def _deadline_set(self, event: ev.DeadlineSet, now: float) -> None:
        self.deadline.at = event.at
        if event.at is not None and self.stopping is not None:
            self._hurry(self.deadline.stop_times(now, event.at - now))
        self._look_at_deadline(now)

    def _look_at_deadline(self, now: float) -> None:
        """Stop when no node can begin an event any more that will probably finish."""
        deadline = self.deadline
        if deadline.at is None or self.stopping is not None or deadline.may_begin(now):
            return
        if deadline.left_s(now) <= 0.0 or not any(
            deadline.may_begin(now, self.fleet.slowness(node)) for node in self.fleet.up() if not node.aside
        ):
            reason = f"walltime: {deadline.at - now:.0f} s before its end no further event would finish"
            self._stop(reason, do.Outcome.STOPPED, EndCause.WALLTIME, deadline.stop_times(now, deadline.at - now), now)

    def _stop(self, reason: str, outcome: do.Outcome, cause: EndCause, times: StopTimes, now: float) -> None:
        """Begin nothing more; wait until `times` for what is under way."""
        self.stopping, self.stop_outcome, self._stop_cause = reason, outcome, cause
        self._stop_times = times
        if self.deadline.at is not None:
            self._hurry(self.deadline.stop_times(now, self.deadline.at - now))
        self._end_meter = EndMeter(now, self._offset, sum(node.cores for node in self.fleet.up() if not node.aside))
        for node in self.fleet.up():
            self._drain(node)

    def _hurry(self, times: StopTimes) -> None:
        before = self._stop_times
        self._stop_times = StopTimes(min(before.events, times.events), min(before.merges, times.merges))

    def _drain(self, node: Node) -> None:
        if not node.draining:
            node.draining = True
            self._do(do.Drain(node.name))

    def _look_for_end(self, now: float) -> None:
        if self._is_all_done():
            self._finish(*self._verdict())
        elif self.stopping is not None and self._drained(now):
            self._finish(self.stop_outcome, self.stopping, self._stop_cause)
        elif self._is_abandoned(now):
            limit = self.config.no_node_limit_s
            self._finish(do.Outcome.ABORTED, f"no node has been up for {limit:.0f} s", EndCause.NO_NODE)

    def _is_all_done(self) -> bool:
        if self._tickets or self.supply is None:
            return self.merges.all_final and not self._tickets
        return self.supply.ended and self.reports.is_empty and self._n_in_work() == 0

    def _is_abandoned(self, now: float) -> bool:
        """Something is left to compute, and nobody has been there to do it for too long. Merges get on without nodes."""
        since = self._without_node_since
        return since is not None and now - since > self.config.no_node_limit_s and self.table.count(RangeState.READY) > 0

    def _verdict(self) -> tuple[do.Outcome, str]:
        failed = self.table.count(RangeState.FAILED)
        if self.merges.unmergeable:
            output, message = next(iter(sorted(self.merges.unmergeable.items())))
            more = f" (and {len(self.merges.unmergeable) - 1} more)" if len(self.merges.unmergeable) > 1 else ""
            return do.Outcome.UNMERGED, f"{self.job.outputs[output]} could not be merged{more}: {message}"
        if failed:
            return do.Outcome.INCOMPLETE, f"{failed} of {len(self.table)} events failed"
        return do.Outcome.COMPLETE, "every event is in an output" if self.supply is None else "every event is reported"

    def _drained(self, now: float) -> bool:
        """Nothing more can come of waiting: no result and no merge is under way, or the time is up."""
        if self._tickets or ((self.merges.pending or not self.reports.is_empty) and now < self._stop_times.merges):
            return False
        if self.table.count(RangeState.LEASED) == 0:
            return True
        if now < self._stop_times.events:
            return False
        return now >= self._stop_times.merges or not any(node.unreported for node in self.fleet.up())

    def _finish(self, outcome: do.Outcome, reason: str, cause: EndCause = EndCause.NONE) -> None:
        loss = do.EndLoss() if self._end_meter is None else self._end_meter.read(self.fleet.up(), self.deadline.at, self._now)
        self.finished = do.Finish(outcome, reason, loss, cause)
        self._do(self.finished)

    def _do(self, command: do.Command) -> None:
        self._commands.append(command)


@dataclass(slots=True)
class _Sifted:
    """Ranges taken out of the pool for a node, sorted."""

    kept: list[int] = field(default_factory=list)
    for_others: list[int] = field(default_factory=list)
    failed_here: list[int] = field(default_factory=list)
    """Better tried elsewhere, if there is anything else for the node."""


def _witness(node: Node) -> Witness:
    return Witness(node.number, node.place, node.cores)


def _credit(node: Node, group: GroupReport) -> None:
    """Add a node's accepted events to its account."""
    entries = group.entries
    node.finished += len(entries)
    node.busy_s += float(entries["wall_s"].sum(dtype=np.float64))
    first = float(entries["start"].min())
    node.first_start = first if node.first_start is None else min(first, node.first_start)
    node.last_end = max(node.last_end, float((entries["start"] + entries["wall_s"]).max()))
