"""Searchers of Nevergrad and HyperOpt, where they are installed: `nevergrad`, `hyperopt`.

Both search the unit cube: a parameter that is not a choice is a quantile of its distribution there, so that logarithms, steps and
normal distributions are the same as for every other searcher. They keep a state of their own, so after a restart they are asked
and told everything again, and must answer the same.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from raythena.domain.scan.search_space import Categories, Fixed, Parameter, Value, Values
from raythena.engine.scan_policy import TrialOutcome
from raythena.tune.searcher_interface import SearcherPlugin, SearchProblem, ask_again

_DEFAULT_OPTIMIZER = "NGOpt"


def searched(problem: SearchProblem) -> list[Parameter]:
    """The parameters a library is told of: all but those with one value."""
    return [parameter for parameter in problem.space.parameters if not isinstance(parameter.dimension, Fixed)]


def point_in_cube(problem: SearchProblem, found: dict[str, float]) -> dict[str, Value]:
    """A point from numbers of the library: the place of a category, a quantile of anything else."""

    def value_of(parameter: Parameter) -> Value:
        match parameter.dimension:
            case Fixed(value):
                return value
            case Categories(choices):
                return choices[int(found[parameter.name])]
            case dimension:
                return dimension.at(min(max(found[parameter.name], 0.0), 1.0))

    return problem.space.choose(value_of)


class NevergradSearcher:
    """An optimizer of Nevergrad as a `Searcher`. Options: `optimizer`, its name there."""

    learns = True
    size: int | None = None

    def __init__(self, problem: SearchProblem) -> None:
        problem.check_options(("optimizer",))
        problem.needs_one_objective("nevergrad")
        problem.needs_plain_space("nevergrad")
        nevergrad = problem.library("nevergrad")
        name = str(problem.options.get("optimizer", _DEFAULT_OPTIMIZER))
        if name not in nevergrad.optimizers.registry:
            known = ", ".join(sorted(nevergrad.optimizers.registry)[:5])
            raise problem.refuse(f"Nevergrad has no {name!r}", field="search.options.optimizer", expected=f"for example {known}")
        self._problem = problem
        self._open: dict[int, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            space = nevergrad.p.Dict(**{each.name: _nevergrad_parameter(nevergrad, each) for each in searched(problem)})
            space.random_state = np.random.RandomState(problem.seed)
            make = nevergrad.optimizers.registry[name]
            self._optimizer = make(parametrization=space, budget=problem.points or None, num_workers=problem.parallel)

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            candidate = self._open[number] = self._optimizer.ask()
        return point_in_cube(self._problem, {name: float(value) for name, value in candidate.value.items()})

    def recall(self, number: int, parameters: Values) -> None:
        """See `Searcher`. Raises SearchDiverged. Points of other scans are not used."""
        if number > 0:
            ask_again(self, number, parameters)

    def tell(self, outcome: TrialOutcome) -> None:
        """See `Searcher`. Of what failed it is told nothing: it has no word for it."""
        candidate = self._open.pop(outcome.number, None)
        if candidate is not None and outcome.values is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._optimizer.tell(candidate, self._problem.objectives[0].sign * outcome.values[0])


def _nevergrad_parameter(nevergrad: Any, parameter: Parameter) -> object:
    if isinstance(parameter.dimension, Categories):
        return nevergrad.p.Choice(list(range(len(parameter.dimension.choices))))
    return nevergrad.p.Scalar(lower=0.0, upper=1.0)


class HyperoptSearcher:
    """HyperOpt's tree of Parzen estimators as a `Searcher`. Options: `n_startup_jobs`, `gamma`, `n_EI_candidates`."""

    learns = True
    size: int | None = None

    def __init__(self, problem: SearchProblem) -> None:
        problem.check_options(("n_startup_jobs", "gamma", "n_EI_candidates"))
        problem.needs_one_objective("hyperopt")
        problem.needs_plain_space("hyperopt")
        self._hyperopt = hyperopt = problem.library("hyperopt")
        self._problem = problem
        space = {each.name: _hyperopt_parameter(hyperopt, each) for each in searched(problem)}
        self._domain = hyperopt.base.Domain(lambda _: 0.0, space)
        self._trials = hyperopt.Trials()
        self._documents: dict[int, dict[str, Any]] = {}

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`."""
        trials, hyperopt = self._trials, self._hyperopt
        seed = int(np.random.SeedSequence((self._problem.seed, number)).generate_state(1)[0]) % 2**31
        trials.refresh()
        (document,) = hyperopt.tpe.suggest(trials.new_trial_ids(1), self._domain, trials, seed, **self._problem.options)
        trials.insert_trial_docs([document])
        trials.refresh()
        self._documents[number] = trials._dynamic_trials[-1]
        found = {name: float(values[0]) for name, values in document["misc"]["vals"].items()}
        return point_in_cube(self._problem, found)

    def recall(self, number: int, parameters: Values) -> None:
        """See `Searcher`. Raises SearchDiverged. Points of other scans are not used."""
        if number > 0:
            ask_again(self, number, parameters)

    def tell(self, outcome: TrialOutcome) -> None:
        """See `Searcher`."""
        document = self._documents.pop(outcome.number, None)
        if document is None:
            return
        hyperopt = self._hyperopt
        if outcome.values is None:
            document["state"] = hyperopt.JOB_STATE_ERROR
            document["result"] = {"status": hyperopt.STATUS_FAIL}
        else:
            document["state"] = hyperopt.JOB_STATE_DONE
            loss = self._problem.objectives[0].sign * outcome.values[0]
            document["result"] = {"status": hyperopt.STATUS_OK, "loss": loss}
        self._trials.refresh()


def _hyperopt_parameter(hyperopt: Any, parameter: Parameter) -> object:
    if isinstance(parameter.dimension, Categories):
        return hyperopt.hp.choice(parameter.name, list(range(len(parameter.dimension.choices))))
    return hyperopt.hp.uniform(parameter.name, 0.0, 1.0)


NEVERGRAD = SearcherPlugin("nevergrad", NevergradSearcher)
HYPEROPT = SearcherPlugin("hyperopt", HyperoptSearcher)
