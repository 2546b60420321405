"""Job numbers: no two starts of a task have the same one, by construction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.errors import InvalidInput, NumbersExhausted
from raythena.domain.job_number import AGENTS, COORDINATORS, MAX_JOB_NUMBER, STARTS, JobNumbers, job_number

STARTS_OF_A_TASK = st.tuples(st.integers(1, COORDINATORS), st.integers(0, AGENTS - 1), st.integers(0, STARTS - 1))


def test_the_formula():
    assert job_number(1, 0, 0) == 1
    assert job_number(1, 0, 255) == 256
    assert job_number(1, 1, 0) == 257
    assert job_number(2, 0, 0) == 16384 * 256 + 1
    assert job_number(COORDINATORS, AGENTS - 1, STARTS - 1) == COORDINATORS * AGENTS * STARTS <= MAX_JOB_NUMBER
    assert (COORDINATORS + 1) * AGENTS * STARTS > MAX_JOB_NUMBER


@given(STARTS_OF_A_TASK, STARTS_OF_A_TASK)
def test_two_starts_never_share_a_number(one, other):
    numbers = job_number(*one), job_number(*other)
    assert (numbers[0] == numbers[1]) == (one == other)
    assert all(0 < number <= MAX_JOB_NUMBER for number in numbers)


@pytest.mark.parametrize(("start", "name"), [((512, 0, 0), "session"), ((1, 16384, 0), "node"), ((1, 0, 256), "attempt")])
def test_where_there_is_no_number_left_it_is_said_which_counter_is_at_its_end(start, name):
    with pytest.raises(NumbersExhausted, match=f"no job number is left .*the {name} may be"):
        job_number(*start)


@pytest.mark.parametrize("start", [(0, 0, 0), (1, -1, 0), (1, 0, -1)])
def test_counters_that_cannot_be_are_refused(start):
    with pytest.raises(InvalidInput, match=r"job number: (session|node|attempt): is"):
        job_number(*start)


def test_an_agent_gives_each_number_once_and_then_none():
    numbers = JobNumbers(2, 3)
    given_out = [numbers.take() for _ in range(STARTS)]
    assert given_out == list(range((AGENTS + 3) * STARTS + 1, (AGENTS + 4) * STARTS + 1))
    with pytest.raises(NumbersExhausted):
        numbers.take()
    assert numbers.taken == STARTS
