"""Fleet, retries, the end of the job, merge planning: the engine's parts alone."""

from __future__ import annotations

import numpy as np
import pytest

from raythena.domain.errors import InternalError
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeState, RangeTable
from raythena.engine.deadline import EventTimes
from raythena.engine.duplicate_gain import Straggler, probably_gains
from raythena.engine.engine_config import EngineConfig
from raythena.engine.fleet import Fleet, Node
from raythena.engine.lease_list import LeaseList
from raythena.engine.merge_planner import MergePlanner, OutputState, RunningMerge
from raythena.engine.retry import RetryLedger
from raythena.engine.tail import plan_duplicates, plan_recalls
from raythena.testing.simulation.samples import small_job

# ---- fleet


def test_a_node_holds_what_the_table_says_of_its_leases():
    table = RangeTable(small_job((10,)).inputs)
    fleet = Fleet(table)
    node = fleet.join("a", 2, 0.0)
    for ranges in ([0, 1, 2], [5, 6]):
        table.move(np.asarray(ranges), RangeState.LEASED, node.number)
        fleet.lease(node, np.asarray(ranges))
    table.move(np.asarray([1, 6]), RangeState.ACCEPTED)
    assert node.leases.held().tolist() == [0, 2, 5]


def test_leases_that_are_mostly_history_are_forgotten():
    table = RangeTable(small_job((20000,), 20000).inputs)
    fleet = Fleet(table)
    node = fleet.join("a", 2, 0.0)
    for start in range(0, 20000, 100):
        ranges = np.arange(start, start + 100)
        table.move(ranges, RangeState.LEASED, node.number)
        fleet.lease(node, ranges)
        table.move(ranges, RangeState.ACCEPTED)
    assert node.leases.listed < 5000
    assert node.leases.held().tolist() == []


def test_the_speed_of_the_fleet_is_that_of_the_nodes_that_are_up():
    fleet = Fleet(RangeTable(small_job().inputs))
    a, b = fleet.join("a", 4, 0.0), fleet.join("b", 2, 0.0)
    fleet.learn(a, 10, 20.0)
    fleet.learn(b, 10, 10.0)
    assert fleet.total_speed == pytest.approx(4 / 2.0 + 2 / 1.0)
    fleet.leave(b)
    fleet.join("a", 8, 1.0)
    assert fleet.total_speed == pytest.approx(8 / 2.0)


@pytest.mark.parametrize("wall_s", [float("nan"), float("inf"), -1.0])
def test_times_that_no_clock_can_have_shown_teach_nothing(wall_s):
    fleet = Fleet(RangeTable(small_job().inputs))
    node = fleet.join("a", 1, 0.0)
    fleet.learn(node, 3, wall_s)
    assert node.mean_event_s is None


# ---- retries


def test_pauses_double_and_end():
    retries = RetryLedger(EngineConfig(retry_delay_s=1.0))
    retries.pause(7, 1, 0, now=0.0)
    assert (retries.due(0.9), retries.waiting) == ([], 1)
    assert (retries.due(1.0), retries.waiting) == ([7], 0)
    retries.pause(7, 2, 0, now=5.0)
    assert retries.due(6.9) == []
    assert retries.due(7.0) == [7]


def test_a_range_that_was_taken_up_early_does_not_pause_any_more():
    retries = RetryLedger(EngineConfig(retry_delay_s=1.0))
    retries.pause(7, 1, 0, now=0.0)
    retries.resume([7])
    assert retries.waiting == 0
    assert retries.due(100.0) == []


def test_a_range_lost_twice_is_a_suspect_and_in_the_end_guilty():
    retries = RetryLedger(EngineConfig(max_losses=3))
    assert [(retries.charge_loss(7), retries.is_suspect(7)) for _ in range(3)] == [(False, False), (False, True), (True, True)]
    retries.settled(7)
    assert not retries.is_suspect(7)
    assert not retries.any_on_record


# ---- the end of the job


def node_with(number, cores, queued, running=(), mean_s=1.0):
    table = RangeTable(small_job().inputs)
    node = Node(number, f"n{number}.1", f"n{number}", cores, 0.0, LeaseList(table, number))
    node.queued, node.running, node.mean_event_s = queued, running, mean_s
    return node


def test_the_node_that_needs_longest_is_asked_first_and_keeps_half():
    slow, quick = node_with(0, 1, 8, ((0, 1.0),), 10.0), node_with(1, 1, 8, ((1, 1.0),), 1.0)
    assert [(recall.node, recall.count) for recall in plan_recalls([quick, slow], 5, 10.0)] == [(slow, 4), (quick, 1)]


def test_nobody_is_asked_for_what_its_own_cores_are_about_to_begin():
    assert plan_recalls([node_with(0, 4, 3, ((0, 1.0),))], 2, 10.0) == []


def test_a_node_is_not_asked_again_before_it_answered_nor_when_it_had_nothing():
    asked, empty_recall = node_with(0, 1, 8, ((0, 1.0),)), node_with(1, 1, 8, ((1, 1.0),))
    asked.recalling, asked.recalled_at = 3, 9.0
    empty_recall.empty_recall_at = 9.5
    assert plan_recalls([asked, empty_recall], 3, 10.0) == []
    assert [recall.node for recall in plan_recalls([asked, empty_recall], 4, 10.6)] == [empty_recall]


def test_the_latest_events_are_begun_again_elsewhere_once_each():
    config = EngineConfig(straggler_factor=2.0, straggler_min_s=1.0)
    busy, idle = node_with(0, 3, 0, ((4, 9.0), (5, 30.0), (6, 1.0))), node_with(1, 1, 0)
    plans = plan_duplicates([busy, idle], set(), 2.0, times_of(1.0, 3.0), config=config, now=0.0)
    assert [(plan.index, plan.node) for plan in plans] == [(5, idle)]
    assert [plan.index for plan in plan_duplicates([busy, idle], {5}, 2.0, times_of(1.0, 3.0), config=config, now=0.0)] == [4]


def test_an_event_that_may_be_a_long_one_is_not_begun_again_on_an_equal_node():
    config = EngineConfig(straggler_factor=2.0, straggler_min_s=1.0)
    times = times_of(*(1.0,) * 50, 10.0)
    busy, idle = node_with(0, 3, 0, ((4, 9.0), (5, 30.0), (6, 1.0))), node_with(1, 2, 0)
    busy.next_report_s = 1.0
    assert [plan.index for plan in plan_duplicates([busy, idle], set(), 1.0, times, config=config, now=0.5)] == [5]
    busy.finished, busy.busy_s, idle.finished, idle.busy_s = 100, 1000.0, 900, 900.0
    assert [plan.index for plan in plan_duplicates([busy, idle], set(), 1.0, times, config=config, now=0.5)] == [5, 4]
    busy.busy_s = 100.0
    assert [plan.index for plan in plan_duplicates([busy, idle], set(), 1.0, times, config=config, now=2.5)] == [5, 4], "silent"


def test_what_waits_for_a_core_is_as_late_as_the_event_begun_last():
    config = EngineConfig(straggler_factor=2.0, straggler_min_s=1.0)
    busy, idle = node_with(0, 2, 0, ((4, 30.0), (5, 1.0))), node_with(1, 9, 0)
    busy.waiting = (7, 8)
    assert [plan.index for plan in plan_duplicates([busy, idle], set(), 1.0, times_of(2.0), config=config, now=0.0)] == [4]
    busy.running = ((4, 30.0), (5, 20.0))
    assert [plan.index for plan in plan_duplicates([busy, idle], set(), 1.0, times_of(2.0), config=config, now=0.0)] == [
        4,
        5,
        7,
        8,
    ]


def times_of(*seconds):
    times = EventTimes()
    times.add(np.asarray(seconds, dtype=np.float32))
    return times


@pytest.mark.parametrize(
    ("age_s", "silent_s", "slowness", "there", "gains"),
    [
        (5.0, 0.0, 1.0, 1.0, False),  # 15 s more here, 20 s there
        (5.0, 0.0, 1.0, 0.1, True),
        (5.0, 0.0, 3.0, 1.0, True),
        (5.0, 2.1, 1.0, 1.0, True),
        (5.0, 1.9, 1.0, 1.0, False),
        (25.0, 0.0, 1.0, 1.0, True),  # none ever took so long
        (25.0, 0.0, 2.0, 1.5, False),
    ],
)
def test_what_a_second_copy_gains(age_s, silent_s, slowness, there, gains):
    event = Straggler(age_s=age_s, silent_s=silent_s, expected_report_s=1.0, slowness=slowness)
    assert probably_gains(event, there, times_of(1.0, 20.0)) is gains


def test_the_mean_of_longer_events_is_that_of_the_longer_ones():
    times = times_of(1.0, 10.0, 20.0)
    assert times.mean_above_s(5.0) == pytest.approx(15.0, rel=0.05)
    assert times.mean_above_s(15.0) == pytest.approx(20.0, rel=0.05)
    assert times.mean_above_s(30.0) is None


# ---- merge planning


def planner(events=(4, 4), per_output=4, **config):
    return MergePlanner(OutputMap.plan(events, per_output), EngineConfig(**config))


def test_an_output_is_merged_when_nothing_of_it_is_open():
    merges = planner()
    merges.stored_in(1, "g", 3)
    assert merges.next_merge() is None
    merges.given_up(1)
    assert merges.next_merge() == RunningMerge(merge=1, output=1, attempt=1)
    assert merges.succeeded(1) == 1
    assert merges.committed(1) == ("g",)
    assert (merges.state(1), merges.all_final) == (OutputState.MERGED, False)


def test_an_output_without_any_result_has_nothing_to_merge():
    merges = planner()
    merges.given_up(0, 4)
    assert merges.next_merge() is None
    assert merges.state(0) is OutputState.EMPTY


def test_merges_run_a_few_at_a_time_and_are_tried_a_few_times():
    merges = planner(max_merges=1, max_merge_attempts=2)
    merges.stored_in(0, "a", 4)
    merges.stored_in(1, "b", 4)
    assert merges.next_merge() == RunningMerge(merge=1, output=0, attempt=1)
    assert merges.next_merge() is None
    merges.failed(1, "no")
    assert merges.next_merge() == RunningMerge(merge=2, output=1, attempt=1)
    merges.failed(2, "no")
    assert merges.next_merge() == RunningMerge(merge=3, output=0, attempt=2)
    merges.failed(3, "never")
    assert merges.unmergeable == {0: "never"}


def test_lost_results_open_an_output_again_with_all_its_chances():
    merges = planner(max_merge_attempts=1)
    merges.stored_in(0, "a", 4)
    merge = merges.next_merge().merge
    merges.abandoned(merge, 2)
    assert (merges.state(0), merges.open_ranges[0]) == (OutputState.OPEN, 2)
    merges.stored_in(0, "b", 2)
    assert merges.next_merge() == RunningMerge(merge=2, output=0, attempt=1)
    assert merges.groups_of(0) == ("a", "b")


def test_more_results_than_ranges_are_a_defect():
    with pytest.raises(InternalError, match="too many"):
        planner().stored_in(0, "a", 5)
