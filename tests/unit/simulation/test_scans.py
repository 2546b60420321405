"""Scans at simulated sites: the right parts keep every promise, and each mistake somebody could make is noticed soon."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raythena.domain.scan.trial import Point
from raythena.engine.scan_policy import ScanPolicy
from raythena.engine.scan_supply import ScanSupply
from raythena.testing.simulation import Parts, Plan, PromiseBroken, simulate
from raythena.testing.simulation.draw import draw
from scan_policy_mutants import BoundsOfEverything, ToldAsTheyCome, ToldTooMuch

SEEDS = 1500
TROUBLED = Plan(
    (18,), nodes=2, cores=2, mean_event_s=0.5, trouble_s=12.0, crashes=3, deaths=1, poison=2, given=True, parallel=5, answer_s=0.3
)


def scans(seeds: range):
    """Seeds whose sites have a scan, with their plans."""
    plans = ((seed, draw(seed)) for seed in seeds)
    return [(seed, plan) for seed, plan in plans if plan.parallel]


def test_scans_are_drawn():
    assert len(scans(range(SEEDS))) > 80
    assert all(plan.given for _, plan in scans(range(SEEDS)))


def test_the_right_parts_keep_every_promise():
    for seed, plan in scans(range(250)):
        simulate(seed, plan)
    for seed in range(20):
        result = simulate(seed, TROUBLED)
        assert result.events == result.merged + result.failed == 18


class OneMore(ScanPolicy):
    """One point more than the budget has."""

    def __init__(self, rules, searcher):
        super().__init__(rules, searcher)
        self._last += 1


class ForgetsFailures(ScanSupply):
    """After a restart, of points that were given up nothing is known: the scan waits for them for ever."""

    def lead_through(self, points, outcomes):
        super().lead_through(points, [outcome for outcome in outcomes if outcome.values is not None])


class ForgetsPoints(ScanSupply):
    """After a restart the scan begins with its first point again."""

    def lead_through(self, points, outcomes):
        super().lead_through([], [])


class RecallsWithoutResults(ScanSupply):
    """Points are recalled before their results: nothing is known that they were made from."""

    def lead_through(self, points, outcomes):
        for point in points:
            self.policy._searcher.recall(point.number, point.parameters)
            self.policy._proposed = point.number
        super().lead_through([], outcomes)


class LosesAPoint(ScanSupply):
    """Of the points that were proposed one is not handed out."""

    def hand_out(self):
        points = super().hand_out()
        return points[1:] if len(points) > 2 else points


class HandsOutOthers(ScanSupply):
    """What is handed out is not what was proposed."""

    def hand_out(self):
        return tuple(Point(each.number, {"x": 0.5}, each.bounds) for each in super().hand_out())


class ForgetsTheRequest(ScanSupply):
    """A request that must wait for results is forgotten."""

    def wanted(self, count):
        super().wanted(count if self.policy.can_propose() != 0 else 0)


class NeverEnds(ScanSupply):
    """Nobody is told that there are no more points."""

    is_over = False


POLICIES = [ToldAsTheyCome, ToldTooMuch, BoundsOfEverything, OneMore]
SUPPLIES = [
    *(ForgetsFailures, ForgetsPoints, RecallsWithoutResults, LosesAPoint, HandsOutOthers, ForgetsTheRequest, NeverEnds),
]


@pytest.mark.parametrize("mutant", [*POLICIES, *SUPPLIES])
def test_a_mistake_is_noticed(mutant):
    parts = Parts(scan_policy=mutant) if issubclass(mutant, ScanPolicy) else Parts(scan_supply=mutant)
    for seed, plan in [*((seed, replace(TROUBLED, parallel=3)) for seed in range(10)), *scans(range(SEEDS))]:
        try:
            simulate(seed, plan, parts)
        except PromiseBroken:
            return
    pytest.fail("nobody noticed")
