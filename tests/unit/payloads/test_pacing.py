"""Depth of feeding and time limits follow what is measured."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.payloads.workers.time_limit import EVENTS_FOR_LIMIT, MAX_AHEAD, Pace
from raythena.runtime.payload_interface import PayloadContext


def pace():
    limits = {"min_time_limit_s": 60.0, "time_limit_factor": 20.0, "first_time_limit_s": 3600.0}
    return Pace(PayloadContext("n", 1, Path("s"), {}, "j", Path("l"), **limits))


def after(wall_s, events=100):
    measured = pace()
    for _ in range(events):
        measured.observe(wall_s, wall_s)
    return measured


def test_nothing_is_sent_ahead_before_anything_is_known():
    assert pace().ahead == 0
    assert pace().wanted_per_core == 1


@pytest.mark.parametrize(("wall_s", "ahead"), [(0.0, MAX_AHEAD), (1e-5, MAX_AHEAD), (0.01, 7), (0.075, 1), (0.9, 1), (6.0, 0)])
def test_depth_for_event_times(wall_s, ahead):
    assert after(wall_s).ahead == ahead


@given(st.floats(1e-6, 0.9))
def test_queued_work_is_short_and_never_nothing(wall_s):
    measured = after(wall_s)
    assert 1 <= measured.ahead <= MAX_AHEAD
    assert (measured.ahead - 1) * wall_s <= 0.1


def test_depth_follows_a_change_of_event_times():
    measured = after(0.0001)
    for _ in range(200):
        measured.observe(10.0, 10.0)
    assert measured.ahead == 0


def test_a_worker_that_reports_no_times_is_measured_by_ours():
    measured = pace()
    for _ in range(50):
        measured.observe(0.0, 3.0)
    assert measured.ahead == 0


def test_time_limit_is_the_first_one_until_enough_is_known():
    assert after(1.0, EVENTS_FOR_LIMIT - 1).time_limit_s == 3600.0
    assert after(10.0, EVENTS_FOR_LIMIT).time_limit_s == 200.0


def test_time_limit_has_a_floor_and_follows_the_longest():
    measured = after(0.01)
    assert measured.time_limit_s == 60.0
    measured.observe(30.0, 30.0)
    for _ in range(100):
        measured.observe(0.01, 0.01)
    assert measured.time_limit_s == 600.0


def test_a_worker_cannot_lengthen_its_limit_by_reporting_long_times():
    measured = pace()
    for _ in range(EVENTS_FOR_LIMIT):
        measured.observe(1e9, 0.1)
    assert measured.time_limit_s == 60.0
