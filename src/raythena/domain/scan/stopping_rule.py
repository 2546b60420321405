"""When a trial is not worth going on with: its values are compared with those other trials had at the same step.

A trial is told its bounds when its point is proposed, and compares by itself: nobody has to be asked while it trains, and a point
that is tried again, on whatever node, after whatever was killed, ends at the same step. Bounds are made of the trials that the
search knew of at that moment.

    median    at every step: the median of what other trials had reached there
    asha      at steps `first_step`, `first_step` × `reduction`, ...: what the best 1 / `reduction` of the others had there

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


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """What a scan file says about ending trials early."""

    kind: RuleKind = RuleKind.NONE
    reduction: int = 3
    """Of ASHA: of so many trials one goes on."""
    first_step: float = 1.0
    """No trial ends before this step."""
    startup: int = 5
    """Trials that must have reached a step before anything ends there."""


class BoundsLedger:
    """What trials reached at each step, and the bounds that follow. Fed trial by trial, always in the order of their numbers."""

    def __init__(self, rule: StoppingRule) -> None:
        self._rule = rule
        self._reached: dict[float, list[float]] = defaultdict(list)
        """Best values so far (median) or values (asha) at a step, sorted."""

    def add(self, reports: Iterable[TrialReport], sign: float) -> None:
        """A trial has ended. `sign` is -1 where large values are good."""
        if self._rule.kind is RuleKind.NONE:
            return
        best = math.inf
        rung = self._rule.first_step
        for report in reports:
            value = sign * report.value
            best = min(best, value)
            if self._rule.kind is RuleKind.MEDIAN:
                bisect.insort(self._reached[report.step], best)
            elif report.step >= rung:
                while rung <= report.step:
                    bisect.insort(self._reached[rung], value)
                    rung *= self._rule.reduction

    def bounds(self) -> Bounds:
        """For a trial that is proposed now."""
        rule = self._rule
        steps = [
            step for step, reached in sorted(self._reached.items()) if step >= rule.first_step and len(reached) >= rule.startup
        ]
        stride = -(-len(steps) // _MAX_BOUNDS) or 1
        return tuple((step, self._bound(self._reached[step])) for step in steps[::stride])

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
