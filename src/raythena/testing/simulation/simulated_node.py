"""A simulated node: the real `NodeCore` and the real restart policy of its payload, a simulated payload, an unreliable line.

Its life follows the agent's: load, register, compute, write groups, exchange.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raythena.domain.ids import RangeIndex
from raythena.domain.node_name import NodeName
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport, RangeFailure
from raythena.engine.departure import Departure
from raythena.engine.node_core import NodeCore
from raythena.engine.node_messages import CoordinatorReply
from raythena.engine.restarts import PAYLOAD_LIMITS, AgentEnd, GiveUp, PayloadEnd, PayloadRestarts, StartAgain
from raythena.engine.result_groups import FinishedRange, GroupToWrite
from raythena.testing.simulation.restart_judge import RestartJudge
from raythena.testing.simulation.simulated_line import SimulatedLine
from raythena.testing.simulation.simulated_payload import SimulatedPayload
from raythena.testing.simulation.surroundings import Host, Surroundings

_DISK_PAUSE_S = 2.0
_PAYLOAD_BREAKS_AFTER_S = 0.5
_FRAIL_AGENT_LIVES_S = 3.0
_UNUSABLE_EVERY = 2
"""Of the agents of a host whose payload breaks at each start, one in so many has one that calls the first end final."""
_PAYLOAD = "payload"


class SimulatedNode:
    """One incarnation of the node at a host. It comes up after `loading_s`."""

    def __init__(self, site: Surroundings, host: Host, loading_s: float = 0.0) -> None:
        host.incarnations += 1
        self.site = site
        self.host = host
        self.name = str(NodeName(host.name, host.incarnations))
        self.machine = host.machine_name
        self.cores = site.plan.cores
        self.core: NodeCore = site.parts.core(self.name, site.destinations, site.plan.node)
        self.alive = True
        self.is_frozen = False
        self.line = SimulatedLine(site, lambda: self.alive and not self.is_frozen)
        self.payload = SimulatedPayload(self)
        self._up_at = site.now + loading_s
        self._scratch_full_until = 0.0
        self._unwritten = 0
        """Groups that the shared disk refused and that are tried again."""
        self._session = site.session
        self._registered = False
        self._restarts: PayloadRestarts = site.parts.payload_restarts()
        self._departure: Departure = site.parts.departure(host.leaves_at, kept_s=1.0)
        self._judge = RestartJudge(f"the payload of {self.name}:", PAYLOAD_LIMITS)
        self._judge.appeared(_PAYLOAD)

    def start(self) -> None:
        """Come up."""
        self._after(self._up_at - self.site.now, self._come_up)
        if self.host.is_frail and self.site.fault_model.in_trouble:
            delay_s = self.site.fault_model.dice.uniform(0.0, _FRAIL_AGENT_LIVES_S)
            self._after(delay_s, lambda: self.end(AgentEnd.DIED, "it is frail"))

    def _come_up(self) -> None:
        if not self.is_frozen:
            self.core.times.begin(self.cores, self.site.now)
            self._start_payload()
            self._register()
            self._poll()

    @property
    def is_loading(self) -> bool:
        """It has not come up yet."""
        return self.site.now < self._up_at

    @property
    def is_out_of_reach(self) -> bool:
        """Nobody can say whether it lives."""
        return self.line.is_cut

    # ---- the end

    def end(self, how: AgentEnd, why: str) -> None:
        """End without having been told to; the machine stays."""
        if self.alive:
            self.site.trace.tell(f"the agent {self.name} ends: {why}", "agent died")
            self.leave()
            self.site.agent_ended(self, how)

    def lose_machine(self, why: str) -> None:
        """Vanish together with the machine."""
        if self.alive:
            self.site.trace.tell(f"{self.name} dies: {why}", "node died")
            self.leave()
            self.site.machine_lost(self)

    def leave(self) -> None:
        """End as it was told to."""
        self.alive = False
        self.payload.stop()

    def freeze(self) -> None:
        """Do nothing any more, and answer nobody."""
        if self.alive:
            self.site.trace.tell(f"the agent {self.name} freezes for good", "agent froze")
            self.is_frozen = True
            self.payload.stop()

    # ---- troubles

    def cut_off(self, until: float, *, only_deaf: bool) -> None:
        """Nothing reaches the node until then, nor, unless it is `only_deaf`, leaves it."""
        self.line.cut(until, only_deaf=only_deaf)

    def fill_scratch(self, until: float) -> None:
        """The node's own disk takes nothing before `until`."""
        self._scratch_full_until = until
        self.go_on()

    @property
    def scratch_is_full(self) -> bool:
        """Nothing can be written on the node."""
        return self.site.now < self._scratch_full_until

    # ---- the payload from start to end

    def _start_payload(self) -> None:
        self._judge.started(_PAYLOAD, self.site.now)
        self._restarts.started(self.site.now)
        self.core.times.payload_starts()
        self.payload.start()
        if self.host.breaks_payloads and self.site.fault_model.in_trouble:
            self._after(_PAYLOAD_BREAKS_AFTER_S, self.crash_payload)

    def crash_payload(self) -> None:
        """The payload dies with everything in it, and is started again if there is a point in it."""
        if not self.payload.is_up or self.is_frozen:
            return
        self.payload.crash()
        for index in self.core.payload_lost():
            self.failed(index, FailureKind.CRASH)
        how = _how_it_ended(self)
        decision = self._restarts.ended(how, self.site.now)
        self._judge.ended(_PAYLOAD, how, _said_to_be_last(decision), self.site.now)
        if isinstance(decision, GiveUp):
            self.end(AgentEnd.PAYLOAD_FAILED, "its payload is given up")
        else:
            self._after(decision.pause_s, self._start_payload)

    def _after(self, delay_s: float, action: Callable[[], None]) -> None:
        self.site.agenda.after(delay_s, lambda: action() if self.alive else None)

    # ---- what the payload says

    def succeeded(self, index: int, began_at: float) -> None:
        """An event is finished."""
        self.site.trace.tell_of((index,), f"is finished on {self.name}")
        self._restarts.proved_sound()
        self._judge.did_its_work(_PAYLOAD)
        wall_s = self.site.now - began_at
        self.core.done(FinishedRange(index, "", 0, 100, True, 1, wall_s, wall_s, began_at), self.site.now)

    def failed(self, index: int, kind: FailureKind) -> None:
        """An attempt failed."""
        self.core.times.look(self.site.now, self.core)
        self.core.failed(RangeFailure(RangeIndex(index), kind, f"simulated {kind}", self.name))

    # ---- going on

    def _poll(self) -> None:
        if self.alive:
            self.go_on()
            self.site.agenda.after(self.site.plan.poll_s, self._poll)

    def go_on(self) -> None:
        """Everything that may have become possible."""
        if not self.alive or self.is_frozen or self.is_loading:
            return
        core, now = self.core, self.site.now
        self._look_at_disks()
        core.times.look(now, core)
        if core.queue and not core.trouble:
            fed = core.to_feed(self.payload.appetite)
            if fed:
                self.payload.feed(fed)
        for group in core.groups_due(now):
            self.site.agenda.after(self.site.fault_model.disk_s(), lambda group=group: self._write(group))  # type: ignore[misc]
        if self._registered and not self.line.is_busy and core.exchange_due(now):
            message = core.message(now, now)
            self.line.call(lambda coordinator: coordinator.exchange(message), self._exchanged)

    def _look_at_disks(self) -> None:
        trouble = "scratch is full" if self.scratch_is_full else "the shared disk is full" if self._unwritten else ""
        trouble = trouble or self._departure.notice(self.site.now, self.core.mean_event_s)
        if trouble != self.core.trouble:
            wanted_back = self.core.hold(trouble)
            if wanted_back:
                self.payload.release(wanted_back)

    def _write(self, group: GroupToWrite, *, again: bool = False) -> None:
        """Make a group durable, unless the node died over it; try again while the disk is full."""
        if not self.alive or self.is_frozen:
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

    # ---- the coordinator

    def _register(self) -> None:
        self._registered = False
        held = self.core.held()
        self.line.call(lambda coordinator: coordinator.register(self.name, self.cores, held), self._welcomed)

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


def _said_to_be_last(decision: StartAgain | GiveUp) -> StartAgain | GiveUp:
    """An agent has one payload."""
    return GiveUp(is_last=True) if isinstance(decision, GiveUp) else decision


def _how_it_ended(node: SimulatedNode) -> PayloadEnd:
    """A payload that breaks at each start remarks on it, and now and then knows that another start would not help."""
    if node.host.breaks_payloads and node.site.fault_model.in_trouble:
        node.core.remarks += [f"{node.name}: it broke at {node.site.now:.3f} s ({number} of 3)" for number in (1, 2, 3)]
        if node.host.incarnations % _UNUSABLE_EVERY == 0:
            return PayloadEnd.UNUSABLE
    return PayloadEnd.NO_ROOM if node.scratch_is_full else PayloadEnd.FAILED
