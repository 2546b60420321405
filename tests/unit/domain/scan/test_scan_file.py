"""The scan file: what it says, and what is refused."""

from __future__ import annotations

import pytest

from raythena.domain.errors import InvalidInput
from raythena.domain.scan.scan_file import Goal, Objective, ScanBudget, SearchSpec, parse_scan
from raythena.domain.scan.stopping_rule import RuleKind, StoppingRule

LEAST = {"name": "bdt", "space": {"x": [1, 2]}, "trial": {"python": "m:f"}, "budget": {"points": 5}}


def scan(**keys):
    return parse_scan({**LEAST, **keys}, "scan.yaml")


def test_the_least_a_scan_file_says():
    found = scan()
    assert found.objectives == (Objective("loss", Goal.MINIMIZE),)
    assert (found.search, found.stopping, found.budget) == (SearchSpec(), StoppingRule(), ScanBudget(5))
    assert found.trial == {"python": "m:f"}


def test_everything_a_scan_file_says():
    found = scan(
        objective={"error": "minimize", "auc": "maximize"},
        budget={"points": 60, "core_hours": 2},
        search={"method": "tpe", "seed": 3, "parallel": 2, "options": {"n_startup_trials": 5}},
        warm_start=["old.raythena"],
    )
    assert [(each.name, each.sign) for each in found.objectives] == [("error", 1.0), ("auc", -1.0)]
    assert found.budget == ScanBudget(60, 2.0)
    assert found.search == SearchSpec("tpe", 3, 2, {"n_startup_trials": 5})
    assert found.warm_start == ("old.raythena",)
    assert scan(search="grid").search.method == "grid"
    assert scan(early_stopping={"rule": "asha", "first_step": 2}).stopping == StoppingRule(RuleKind.ASHA, first_step=2.0)
    assert scan(early_stopping={"rule": "hyperband", "last_step": 81}).stopping == StoppingRule(
        RuleKind.HYPERBAND, last_step=81.0
    )


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"budgets": {}}, "budgets: unknown key 'budgets'.*Did you mean 'budget'"),
        ({"name": None}, "name: is missing"),
        ({"name": "a/b"}, "expected a name that can be a file's"),
        ({"space": {}}, "expected parameters by name"),
        ({"trial": "train.py"}, "expected a mapping with python or command"),
        ({"budget": None}, "budget: is missing; expected points or core_hours"),
        ({"budget": {}}, "is empty; expected points or core_hours"),
        ({"budget": {"points": 0}}, "budget.points: is 0; expected a whole number of at least 1"),
        ({"budget": {"core_hours": -1}}, "budget.core_hours: is -1; expected a number above 0"),
        ({"budget": {"core_hours": True}}, "expected a number above 0"),
        ({"objective": "loss"}, "expected names with minimize or maximize"),
        ({"objective": {"loss": "min"}}, "objective.loss: is 'min'; expected minimize or maximize"),
        ({"objective": {"status": "minimize"}}, "is a word of the program's answer"),
        ({"objective": {f"o{n}": "minimize" for n in range(11)}}, "has 11 entries"),
        ({"search": {"seed": 1}}, "search.method: is missing"),
        ({"search": {"method": "tpe", "parallel": 0}}, "search.parallel: is 0"),
        ({"search": {"method": "tpe", "options": []}}, "search.options: is \\[\\]"),
        ({"early_stopping": {"rule": "band"}}, "early_stopping.rule: is 'band'; expected one of none, median, asha, hyperband"),
        ({"early_stopping": {"rule": "hyperband"}}, "early_stopping.last_step: is null; expected a number above 0"),
        (
            {"early_stopping": {"rule": "hyperband", "last_step": 1}},
            "last_step: is 1; expected a number above first_step, which is 1",
        ),
        ({"early_stopping": {"rule": "hyperband", "last_step": 1e9}}, "at most 1,000,000 times that"),
        ({"early_stopping": {"rule": "asha", "last_step": 9}}, "last_step: is of the rule hyperband alone"),
        ({"early_stopping": {"rule": "asha", "reduction": 1}}, "reduction: is 1"),
        ({"early_stopping": {"rule": "asha"}, "objective": {"a": "minimize", "b": "minimize"}}, "does not go with several"),
    ],
)
def test_what_makes_no_sense_is_refused(keys, told):
    with pytest.raises(InvalidInput, match=told):
        scan(**keys)


def test_a_grid_ends_by_itself():
    assert scan(budget=None, search="grid").budget == ScanBudget()
