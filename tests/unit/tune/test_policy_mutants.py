"""The policy with one rule broken: that the same points are proposed must be noticed to fail, or it proves nothing."""

from __future__ import annotations

import json

import pytest
import scan_runs
from scan_runs import ScanRun, make_scan

from raythena.domain.errors import InternalError
from raythena.engine.scan_policy import ScanPolicy, TrialOutcome
from scan_policy_mutants import BoundsOfEverything, ToldAsTheyCome, ToldTooMuch


class ForgetsPoints(ScanPolicy):
    """A recalled point is not told to the searcher."""

    def recall(self, point):
        searcher, self._searcher = self._searcher, _Deaf()
        try:
            super().recall(point)
        finally:
            self._searcher = searcher


class CountsTwice(ScanPolicy):
    """A result that is told again counts again."""

    def settled(self, outcome):
        self._settled.discard(outcome.number)
        self._unsettled_from = min(self._unsettled_from, outcome.number)
        super().settled(outcome)


class _Deaf:
    def recall(self, number, parameters):
        """Hears nothing."""

    def tell(self, outcome):
        """Hears nothing."""


def texts(points) -> list[str]:
    return [json.dumps([point.parameters, point.bounds]) for point in points]


def run_all(scan) -> list[list[str]]:
    """Undisturbed, in another order, killed."""
    runs = (ScanRun(scan, 1), ScanRun(scan, 2), ScanRun(scan, 3, frozenset(range(5, 120, 6))))
    return [texts(run.go()) for run in runs]


@pytest.fixture
def scan():
    return make_scan("tpe", 30, search={"options": {"n_startup_trials": 3}}, early_stopping={"rule": "median", "startup": 3})


def test_the_policy_as_it_is(scan):
    first, *others = run_all(scan)
    assert all(found == first for found in others)


@pytest.mark.parametrize("mutant", [ToldAsTheyCome, ToldTooMuch, BoundsOfEverything, ForgetsPoints])
def test_a_broken_rule_is_noticed(scan, mutant, monkeypatch):
    monkeypatch.setattr(scan_runs, "ScanPolicy", mutant)
    try:
        first, *others = run_all(scan)
    except (InternalError, KeyError):
        return  # noticed at once
    assert any(found != first for found in others)


@pytest.mark.parametrize(("kind", "exhausted"), [(ScanPolicy, False), (CountsTwice, True)])
def test_results_counted_twice_are_noticed(kind, exhausted):
    scan = make_scan("random", 5, budget={"core_hours": 1.0})
    plain = scan_runs.new_policy(scan)
    policy = kind(plain._rules, plain._searcher)
    points = [policy.propose() for _ in range(3)]
    for point in points * 2:
        policy.settled(TrialOutcome(point.number, (1.0,), wall_s=0.3 * 3600))
    assert policy.is_exhausted is exhausted
