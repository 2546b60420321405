"""Seeds of events: a permutation of what generators take, for each seed of a job another one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.job_document import MAX_EVENT_NUMBER, MAX_SEED
from raythena.domain.seeds import SEEDS, event_seed

JOB_SEEDS = st.integers(0, MAX_SEED)
EVENTS = st.integers(1, MAX_EVENT_NUMBER)


@given(JOB_SEEDS, EVENTS)
def test_every_generator_takes_a_seed(job_seed, event):
    assert 1 <= event_seed(job_seed, event) <= SEEDS == 900_000_000


@given(JOB_SEEDS, EVENTS, st.integers(1, SEEDS - 1))
def test_no_two_events_of_a_job_share_one(job_seed, event, distance):
    assert event_seed(job_seed, event) != event_seed(job_seed, event + distance)


def test_no_two_of_many_neighbours_share_one():
    assert len({event_seed(1, event) for event in range(1, 50_001)}) == 50_000


def test_seeds_are_the_same_for_ever():
    """Samples that exist are made again from these numbers."""
    assert [event_seed(42, event) for event in (1, 2, 3, 4)] == [516358097, 777801899, 154654863, 211619771]
    assert event_seed(0, 10**12) == event_seed(0, 10**12 % SEEDS)


def test_jobs_with_other_seeds_have_other_events():
    mine, other = ([event_seed(job_seed, event) for event in range(1, 10_001)] for job_seed in (42, 43))
    assert sum(a == b for a, b in zip(mine, other, strict=True)) < 10
    assert len({*mine} & {*other}) < 10


def test_seeds_lie_everywhere():
    tenths = [0] * 10
    for event in range(1, 10_001):
        tenths[(event_seed(7, event) - 1) * 10 // SEEDS] += 1
    assert all(800 < count < 1200 for count in tenths)
