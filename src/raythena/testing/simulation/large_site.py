"""A site of thousands of nodes on which little goes wrong: how busy are its cores, and how busy is the coordinator?

The real engine, exchange and node cores live in virtual time. The coordinator takes its messages one after the other, each for as
long as a message was measured to cost it; commits and merges take time and never fail. Nodes come up over a while, and some are
lost for good if that is wanted. Payloads hold what their cores need next and no more.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeState
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.engine.exchange import ExchangeConfig, NodeExchange
from raythena.engine.node_core import NodeConfig, NodeCore
from raythena.engine.node_messages import CoordinatorReply
from raythena.engine.result_groups import FinishedRange, GroupToWrite
from raythena.testing.simulation.agenda import Agenda
from raythena.testing.simulation.samples import group_of, merged_of, small_job

_TICK_S = 0.25
_LATENCY_S = 0.002
_COMMIT_S = 0.05
_WRITE_S = 0.05
_MERGE_S = 5.0
_LEAST_S = NodeConfig().min_exchange_interval_s
_NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """What the site is like. Times are seconds."""

    nodes: int = 1000
    cores: int = 128
    """Of each node."""
    events: int = 0
    """Of the job; 0: five for each core."""
    event_s: float = 300.0
    """Mean of the events' times."""
    spread: float = 0.3
    """Standard deviation of the logarithm of an event's time."""
    start_s: float = 60.0
    """Nodes come up over so long."""
    lost_share: float = 0.0
    """Of the nodes, lost at moments drawn at random while the job would last."""
    message_s: float = 0.0007
    """What one message costs the coordinator."""
    events_per_output: int = 1000
    seed: int = 1

    @property
    def n_events(self) -> int:
        """Of the job."""
        return self.events or 5 * self.nodes * self.cores


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFigures:
    """What came of it. Times are virtual seconds, but for `engine_cpu_s`."""

    outcome: do.Outcome
    makespan_s: float
    """From the first node's start to the last event's end."""
    scheduling_s: float
    """What list scheduling takes without any message, on cores that are all there from the beginning."""
    bound_s: float
    """What nothing can beat: all computing over all cores, or the longest event."""
    occupancy: float
    """Of all cores, between the moment when all nodes are up and the moment when nothing is left to hand out."""
    begun_twice: int
    messages: int
    coordinator_busy: float
    """Share of the makespan in which the coordinator took messages."""
    longest_wait_s: float
    """Of a message, before the coordinator took it."""
    groups: int
    """Group files written."""
    engine_cpu_s: float
    """Processor time of this machine that engine and exchange took."""


def simulate_large_site(plan: SitePlan) -> SiteFigures:
    """Let a job run at the site to its end."""
    return _LargeSite(plan).run()


def list_scheduling_s(times_s: npt.NDArray[np.float64], cores: int) -> float:
    """The makespan when every core takes the next event as soon as it is free."""
    free_at = [0.0] * min(cores, len(times_s))
    for time_s in times_s.tolist():
        heapq.heapreplace(free_at, free_at[0] + time_s)
    return max(free_at, default=0.0)


class _Gauge:
    """How many cores are busy, summed over time."""

    def __init__(self) -> None:
        self._busy = 0
        self._since = 0.0
        self._core_s = 0.0

    def change(self, by: int, now: float) -> None:
        self._core_s = self.core_s(now)
        self._busy += by
        self._since = now

    def core_s(self, now: float) -> float:
        """Busy core-seconds so far."""
        return self._core_s + self._busy * (now - self._since)


class _Inbox:
    """The coordinator's attention: one message at a time."""

    def __init__(self, agenda: Agenda, message_s: float) -> None:
        self._agenda = agenda
        self._message_s = message_s
        self._free_at = 0.0
        self.messages = 0
        self.longest_wait_s = 0.0

    def take(self, work: Callable[[], None]) -> None:
        """Do this when it is its turn."""
        wait_s = max(0.0, self._free_at - self._agenda.now)
        self.longest_wait_s = max(self.longest_wait_s, wait_s)
        self.messages += 1
        self._free_at = self._agenda.now + wait_s + self._message_s
        self._agenda.after(wait_s + self._message_s, work)


class _LargeSite:
    """Everything together."""

    def __init__(self, plan: SitePlan) -> None:
        self.plan = plan
        dice = np.random.default_rng(plan.seed)
        self.times_s = plan.event_s * dice.lognormal(-0.5 * plan.spread**2, plan.spread, plan.n_events)
        job = small_job((plan.n_events,), plan.events_per_output)
        self.job = job
        self.outputs = OutputMap.plan((plan.n_events,), plan.events_per_output)
        self.node_config = NodeConfig()
        self.exchange = NodeExchange(Engine(job, None, EngineConfig()), ExchangeConfig())
        self.agenda = Agenda()
        self.inbox = _Inbox(self.agenda, plan.message_s)
        self.gauge = _Gauge()
        self.begun = bytearray(plan.n_events)
        self.begun_twice = 0
        self.groups = 0
        self.last_end_s = 0.0
        self._engine_cpu_s = 0.0
        self._uncommitted: list[int] = []
        self._all_up: tuple[float, float] | None = None
        self._all_leased: tuple[float, float] | None = None
        self._finish: do.Finish | None = None
        starts = dice.uniform(0.0, plan.start_s, plan.nodes)
        self._missing = plan.nodes
        self.bound_s = max(float(self.times_s.sum()) / (plan.nodes * plan.cores), float(self.times_s.max(initial=0.0)))
        lost = dice.choice(plan.nodes, int(plan.lost_share * plan.nodes), replace=False)
        ends = dict(zip(lost.tolist(), dice.uniform(plan.start_s, plan.start_s + self.bound_s, len(lost)).tolist(), strict=True))
        for number, at in enumerate(starts.tolist()):
            node = _Node(self, f"n{number:05d}.1")
            self.agenda.after(at, node.come_up)
            if number in ends:
                self.agenda.after(ends[number], node.vanish)

    def run(self) -> SiteFigures:
        self._tick()
        while self._finish is None:
            self.agenda.step()
        plan, now = self.plan, self.agenda.now
        begin, end = self._all_up or (0.0, 0.0), self._all_leased or (now, self.gauge.core_s(now))
        span_s = end[0] - begin[0]
        return SiteFigures(
            outcome=self._finish.outcome,
            makespan_s=self.last_end_s,
            scheduling_s=list_scheduling_s(self.times_s, plan.nodes * plan.cores),
            bound_s=self.bound_s,
            occupancy=(end[1] - begin[1]) / (plan.nodes * plan.cores * span_s) if span_s > 0 else 0.0,
            begun_twice=self.begun_twice,
            messages=self.inbox.messages,
            coordinator_busy=self.inbox.messages * plan.message_s / max(self.last_end_s, 1e-9),
            longest_wait_s=self.inbox.longest_wait_s,
            groups=self.groups,
            engine_cpu_s=self._engine_cpu_s,
        )

    # ---- the coordinator

    def ask(self, question: Callable[[float], CoordinatorReply], answer: Callable[[CoordinatorReply], None]) -> None:
        """A message and its answer."""

        def attend() -> None:
            began = time.process_time()
            reply = question(self.agenda.now)
            self._engine_cpu_s += time.process_time() - began
            self._carry_out()
            self.agenda.after(_LATENCY_S, partial(answer, reply))

        self.agenda.after(_LATENCY_S, lambda: self.inbox.take(attend))

    def tell(self, event: ev.Event) -> None:
        """Something else happens."""
        began = time.process_time()
        self.exchange.step(event, self.agenda.now)
        self._engine_cpu_s += time.process_time() - began
        self._carry_out()

    def lose(self, name: str) -> None:
        """A node is known to be gone."""
        self.exchange.lose(name, "lost", self.agenda.now)
        self._carry_out()

    def node_is_up(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._all_up = (self.agenda.now, self.gauge.core_s(self.agenda.now))

    def _carry_out(self) -> None:
        if self._all_leased is None and self.exchange.engine.table.count(RangeState.READY) == 0:
            self._all_leased = (self.agenda.now, self.gauge.core_s(self.agenda.now))
        for command in self.exchange.take_effects():
            match command:
                case do.Commit():
                    if not self._uncommitted:
                        self.agenda.after(_COMMIT_S, self._commit)
                    self._uncommitted.append(command.ticket)
                case do.StartMerge():
                    merged = merged_of(self.job, command.output, command.expected, tuple(command.missing))
                    done = ev.MergeSucceeded(merge=command.merge, merged=merged)
                    self.agenda.after(command.delay_s + _MERGE_S, partial(self.tell, done))
                case do.Finish():
                    self._finish = command
                case _:
                    pass

    def _commit(self) -> None:
        tickets, self._uncommitted = tuple(self._uncommitted), []
        self.tell(ev.Committed(tickets))

    def _tick(self) -> None:
        self.tell(ev.Tick())
        self.agenda.after(_TICK_S, self._tick)


class _Node:
    """One node: its core, and a payload that takes virtual time."""

    def __init__(self, site: _LargeSite, name: str) -> None:
        self._site = site
        self._name = name
        self._core = NodeCore(name, site.outputs, site.node_config)
        self._unbegun: deque[int] = deque()
        self._running: set[int] = set()
        self._up = True
        self._asking = True
        self._asked_at = 0.0
        self._interval_s = self._least_s = 0.0
        self._wake_at = _NEVER

    def come_up(self) -> None:
        """Register."""
        self._site.ask(
            lambda now: self._site.exchange.register(self._name, self._site.plan.cores, self._core.held(), now), self._welcomed
        )

    def vanish(self) -> None:
        """End without a word; after a while somebody notices."""
        self._up = False
        self._site.gauge.change(-len(self._running), self._site.agenda.now)
        self._site.agenda.after(self._site.exchange.config.node_timeout_s, lambda: self._site.lose(self._name))

    def _welcomed(self, reply: CoordinatorReply) -> None:
        if self._up:
            self._site.node_is_up()
            self._core.registered()
            self._obey(reply, self._core.apply)

    def _answered(self, reply: CoordinatorReply) -> None:
        if self._up:
            self._obey(reply, self._core.answered)

    def _obey(self, reply: CoordinatorReply, take: Callable[[CoordinatorReply], list[int]]) -> None:
        self._asking = False
        self._interval_s, self._least_s = reply.next_exchange_s or 0.0, reply.min_exchange_s
        wanted_back = set(take(reply))
        self._unbegun = deque(index for index in self._unbegun if index not in wanted_back)
        for index in wanted_back:
            self._core.released(index)
        self._up = not reply.stop
        self._go_on()

    def _go_on(self) -> None:
        if not self._up:
            return
        site, core, now = self._site, self._core, self._site.agenda.now
        if core.queue:
            room = site.plan.cores + max(2, site.plan.cores // 16) - len(self._running) - len(self._unbegun)
            self._unbegun.extend(core.to_feed(max(0, room)))
        while self._unbegun and len(self._running) < site.plan.cores:
            self._begin(self._unbegun.popleft(), now)
        for group in core.groups_due(now):
            site.agenda.after(_WRITE_S, partial(self._write, group))
        if not self._asking and core.exchange_due(now):
            self._asking, self._asked_at = True, now
            message = core.message(now, now)
            site.ask(lambda at: site.exchange.exchange(message, at), self._answered)
        elif not self._asking:
            self._wake(self._asked_at + self._interval_s)

    def _wake(self, at: float) -> None:
        """Look again then, if nothing happens before."""
        now = self._site.agenda.now
        if now < self._wake_at <= at:
            return
        self._wake_at = max(at, now + _LEAST_S)
        self._site.agenda.after(self._wake_at - now, self._go_on)

    def _begin(self, index: int, now: float) -> None:
        site = self._site
        site.begun_twice += site.begun[index]
        site.begun[index] = 1
        self._running.add(index)
        self._core.started(index, now)
        site.gauge.change(1, now)
        site.agenda.after(float(site.times_s[index]), partial(self._end, index, now))

    def _end(self, index: int, began_at: float) -> None:
        if not self._up:
            return
        site, now = self._site, self._site.agenda.now
        self._running.discard(index)
        site.gauge.change(-1, now)
        site.last_end_s = now
        took_s = now - began_at
        self._core.done(FinishedRange(index, "", 0, 100, True, 1, took_s, took_s, began_at), now)
        site.agenda.after(site.node_config.group_age_s + _LEAST_S, self._go_on)
        if (allowed_at := self._asked_at + max(self._least_s, _LEAST_S)) > now:
            self._wake(allowed_at)
        self._go_on()

    def _write(self, group: GroupToWrite) -> None:
        if not self._up:
            return
        self._site.groups += 1
        members = [member.index for member in group.members]
        report = group_of(f"{self._name}/{group.number}", self._name, group.output, members)
        report.entries["wall_s"] = [member.wall_s for member in group.members]
        report.entries["start"] = [member.started_at for member in group.members]
        self._core.group_written(group.number, report)
        self._go_on()
