"""Early stopping: bounds from what others reached, and the comparison a trial makes by itself."""

from __future__ import annotations

import pytest

from raythena.domain.scan.stopping_rule import BoundsLedger, EarlyEnd, RuleKind, StoppingRule
from raythena.domain.scan.trial import TrialReport


def curve(*values: float) -> list[TrialReport]:
    return [TrialReport(float(step), value, 0.0) for step, value in enumerate(values, 1)]


def ledger(rule: StoppingRule, *curves: tuple[float, ...], sign: float = 1.0) -> BoundsLedger:
    found = BoundsLedger(rule)
    for number, each in enumerate(curves, 1):
        found.add(number, curve(*each), sign)
    return found


def test_the_median_of_the_best_so_far():
    rule = StoppingRule(RuleKind.MEDIAN, startup=3)
    bounds = ledger(rule, (5, 4), (3, 6), (9, 1), (7,)).bounds(99)
    assert bounds == ((1.0, 6.0), (2.0, 3.0))
    assert ledger(rule, (5,), (3,)).bounds(99) == (), "too few have reached it"
    assert ledger(StoppingRule(RuleKind.MEDIAN, startup=1, first_step=2), (5, 4)).bounds(99) == ((2.0, 4.0),)


def test_asha_keeps_the_best_of_each_rung():
    rule = StoppingRule(RuleKind.ASHA, reduction=2, first_step=1, startup=4)
    found = ledger(rule, (8, 8, 8, 8), (6, 6, 6, 6), (4, 4, 4, 4), (2, 2, 2, 2))
    assert found.bounds(99) == ((1.0, 4.0), (2.0, 4.0), (4.0, 4.0))


def test_a_rung_that_is_jumped_over_is_reached_at_the_next_step():
    rule = StoppingRule(RuleKind.ASHA, reduction=2, first_step=1, startup=1)
    found = BoundsLedger(rule)
    found.add(1, [TrialReport(5.0, 3.0, 0.0)], 1.0)
    assert found.bounds(99) == ((1.0, 3.0), (2.0, 3.0), (4.0, 3.0))


HYPERBAND = StoppingRule(RuleKind.HYPERBAND, reduction=3, first_step=1.0, last_step=9.0, startup=2)


def test_hyperband_has_brackets_most_trials_in_those_that_compare_first():
    """Li et al., 2018, figure 2: with R = 9 and eta = 3 there are brackets of 9, 5 (rounded up from 4.5) and 3 trials."""
    assert HYPERBAND.brackets == (9, 5, 3)
    assert [HYPERBAND.bracket_of(number) for number in (1, 9, 10, 14, 15, 17, 18)] == [0, 0, 1, 1, 2, 2, 0]
    assert StoppingRule(RuleKind.ASHA).brackets == (1,)
    assert StoppingRule(RuleKind.HYPERBAND, reduction=2, first_step=1.0, last_step=1.5).brackets == (2, 2)


def test_hyperband_compares_within_a_bracket_from_its_first_step_on_and_never_in_the_last():
    found = BoundsLedger(HYPERBAND)
    for number in range(1, 18):
        found.add(number, curve(*[float(number)] * 9), 1.0)
    assert found.bounds(18) == ((1.0, 3.0), (3.0, 3.0)), "the best third of 1 to 9; step 9 is the end anyway"
    assert found.bounds(18 + 9) == ((3.0, 10.0),), "of 10 to 14"
    assert found.bounds(18 + 14) == (), "of 15 to 17 each goes to its end"


def test_without_a_rule_there_are_no_bounds():
    assert ledger(StoppingRule(), *[(1, 2, 3)] * 20).bounds(99) == ()


def test_long_curves_have_a_hundred_bounds_at_most():
    rule = StoppingRule(RuleKind.MEDIAN, startup=1)
    bounds = ledger(rule, tuple(range(1000))).bounds(99)
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
        (RuleKind.HYPERBAND, (1.0, 1.0, 9.0), 3),
    ],
)
def test_a_trial_ends_where_it_is_worse_than_its_bound(kind, values, ends_at):
    end = EarlyEnd(((1.0, 5.0), (3.0, 3.0)), kind, 1.0)
    found = [step for step, value in enumerate(values, 1) if end.is_due(step, value)]
    assert found[:1] == ([] if ends_at is None else [ends_at])


def test_what_grows_is_compared_the_other_way_round():
    rule = StoppingRule(RuleKind.MEDIAN, startup=3)
    bounds = ledger(rule, (5,), (3,), (9,), sign=-1.0).bounds(99)
    assert bounds == ((1.0, -5.0),)
    assert EarlyEnd(bounds, RuleKind.MEDIAN, -1.0).is_due(1, 4.0)
    assert not EarlyEnd(bounds, RuleKind.MEDIAN, -1.0).is_due(1, 6.0)
