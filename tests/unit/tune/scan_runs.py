"""Scans run in memory: a policy, a function for the trials, and kills, which cost nothing but the policy itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from raythena.domain.scan.scan_file import Scan, parse_scan
from raythena.domain.scan.trial import Point, TrialReport
from raythena.engine.scan_policy import PolicyRules, ScanPolicy, TrialOutcome
from raythena.tune.searcher_interface import SearchProblem, searcher_for

SPACE = {
    "rate": {"method": "loguniform", "low": 1e-4, "high": 1.0},
    "depth": {"method": "uniformint", "low": 2, "high": 10},
    "kind": ["tree", "linear"],
    "shift": {"method": "normal", "mu": 0.0, "sigma": 2.0},
    "leaves": {"method": "qloguniform", "low": 1, "high": 1000, "q": 5},
    "rounds": 100,
}
CONDITIONAL = {**SPACE, "drop": {"method": "uniform", "low": 0.0, "high": 1.0, "when": {"kind": "tree"}}}


def make_scan(method: str = "random", points: int = 40, **keys: object) -> Scan:
    """A scan of that many points; `search` and other keys of the file may be given."""
    search = {"method": method, "seed": 7, "parallel": 4, **keys.pop("search", {})}  # type: ignore[dict-item]
    base = {"name": "parabola", "space": SPACE, "budget": {"points": points}, "trial": {"python": "m:f"}}
    return parse_scan({**base, "search": search, **keys}, "scan.yaml")


def new_policy(scan: Scan) -> ScanPolicy:
    """A policy that knows nothing."""
    rules = PolicyRules(scan.objectives, scan.budget, scan.search.parallel, scan.stopping)
    return ScanPolicy(rules, searcher_for(SearchProblem.of(scan), scan.search.method))


def parabola(parameters: Mapping[str, object]) -> float:
    """Least at depth 4, shift 0."""
    depth, shift, rate = (float(parameters[name]) for name in ("depth", "shift", "rate"))  # type: ignore[arg-type]
    return (depth - 4.0) ** 2 + abs(shift) + rate + (1.0 if parameters["kind"] == "linear" else 0.0)


def outcome_of(point: Point, loss: Callable[[Mapping[str, object]], float] = parabola, objectives: int = 1) -> TrialOutcome:
    """What becomes of a point: every seventh is given up."""
    if point.number % 7 == 0:
        return TrialOutcome(point.number, None)
    value = loss(point.parameters)
    reports = tuple(TrialReport(step, value * (1.0 + 1.0 / step), 0.1 * step) for step in (1.0, 3.0, 9.0))
    return TrialOutcome(point.number, (value,) + (1.0 / (1.0 + abs(value)),) * (objectives - 1), reports=reports)


class ScanRun:
    """A scan whose trials end in an order of their own. `kill_at` are numbers of events before which the policy dies."""

    def __init__(self, scan: Scan, order: int = 0, kill_at: frozenset[int] = frozenset()) -> None:
        self._scan = scan
        self._dice = random.Random(order)
        self._kill_at = kill_at
        self.points: list[Point] = []
        self.outcomes: list[TrialOutcome] = []
        self.most_open = 0
        self._loss: Callable[[Mapping[str, object]], float] = parabola

    def go_with(self, loss: Callable[[Mapping[str, object]], float]) -> list[Point]:
        """To the end, with another function."""
        self._loss = loss
        return self.go()

    def go(self) -> list[Point]:
        """To the end; every point."""
        policy, events = new_policy(self._scan), 0
        while not policy.is_exhausted or policy.n_open:
            events += 1
            if events in self._kill_at:
                policy = self._again()
            if policy.can_propose() != 0 and self._dice.random() < 0.5:
                self.points.append(policy.propose())
            elif open_points := self._open():
                self.outcomes.append(
                    outcome_of(self._dice.choice(open_points), self._loss, objectives=len(self._scan.objectives))
                )
                policy.settled(self.outcomes[-1])
            self.most_open = max(self.most_open, policy.n_open)
        return self.points

    def _open(self) -> list[Point]:
        settled = {outcome.number for outcome in self.outcomes}
        return [point for point in self.points if point.number not in settled]

    def _again(self) -> ScanPolicy:
        """As after a kill: everything recorded is told to a policy that knows nothing."""
        policy = new_policy(self._scan)
        for outcome in self.outcomes:
            policy.settled(outcome)
        for point in self.points:
            policy.recall(Point.from_text(point.to_text()))
        return policy
