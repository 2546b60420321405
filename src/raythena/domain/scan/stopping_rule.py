"""When a trial is not worth going on with: its values are compared with those other trials had at the same step.

A trial is told its bounds when its point is proposed, and compares by itself: nobody has to be asked while it trains, and a point
that is tried again, on whatever node, after whatever was killed, ends at the same step. Bounds are made of the trials that the
search knew of at that moment.

    median    at every step: the median of what other trials had reached there
    asha      at steps `first_step`, `first_step` × `reduction`, ...: what the best 1 / `reduction` of the others had there
    hyperband the same in brackets, which begin to compare at the first of these steps, the second, ...; the last never does.
              Trials are compared within their bracket, and each bracket gets as many of them as HyperBand gives it, in turn

Values are "the less the better" here; whoever maximises hands them over with the other sign.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from raythena.domain.scan.trial import Bounds, TrialReport

_MAX_BOUNDS = 100
"""Steps at which the median is taken; of more, some are left out evenly."""


class RuleKind(StrEnum):
    """How bounds are made."""

    NONE = "none"
    MEDIAN = "median"
    ASHA = "asha"
    HYPERBAND = "hyperband"


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """What a scan file says about ending trials early."""

    kind: RuleKind = RuleKind.NONE
    reduction: int = 3
    """Of ASHA and HyperBand: of so many trials one goes on."""
    first_step: float = 1.0
    """No trial ends before this step."""
    startup: int = 5
    """Trials that must have reached a step before anything ends there."""
    last_step: float = 0.0
    """Of HyperBand: where a trial ends by itself."""

    @property
    def brackets(self) -> tuple[int, ...]:
        """How many of the trials of a round are in each bracket; the first one compares from `first_step` on."""
        if self.kind is not RuleKind.HYPERBAND:
            return (1,)
        most = 0
        while self.first_step * self.reduction**most < self.last_step:
            most += 1
        return tuple(-(-(most + 1) * self.reduction**cut // (cut + 1)) for cut in range(most, -1, -1))

    def bracket_of(self, number: int) -> int:
        """That of a trial, by the number of its point."""
        place = (number - 1) % sum(self.brackets)
        for bracket, count in enumerate(self.brackets):
            if place < count:
                return bracket
            place -= count
        return 0


class BoundsLedger:
    """What trials reached at each step, and the bounds that follow. Fed trial by trial, always in the order of their numbers."""

    def __init__(self, rule: StoppingRule) -> None:
        self._rule = rule
        self._by_bracket: list[dict[float, list[float]]] = [defaultdict(list) for _ in rule.brackets]
        """Of each bracket: best values so far (median) or values (asha, hyperband) at a step, sorted."""

    def add(self, number: int, reports: Iterable[TrialReport], sign: float) -> None:
        """A trial has ended. `sign` is -1 where large values are good."""
        if self._rule.kind is RuleKind.NONE:
            return
        best = math.inf
        bracket = self._rule.bracket_of(number)
        reached = self._by_bracket[bracket]
        rung = self._rule.first_step * self._rule.reduction**bracket
        for report in reports:
            value = sign * report.value
            best = min(best, value)
            if self._rule.kind is RuleKind.MEDIAN:
                bisect.insort(reached[report.step], best)
            elif report.step >= rung:
                while rung <= report.step:
                    bisect.insort(reached[rung], value)
                    rung *= self._rule.reduction

    def bounds(self, number: int) -> Bounds:
        """For a trial that is proposed now, as the point of this number."""
        rule = self._rule
        if rule.kind is RuleKind.NONE:
            return ()
        by_step = self._by_bracket[rule.bracket_of(number)]
        ends = rule.last_step or math.inf
        steps = [step for step in sorted(by_step) if rule.first_step <= step < ends and len(by_step[step]) >= rule.startup]
        stride = -(-len(steps) // _MAX_BOUNDS) or 1
        return tuple((step, self._bound(by_step[step])) for step in steps[::stride])

    def _bound(self, reached: list[float]) -> float:
        if self._rule.kind is RuleKind.MEDIAN:
            middle = len(reached) // 2
            return reached[middle] if len(reached) % 2 else 0.5 * (reached[middle - 1] + reached[middle])
        return reached[max(1, len(reached) // self._rule.reduction) - 1]


class EarlyEnd:
    """The comparison, of one trial. `is_due` is asked after each report."""

    def __init__(self, bounds: Bounds, kind: RuleKind, sign: float) -> None:
        self._bounds = list(bounds)
        self._kind = kind
        self._sign = sign
        self._best = math.inf

    def is_due(self, step: float, value: float) -> bool:
        """Whether the trial, which has just reached `value` at `step`, is to end."""
        value = self._sign * value
        self._best = min(self._best, value)
        compared = self._best if self._kind is RuleKind.MEDIAN else value
        due = False
        while self._bounds and self._bounds[0][0] <= step:
            _, bound = self._bounds.pop(0)
            due = compared > bound
        return due
