"""Ranges handed out while the job runs: when more are asked for, what is reported and how, and what ends the job."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.core_time import Idle
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.job import NO_MERGE, MergeSpec
from raythena.domain.ranges import RangeState
from raythena.domain.records import AttemptFailed, RangesTaken
from raythena.domain.results import FailureKind, RangeFailure
from raythena.domain.taxonomy import EndCause
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig, SupplyConfig
from raythena.engine.invariants import check
from raythena.engine.reports import ReportQueue
from raythena.engine.supply import Supply
from raythena.testing.simulation.memory_ledger import MemoryLedger
from raythena.testing.simulation.samples import given_job, given_range, group_of, small_job

JOB = given_job(2)
CONFIG = SupplyConfig(first_request=100, ahead_per_core=4, ahead_s=60.0, answers_ahead=2.0, max_ahead=5000)
NOBODY = np.empty(0, dtype=np.int64)

# ---- when to ask


def test_the_first_request_does_not_wait_for_nodes():
    assert Supply(CONFIG).wanted(0, 0, 0.0, None) == 100


def test_more_is_asked_for_before_what_is_there_runs_out():
    supply = Supply(CONFIG)
    assert supply.wanted(4 * 8, 8, 0.0, None) == 0
    assert supply.wanted(4 * 8 - 1, 8, 0.0, None) == 4 * 8 + 1
    assert supply.wanted(60 * 10, 8, 10.0, None) == 0
    assert supply.wanted(60 * 10 - 1, 8, 10.0, None) == 60 * 10 + 1


def test_the_reserve_covers_the_time_an_answer_takes():
    supply = Supply(CONFIG)
    supply.asked(0.0)
    supply.answered(100.0)
    assert supply.reserve(8, 10.0) == 2000
    for now in range(200, 210):  # quick answers: the memory of the slow one fades
        supply.asked(float(now))
        supply.answered(now + 0.5)
    assert supply.reserve(8, 10.0) == 600


def test_one_request_is_open_at_a_time_and_none_after_the_end():
    supply = Supply(CONFIG)
    supply.asked(1.0)
    assert supply.wanted(0, 8, 1.0, None) == 0
    supply.answered(2.0)
    assert supply.wanted(0, 8, 1.0, None) > 0
    supply.ended = True
    assert supply.wanted(0, 8, 1.0, None) == 0


@given(st.floats(0.1, 40.0), st.integers(1, 300))
def test_once_the_time_of_an_answer_is_known_nothing_runs_out(speed, answer_s):
    """Virtual seconds: so many events a second are used up, and every answer takes as long."""
    supply, ready, answers, due, count = Supply(SupplyConfig()), 0.0, 0, 0, 0
    for now in range(20 * answer_s + 1000):
        if supply.asked_at is not None and now == due:
            supply.answered(float(now))
            ready, answers = ready + count, answers + 1
        if wanted := supply.wanted(int(ready), 8, speed, None):
            supply.asked(float(now))
            count, due = wanted, now + answer_s
        if answers > 2:
            assert ready >= speed, f"cores wait at {now} s"
        ready = max(0.0, ready - speed)
    assert answers > 2


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.floats(0, 1e6), st.none() | st.integers(0, 10**6))
def test_requests_are_bounded(ready, cores, speed, beginnable):
    count = Supply(CONFIG).wanted(ready, cores, speed, beginnable)
    assert 0 <= count <= CONFIG.max_ahead
    assert beginnable is None or count <= max(0, beginnable - ready)


# ---- reports


def test_a_report_is_never_split_and_the_rest_waits_for_acknowledgements():
    queue = ReportQueue(limit=5)
    for name, size in (("a", 4), ("b", 4), ("huge", 9)):
        queue.finished(group_of(name, "n", 0, range(10 * size, 10 * size + size)))
    first = queue.next(1.0)
    assert first.group.name == "a"
    assert queue.next(1.0) is None
    assert queue.acknowledged([first.number, 99], 2.0).groups == ("a",)
    assert queue.committed().tolist() == list(range(40, 44))
    second = queue.next(2.0)
    assert queue.acknowledged([second.number], 2.0).groups == ("b",)
    assert len(queue.next(2.0).group.entries) == 9
    assert not queue.is_empty


def test_an_acknowledgement_repeated_says_nothing_new():
    queue = ReportQueue(limit=5)
    queue.given_up([AttemptFailed(3, 3, "n", FailureKind.CRASH, "boom", True, 0.0)])
    number = queue.next(0.0).number
    assert queue.acknowledged([number, number], 0.0).failed == (3,)
    assert queue.acknowledged([number], 0.0) is None


# ---- the engine


class World:
    """An engine whose ledger commits at once; requests and reports are collected."""

    def __init__(self, config: EngineConfig | None = None, ledger: MemoryLedger | None = None) -> None:
        self.ledger = ledger or MemoryLedger()
        self.engine = Engine(JOB, self.ledger.restore(), config or EngineConfig(max_attempts=2, retry_delay_s=0.0))
        self.now = 0.0
        self.asked: list[int] = []
        self.reports: list[do.PublishReport] = []
        self.leased: dict[str, list[int]] = {}
        self.finish: do.Finish | None = None

    def step(self, event: ev.Event, after_s: float = 0.01) -> None:
        self.now += after_s
        commits: list[do.Commit] = []
        for command in self.engine.step(event, self.now):
            match command:
                case do.Commit():
                    commits.append(command)
                case do.RequestRanges():
                    self.asked.append(command.count)
                case do.PublishReport():
                    self.reports.append(command)
                case do.Lease():
                    self.leased.setdefault(command.node, []).extend(command.ranges.tolist())
                case do.Finish():
                    self.finish = command
        check(self.engine)
        if commits:
            self.ledger.commit([commit.record for commit in commits])
            self.step(ev.Committed(tuple(commit.ticket for commit in commits)))

    def give(self, *numbers: int) -> None:
        ranges = [given_range(JOB, number) for number in numbers]
        self.step(ev.RangesGiven(GivenRanges.pack(ranges, JOB.inputs)))

    def join(self, *nodes: str) -> None:
        for node in nodes:
            self.step(ev.NodeJoined(node=node, cores=2, held=NOBODY))

    def fail(self, node: str, index: int, kind: FailureKind) -> None:
        self.step(ev.AttemptReported(RangeFailure(index, kind, "no", node)))
        self.leased[node].remove(index)

    def lease(self, node: str) -> None:
        self.step(ev.Tick(), 1.0)
        self.step(ev.NodeReport(node=node, queued=0, running=()))

    def group(self, name: str, node: str, *indices: int) -> None:
        self.step(ev.GroupReported(group_of(name, node, self.engine.table.file_of(indices[0]), indices)))

    def acknowledge_all(self) -> None:
        self.step(ev.ReportsAcknowledged(tuple(report.number for report in self.reports)))


def test_a_whole_job():
    world = World()
    world.step(ev.Tick())
    assert len(world.asked) == 1
    world.give(0, 1, 2, 3)
    world.join("n.1")
    world.lease("n.1")
    assert sorted(world.leased["n.1"]) == [0, 1, 2, 3]
    world.group("g", "n.1", 0, 1)
    world.group("h", "n.1", 2, 3)
    assert [report.group.name for report in world.reports] == ["g", "h"]
    world.step(ev.RangesEnded())
    assert world.finish is None
    world.acknowledge_all()
    assert (world.finish.outcome, world.finish.reason) == (do.Outcome.COMPLETE, "every event is reported")
    assert world.engine.table.count(RangeState.MERGED) == 4


def test_a_chunk_is_not_leased_before_the_ledger_has_it():
    engine = Engine(JOB)
    engine.step(ev.NodeJoined(node="n.1", cores=2, held=NOBODY), 0.0)
    chunk = GivenRanges.pack([given_range(JOB, 0)], JOB.inputs)
    (commit,) = (each for each in engine.step(ev.RangesGiven(chunk), 1.0) if isinstance(each, do.Commit))
    assert isinstance(commit.record, RangesTaken)
    assert not [each for each in engine.step(ev.NodeReport(node="n.1", queued=0, running=()), 2.0) if isinstance(each, do.Lease)]
    engine.step(ev.Committed((commit.ticket,)), 3.0)
    assert [each for each in engine.step(ev.NodeReport(node="n.1", queued=0, running=()), 4.0) if isinstance(each, do.Lease)]


def test_what_idle_cores_wait_for():
    engine = Engine(JOB)
    engine.step(ev.NodeJoined(node="n.1", cores=2, held=NOBODY), 0.0)
    assert engine.idle_means is Idle.STEERING, "nothing was handed out yet"
    chunk = GivenRanges.pack([given_range(JOB, 0)], JOB.inputs)
    (commit,) = (each for each in engine.step(ev.RangesGiven(chunk), 1.0) if isinstance(each, do.Commit))
    assert engine.idle_means is Idle.RANGES, "the ledger has to take it first"
    engine.step(ev.Committed((commit.ticket,)), 2.0)
    engine.step(ev.NodeReport(node="n.1", queued=0, running=()), 3.0)
    assert engine.table.count(RangeState.LEASED) == 1
    assert engine.idle_means is Idle.STEERING, "the searcher waits for its result"
    engine.step(ev.RangesEnded(), 4.0)
    assert engine.idle_means is Idle.TAIL


def test_the_same_id_is_one_range_and_another_attempt_number_is_another():
    world = World()
    world.give(0, 1)
    world.give(1, 2, 0)
    assert len(world.engine.table) == 3
    again = given_range(JOB, 0)
    retried = type(again)(again.range_id[:-1] + "4", again.lfn, again.pfn, again.guid, 1, 1)
    world.step(ev.RangesGiven(GivenRanges.pack([retried], JOB.inputs)))
    assert len(world.engine.table) == 4


def failing_world() -> World:
    """Three nodes, more successes than failures, and a range that failed once on n.1."""
    world = World()
    world.give(*range(12))
    world.step(ev.RangesEnded())
    world.join("a.1", "b.1", "c.1")
    world.lease("c.1")
    world.group("ok", "c.1", *world.leased["c.1"])
    world.lease("a.1")
    return world


@pytest.mark.parametrize(
    ("kind", "fatal"),
    [(FailureKind.REPORTED, True), (FailureKind.CRASH, True), (FailureKind.HANG, True), (FailureKind.BAD_OUTPUT, False)],
)
def test_what_fails_by_itself_on_different_nodes_is_fatal(kind, fatal):
    world = failing_world()
    index = world.leased["a.1"][0]
    world.fail("a.1", index, kind)
    while index not in world.leased.get("b.1", ()):
        world.lease("b.1")
    world.fail("b.1", index, kind)
    (report,) = (report for report in world.reports if report.group is None)
    assert [(failure.range_index, failure.fatal) for failure in report.failures] == [(index, fatal)]
    restored = world.ledger.restore().unreported_failures
    assert [failure.fatal for failure in restored] == [fatal]


def test_a_single_node_may_be_to_blame_itself():
    world = World()
    world.give(*range(8))
    world.join("a.1")
    while len(world.leased.get("a.1", ())) < 8:
        world.lease("a.1")
    world.group("ok", "a.1", 0, 1, 2)
    for _ in range(2):
        world.lease("a.1")
        world.fail("a.1", 3, FailureKind.REPORTED)
        world.step(ev.Tick(), 5.0)
    assert [failure.fatal for report in world.reports for failure in report.failures] == [False]


def test_a_release_that_is_broken_makes_nothing_fatal():
    world = World()
    world.give(0)
    world.join("a.1", "b.1")
    for node in ("a.1", "b.1"):
        world.lease(node)
        world.fail(node, 0, FailureKind.REPORTED)
    (report,) = world.reports
    assert not report.failures[0].fatal


def test_nothing_is_asked_for_that_cannot_be_begun_in_time():
    world = World()
    world.join("n.1")
    world.step(ev.NodeReport(node="n.1", queued=0, running=(), computed=4, computed_s=400.0))
    world.step(ev.DeadlineSet(10.0))
    before = list(world.asked)
    world.give(0)
    world.step(ev.Tick())
    assert world.asked == before


def test_a_later_life_reports_what_was_not_acknowledged_and_nothing_else():
    world = World()
    world.give(0, 1, 2, 3)
    world.join("n.1")
    world.lease("n.1")
    world.group("g", "n.1", 0, 1)
    world.acknowledge_all()
    world.group("h", "n.1", 2, 3)
    later = World(ledger=world.ledger)
    later.step(ev.Tick())
    assert [report.group.name for report in later.reports] == ["h"]
    later.step(ev.RangesEnded())
    later.acknowledge_all()
    assert later.finish.outcome is do.Outcome.COMPLETE


@pytest.mark.parametrize("answered", [False, True])
def test_whoever_never_answers_is_not_waited_for_for_ever(answered):
    world = World(EngineConfig(supply=SupplyConfig(patience_s=50.0, report_patience_s=50.0)))
    world.step(ev.Tick())
    world.join("n.1")
    if answered:
        world.give(0)
        world.step(ev.RangesEnded())
        world.lease("n.1")
        world.group("g", "n.1", 0)
    world.step(ev.Tick(), 40.0)
    assert world.finish is None
    world.step(ev.Tick(), 20.0)
    assert (world.finish.outcome, world.finish.cause) == (do.Outcome.ABORTED, EndCause.OUTSIDE)


def test_a_job_that_merges_nothing_is_over_when_everything_is_stored():
    job = small_job((4,), 2)
    job = type(job)(**{**{name: getattr(job, name) for name in job.__dataclass_fields__}, "merge": MergeSpec(NO_MERGE)})
    ledger = MemoryLedger()
    engine = Engine(job)
    engine.step(ev.NodeJoined(node="n.1", cores=2, held=np.arange(4)), 0.0)
    for output, ranges in enumerate(((0, 1), (2, 3))):
        (commit,) = engine.step(ev.GroupReported(group_of(f"g{output}", "n.1", output, ranges)), 1.0)
        ledger.commit([commit.record])
        commands = engine.step(ev.Committed((commit.ticket,)), 2.0)
        assert not any(isinstance(command, do.StartMerge | do.DiscardGroups) for command in commands)
    assert engine.finished.outcome is do.Outcome.COMPLETE
    again = Engine(job, ledger.restore())
    again.step(ev.Tick(), 0.0)
    assert again.finished.outcome is do.Outcome.COMPLETE
