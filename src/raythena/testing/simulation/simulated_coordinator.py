"""One life of the simulated coordinator: the real exchange and engine, a ledger, merges that take time.

It carries out what the engine decides, as the real one does. When it crashes, everything but the ledger and the disk is gone;
when it freezes, everything waits until it thaws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from raythena.domain.errors import LedgerBusy, StorageError
from raythena.domain.ids import RangeIndex
from raythena.domain.node_name import NodeName
from raythena.domain.ranges import Indices
from raythena.domain.results import GroupReport
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.testing.simulation.samples import merged_of
from raythena.testing.simulation.surroundings import Surroundings

_TICK_S = 0.5
_COMMIT_INTERVAL_S = 0.05
_RETRY_S = 1.0
_HEARTBEAT_S = 5.0


class SimulatedCoordinator:
    """`site.ledger` is what it starts from. `ends_at` is the end of the allocation, None while unknown."""

    def __init__(self, site: Surroundings, ends_at: float | None) -> None:
        self._site = site
        self._waiting: list[do.Commit] = []
        self._batch: list[do.Commit] = []
        self._writing = False
        self._stalled_since: float | None = None
        self._replies: dict[str, CoordinatorReply] = {}
        self._alive = True
        self._frozen_until = 0.0
        self._beaten_at = site.now
        self.finish: do.Finish | None = None
        restored = site.begin_life_of_ledger()
        for merged in restored.merged:
            site.disk.put_into_place(merged)
        engine = site.parts.engine(site.job, restored, site.plan.engine)
        self.node_exchange = site.parts.node_exchange(engine, site.plan.node_exchange)
        site.judge.after_commit(engine)
        if ends_at is not None:
            self.tell(ev.DeadlineSet(ends_at))
        self._tick()

    def crash(self) -> None:
        """Stop at once."""
        self._alive = False

    def freeze(self, until: float) -> None:
        """Stand still."""
        self._frozen_until = until

    # ---- what it hears

    def when_awake(self, action: Callable[[], None]) -> None:
        """Do something now, or when it has thawed; never once it is dead."""
        if not self._alive:
            return
        if self._site.now < self._frozen_until:
            self._site.agenda.after(self._frozen_until - self._site.now, lambda: self.when_awake(action))
        else:
            action()

    def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """A node introduces itself."""
        self._site.trace.tell_of(held.tolist(), f"is brought along by {node}")
        return self._checked(node, self.node_exchange.register(node, cores, held, self._site.now))

    def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """A node reports."""
        if self._site.trace.in_full:
            self._note(message)
        reply = self.node_exchange.exchange(message, self._site.now)
        if message.remarks and not reply.register:
            self._site.judge.remarked(NodeName.parse(message.node).host, message.remarks, self.node_exchange.engine.warnings)
        return self._checked(message.node, reply)

    def tell(self, event: ev.Event) -> None:
        """Something happened."""
        self.node_exchange.step(event, self._site.now)
        self._carry_out()

    def lose(self, node: str) -> None:
        """A node is known to be dead."""
        self.node_exchange.lose(node, "its agent died", self._site.now)
        self._carry_out()

    def silence_s(self, node: str) -> float:
        """How long nothing has been heard of a node."""
        return self.node_exchange.silence_s(node, self._site.now)

    def _note(self, message: NodeMessage) -> None:
        tell_of = self._site.trace.tell_of
        for group in message.groups:
            tell_of(group.entries["range"].tolist(), f"is reported by {message.node} in {group.name}")
        for failure in message.failures:
            tell_of((failure.range_index,), f"is reported failed by {message.node}: {failure.kind}")
        tell_of(message.returned.tolist(), f"is given back by {message.node}")

    def _checked(self, node: str, reply: CoordinatorReply) -> CoordinatorReply:
        if reply.leases and reply is not self._replies.get(node):  # a repeated one may be out of date
            self._replies[node] = reply
            for lease in reply.leases:
                self._site.trace.tell_of(lease.tolist(), f"is leased to {node}")
                self._site.judge.leased(lease)
                if self._site.plan.given:
                    self._site.range_source.leased(lease)
                if self._site.upstream is not None:
                    self._site.upstream.leased(self.node_exchange.engine.table, lease)
        self._carry_out()
        return reply

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._site.agenda.after(delay_s, lambda: self.when_awake(action))

    def _tick(self) -> None:
        for name in self.node_exchange.lose_silent_nodes(self._site.now):
            self._site.given_up(name)
        if self._site.now - self._beaten_at >= _HEARTBEAT_S:
            self._beaten_at = self._site.now
            self._beat()
        if self._alive and self._site.upstream is not None:
            self._site.upstream.look(self)
        if self._alive:
            self.tell(ev.Tick())
        if self.finish is None:
            self._later(_TICK_S, self._tick)

    def _beat(self) -> None:
        try:
            self._site.lease.beat()
        except LedgerBusy:
            self._site.crash()

    # ---- what it does

    def _carry_out(self) -> None:
        self._site.judge.after_step(self.node_exchange.engine)
        for command in self.node_exchange.take_effects():
            match command:
                case do.Commit():
                    self._waiting.append(command)
                    self._write_soon()
                case do.DiscardGroups():
                    self._site.judge.discarded(command.groups)
                    self._site.disk.remove_groups(command.groups)
                case do.PlaceOutput():
                    self._later(self._site.fault_model.delay_s(), partial(self._site.disk.put_into_place, command.merged))
                case do.StartMerge():
                    self._later(command.delay_s + self._site.fault_model.delay_s(), partial(self._merge, command))
                case do.RequestRanges():
                    self._site.range_source.wanted(self, command.count)
                case do.AcceptRanges():
                    self._site.range_source.accepted(command.n_new)
                case do.PublishReport():
                    self._site.range_source.report(self, command)
                case do.Finish():
                    self.finish = command

    def _write_soon(self) -> None:
        if not self._writing:
            self._writing = True
            self._later(_COMMIT_INTERVAL_S, self._write)

    def _write(self) -> None:
        """Commit everything that waits, in one transaction; the same again while the disk refuses."""
        site = self._site
        if not self._batch:
            self._batch, self._waiting = self._waiting, []
        records = [commit.record for commit in self._batch]
        if site.fault_model.happens(site.plan.commit_kills):
            site.trace.tell("the coordinator dies in the middle of a commit", "coordinator killed in a commit")
            site.ledger.tear(records)
            site.crash()
            return
        try:
            site.commit(records)
        except StorageError as problem:
            self._refused(problem)
            return
        self._later(site.fault_model.disk_s(), self._written)

    def _refused(self, problem: StorageError) -> None:
        site = self._site
        if self._stalled_since is None:
            self._stalled_since = site.now
        if site.now - self._stalled_since > site.plan.storage_patience_s:
            self.finish = do.Finish(outcome=do.Outcome.ABORTED, reason=f"the disk has refused for too long: {problem}")
            return
        self.tell(ev.StorageStalled(str(problem)))
        self._later(_RETRY_S, self._write)

    def _written(self) -> None:
        if self._stalled_since is not None:
            self._stalled_since = None
            self.tell(ev.StorageRecovered())
        tickets = tuple(commit.ticket for commit in self._batch)
        self._batch = []
        self.tell(ev.Committed(tickets))
        self._site.judge.after_commit(self.node_exchange.engine)
        self._writing = False
        if self._waiting:
            self._write_soon()

    def _merge(self, command: do.StartMerge) -> None:
        site = self._site
        if site.now < site.disk.refused_until:
            self.tell(ev.MergeStalled(merge=command.merge, reason="simulated: no space left on device"))
            self._later(_RETRY_S, lambda: self._merge(command))
            return
        groups = site.ledger.groups_named(command.groups)
        members = [int(index) for group in groups for index in group.entries["range"]]
        site.judge.merging(command.output, members, command.missing)
        bad = tuple(
            ev.BadMembers(group.name, tuple(map(RangeIndex, lost))) for group in groups if (lost := site.disk.unreadable(group))
        )
        if bad:
            site.trace.tell(f"output {command.output}: unreadable {bad}", "stored output unreadable")
            self._later(0.1, lambda: self.tell(ev.MergeFailed(merge=command.merge, message="unreadable", bad=bad)))
        elif site.fault_model.happens(site.plan.merge_failure):
            site.trace.tell(f"the merge of output {command.output} dies", "merge died")
            self._later(0.1, lambda: self.tell(ev.MergeFailed(merge=command.merge, message="simulated")))
        else:
            written = members[1:] if site.fault_model.happens(site.plan.bad_merge) else members
            self._later(0.001 * len(members) + 0.05, lambda: self._merged(command, groups, written))

    def _merged(self, command: do.StartMerge, groups: Sequence[GroupReport], written: list[int]) -> None:
        """What the merge wrote is looked at, moved into place, then told."""
        site = self._site
        if len(written) != sum(len(group.entries) for group in groups):
            site.trace.tell(f"the merge of output {command.output} wrote a bad file", "merge wrote a bad file")
            self.tell(ev.MergeFailed(merge=command.merge, message="an event is missing in what was written"))
            return
        merged = merged_of(site.job, command.output, len(np.unique(written)), command.missing)
        if command.beside:
            merged = replace(merged, path=f"outputs/.replacing/{site.session}.{command.merge}.{merged.lfn}")
        site.disk.files[merged.path] = written
        site.judge.look_at_files(site.disk)
        self.tell(ev.MergeSucceeded(merge=command.merge, merged=merged))
