"""What cores do with their time, as a node measures it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.core_time import Idle
from raythena.engine.core_times import CoreTimes


@dataclass
class Node:
    trouble: str = ""
    queue: tuple[int, ...] = ()
    computing: int = 0


def begun(cores=2, means=Idle.RANGES):
    times = CoreTimes()
    times.begin(cores, 100.0)
    if means is not None:
        times.told(means)
    return times


def idle(times):
    return {cause: seconds for cause, seconds in times.read("n").idle_s.items() if seconds}


def total(told):
    return told.computed_s + told.open_s + sum(told.thrown_away_s.values()) + sum(told.idle_s.values())


def test_an_event_told_late_takes_its_time_back_from_waiting():
    times = begun()
    times.payload_starts()
    times.look(100.0, Node(computing=2))
    times.look(110.0, Node(computing=2))
    times.started(7, 103.0)
    times.done(7, 103.0, 5.0, is_wanted=True)
    times.look(110.0, Node(computing=1))
    told = times.read("n")
    assert told.computed_s == 5.0
    assert sum(told.idle_s.values()) == 15.0
    assert total(told) == 2 * 10.0


def test_what_cores_wait_for_is_what_the_node_lacks():
    times = begun(cores=1)
    for until, node in ((110.0, Node(computing=1)), (130.0, Node()), (160.0, Node("full")), (200.0, Node())):
        times.look(times.read("n").as_of, node)
        times.look(until, node)
    assert idle(times) == {Idle.INITIALISATION: 10.0, Idle.RANGES: 20.0 + 40.0, Idle.DISK: 30.0}


@pytest.mark.parametrize("means", [Idle.RANGES, Idle.STEERING, Idle.TAIL, Idle.DRAINING, Idle.MERGING, Idle.DISK])
def test_without_a_range_the_coordinator_knows_why(means):
    times = begun(means=means)
    times.look(100.0, Node())
    times.look(101.0, Node())
    assert idle(times) == {means: 2.0}


def test_before_the_coordinator_has_spoken_cores_wait_for_the_payload():
    times = begun(means=None)
    times.look(104.0, Node())
    times.look(105.0, Node())
    assert idle(times) == {Idle.INITIALISATION: 10.0}


def test_a_payload_that_is_started_again_initialises_again_and_what_it_held_is_thrown_away():
    times = begun(cores=1)
    node = Node(computing=2)
    times.look(100.0, node)
    times.started(1, 100.0)
    times.look(110.0, node)
    times.payload_starts()
    times.look(112.0, node)
    told = times.read("n")
    assert told.thrown_away_s == {"crash": 10.0}
    assert idle(times) == {Idle.INITIALISATION: 2.0}


def test_a_failure_takes_as_long_as_its_payload_says_or_until_now():
    times = begun()
    times.started(1, 100.0)
    times.started(2, 100.0)
    times.look(110.0, Node(computing=2))
    times.failed(1, "hang", 6.0)
    times.failed(2, "crash", 0.0)
    assert times.read("n").thrown_away_s == {"hang": 6.0, "crash": 10.0}
    assert total(times.read("n")) == 20.0


def test_an_output_that_turns_out_bad_was_on_no_core():
    times = begun()
    times.failed(5, "bad-output", 0.0)
    assert times.read("n").thrown_away_s == {}


def test_a_result_nobody_wants_is_thrown_away():
    times = begun()
    times.done(5, 100.0, 3.0, is_wanted=False)
    assert times.read("n").thrown_away_s == {"not-wanted": 3.0}


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0.0, 5.0), st.floats(0.0, 5.0), st.sampled_from(["done", "failed", "open"])),
        max_size=40,
    )
)
def test_computing_and_waiting_add_up_whenever_an_attempt_is_told(attempts):
    """Attempts on four cores, one after the other on each; each is told after it ended, between looks."""
    times = begun(cores=4)
    free_at = [100.0] * 4
    for index, (core, pause_s, wall_s, how) in enumerate(attempts):
        began_at = free_at[core] + pause_s
        if free_at[core] == float("inf"):
            continue
        times.started(index, began_at)
        if how == "done":
            times.done(index, began_at, wall_s, is_wanted=True)
        elif how == "failed":
            times.failed(index, "reported", wall_s or 1e-9)
        free_at[core] = began_at + wall_s if how != "open" else float("inf")
        times.look(times.read("n").as_of + 0.7, Node(computing=index % 3))
    end = max([times.read("n").as_of, *(at + 1.0 for at in free_at if at != float("inf"))])
    times.look(end, Node())
    assert total(times.read("n")) == pytest.approx(4 * (end - 100.0))


def test_on_its_way_to_a_core_a_range_is_waited_for():
    times = begun(cores=1)
    times.payload_starts()
    times.look(100.0, Node(computing=2))
    times.started(1, 100.0)
    times.look(110.0, Node(computing=2))
    times.done(1, 102.0, 8.0, is_wanted=True)
    told = times.read("n")
    assert (told.computed_s, idle(times)) == (8.0, {Idle.BETWEEN: 2.0})


def test_more_attempts_at_a_time_than_cores_are_not_hidden():
    times = begun(cores=1)
    times.look(100.0, Node(computing=2))
    for index in (1, 2):
        times.started(index, 100.0)
    times.look(110.0, Node(computing=2))
    for index in (1, 2):
        times.done(index, 100.0, 10.0, is_wanted=True)
    assert times.read("n").computed_s == 20.0
    assert sum(idle(times).values()) == -10.0
