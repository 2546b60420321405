"""Activity: whatever is added, in whatever order, its core-seconds and events are all there, in their stretches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.results import ENTRY_DTYPE
from raythena.monitor.activity import BINS, Activity


def entries(*events):
    made = np.zeros(len(events), dtype=ENTRY_DTYPE)
    made["start"] = [start for start, _ in events]
    made["wall_s"] = [wall_s for _, wall_s in events]
    return made


def add(activity, node, made):
    activity.add([node], np.zeros(len(made), dtype=np.int64), made)


def test_results_of_many_nodes_go_to_their_rows():
    activity = Activity()
    made = entries((1000.0, 1.0), (1000.0, 2.0), (1001.0, 4.0), (float("nan"), 1.0))
    activity.add(["", "b.1", "a.1", "a.2", "c.1"], np.array([1, 2, 3, 4]), made)
    assert activity.hosts() == ["a", "b"]
    assert (activity.busy("a").sum(), activity.busy("b").sum()) == (6.0, 1.0)


def test_an_event_is_divided_among_the_stretches_it_lies_in():
    activity = Activity()
    add(activity, "a.1", entries((1000.5, 2.0)))
    assert (activity.began_at, activity.width_s, activity.used) == (1000.0, 1.0, 3)
    assert activity.busy("a")[:3].tolist() == [0.5, 1.0, 0.5]
    assert activity.finished[:3].tolist() == [0, 0, 1]


def test_lives_of_a_node_are_one_row():
    activity = Activity()
    for node in ("b.1", "a.1", "a.2"):
        add(activity, node, entries((1000.0, 1.0)))
    assert activity.hosts() == ["a", "b"]
    assert activity.busy("a").sum() == 2.0


@given(st.lists(st.tuples(st.floats(1e9, 1e9 + 1e6), st.floats(0.0, 1e5, width=32)), min_size=1, max_size=30))
def test_nothing_is_lost_when_stretches_grow_or_begin_earlier(events):
    activity = Activity()
    for event in events:
        add(activity, "a.1", entries(event))
    assert activity.finished.sum() == len(events)
    assert activity.busy("a").sum() == pytest.approx(sum(wall_s for _, wall_s in events), rel=1e-6, abs=1e-3)
    assert sum(count for _, _, count in activity.event_times()) == len(events)
    assert activity.began_at <= min(start for start, _ in events)
    assert activity.began_at + BINS * activity.width_s > max(start + wall_s for start, wall_s in events) - 1e-3


def test_durations_are_told_in_classes():
    activity = Activity()
    add(activity, "a.1", entries((1000.0, 1.5), (1000.0, 1.55), (1000.0, 15.0)))
    told = activity.event_times()
    assert [count for _, _, count in told if count] == [2, 1]
    assert told[0][0] <= 1.5 < told[0][1]
    assert told[-1][0] <= 15.0 < told[-1][1]


@pytest.mark.parametrize("event", [(float("nan"), 1.0), (1e300, 1.0), (-5.0, 1.0), (1000.0, -1.0), (1000.0, float("inf"))])
def test_what_no_clock_can_have_shown_is_left_out(event):
    activity = Activity()
    add(activity, "a.1", entries(event))
    assert (activity.began_at, activity.hosts(), activity.event_times()) == (None, [], [])
