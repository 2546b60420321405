"""Whether and when a payload starts again what has died."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.payloads.restart_backoff import BackOff, RestartPolicy
from raythena.payloads.workers.slot import BACK_OFF, MAX_FAILED_STARTS

FAILED, NO_RESULT, GOOD = (
    {"came_up": False, "had_result": False},
    {"came_up": True, "had_result": False},
    {
        "came_up": True,
        "had_result": True,
    },
)


@pytest.mark.parametrize(
    ("back_off", "pauses"),
    [
        (BackOff(first_s=1.0, longest_s=60.0), [0, 1, 2, 4, 8, 16, 32, 60, 60]),
        (BackOff(first_s=0.2, longest_s=5.0, free=1), [0, 0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]),
    ],
)
def test_pauses_double_up_to_the_longest(back_off, pauses):
    assert [back_off.pause_s(failures) for failures in range(9)] == pytest.approx(pauses)
    assert back_off.pause_s(100_000) == back_off.longest_s


def test_failed_starts_in_a_row_exhaust_it():
    policy = RestartPolicy(BackOff(1.0, 60.0), 3)
    told = [policy.ended(**how) or policy.is_exhausted for how in (FAILED, FAILED, NO_RESULT, FAILED, FAILED)]
    assert not policy.is_exhausted
    assert told[2] == 4.0
    policy.ended(**FAILED)
    assert policy.is_exhausted


def test_a_run_that_came_up_counts_before_it_ends():
    policy = RestartPolicy(BackOff(1.0, 60.0), 3)
    policy.ended(**FAILED)
    policy.ended(**FAILED)
    policy.came_up()
    policy.ended(**FAILED)
    assert (policy.failed_starts, policy.runs_without_result) == (1, 3)


def test_a_result_ends_all_pauses():
    policy = RestartPolicy(BackOff(1.0, 60.0), 9)
    policy.ended(**FAILED)
    policy.had_result()
    assert policy.ended(**FAILED) == 1.0
    assert policy.ended(**GOOD) == 0.0


@given(st.lists(st.sampled_from([FAILED, NO_RESULT, GOOD])))
def test_exhausted_means_so_many_failed_starts_at_the_end(runs):
    policy = RestartPolicy(BACK_OFF, MAX_FAILED_STARTS)
    for run in runs:
        assert 0.0 <= policy.ended(**run) <= BACK_OFF.longest_s
    last = runs[-MAX_FAILED_STARTS:]
    assert policy.is_exhausted == (len(last) == MAX_FAILED_STARTS and all(run is FAILED for run in last))
