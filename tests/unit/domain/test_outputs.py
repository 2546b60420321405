from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.outputs import OutputMap

inputs = st.lists(st.integers(1, 200), min_size=1, max_size=40)
sizes = st.integers(1, 300)


def spans(events: list[int]) -> list[tuple[int, int]]:
    """The interval of range indices of every input."""
    ends = np.cumsum(events).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


@given(inputs, sizes)
def test_every_event_is_in_exactly_one_output_in_the_order_of_the_input(events, per_output):
    plan = OutputMap.plan(events, per_output)
    intervals = [plan.interval(output) for output in range(plan.n_outputs)]
    listed = [index for start, stop in intervals for index in range(start, stop)]
    assert listed == list(range(sum(events)))
    assert plan.n_ranges == sum(events)


@given(inputs, sizes)
def test_no_output_is_empty_or_too_large(events, per_output):
    lengths = np.diff(OutputMap.plan(events, per_output).bounds)
    assert (lengths >= 1).all()
    assert (lengths <= per_output).all()


@given(inputs, sizes)
def test_an_output_holds_whole_inputs_or_a_part_of_one(events, per_output):
    plan = OutputMap.plan(events, per_output)
    for start, stop in (plan.interval(output) for output in range(plan.n_outputs)):
        touched = [(first, last) for first, last in spans(events) if first < stop and last > start]
        whole = all(start <= first and last <= stop for first, last in touched)
        assert whole or len(touched) == 1


@given(inputs, sizes)
def test_an_input_that_is_split_fills_all_its_outputs_but_the_last(events, per_output):
    plan = OutputMap.plan(events, per_output)
    for first, last in spans(events):
        if last - first > per_output:
            expected = [*range(first, last, per_output), last]
            inside = [int(bound) for bound in plan.bounds if first <= bound <= last]
            assert inside == expected


@given(inputs, sizes)
def test_inputs_are_put_together_as_long_as_they_fit(events, per_output):
    plan = OutputMap.plan(events, per_output)
    by_start = dict(spans(events))
    for output in range(plan.n_outputs - 1):
        start, stop = plan.interval(output)
        starts_a_whole_input = start in by_start and by_start[start] <= stop
        if starts_a_whole_input and stop in by_start:
            assert by_start[stop] - start > per_output, "the next input would have fitted"


@given(inputs, sizes, st.data())
def test_the_output_of_a_range_is_the_one_whose_interval_holds_it(events, per_output, data):
    plan = OutputMap.plan(events, per_output)
    index = data.draw(st.integers(0, sum(events) - 1))
    start, stop = plan.interval(plan.output_of(index))
    assert start <= index < stop


@given(inputs, sizes)
def test_many_ranges_at_once_agree_with_one_at_a_time(events, per_output):
    plan = OutputMap.plan(events, per_output)
    every = np.arange(sum(events))
    assert plan.outputs_of(every).tolist() == [plan.output_of(int(index)) for index in every]


@pytest.mark.parametrize(
    ("events", "per_output", "bounds"),
    [
        ([1000, 1000], 1000, [0, 1000, 2000]),
        ([500] * 4, 1000, [0, 1000, 2000]),
        ([500] * 5, 1000, [0, 1000, 2000, 2500]),
        ([5000], 1000, [0, 1000, 2000, 3000, 4000, 5000]),
        ([2500, 2500], 1000, [0, 1000, 2000, 2500, 3500, 4500, 5000]),
        ([300] * 4, 1000, [0, 900, 1200]),
        ([100, 2500, 100], 1000, [0, 100, 1100, 2100, 2600, 2700]),
        ([600, 400, 600], 1000, [0, 1000, 1600]),
        ([1], 10**12, [0, 1]),
        ([1, 1, 1], 1, [0, 1, 2, 3]),
    ],
)
def test_known_plans(events, per_output, bounds):
    assert OutputMap.plan(events, per_output).bounds.tolist() == bounds


@pytest.mark.parametrize(("events", "per_output"), [([0], 1), ([1, -1], 1), ([1], 0), ([1], -5)])
def test_counts_below_one_are_refused(events, per_output):
    with pytest.raises(ValueError, match="at least 1"):
        OutputMap.plan(events, per_output)


def test_a_hundred_thousand_inputs_are_planned_with_64_bits():
    plan = OutputMap.plan([100_000] * 40_000, 200_000)
    assert (plan.n_outputs, plan.n_ranges) == (20_000, 4_000_000_000)
    assert plan.output_of(3_999_999_999) == 19_999
