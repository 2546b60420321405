"""The policy of a scan: what may be proposed when, what the searcher is told in which order, and that it can begin anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.errors import InternalError
from raythena.domain.scan.scan_file import Goal, Objective, ScanBudget
from raythena.domain.scan.stopping_rule import RuleKind, StoppingRule
from raythena.domain.scan.trial import Point, TrialReport
from raythena.engine.scan_policy import PolicyRules, ScanPolicy, TrialOutcome, pareto_front

LOSS = (Objective("loss"),)
NO_RULE = StoppingRule()


class Diary:
    """A searcher that writes down what it hears."""

    def __init__(self, *, learns: bool = True, size: int | None = None) -> None:
        self.learns = learns
        self.size = size
        self.heard: list[tuple[str, int]] = []

    def ask(self, number):
        self.heard.append(("ask", number))
        return {"told": sum(kind == "tell" for kind, _ in self.heard)}

    def recall(self, number, parameters):
        self.heard.append(("ask", number))

    def tell(self, outcome):
        self.heard.append(("tell", outcome.number))


def policy(diary: Diary, *, points: int = 10, parallel: int = 3, hours: float = 0.0, stopping=NO_RULE) -> ScanPolicy:
    return ScanPolicy(PolicyRules(LOSS, ScanBudget(points, hours), parallel, stopping), diary)


def done(number: int, loss: float | None = 1.0, **more) -> TrialOutcome:
    return TrialOutcome(number, None if loss is None else (loss,), **more)


def test_so_many_points_are_open_as_may_be():
    found = policy(Diary())
    assert [found.propose().number for _ in range(3)] == [1, 2, 3]
    assert found.can_propose() == 0
    with pytest.raises(InternalError, match="point 4 is proposed too early"):
        found.propose()


def test_results_that_come_early_wait_for_their_turn():
    diary = Diary()
    found = policy(diary)
    for _ in range(3):
        found.propose()
    found.settled(done(3))
    found.settled(done(2))
    assert found.can_propose() == 0, "point 1 holds the others up"
    found.settled(done(1))
    assert found.can_propose() == 3
    assert found.propose().parameters == {"told": 1}
    assert found.propose().parameters == {"told": 2}
    assert [entry for entry in diary.heard if entry[0] == "tell"] == [("tell", 1), ("tell", 2)]


def test_a_searcher_that_learns_nothing_is_not_held_up():
    found = policy(Diary(learns=False), points=5)
    assert found.can_propose() == 5
    assert len([found.propose() for _ in range(5)]) == 5
    assert found.is_exhausted


def test_bounds_hold_it_up_as_well():
    assert policy(Diary(learns=False), stopping=StoppingRule(RuleKind.MEDIAN)).can_propose() == 3


def test_the_first_limit_counts():
    assert policy(Diary(learns=False, size=4)).can_propose() == 4
    assert policy(Diary(learns=False, size=400)).can_propose() == 10
    assert ScanPolicy(PolicyRules(LOSS, ScanBudget(0, 1.0), 3), Diary(learns=False)).can_propose() is None


def test_core_hours_are_those_of_finished_trials():
    found = policy(Diary(), hours=0.5)
    found.propose()
    found.settled(done(1, wall_s=1799.0))
    assert not found.is_exhausted
    found.propose()
    found.settled(done(2, wall_s=2.0))
    assert found.is_exhausted
    assert found.can_propose() == 0


def test_what_is_told_twice_counts_once():
    found = policy(Diary())
    found.propose()
    found.settled(done(1, wall_s=1.0))
    found.settled(done(1, 99.0, wall_s=1e9))
    assert found.n_open == 0
    assert not found.is_exhausted


def test_points_are_recalled_in_order():
    found = policy(Diary())
    found.recall(Point(1, {}))
    with pytest.raises(InternalError, match="point 3 is recalled after point 1"):
        found.recall(Point(3, {}))


def test_a_point_whose_results_are_missing_cannot_be_recalled():
    found = policy(Diary(), parallel=1)
    found.recall(Point(1, {}))
    with pytest.raises(InternalError, match="point 1 has no result"):
        found.recall(Point(2, {}))


def test_bounds_come_with_the_point():
    found = policy(Diary(), parallel=1, stopping=StoppingRule(RuleKind.MEDIAN, startup=1))
    assert found.propose().bounds == ()
    found.settled(done(1, reports=(TrialReport(1.0, 4.0, 0.0),)))
    assert found.propose().bounds == ((1.0, 4.0),)
    found.settled(done(2, None, reports=(TrialReport(1.0, 0.0, 0.0),)))
    assert found.propose().bounds == ((1.0, 4.0),), "one that failed sets no standard"


@given(st.integers(1, 6), st.lists(st.integers(0, 5), min_size=5, max_size=60), st.sets(st.integers(0, 60)))
def test_the_searcher_hears_the_same_whatever_the_order_and_the_kills(parallel, choices, kills):
    """`choices` say which open point ends next; `kills` before which of them the policy dies."""

    def run(order, kill_at):
        diary = Diary()
        found, points, outcomes = policy(diary, points=20, parallel=parallel), [], []
        for turn, choice in enumerate([*order, *[0] * 200]):
            if turn in kill_at:
                diary = Diary()
                found = policy(diary, points=20, parallel=parallel)
                for outcome in outcomes:
                    found.settled(outcome)
                for point in points:
                    found.recall(point)
            if found.can_propose():
                points.append(found.propose())
            settled = {outcome.number for outcome in outcomes}
            waiting = [point for point in points if point.number not in settled]
            if waiting and turn % 2:
                outcomes.append(done(waiting[choice % len(waiting)].number))
                found.settled(outcomes[-1])
        return points, diary.heard

    assert run(choices, kills) == run([], set())


def test_the_pareto_front():
    rows = {1: (1.0, 5.0), 2: (2.0, 2.0), 3: (3.0, 3.0), 4: (5.0, 1.0), 5: (2.0, 2.0), 6: (1.0, 6.0)}
    assert pareto_front(rows) == [1, 2, 5, 4]
    assert pareto_front({}) == []
    assert Objective("auc", Goal.MAXIMIZE).sign == -1.0
