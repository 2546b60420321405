"""Population based training: who goes on from whom, with what; the same whatever is killed; better than training alone."""

from __future__ import annotations

import random
import statistics

import pytest
from scan_runs import CONDITIONAL, ScanRun, make_scan, new_policy

from raythena.domain.errors import InvalidInput
from raythena.domain.scan.search_space import Categories, Fixed, Interval, Normal
from raythena.domain.scan.trial import Point
from raythena.engine.scan_policy import TrialOutcome
from raythena.tune.population_searcher import _neighbour

SPACE = {
    "rate": {"method": "loguniform", "low": 1e-4, "high": 1.0},
    "depth": {"method": "uniformint", "low": 2, "high": 10},
    "kind": ["tree", "linear", "dart"],
    "rounds": 5,
}


def population(points: int = 40, members: int = 4, **keys):
    return make_scan("pbt", points, search={"parallel": members, **keys}, space=SPACE)


def rate_off(parameters) -> float:
    return abs(parameters["rate"] - 0.1)


def test_the_first_turn_of_each_member_starts_from_nothing():
    points = ScanRun(population(), 1).go_with(rate_off)
    assert [point.parent for point in points[:4]] == [None] * 4
    assert len({point.parameters["rate"] for point in points[:4]}) == 4
    assert all(point.parent is not None for point in points[4:])


def test_whoever_is_not_among_the_worst_goes_on_with_its_own():
    points = ScanRun(population(), 1).go_with(rate_off)
    own = [point for point in points[4:] if point.parent == point.number - 4]
    others = [point for point in points[4:] if point.parent != point.number - 4]
    assert len(own) > len(others) > 3
    assert all(point.parameters == points[point.parent - 1].parameters for point in own)
    assert all(point.parameters["rounds"] == 5 for point in points)


def test_a_parent_was_settled_and_its_checkpoint_is_still_there():
    for members in (2, 3, 5, 8):
        for point in ScanRun(population(60, members), members).go_with(rate_off):
            if point.parent is not None:
                assert point.number - 2 * members < point.parent <= point.number - members


def test_the_same_parents_and_parameters_whatever_is_killed_and_in_whatever_order_turns_end():
    undisturbed = ScanRun(population(), order=1).go_with(rate_off)
    for order in (2, 3):
        assert ScanRun(population(), order, frozenset(range(order, 200, 9))).go_with(rate_off) == undisturbed
    again = [Point.from_text(point.to_text()) for point in undisturbed]
    assert again == undisturbed


class Training:
    """What a training of several turns comes to: progress is made in each turn, the more the better the rate."""

    def __init__(self) -> None:
        self.reached: dict[int, float] = {}

    def turn(self, point: Point) -> float:
        before = self.reached[point.parent] if point.parent else 0.0
        self.reached[point.number] = before + 1.0 / (1.0 + 20.0 * abs(point.parameters["rate"] - 0.1))
        return -self.reached[point.number]


def trained(seed: int, *, quantile: float) -> float:
    scan = population(80, 8, seed=seed, options={"quantile": quantile})
    policy, training, best = new_policy(scan), Training(), 0.0
    while not policy.is_exhausted:
        point = policy.propose()
        value = training.turn(point)
        best = min(best, value)
        policy.settled(TrialOutcome(point.number, (value,)))
        if policy.n_proposed < 8:
            continue
    return -best


def test_it_pays():
    """Ten turns with exploring, against ten turns of members that keep what they drew: the best of eight random rates."""
    alone = [max(_alone(seed, member) for member in range(8)) for seed in range(8)]
    together = [trained(seed, quantile=0.25) for seed in range(8)]
    assert statistics.mean(together) > statistics.mean(alone)


def _alone(seed: int, member: int) -> float:
    policy = new_policy(population(8, 8, seed=seed))
    points = [policy.propose() for _ in range(8)]
    return 10.0 / (1.0 + 20.0 * abs(points[member].parameters["rate"] - 0.1))


def test_a_turn_that_failed_is_the_worst_and_nobody_goes_on_from_it():
    policy, failed, dice = new_policy(population(40)), set(), random.Random(1)
    for _ in range(40):
        point = policy.propose()
        assert point.parent not in failed
        if dice.random() < 0.3:
            failed.add(point.number)
        outcome = None if point.number in failed else (rate_off(point.parameters),)
        policy.settled(TrialOutcome(point.number, outcome))
    assert len(failed) > 5


def test_when_everything_failed_it_starts_from_nothing_again():
    policy = new_policy(population(12))
    for _ in range(12):
        point = policy.propose()
        assert point.parent is None
        policy.settled(TrialOutcome(point.number, None))


@pytest.mark.parametrize(
    ("dimension", "value", "factor", "found"),
    [
        (Fixed(3), 3, 2.0, 3),
        (Categories(("a", "b", "c")), "b", 1.2, "c"),
        (Categories(("a", "b", "c")), "a", 0.8, "a"),
        (Interval(0.0, 1.0), 0.9, 1.5, 1.0),
        (Interval(0.0, 1.0), 0.5, 0.5, 0.25),
        (Interval(2, 10, step=1, whole=True), 2, 1.2, 3),
        (Interval(2, 10, step=1, whole=True), 10, 0.99, 9),
        (Interval(2, 10, step=1, whole=True), 10, 1.2, 10),
        (Normal(0.0, 1.0), -0.5, 2.0, -1.0),
    ],
)
def test_values_near_by(dimension, value, factor, found):
    assert _neighbour(dimension, value, factor) == found
    assert dimension.holds(found)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"search": {"parallel": 1}}, "search.parallel: is 1; expected a population"),
        ({"search": {"options": {"quantile": 0.6}}}, "search.options.quantile: is 0.6; expected a number from 0 to 0.5"),
        ({"search": {"options": {"factor": "x"}}}, "search.options.factor: is 'x'"),
        ({"search": {"options": {"quantil": 0.1}}}, "Did you mean 'quantile'"),
        ({"space": CONDITIONAL}, "pbt takes no parameters with `when`"),
        ({"objective": {"a": "minimize", "b": "minimize"}}, "pbt takes one objective"),
    ],
)
def test_what_it_cannot_do_is_refused(keys, told):
    with pytest.raises(InvalidInput, match=told):
        new_policy(make_scan("pbt", **keys))
