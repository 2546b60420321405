"""The site as a whole: who is there, what goes wrong when, and how it ends.

`simulate(seed, plan)` runs one job to its end, over as many sessions and coordinators as it takes, and checks the promises of
`design/architecture.md` at every step. A failing seed raises `PromiseBroken` with the last things that happened and a
one-line reproduction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raythena.domain.errors import InternalError
from raythena.domain.job import Job
from raythena.domain.records import Record
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.testing.simulation.agenda import Agenda
from raythena.testing.simulation.coordinator import EngineMaker, SimulatedCoordinator, SimulatedLedger
from raythena.testing.simulation.disk import SimulatedDisk
from raythena.testing.simulation.fate import Fate
from raythena.testing.simulation.judge import Judge, PromiseBroken
from raythena.testing.simulation.memory_ledger import MemoryLedger
from raythena.testing.simulation.meter import Meter
from raythena.testing.simulation.node import SimulatedNode
from raythena.testing.simulation.plan import Plan
from raythena.testing.simulation.samples import small_job

_STORY_LINES = 40
_PROGRESS_S = 150.0
_MAX_SESSIONS = 20

LedgerMaker = Callable[[Job], "CrashableLedger"]


class CrashableLedger(SimulatedLedger):
    """A ledger whose process can die."""

    def crash(self) -> None:
        """The coordinator is dead; the next call is its successor's."""


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
    failed: int
    innocent: int
    """Failed ranges with which nothing was wrong."""
    attempts: int
    """Times an event was begun, whatever became of it."""
    sessions: int
    crashes: int
    steps: int


class Site:
    """The world of one simulation."""

    def __init__(self, seed: int, plan: Plan, make_engine: EngineMaker, make_ledger: LedgerMaker | None) -> None:
        self.seed = seed
        self.plan = plan
        self.agenda = Agenda()
        self.fate = Fate(seed, plan, self.agenda)
        self.job = small_job(plan.events_per_input, plan.events_per_output)
        self.shadow = MemoryLedger()
        """What must be in the ledger, whichever ledger is used."""
        self._real = make_ledger(self.job) if make_ledger else None
        self.ledger: SimulatedLedger = self._real or self.shadow
        self.judge = Judge(self.job, self.shadow)
        self.disk = SimulatedDisk(lambda: self.fate.happens(plan.damage))
        self.meter = Meter()
        self.story: deque[str] = deque(maxlen=_STORY_LINES)
        self.session = 0
        self.crashes = 0
        self.nodes: list[SimulatedNode] = []
        self.coordinator: SimulatedCoordinator | None = None
        self._make_engine = make_engine
        self._names = 0

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self.agenda.now

    def tell_story(self, line: str) -> None:
        """Remember something notable."""
        self.story.append(f"{self.now:10.3f} s  {line}")

    def commit(self, records: Sequence[Record]) -> None:
        """Make records durable; sometimes the coordinator dies before it learns that they are."""
        if self._real is not None:
            self._real.commit(records)
        self.shadow.commit(records)
        if self.plan.crashes and self.fate.happens(0.02):
            self.agenda.after(0.0, self.crash)

    # ---- a run

    def run(self) -> do.Outcome:
        """Session after session until the job is done."""
        self._schedule_faults()
        while self.session < _MAX_SESSIONS:
            finish = self._run_session()
            self.tell_story(f"session {self.session} ends: {finish.outcome} ({finish.reason})")
            if finish.outcome in (do.Outcome.COMPLETE, do.Outcome.INCOMPLETE):
                self.judge.at_the_end(self.disk.outputs)
                return finish.outcome
        raise InternalError(f"progress: the job is not done after {_MAX_SESSIONS} sessions")

    def _run_session(self) -> do.Finish:
        self.session += 1
        self.tell_story(f"session {self.session} begins")
        self._begin_life()
        self.nodes = []
        for number in range(self.plan.nodes):
            self._new_node(self.plan.slowness if number < self.plan.slow_nodes else 1.0)
        deadline_s = max(self.now, self.plan.trouble_s) + _PROGRESS_S + 6 * self.plan.ideal_s * max(1.0, self.plan.slowness)
        while self.coordinator is None or self.coordinator.finish is None:
            self.agenda.step()
            if self.now > deadline_s:
                raise InternalError(f"progress: the job does not end although all faults stopped at {self.plan.trouble_s:.0f} s")
        finish = self.coordinator.finish
        self._end_session()
        return finish

    def _end_session(self) -> None:
        for node in self.nodes:
            if node.alive:
                node.leave()
        self._end_life()

    def _begin_life(self) -> None:
        self.coordinator = SimulatedCoordinator(self, self._make_engine)

    def _end_life(self) -> None:
        if self.coordinator is not None:
            self.coordinator.crash()
            self.coordinator = None
        if self._real is not None:
            self._real.crash()

    def _new_node(self, slowness: float) -> None:
        self._names += 1
        node = SimulatedNode(self, f"n{self._names}", slowness)
        self.nodes.append(node)
        self.agenda.after(self.fate.dice.uniform(0.0, 1.0) if self.plan.trouble_s else 0.0, node.start)

    def replace(self, node: SimulatedNode) -> None:
        """Another node comes for one that died."""
        session = self.session

        def come() -> None:
            if session == self.session and self.coordinator_is_working:
                self._new_node(1.0)

        self.agenda.after(self.fate.dice.uniform(0.0, 5.0), come)
        self.agenda.after(60.0, lambda: come() if not any(other.alive for other in self.nodes) else None)

    @property
    def coordinator_is_working(self) -> bool:
        """The session is not over."""
        return self.coordinator is None or self.coordinator.finish is None

    # ---- faults

    def _schedule_faults(self) -> None:
        plan = self.plan
        for count, fault in (
            (plan.crashes, self.crash),
            (plan.deaths, self._kill_one),
            (plan.cuts, self._cut_one),
            (plan.payload_crashes, self._crash_a_payload),
            (plan.stalls, self._stall),
            (plan.stops, self._stop),
        ):
            for at_s in self.fate.times(count):
                self.agenda.after(at_s, fault)

    def crash(self) -> None:
        """The coordinator dies, between any two steps; another one comes."""
        if self.coordinator is None or self.coordinator.finish is not None:
            return
        self.crashes += 1
        self.tell_story("the coordinator crashes")
        self._end_life()
        session = self.session
        self.agenda.after(self.fate.dice.uniform(0.0, 8.0), lambda: self._come_back(session))

    def _come_back(self, session: int) -> None:
        if self.coordinator is None and session == self.session:
            self.tell_story("another coordinator takes over")
            self._begin_life()

    def _pick(self) -> SimulatedNode | None:
        alive = [node for node in self.nodes if node.alive]
        return self.fate.dice.choice(alive) if alive else None

    def _kill_one(self) -> None:
        if node := self._pick():
            node.die("by fate")

    def _cut_one(self) -> None:
        if node := self._pick():
            node.cut_until = self.now + self.fate.dice.uniform(0.0, 20.0)
            self.tell_story(f"{node.name} is cut off until {node.cut_until:.1f} s")

    def _crash_a_payload(self) -> None:
        if node := self._pick():
            self.tell_story(f"the payload of {node.name} crashes")
            node.crash_payload()

    def _stall(self) -> None:
        self.disk.refused_until = self.now + self.fate.dice.uniform(0.0, 10.0)
        self.tell_story(f"the disk refuses until {self.disk.refused_until:.1f} s")

    def _stop(self) -> None:
        if self.coordinator is not None and self.coordinator.finish is None:
            self.tell_story("the session is told to stop")
            self.coordinator.tell(ev.StopRequested("simulated end of the allocation"))


def simulate(
    seed: int, plan: Plan | None = None, *, make_engine: EngineMaker = Engine, make_ledger: LedgerMaker | None = None
) -> Result:
    """Run one job at a simulated site. Without a plan, the seed draws one.

    `make_engine` and `make_ledger` put other parts in the place of the engine and of the ledger in memory. Raises PromiseBroken.
    """
    site = Site(seed, plan or Plan.drawn(seed), make_engine, make_ledger)
    try:
        outcome = site.run()
    except InternalError as broken:
        arguments = f"{seed}" if plan is None else f"{seed}, {plan!r}"
        raise PromiseBroken(str(broken), site.story, f"simulate({arguments})") from broken
    finally:
        site._end_life()
    ledger, plan = site.shadow, site.plan
    return Result(
        seed,
        outcome,
        site.now,
        site.meter.occupancy(plan.nodes * plan.cores),
        plan.n_events,
        len(ledger.merged_ranges),
        len(ledger.failed),
        len(ledger.failed.keys() - site.fate.ill),
        site.meter.attempts,
        site.session,
        site.crashes,
        site.agenda.steps,
    )
