"""Any `Searcher` of Ray Tune: `ray`, with its class and arguments as options.

    search:
      method: ray
      options: {searcher: "ray.tune.search.hyperopt:HyperOptSearch", arguments: {random_state_seed: 1}}

The space is handed over as a unit cube with choices, as to Nevergrad and HyperOpt. Ray Tune's way of saving a searcher is not
used: after a restart a new one is asked and told everything again, and must answer the same, so it needs a seed among its
arguments.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from raythena.domain.scan.search_space import Categories, Value, Values
from raythena.engine.scan_policy import TrialOutcome
from raythena.tune.other_searchers import point_in_cube, searched
from raythena.tune.searcher_interface import SearchDiverged, SearcherPlugin, SearchProblem, ask_again

_METRIC = "loss"
_FIELD = "search.options.searcher"


class RayTuneSearcher:
    """A searcher of Ray Tune as one of ours."""

    learns = True
    size: int | None = None

    def __init__(self, problem: SearchProblem) -> None:
        problem.check_options(("searcher", "arguments"))
        problem.needs_one_objective("ray")
        problem.needs_plain_space("ray")
        tune = problem.library("ray.tune", "ray[tune]")
        space: dict[str, object] = {}
        for each in searched(problem):
            choices = each.dimension.choices if isinstance(each.dimension, Categories) else ()
            space[each.name] = tune.choice(list(range(len(choices)))) if choices else tune.uniform(0.0, 1.0)
        self._problem = problem
        self._searcher = _made(problem)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            accepted = self._searcher.set_search_properties(_METRIC, "min", space)
        if not accepted:
            raise problem.refuse("takes no search space from us", field=_FIELD, expected="a searcher without space and metric")

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`. Raises SearchDiverged when nothing is proposed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._searcher.suggest(_id(number))
        if not isinstance(found, dict):
            raise SearchDiverged(f"the searcher of Ray Tune proposes no point {number}: {found}")
        return point_in_cube(self._problem, {name: float(value) for name, value in found.items()})

    def recall(self, number: int, parameters: Values) -> None:
        """See `Searcher`. Raises SearchDiverged. Points of other scans are not used."""
        if number > 0:
            ask_again(self, number, parameters)

    def tell(self, outcome: TrialOutcome) -> None:
        """See `Searcher`."""
        if outcome.number < 0:
            return
        if outcome.values is None:
            self._searcher.on_trial_complete(_id(outcome.number), error=True)
        else:
            loss = self._problem.objectives[0].sign * outcome.values[0]
            self._searcher.on_trial_complete(_id(outcome.number), result={_METRIC: loss, "training_iteration": 1})


def _id(number: int) -> str:
    return f"{number:08d}"


def _made(problem: SearchProblem) -> Any:
    """The searcher that the options name. Raises InvalidInput."""
    module, _, name = str(problem.options.get("searcher", "")).partition(":")
    arguments = problem.options.get("arguments", {})
    if not name or not isinstance(arguments, dict):
        raise problem.refuse("is missing", field=_FIELD, expected="module:class, such as ray.tune.search.optuna:OptunaSearch")
    try:
        return getattr(importlib.import_module(module), name)(**arguments)
    except (ImportError, AttributeError, TypeError, AssertionError) as refusal:
        raise problem.refuse(f"cannot be made: {refusal}", field=_FIELD) from refusal


RAY = SearcherPlugin("ray", RayTuneSearcher)
