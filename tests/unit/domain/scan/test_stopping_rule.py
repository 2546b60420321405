"""Early stopping: bounds from what others reached, and the comparison a trial makes by itself."""

from __future__ import annotations

import pytest

from raythena.domain.scan.stopping_rule import BoundsLedger, EarlyEnd, RuleKind, StoppingRule
from raythena.domain.scan.trial import TrialReport


def curve(*values: float) -> list[TrialReport]:
    return [TrialReport(float(step), value, 0.0) for step, value in enumerate(values, 1)]


def ledger(rule: StoppingRule, *curves: tuple[float, ...], sign: float = 1.0) -> BoundsLedger:
    found = BoundsLedger(rule)
    for each in curves:
        found.add(curve(*each), sign)
    return found


def test_the_median_of_the_best_so_far():
    rule = StoppingRule(RuleKind.MEDIAN, startup=3)
    bounds = ledger(rule, (5, 4), (3, 6), (9, 1), (7,)).bounds()
    assert bounds == ((1.0, 6.0), (2.0, 3.0))
    assert ledger(rule, (5,), (3,)).bounds() == (), "too few have reached it"
    assert ledger(StoppingRule(RuleKind.MEDIAN, startup=1, first_step=2), (5, 4)).bounds() == ((2.0, 4.0),)


def test_asha_keeps_the_best_of_each_rung():
    rule = StoppingRule(RuleKind.ASHA, reduction=2, first_step=1, startup=4)
    found = ledger(rule, (8, 8, 8, 8), (6, 6, 6, 6), (4, 4, 4, 4), (2, 2, 2, 2))
    assert found.bounds() == ((1.0, 4.0), (2.0, 4.0), (4.0, 4.0))


def test_a_rung_that_is_jumped_over_is_reached_at_the_next_step():
    rule = StoppingRule(RuleKind.ASHA, reduction=2, first_step=1, startup=1)
    found = BoundsLedger(rule)
    found.add([TrialReport(5.0, 3.0, 0.0)], 1.0)
    assert found.bounds() == ((1.0, 3.0), (2.0, 3.0), (4.0, 3.0))


def test_without_a_rule_there_are_no_bounds():
    assert ledger(StoppingRule(), *[(1, 2, 3)] * 20).bounds() == ()


def test_long_curves_have_a_hundred_bounds_at_most():
    rule = StoppingRule(RuleKind.MEDIAN, startup=1)
    bounds = ledger(rule, tuple(range(1000))).bounds()
    assert len(bounds) == 100
    assert bounds[0][0] == 1.0


@pytest.mark.parametrize(
    ("kind", "values", "ends_at"),
    [
        (RuleKind.MEDIAN, (1.0, 9.0, 9.0), None),
        (RuleKind.MEDIAN, (9.0, 4.0, 4.0), 1),
        (RuleKind.MEDIAN, (5.0, 5.0, 4.0), 3),
        (RuleKind.ASHA, (1.0, 9.0, 9.0), 3),
        (RuleKind.ASHA, (5.0, 9.0, 2.0), None),
    ],
)
def test_a_trial_ends_where_it_is_worse_than_its_bound(kind, values, ends_at):
    end = EarlyEnd(((1.0, 5.0), (3.0, 3.0)), kind, 1.0)
    found = [step for step, value in enumerate(values, 1) if end.is_due(step, value)]
    assert found[:1] == ([] if ends_at is None else [ends_at])


def test_what_grows_is_compared_the_other_way_round():
    rule = StoppingRule(RuleKind.MEDIAN, startup=3)
    bounds = ledger(rule, (5,), (3,), (9,), sign=-1.0).bounds()
    assert bounds == ((1.0, -5.0),)
    assert EarlyEnd(bounds, RuleKind.MEDIAN, -1.0).is_due(1, 4.0)
    assert not EarlyEnd(bounds, RuleKind.MEDIAN, -1.0).is_due(1, 6.0)
