"""Events laid on cores: never two at a time on one, and no more cores than are needed."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from raythena.monitor.core_tracks import SAME_S, cores_of


def test_events_one_after_the_other_share_a_core():
    assert cores_of([(0.0, 1.0), (1.0, 1.0), (2.5, 1.0)]) == [1, 1, 1]


def test_events_at_a_time_have_cores_of_their_own():
    assert cores_of([(0.0, 5.0), (1.0, 1.0), (1.5, 1.0), (2.1, 1.0)]) == [1, 2, 3, 2]


def test_times_written_with_little_precision_do_not_overlap():
    assert cores_of([(0.0, 1.0), (1.0 - SAME_S / 2, 1.0)]) == [1, 1]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 30)), max_size=40))
def test_a_core_has_one_event_at_a_time_and_none_is_spare(events):
    events.sort()
    places = cores_of(events)
    for core in set(places):
        mine = [event for event, place in zip(events, places, strict=True) if place == core]
        assert all(before[0] + before[1] <= after[0] + SAME_S for before, after in pairwise(mine))
    assert sorted(set(places)) == list(range(1, len(set(places)) + 1))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=40))
def test_there_are_no_more_cores_than_events_at_a_time(events):
    events.sort()
    most = max((sum(start <= at < start + wall for start, wall in events) for at, _ in events), default=0)
    assert len(set(cores_of(events))) == most
