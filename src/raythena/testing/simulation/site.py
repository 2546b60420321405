"""The site as a whole: who is there, which session it is, and how it ends.

`simulate(seed, plan)` runs one job to its end, over as many sessions and coordinators as it takes, and checks the promises of
the engine on the way. A failing seed is run once more, with a look after every single step towards its end; it raises
`PromiseBroken` with what led there and a one-line reproduction.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from raythena.domain.errors import InternalError, LedgerBusy, StorageError
from raythena.domain.job import NO_MERGE, Job, MergeSpec
from raythena.domain.records import AttemptFailed, GroupStored, RangesReopened, RangesRetracted, Record, Restored
from raythena.domain.upstream import Upstream
from raythena.engine import commands as do
from raythena.engine.node_core import Destinations
from raythena.engine.restarts import AgentEnd
from raythena.testing.simulation.agenda import Agenda
from raythena.testing.simulation.disk import SimulatedDisk
from raythena.testing.simulation.disk_ledger import LedgerOnDisk
from raythena.testing.simulation.draw import draw
from raythena.testing.simulation.fault_model import FaultModel
from raythena.testing.simulation.judge import LOOK_EVERY, Judge, PromiseBroken
from raythena.testing.simulation.meter import Meter
from raythena.testing.simulation.plan import Plan, pasted
from raythena.testing.simulation.samples import given_job, small_job
from raythena.testing.simulation.simulated_coordinator import SimulatedCoordinator
from raythena.testing.simulation.simulated_lease import Lease, LeaseOnDisk
from raythena.testing.simulation.simulated_node import SimulatedNode
from raythena.testing.simulation.simulated_scan import SimulatedScan
from raythena.testing.simulation.simulated_source import SimulatedSource
from raythena.testing.simulation.simulated_supervisor import SimulatedSupervisor
from raythena.testing.simulation.simulated_upstream import SimulatedUpstream
from raythena.testing.simulation.site_parts import Parts
from raythena.testing.simulation.storage import WatchedLedger
from raythena.testing.simulation.surroundings import Host, NodeAtSite
from raythena.testing.simulation.trace import Trace
from raythena.testing.simulation.trouble import Trouble

_PROGRESS_S = 150.0
_NODE_KILLED_S = 40.0
"""What an event that takes its node down may cost each time: the silence of the node, and the pause before it is back."""
_ROUNDS, _POINT_S = 3, 10.0
"""A point of a scan may have to wait for the one before it: for so many answers, and for a group and a heartbeat."""
_MAX_SESSIONS = 40
_LEASE_PAUSE_S = 10.0
_NOTICED_AFTER_S = 3.0
"""Nobody learns of a death later than this, if at all."""
_LONGEST_QUEUE_S = 5.0
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 (a directory of its own is made there)
"""What is synchronised here need not wait for a disk: crashes are simulated, power cuts too."""
_DONE = (do.Outcome.COMPLETE, do.Outcome.INCOMPLETE)


@dataclass(frozen=True)
class Result:
    """How a simulated job went. Times are virtual seconds."""

    seed: int
    outcome: do.Outcome
    makespan_s: float
    occupancy: float
    """Of all cores, between the first and the last event."""
    events: int
    merged: int
    """Given ranges count when their source has been told that they are finished; where nothing is merged, stored ones do."""
    failed: int
    innocent: int
    """Failed ranges with which nothing was wrong."""
    attempts: int
    """Times an event was begun, whatever became of it."""
    sessions: int
    steps: int
    faults: dict[str, int] = field(default_factory=dict)
    """How often what went wrong."""


class Site:
    """Everything there is in one simulation. Its actors know it as `Surroundings`."""

    def __init__(self, seed: int, plan: Plan, parts: Parts, resources: ExitStack, *, closely_from: int | None) -> None:
        self.plan = plan
        self.parts = parts
        self.agenda = Agenda()
        self.trace = Trace(lambda: self.agenda.now, in_full=closely_from is not None)
        self.fault_model = FaultModel(seed, plan, self.agenda)
        self.job = _job_of(plan)
        self.judge = Judge(self.job, plan.n_events, closely_from)
        self.range_source = SimulatedScan(self) if _is_scan(plan) else SimulatedSource(self, plan.n_events if plan.given else 0)
        self.upstream = SimulatedUpstream(self) if plan.upstream else None
        self.destinations: Destinations = self.range_source if plan.given else self.judge.outputs
        self.disk = SimulatedDisk(lambda: self.fault_model.happens(plan.damage))
        self.meter = Meter()
        self.session = 0
        self.host = ""
        self.nodes: list[SimulatedNode] = []
        self.coordinator: SimulatedCoordinator | None = None
        self.supervisor: SimulatedSupervisor | None = None
        ledger = parts.ledger(self.job) if parts.ledger else None
        self.lease: Lease = parts.lease(lambda: self.agenda.now)
        if plan.on_disk and ledger is None:
            temporary = tempfile.TemporaryDirectory(
                prefix="raythena-simulation-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None
            )
            directory = Path(resources.enter_context(temporary))
            ledger, self.lease = LedgerOnDisk(directory, self.job), LeaseOnDisk(directory / "lease.json")
        self.ledger = WatchedLedger(ledger, self._committed, self.fault_model.dice)
        self.judge.watch(self.ledger.shadow)
        resources.callback(self._close)
        self._trouble = Trouble(self)
        self.hosts = [_host(plan, number) for number in range(plan.nodes)]
        self._ends_at: float | None = None
        self._end: do.Finish | None = None
        self._retries = 0 if plan.given else plan.retries
        self._to_retry = False

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self.agenda.now

    def commit(self, records: Sequence[Record]) -> None:
        """Make records durable; sometimes the disk refuses, and sometimes the coordinator dies before it learns that they are.

        Raises StorageError.
        """
        if self.now < self.disk.refused_until:
            self.ledger.refuse(records)
        elif self.fault_model.happens(self.plan.io_errors):
            self.trace.tell("a commit fails", "commit refused")
            raise StorageError("simulated: input/output error")
        else:
            self.ledger.commit(records)
        if self.plan.crashes and self.fault_model.happens(0.02):
            self.agenda.after(0.0, self.crash)

    def _committed(self, records: Sequence[Record]) -> None:
        self.judge.committed(records)
        for record in records if self.plan.given else ():
            self.range_source.committed(record)
        if self.trace.in_full:
            for record in records:
                self.trace.tell_of(*_in_words(record))

    def _close(self) -> None:
        self.lease.die()
        self.ledger.close()

    # ---- a run

    def run(self) -> do.Outcome:
        """Session after session until the job is done."""
        self._trouble.schedule()
        while self.session < _MAX_SESSIONS:
            end = self._run_session()
            self.trace.tell(f"session {self.session} ends: {end.outcome} ({end.reason})")
            killed_late = end.outcome in _DONE and self.fault_model.happens(
                self.plan.commit_kills
            )  # before anybody learned of it
            if end.outcome in _DONE and not killed_late:
                self._judge_the_end()
                if not self._retries:
                    return end.outcome
                self._mend()
        raise InternalError(f"progress: {self.judge.unsettled()} after {_MAX_SESSIONS} sessions")

    def _mend(self) -> None:
        """Somebody mends what made events fail, and the next session is told to try them again."""
        self._retries -= 1
        self._to_retry = True
        self.fault_model.mend()
        if self.upstream is not None:
            self.upstream.mend()

    def begin_life_of_ledger(self) -> Restored:
        """What a new coordinator starts from; the first one of a session that is to try again what failed reopens it."""
        self.judge.look_at_files(self.disk)
        failed = self.ledger.restore().failed
        reopened = RangesReopened(tuple(failed.tolist())) if self._to_retry and len(failed) else None
        self._to_retry = False
        if reopened is not None:
            self.trace.tell(f"{len(failed)} events get new attempts", "failed events retried")
        self.ledger.begin_session(reopened)
        self.range_source.life_begins()
        return self.ledger.restore()

    def _judge_the_end(self) -> None:
        if self.upstream is not None:
            self.upstream.at_the_end()
        if self.plan.given:
            self.range_source.at_the_end()
        elif not self.plan.merged:
            self.judge.at_the_end_unmerged()
        else:
            for merged in self.ledger.shadow.merged.values():
                self.disk.put_into_place(merged)  # the last thing a session does
            self.judge.at_the_end(self.disk)

    def _run_session(self) -> do.Finish:
        self.session += 1
        self.host = f"h{self.session}"
        self._end = None
        if self.session > 1:
            self._wait(self.fault_model.dice.uniform(0.0, _LONGEST_QUEUE_S))
        self.trace.tell(f"session {self.session} begins")
        self._ends_at = self._trouble.limit_session()
        self._begin_life(self.session)
        self._begin_machines()
        plan = self.plan
        slowest_s = 6 * max(1.0, plan.slowness) * (plan.ideal_s + self.fault_model.longest_s)
        killed_s = plan.killers * plan.engine.max_losses * _NODE_KILLED_S
        one_by_one_s = plan.n_events / plan.parallel * (_ROUNDS * plan.answer_s + _POINT_S) if _is_scan(plan) else 0.0
        limit_s = max(self.now, plan.trouble_s) + _PROGRESS_S + slowest_s + killed_s + one_by_one_s
        while (end := self._ended()) is None:
            self.agenda.step()
            if self.now > limit_s:
                raise InternalError(f"progress: {self.judge.unsettled()}, although all faults stopped at {plan.trouble_s:.0f} s")
        for node in self.nodes:
            if node.alive:
                node.leave()
        self._end_life()
        return end

    def _wait(self, delay_s: float) -> None:
        """Let time pass: the next allocation does not come at once."""
        until = self.now + delay_s
        self.agenda.after(delay_s, lambda: None)
        while self.now < until:
            self.agenda.step()

    def _ended(self) -> do.Finish | None:
        if self._end is not None:
            return self._end
        if self.coordinator is not None and self.coordinator.finish is not None:
            self.lease.release()
            return self.coordinator.finish
        return None

    def end(self, reason: str) -> None:
        """The session is over, and nobody was asked."""
        self._end = do.Finish(outcome=do.Outcome.STOPPED, reason=reason)

    def _begin_machines(self) -> None:
        plan, dice = self.plan, self.fault_model.dice
        self.nodes = []
        for number, host in enumerate(self.hosts):
            host.is_up = False
            is_late = number < plan.late_nodes and self.fault_model.in_trouble
            latest_s = plan.trouble_s - self.now if is_late else 1.0 if plan.trouble_s else 0.0
            self._bring_machine(host, dice.uniform(0.0, latest_s) if latest_s else 0.0)

    def _bring_machine(self, host: Host, delay_s: float) -> None:
        """Another machine comes to a host."""
        session = self.session
        host.machine += 1
        machine = host.machine

        def come() -> None:
            if session == self.session and machine == host.machine and self._end is None:
                host.is_up = True
                _let_leave(self, host)
                self._when_supervised(lambda supervisor: supervisor.machine_appeared(host))

        self.agenda.after(delay_s, come)

    def start_agent(self, host: Host) -> SimulatedNode:
        """Another incarnation begins at a host."""
        slow = self.plan.loading_s and self.fault_model.in_trouble
        node = SimulatedNode(self, host, self.fault_model.dice.uniform(0.0, self.plan.loading_s) if slow else 0.0)
        self.nodes.append(node)
        node.start()
        return node

    def living_agent(self, host: Host) -> SimulatedNode | None:
        """The agent of the machine that is at a host."""
        mine = (node for node in reversed(self.nodes) if node.alive and node.machine == host.machine_name)
        return next(mine, None)

    def _when_supervised(self, action: Callable[[SimulatedSupervisor], None]) -> None:
        """Tell the present supervisor; if there is none, the next one will see for itself."""
        coordinator, supervisor = self.coordinator, self.supervisor
        if coordinator is not None and supervisor is not None:
            coordinator.when_awake(lambda: action(supervisor))

    # ---- lives of the coordinator

    def _begin_life(self, session: int) -> None:
        """A coordinator starts, as soon as it is given the task."""
        if session != self.session or self.coordinator is not None or self._end is not None:
            return
        try:
            self.lease.acquire(f"session {session}", self.host)
        except LedgerBusy:
            self.agenda.after(_LEASE_PAUSE_S, lambda: self._begin_life(session))
            return
        self.coordinator = SimulatedCoordinator(self, self._ends_at if self.plan.walltime_known else None)
        self.supervisor = SimulatedSupervisor(self, self.coordinator)

    def _end_life(self) -> None:
        if self.coordinator is not None:
            self.coordinator.crash()
            self.coordinator = self.supervisor = None
        self.lease.die()
        self.ledger.crash()

    def crash(self) -> None:
        """The coordinator dies, between any two steps; another one comes."""
        if self.coordinator is None or self.coordinator.finish is not None:
            return
        self.trace.tell("the coordinator dies", "coordinator died")
        self._end_life()
        session = self.session
        self.agenda.after(self.fault_model.dice.uniform(0.0, 8.0), lambda: self._begin_life(session))

    # ---- nodes that go and come

    def agent_ended(self, node: NodeAtSite, how: AgentEnd) -> None:
        """An agent ended before the job; whoever supervises it soon learns of it."""
        machine = node.host.machine_name
        delay_s = self.fault_model.dice.uniform(0.0, _NOTICED_AFTER_S)
        self.agenda.after(delay_s, lambda: self._when_supervised(lambda supervisor: supervisor.agent_ended(machine, node, how)))

    def machine_lost(self, node: NodeAtSite) -> None:
        """A machine vanished with its agent: sometimes somebody notices, and after a while another machine comes."""
        host, machine, dice = node.host, node.host.machine_name, self.fault_model.dice
        host.is_up = False
        if dice.random() < 0.7:
            self.agenda.after(dice.uniform(0.0, _NOTICED_AFTER_S), lambda: self._tell_of_loss(machine, node.name))
        else:
            self._when_supervised(lambda supervisor: supervisor.machine_vanished(machine))
        self._bring_machine(host, dice.uniform(0.0, 5.0))

    def _tell_of_loss(self, machine: str, name: str) -> None:
        self._when_supervised(lambda supervisor: supervisor.machine_vanished(machine))
        coordinator = self.coordinator
        if coordinator is not None:
            coordinator.when_awake(lambda: coordinator.lose(name))

    def given_up(self, name: str) -> None:
        """The coordinator believes that a node is gone; sometimes its machine comes back for a new one although it is alive."""
        self.trace.tell(f"{name} is given up", "node given up")
        node = next((node for node in self.nodes if node.name == name and node.alive), None)
        if node is not None and node.machine == node.host.machine_name and self.fault_model.happens(0.3):
            machine = node.machine
            self._when_supervised(lambda supervisor: supervisor.machine_vanished(machine))
            self._bring_machine(node.host, 1.0)


def _let_leave(site: Site, host: Host) -> None:
    """The machine that has come may have an end of its own."""
    host.leaves_at = float("inf")
    if not host.leaves or not site.fault_model.in_trouble:
        return
    stay_s, machine = site.fault_model.dice.uniform(0.0, site.plan.trouble_s), host.machine_name
    host.leaves_at = site.now + stay_s

    def leave() -> None:
        if machine != host.machine_name:
            return
        node = site.living_agent(host)
        if node is not None:
            node.lose_machine("its allocation ends")
        else:
            host.leaves_at = float("inf")  # nobody is there to leave

    site.agenda.after(stay_s, leave)


def _host(plan: Plan, number: int) -> Host:
    from_the_end = plan.nodes - 1 - number
    return Host(
        f"n{number + 1}",
        plan.slowness if number < plan.slow_nodes else 1.0,
        is_bad=from_the_end < plan.bad_nodes,
        is_frail=number < plan.frail_nodes,
        breaks_payloads=from_the_end < plan.broken_payloads,
        leaves=from_the_end < plan.leaving_nodes,
    )


def _is_scan(plan: Plan) -> bool:
    return plan.given and plan.parallel > 0


def _job_of(plan: Plan) -> Job:
    if plan.given:
        return given_job(1 if _is_scan(plan) else len(plan.events_per_input))
    job = small_job(plan.events_per_input, plan.events_per_output)
    if plan.upstream:
        job = replace(job, upstream=Upstream("/upstream", "0", "upstream"))
    return job if plan.merged else replace(job, merge=MergeSpec(NO_MERGE))


def simulate(seed: int, plan: Plan | None = None, parts: Parts | None = None) -> Result:
    """Run one job at a simulated site. Without a plan, the seed draws one. Raises PromiseBroken."""
    drawn = plan or draw(seed)
    try:
        return _run(seed, drawn, parts or Parts())[1]
    except _Broken as broken:
        first = broken
    try:
        _run(seed, drawn, parts or Parts(), closely_from=first.steps - LOOK_EVERY)
    except _Broken as broken:
        first = broken  # the same seed, looked at more closely, and told in full
    again = f"simulate({seed})" if plan is None else f"simulate({seed}, {pasted(plan)})"
    raise PromiseBroken(first.promise, first.story, again) from first


class _Broken(Exception):
    """A promise, what led there, and how many steps it took."""

    def __init__(self, promise: str, site: Site) -> None:
        super().__init__(promise)
        self.promise, self.story, self.steps = promise, site.trace.condensed(promise), site.judge.steps


def _run(seed: int, plan: Plan, parts: Parts, *, closely_from: int | None = None) -> tuple[Site, Result]:
    with ExitStack() as resources:
        site = Site(seed, plan, parts, resources, closely_from=closely_from)
        try:
            outcome = site.run()
        except InternalError as broken:
            raise _Broken(str(broken), site) from broken
        except Exception as defect:  # whatever else escapes the engine or the ledger is a defect, and must be told with its seed
            raise _Broken(f"a defect: {type(defect).__name__}: {defect}", site) from defect
        return site, _result(seed, site, outcome)


def _result(seed: int, site: Site, outcome: do.Outcome) -> Result:
    ledger, plan = site.ledger.shadow, site.plan
    return Result(
        seed,
        outcome,
        site.now,
        site.meter.occupancy(plan.nodes * plan.cores),
        plan.n_events,
        _merged(site),
        len(ledger.failed),
        len(ledger.failed.keys() - site.fault_model.ill),
        site.meter.attempts,
        site.session,
        site.agenda.steps,
        dict(site.trace.faults),
    )


def _merged(site: Site) -> int:
    if site.plan.given:
        return list(site.range_source.told.values()).count("finished")
    return len(site.ledger.shadow.merged_ranges if site.plan.merged else site.ledger.shadow.stored)


def _in_words(record: Record) -> tuple[list[int], str]:
    match record:
        case GroupStored(group):
            return group.entries["range"].tolist(), f"is committed in {group.name}"
        case AttemptFailed(range_index=index, attempt=attempt, kind=kind, final=final):
            return [index], f"is committed as failed ({kind}, attempt {attempt}{', for good' if final else ''})"
        case RangesRetracted(name, ranges):
            return list(ranges), f"is taken back, unreadable in {name}"
        case _:
            return [], "an output is committed"
