"""The end of the allocation: nothing is begun that will not finish, everything finished is stored, merged and told in time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.ranges import RangeState, RangeTable
from raythena.domain.results import Entries
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.deadline import Deadline, EventTimes
from raythena.engine.drain_loss import DrainLossMeter
from raythena.engine.engine import Engine
from raythena.engine.engine_config import DeadlineConfig, EngineConfig
from raythena.engine.fleet import Node
from raythena.engine.invariants import check
from raythena.engine.lease_list import LeaseList
from raythena.testing.simulation.samples import entries_of, group_of, merged_of, small_job

NOTHING = np.empty(0, dtype=np.int64)
STEP_S = 0.25
MERGE_S = 3.0


@dataclass
class SlowNode:
    """A few cores that compute; a group is told a second after its event."""

    cores: int
    slowness: float = 1.0
    queue: list[int] = field(default_factory=list)
    running: dict[int, tuple[float, float]] = field(default_factory=dict)
    draining: bool = False
    begun_at: list[float] = field(default_factory=list)


class Site:
    """Events with log-normal times, merges of three seconds, a clock that goes in quarters of a second."""

    def __init__(self, nodes: dict[str, SlowNode], events: int, mean_s: float, spread: float, config: EngineConfig) -> None:
        self.dice = random.Random(7)
        self.mean_s, self.spread = mean_s, spread
        self.job = small_job((events,), 50)
        self.engine = Engine(self.job, None, config)
        self.nodes = nodes
        self.now = 0.0
        self.serial = 0
        self.later: list[tuple[float, ev.Event]] = []
        self.ends: list[float] = []
        for name, node in nodes.items():
            self.step(ev.NodeJoined(node=name, cores=node.cores, held=NOTHING))

    def step(self, event: ev.Event) -> None:
        for command in self.engine.step(event, self.now):
            match command:
                case do.Commit():
                    self.later.append((self.now + 0.2, ev.Committed((command.ticket,))))
                case do.Lease():
                    self.nodes[command.node].queue.extend(command.ranges.tolist())
                case do.Recall():
                    node = self.nodes[command.node]
                    back = [node.queue.pop() for _ in range(min(command.count, len(node.queue)))]
                    self.later.append((self.now, ev.RangesReturned(node=command.node, ranges=np.asarray(back, dtype=np.int64))))
                case do.Drain():
                    node = self.nodes[command.node]
                    node.draining = True
                    self.later.append(
                        (self.now, ev.RangesReturned(node=command.node, ranges=np.asarray(node.queue, dtype=np.int64)))
                    )
                    node.queue = []
                case do.StartMerge():
                    merged = merged_of(self.job, command.output, command.expected, command.missing)
                    done = ev.MergeSucceeded(merge=command.merge, merged=replace(merged, wall_s=MERGE_S))
                    self.later.append((self.now + MERGE_S, done))

    def run(self, until: float) -> do.Finish | None:
        while self.now < until and self.engine.finished is None:
            self.now += STEP_S
            for name, node in self.nodes.items():
                self.compute(name, node)
            due = [event for at, event in self.later if at <= self.now]
            self.later = [entry for entry in self.later if entry[0] > self.now]
            for event in due:
                self.step(event)
            self.step(ev.Tick())
            check(self.engine)
        return self.engine.finished

    def compute(self, name: str, node: SlowNode) -> None:
        done = [index for index, (_, end) in node.running.items() if end <= self.now]
        for index in done:
            began, end = node.running.pop(index)
            self.ends.append(end)
            self.serial += 1
            group = group_of(f"g{self.serial}", name, self.engine.outputs.output_of(index), [index], end - began)
            group.entries["start"] = began
            self.later.append((self.now + 1.0, ev.GroupReported(group)))
        while len(node.running) < node.cores and node.queue:
            took_s = self.mean_s * node.slowness * self.dice.lognormvariate(-0.5 * self.spread**2, self.spread)
            node.running[node.queue.pop(0)] = (self.now, self.now + took_s)
            node.begun_at.append(self.now)
        running = tuple((index, self.now - began) for index, (began, _) in node.running.items())
        took_s = self.mean_s * node.slowness * len(done)
        to_come = [event for _, event in self.later if isinstance(event, ev.GroupReported) and event.group.node == name]
        self.step(
            ev.NodeReport(
                node=name,
                queued=len(node.queue),
                running=running,
                waiting=(),
                unreported=len(to_come),
                computed=len(done),
                computed_s=took_s,
            )
        )


def site(*, walltime_s: float | None, nodes: dict[str, SlowNode] | None = None, spread: float = 0.3, events: int = 4000) -> Site:
    made = Site(nodes or {"a": SlowNode(4), "b": SlowNode(4)}, events, 10.0, spread, EngineConfig())
    if walltime_s is not None:
        made.step(ev.DeadlineSet(walltime_s))
    return made


def test_a_job_ends_by_itself_before_its_walltime_with_its_results_stored():
    it = site(walltime_s=300.0)
    finish = it.run(300.0)
    assert finish is not None, "the kill came first"
    assert finish.outcome is do.Outcome.STOPPED
    assert finish.reason.startswith("walltime")
    assert finish.loss.left_s <= 40.0
    stored = it.engine.table.count(RangeState.STORED) + it.engine.table.count(RangeState.MERGED)
    assert stored == len(it.ends), "an event that finished was not stored"
    complete = [output for output in range(it.engine.outputs.n_outputs) if it.engine.merges.open_ranges[output] == 0]
    assert it.engine.merges.n_merged == len(complete) > 0


def test_few_events_are_cut_off_and_little_core_time_is_thrown_away():
    it = site(walltime_s=300.0)
    loss = it.run(300.0).loss
    assert loss.events_cut_off <= 2
    assert loss.core_s <= 8 * (loss.drain_s + 10.0)
    begun = [at for node in it.nodes.values() for at in node.begun_at]
    assert max(begun) <= 300.0 - 20.0 - 10.0, "an event was begun that could not be expected to finish"
    assert max(begun) >= 300.0 - 20.0 - 20.0, "cores stopped far too early"


def test_a_slow_node_stops_earlier_than_a_fast_one():
    it = site(walltime_s=600.0, nodes={"fast": SlowNode(4), "slow": SlowNode(4, 5.0)})
    assert it.run(600.0).outcome is do.Outcome.STOPPED
    assert max(it.nodes["slow"].begun_at) < max(it.nodes["fast"].begun_at) - 10.0
    assert max(it.nodes["slow"].begun_at) <= 600.0 - 20.0 - 35.0 + DeadlineConfig().look_interval_s


def test_a_job_that_fits_is_not_touched():
    assert site(walltime_s=500.0, events=100).run(500.0).outcome is do.Outcome.COMPLETE


def test_without_a_walltime_nothing_is_stopped():
    it = site(walltime_s=None, events=200)
    assert it.run(2000.0).outcome is do.Outcome.COMPLETE
    assert it.engine.finished.loss == do.DrainLoss()


def test_while_nothing_is_known_no_event_is_thought_shorter_than_what_has_passed():
    it = Site({"a": SlowNode(2)}, 100, 1000.0, 0.01, EngineConfig())
    it.step(ev.DeadlineSet(400.0))
    finish = it.run(400.0)
    assert finish.outcome is do.Outcome.STOPPED
    assert len(it.nodes["a"].begun_at) == 2


def test_a_walltime_that_is_over_already_stops_at_once():
    it = site(walltime_s=5.0)
    assert it.run(5.0).outcome is do.Outcome.STOPPED
    assert not it.ends


def test_a_walltime_learned_in_the_middle_counts_and_one_taken_back_does_not():
    it = site(walltime_s=100.0)
    it.run(30.0)
    it.step(ev.DeadlineSet(None))
    it.run(150.0)
    assert it.engine.finished is None
    assert it.engine.stopping is None
    it.step(ev.DeadlineSet(250.0))
    assert it.run(250.0).outcome is do.Outcome.STOPPED


def test_within_a_grace_period_everything_is_over():
    it = site(walltime_s=None)
    it.run(100.0)
    it.step(ev.StopRequested(reason="SIGUSR1", within_s=30.0))
    finish = it.run(130.0)
    assert finish is not None, "the kill came first"
    assert finish.reason == "SIGUSR1"
    assert finish.loss.events_cut_off == 0
    assert it.engine.table.count(RangeState.LEASED) == 0


def test_a_grace_period_shorter_than_the_events_cuts_them_off_in_time():
    it = site(walltime_s=None)
    it.run(100.0)
    it.step(ev.StopRequested(reason="SIGTERM", within_s=4.0))
    finish = it.run(104.0)
    assert finish is not None
    assert finish.loss.events_cut_off > 0
    assert finish.loss.core_s > 8 * finish.loss.drain_s * 0.5


def test_the_walltime_goes_before_a_longer_grace_period():
    it = site(walltime_s=130.0)
    it.run(80.0)
    it.step(ev.StopRequested(reason="a person"))
    it.step(ev.StopRequested(reason="again", within_s=1000.0))
    assert it.run(130.0) is not None


# ---- parts


@given(st.lists(st.floats(2**-9, 1e5), min_size=1, max_size=300), st.floats(0.05, 1.0))
def test_a_quantile_is_right_within_a_bin(times, probability):
    histogram = EventTimes()
    for start in range(0, len(times), 7):
        histogram.add(np.asarray(times[start : start + 7], dtype=np.float32))
    rank = max(1, int(np.ceil(probability * len(times) - 1e-9)))
    exact = sorted(np.asarray(times, dtype=np.float32).tolist())[rank - 1]
    found = histogram.quantile_s(probability)
    assert exact * 0.999 <= found <= exact * 2 ** (1 / 8) * 1.001


@given(st.lists(st.floats(width=32), max_size=100))
def test_times_that_no_clock_can_have_shown_do_no_harm(times):
    histogram = EventTimes()
    histogram.add(np.asarray(times, dtype=np.float32))
    found = histogram.quantile_s(0.7)
    assert found is None or 0.0 < found < 1e8


@given(st.floats(0, 1e4), st.floats(0, 100), st.floats(0, 20), st.floats(0, 300), st.floats(0, 1e4))
def test_stop_times_are_in_order_and_within_the_grace_period(now, group_s, commit_s, merge_s, within_s):
    deadline = Deadline(DeadlineConfig())
    deadline.group_took(group_s)
    deadline.commit_took(commit_s)
    deadline.merge_took(merge_s)
    times = deadline.stop_times(now, within_s)
    assert now - 1e-6 <= times.events <= times.merges + 1e-6 <= now + within_s + 2e-6


@given(st.floats(0.001, 1000), st.floats(0, 5000), st.floats(0.2, 5))
def test_what_may_begin_can_be_finished(event_s, left_s, slowness):
    deadline = Deadline(DeadlineConfig(margin_s=20.0))
    deadline.times.add(np.full(100, event_s, dtype=np.float32))
    deadline.at = 20.0 + left_s
    count = deadline.beginnable(0.0, 3, event_s, slowness)
    assert (count > 0) == deadline.may_begin(0.0, slowness)
    if count > 0:
        assert event_s * slowness <= left_s * 1.001
        assert (count / 3 - 1) * event_s <= left_s


def test_slow_merges_and_slow_disks_widen_the_margin():
    deadline = Deadline(DeadlineConfig(margin_s=20.0))
    assert deadline.margin_s == 20.0
    deadline.merge_took(60.0)
    for _ in range(50):
        deadline.commit_took(5.0)
    assert deadline.margin_s == pytest.approx(10.0 + 60.0 + 10.0, rel=0.01)


def meter_entries(start: float, wall_s: float) -> Entries:
    return entries_of([1], wall_s, start)


def test_only_what_fell_behind_the_stop_counts_as_used():
    meter = DrainLossMeter(100.0, 1000.0, cores=2)
    meter.finished(meter_entries(1090.0, 15.0))
    meter.finished(meter_entries(1080.0, 10.0))
    leases = LeaseList(RangeTable(small_job().inputs), 0)
    busy = Node(0, "n.1", "n", 2, 0.0, leases, running=((5, 30.0),), reported_at=108.0)
    loss = meter.read([busy], 140.0, 110.0)
    assert loss == do.DrainLoss(drain_s=10.0, core_s=pytest.approx(2 * 10.0 - 5.0 + 22.0), events_cut_off=1, left_s=30.0)
