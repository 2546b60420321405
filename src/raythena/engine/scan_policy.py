"""Which points are tried next, and what a searcher is told, in an order that no accident changes.

A searcher learns from results, and results come in whatever order nodes finish, die and come back. So that the same scan always
tries the same points, a searcher is told results by the number of their points and never by the time they came: point `k` is
proposed when every point up to `k - parallel` is settled, and the searcher has been told exactly those. Results that come earlier
are kept until it is their turn. A slow trial therefore holds new points up once `parallel - 1` others are proposed behind it;
that is the price, and `parallel` a setting of the scan.

                  ask(k)                       results 1 ... k - parallel, in this order, before
    proposals  ◀──────────  searcher  ◀──────────────────────────────────────────────────────────  kept until their turn

After a restart nothing is loaded: the new policy is told the recorded points (`recall`) and results (`settled`), goes through the
same steps, and stands where the old one stood. A searcher whose proposals depend on nothing is not held up at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from raythena.domain.errors import InternalError
from raythena.domain.scan.scan_file import Objective, ScanBudget
from raythena.domain.scan.search_space import Value, Values
from raythena.domain.scan.stopping_rule import BoundsLedger, RuleKind, StoppingRule
from raythena.domain.scan.trial import Point, TrialReport

_S_PER_H = 3600.0


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What became of a point, for the searcher: `values` in the order of the objectives, or None when it was given up."""

    number: int
    values: tuple[float, ...] | None
    stopped_early: bool = False
    reports: tuple[TrialReport, ...] = ()
    wall_s: float = 0.0


class Searcher(Protocol):
    """Proposes points. Equal calls in equal order give equal points, in whatever process: all chance comes from its seed."""

    @property
    def learns(self) -> bool:
        """Whether what it proposes depends on what it is told."""

    @property
    def size(self) -> int | None:
        """How many points there are; None: any number."""

    def ask(self, number: int) -> dict[str, Value]:
        """The parameters of point `number`; numbers come from 1 on, each once, without a gap."""

    def recall(self, number: int, parameters: Values) -> None:
        """Instead of `ask`: this point was proposed before, with these parameters."""

    def tell(self, outcome: TrialOutcome) -> None:
        """What became of a point that was asked for, or recalled."""


@runtime_checkable
class Breeder(Protocol):
    """A searcher whose trials go on from where others ended, with other parameters."""

    def parent_of(self, number: int) -> int | None:
        """The point whose checkpoint a point starts from, which was just asked for; None: it starts from nothing."""


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """What the policy must know of a scan."""

    objectives: tuple[Objective, ...]
    budget: ScanBudget
    parallel: int
    stopping: StoppingRule = field(default_factory=StoppingRule)


class ScanPolicy:
    """The scan from its first point to its last."""

    def __init__(self, rules: PolicyRules, searcher: Searcher) -> None:
        self._rules = rules
        self._searcher = searcher
        self._bounds = BoundsLedger(rules.stopping)
        self._waits = searcher.learns or rules.stopping.kind is not RuleKind.NONE
        limits = [limit for limit in (rules.budget.points, searcher.size) if limit]
        self._last = min(limits) if limits else None
        self._proposed = 0
        self._told = 0
        """Results 1 to this one are known to the searcher."""
        self._early: dict[int, TrialOutcome] = {}
        """Results whose turn has not come."""
        self._unsettled_from = 1
        """Every point before this one is settled."""
        self._settled: set[int] = set()
        """Settled points behind it."""
        self._used_s = 0.0

    # ---- what happened

    def recall(self, point: Point) -> None:
        """An earlier life proposed this point. Points are recalled in order, and the results they were made from before them."""
        if point.number != self._proposed + 1:
            raise InternalError(f"point {point.number} is recalled after point {self._proposed}")
        self._tell_up_to(self._horizon(point.number))
        self._searcher.recall(point.number, point.parameters)
        self._proposed = point.number

    def settled(self, outcome: TrialOutcome) -> None:
        """A point has its result, or is given up. Told twice, the first time counts."""
        number = outcome.number
        if number < self._unsettled_from or number in self._settled:
            return
        self._settled.add(number)
        self._used_s += outcome.wall_s
        while self._unsettled_from in self._settled:
            self._settled.discard(self._unsettled_from)
            self._unsettled_from += 1
        if self._waits:
            self._early[number] = outcome

    # ---- what comes next

    @property
    def n_proposed(self) -> int:
        """Points so far."""
        return self._proposed

    @property
    def n_open(self) -> int:
        """Points that were proposed and are not settled."""
        return self._proposed - (self._unsettled_from - 1) - len(self._settled)

    @property
    def is_exhausted(self) -> bool:
        """No more points will be proposed."""
        hours = self._rules.budget.core_hours
        return (self._last is not None and self._proposed >= self._last) or (bool(hours) and self._used_s >= hours * _S_PER_H)

    def can_propose(self) -> int | None:
        """How many points may be proposed before another result is needed; None: any number."""
        if self.is_exhausted:
            return 0
        left = None if self._last is None else self._last - self._proposed
        if not self._waits:
            return left
        window = max(0, self._unsettled_from - 1 + self._rules.parallel - self._proposed)
        return window if left is None else min(window, left)

    def propose(self) -> Point:
        """The next point. Raises InternalError when none may be proposed."""
        if self.can_propose() == 0:
            raise InternalError(f"point {self._proposed + 1} is proposed too early, or too late")
        number = self._proposed + 1
        self._tell_up_to(self._horizon(number))
        parameters = self._searcher.ask(number)
        self._proposed = number
        parent = self._searcher.parent_of(number) if isinstance(self._searcher, Breeder) else None
        return Point(number, parameters, self._bounds.bounds(number), parent=parent)

    def _horizon(self, number: int) -> int:
        """The last result that point `number` may depend on."""
        return max(0, number - self._rules.parallel)

    def _tell_up_to(self, horizon: int) -> None:
        if not self._waits:
            return
        while self._told < horizon:
            outcome = self._early.pop(self._told + 1, None)
            if outcome is None:
                raise InternalError(f"point {self._told + 1} has no result, and one is needed")
            self._told += 1
            self._searcher.tell(outcome)
            if outcome.values is not None:
                self._bounds.add(outcome.number, outcome.reports, self._rules.objectives[0].sign)


def pareto_front(rows: Mapping[int, tuple[float, ...]]) -> list[int]:
    """Numbers of the points that no other point is better than in every respect; less is better. Sorted by the first value."""
    front: list[int] = []
    ordered = sorted(rows.items(), key=lambda item: (item[1], item[0]))
    for number, values in ordered:
        dominated = any(
            all(a <= b for a, b in zip(rows[other], values, strict=True)) and rows[other] != values for other in front
        )
        if not dominated:
            front.append(number)
    return front
