"""A simulated node: the real `NodeCore`, a simulated payload, an unreliable line.

Its life follows the agent's: register, compute, write groups, exchange; repeat every call until it is answered.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport, RangeFailure
from raythena.engine.node_core import CoordinatorReply, FinishedRange, GroupToWrite, NodeCore
from raythena.testing.simulation.simulated_payload import Host, SimulatedPayload
from raythena.testing.simulation.surroundings import Coordinating, Surroundings

_PATIENCE_S = 2.0
_DISK_PAUSE_S = 2.0

Request = Callable[[Coordinating], CoordinatorReply]


class SimulatedNode:
    """One incarnation of the node at a place."""

    def __init__(self, site: Surroundings, host: Host) -> None:
        host.incarnations += 1
        self.site = site
        self.host = host
        self.name = f"{host.name}.{host.incarnations}"
        self.cores = site.plan.cores
        self.core: NodeCore = site.parts.core(self.name, site.destinations, site.plan.node)
        self.payload = SimulatedPayload(self)
        self.alive = True
        self._cut_until = 0.0
        self._deaf_until = 0.0
        self._scratch_full_until = 0.0
        self._unwritten = 0
        """Groups that the shared disk refused and that are tried again."""
        self._session = site.session
        self._awaited: int | None = None
        self._calls = 0
        self._registered = False

    def start(self) -> None:
        """Come up."""
        self._register()
        self._poll()

    def die(self, why: str) -> None:
        """Vanish without a word."""
        if self.alive:
            self.site.trace.tell(f"{self.name} dies: {why}", "node died")
            self.leave()
            self.site.replace(self.name)

    def cut_off(self, until: float, *, only_deaf: bool) -> None:
        """Nothing reaches the node until then, nor, unless it is `only_deaf`, leaves it."""
        self._deaf_until = until
        if not only_deaf:
            self._cut_until = until

    def fill_scratch(self, until: float) -> None:
        """The node's own disk takes nothing before `until`."""
        self._scratch_full_until = until
        self.go_on()

    @property
    def scratch_is_full(self) -> bool:
        """Nothing can be written on the node."""
        return self.site.now < self._scratch_full_until

    def leave(self) -> None:
        """End."""
        self.alive = False
        self.payload.stop()

    def crash_payload(self) -> None:
        """The payload dies with everything in it, and is started again."""
        self.payload.crash()
        for index in self.core.payload_lost():
            self.failed(index, FailureKind.CRASH)

    # ---- what the payload says

    def succeeded(self, index: int, began_at: float) -> None:
        """An event is finished."""
        self.site.trace.tell_of((index,), f"is finished on {self.name}")
        wall_s = self.site.now - began_at
        self.core.done(FinishedRange(index, "", 0, 100, True, 1, wall_s, wall_s, began_at), self.site.now)

    def failed(self, index: int, kind: FailureKind) -> None:
        """An attempt failed."""
        self.core.failed(RangeFailure(index, kind, f"simulated {kind}", self.name))

    # ---- going on

    def _poll(self) -> None:
        if self.alive:
            self.go_on()
            self.site.agenda.after(self.site.plan.poll_s, self._poll)

    def go_on(self) -> None:
        """Everything that may have become possible."""
        if not self.alive:
            return
        core, now = self.core, self.site.now
        self._look_at_disks()
        if core.queued and not core.trouble:
            fed = core.to_feed(self.payload.appetite)
            if fed:
                self.payload.feed(fed)
        for group in core.groups_due(now):
            self.site.agenda.after(self.site.fault_model.disk_s(), lambda group=group: self._write(group))  # type: ignore[misc]
        if self._registered and self._awaited is None and core.exchange_due(now):
            message = core.message(now, now)
            self._call(lambda coordinator: coordinator.exchange(message), self._exchanged)

    def _look_at_disks(self) -> None:
        trouble = "scratch is full" if self.scratch_is_full else "the shared disk is full" if self._unwritten else ""
        if trouble != self.core.trouble:
            wanted_back = self.core.hold(trouble)
            if wanted_back:
                self.payload.release(wanted_back)

    def _write(self, group: GroupToWrite, *, again: bool = False) -> None:
        """Make a group durable, unless the node died over it; try again while the disk is full."""
        if not self.alive:
            return
        if self.site.now < self.site.disk.refused_until:
            self._unwritten += not again
            self.site.agenda.after(_DISK_PAUSE_S, lambda: self._write(group, again=True))
            return
        self._unwritten -= again
        entries = np.zeros(len(group.members), dtype=ENTRY_DTYPE)
        for column, values in (
            ("range", [member.index for member in group.members]),
            ("wall_s", [member.wall_s for member in group.members]),
            ("start", [member.started_at for member in group.members]),
        ):
            entries[column] = values
        entries["size"] = 100
        name = f"s{self._session}/{self.name}/{group.number:06d}"
        report = GroupReport(name, self.name, group.output, f"staging/{name}", 100 * len(entries), 1, entries)
        self.site.disk.write_group(report)
        self.core.group_written(group.number, report)
        self.go_on()

    # ---- the line

    def _register(self) -> None:
        self._registered = False
        held = self.core.held()
        self._call(lambda coordinator: coordinator.register(self.name, self.cores, held), self._welcomed)

    def _welcomed(self, reply: CoordinatorReply) -> None:
        self._registered = True
        self.core.registered()
        self._obey(reply, self.core.apply)

    def _exchanged(self, reply: CoordinatorReply) -> None:
        if reply.register:
            self._register()
        else:
            self._obey(reply, self.core.answered)

    def _obey(self, reply: CoordinatorReply, take: Callable[[CoordinatorReply], list[int]]) -> None:
        judge = self.site.judge
        for name in reply.acknowledged:
            group = self.core.unacknowledged.get(name)
            if group is not None:
                self.site.trace.tell_of(group.entries["range"].tolist(), f"is acknowledged to {self.name} in {name}")
                judge.acknowledged(name, group.entries["range"].astype(np.int64))
        wanted_back = take(reply)
        if wanted_back:
            self.payload.release(wanted_back)
        if reply.stop:
            self.leave()
        self.go_on()

    def _call(self, request: Request, answered: Callable[[CoordinatorReply], None]) -> None:
        self._calls += 1
        self._awaited = self._calls
        self._send(self._calls, request, answered)

    def _send(self, call: int, request: Request, answered: Callable[[CoordinatorReply], None]) -> None:
        """Send, and send again until it is answered."""
        if not self.alive or self._awaited != call:
            return
        site, fault_model, plan = self.site, self.site.fault_model, self.site.plan

        def arrive() -> None:
            coordinator = site.coordinator
            if coordinator is not None and site.now >= self._cut_until and self._session == site.session:
                coordinator.when_awake(lambda: handle(coordinator))

        def handle(coordinator: Coordinating) -> None:
            reply = request(coordinator)
            if not fault_model.happens(plan.loss):
                site.agenda.after(fault_model.flight_s(), lambda: self._receive(call, reply, answered))

        if not fault_model.happens(plan.loss):
            site.agenda.after(fault_model.flight_s(), arrive)
        if fault_model.happens(plan.duplication):
            site.agenda.after(fault_model.dice.uniform(0.0, plan.straying_s), arrive)
        site.agenda.after(_PATIENCE_S, lambda: self._send(call, request, answered))

    def _receive(self, call: int, reply: CoordinatorReply, answered: Callable[[CoordinatorReply], None]) -> None:
        if self.alive and self.site.now >= self._deaf_until and self._awaited == call:
            self._awaited = None
            answered(reply)
