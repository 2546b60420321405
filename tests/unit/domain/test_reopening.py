"""Which events get new attempts, and what is refused."""

from __future__ import annotations

import pytest

from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import RangeLayout
from raythena.domain.records import AttemptFailed, RangesReopened
from raythena.domain.reopening import RetryRequest, reopening
from raythena.domain.results import FailureKind
from raythena.testing.simulation.samples import small_job

LAYOUT = RangeLayout(small_job((6, 6)).inputs)
GIVEN_UP = [
    AttemptFailed(index, 3, "node", kind, "it broke", True, 1.0)
    for index, kind in ((7, FailureKind.HANG), (2, FailureKind.CRASH), (4, FailureKind.CRASH))
]


def meant(*words: str, told: bool = False) -> tuple[int, ...]:
    found = reopening(RetryRequest.parse(words), GIVEN_UP, LAYOUT, told=told)
    return () if found is None else found.ranges


@pytest.mark.parametrize(
    ("words", "ranges"),
    [
        (("all",), (2, 4, 7)),
        (("crash",), (2, 4)),
        (("crash", "hang"), (2, 4, 7)),
        (("EVNT.0.root-3",), (2,)),
        (("hang", "EVNT.0.root-3"), (2, 7)),
        (("EVNT.1.root-2", "EVNT.1.root-2", " EVNT.1.root-2 "), (7,)),
        (("out-of-memory",), ()),
        (("EVNT.0.root-1",), ()),
    ],
)
def test_all_or_some_by_cause_or_by_id_in_order(words, ranges):
    assert meant(*words) == ranges


def test_nothing_given_up_is_no_error_for_the_request_may_be_made_twice():
    assert reopening(RetryRequest(), [], LAYOUT, told=False) is None
    assert reopening(RetryRequest(), GIVEN_UP, LAYOUT, told=False) == RangesReopened((2, 4, 7))


@pytest.mark.parametrize(
    ("words", "problem", "remedy"),
    [
        (("crush",), "'crush' is none of these", "Did you mean 'crash'?"),
        (("everything",), "'everything'", "the id of an event range"),
        (("",), "''", "all, a cause"),
        (("-3",), "'-3'", "EVNT.root-17"),
        (("EVNT.0.root-0",), "'EVNT.0.root-0'", "the id of an event range"),
        (("EVNT.0.root-²",), "none of these", "the id of an event range"),
        (("all", "crash"), "all and for some", "one of the two"),
        (("EVNT.0.root-7",), "no event range 'EVNT.0.root-7'", "Did you mean 'EVNT.0.root'?"),
        (("EVMT.0.root-1",), "no event range 'EVMT.0.root-1'", "Did you mean 'EVNT.0.root'?"),
    ],
)
def test_what_nobody_can_mean_is_refused(words, problem, remedy):
    with pytest.raises(InvalidInput) as refusal:
        meant(*words)
    assert refusal.value.source == "--retry-failed"
    assert problem in refusal.value.problem
    assert remedy in f"{refusal.value.expected} {refusal.value.hint}"


def test_what_was_told_to_panda_is_not_tried_again():
    with pytest.raises(InvalidInput, match="was told to PanDA"):
        meant("all", told=True)
