"""Searchers of Optuna: `tpe`, `gp`, `cmaes`, `qmc` and, for several objectives, `nsga2`.

A study in memory is asked and told. Before every question the sampler is made anew, with a seed that follows from the scan's and
the point's number: so all that a proposal depends on are the trials of the study. Of `tpe` and `gp` that is the whole truth, and
a study is rebuilt by adding the recorded trials, in microseconds each; the others keep a state of their own with their trials,
and are asked again. So are all of them where the space has a quantised normal distribution: which of Optuna's numbers was behind
a value cannot be said there.

Everything is minimised: what is to grow is told with the other sign. A trial that ended early is told with the value it reached,
which is a bad one; one that failed is told as failed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from raythena.domain.scan.search_space import Categories, Fixed, Interval, Normal, Parameter, Value, Values
from raythena.engine.scan_policy import TrialOutcome
from raythena.tune.searcher_interface import SearcherPlugin, SearchProblem, ask_again

if TYPE_CHECKING:
    import optuna

_QUANTILES = 1_000_000
"""Normal distributions are searched as one of so many quantiles, the infinite ones at both ends left out."""


class OptunaSearcher:
    """A study of Optuna as a `Searcher`."""

    learns = True
    size: int | None = None

    def __init__(self, problem: SearchProblem, sampler: Callable[[int], optuna.samplers.BaseSampler], *, stateless: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._problem = problem
        self._sampler = sampler
        self._stateless = stateless and not any(_is_ambiguous(each) for each in problem.space.parameters)
        directions = ["minimize"] * len(problem.objectives)
        self._study = optuna.create_study(directions=directions, sampler=sampler(0))
        self._signs = tuple(objective.sign for objective in problem.objectives)
        self._trials: dict[int, int] = {}
        """Optuna's numbers of the trials by those of the points."""

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is experimental in Optuna was tried, see tests
            self._study.sampler = self._sampler(_seed_of(self._problem.seed, number))
            trial = self._study.ask()
            self._trials[number] = trial.number
            return self._problem.space.choose(partial(suggested, trial))

    def recall(self, number: int, parameters: Values) -> None:
        """See `Searcher`. Raises SearchDiverged."""
        if not self._stateless and number > 0:
            ask_again(self, number, parameters)
            return
        self._trials[number] = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(self._recorded(parameters))

    def _recorded(self, parameters: Values) -> optuna.trial.FrozenTrial:
        from optuna.trial import TrialState, create_trial

        searched = {each.name: each for each in self._problem.space.parameters if not isinstance(each.dimension, Fixed)}
        recorded = {name: to_internal(searched[name], value) for name, value in parameters.items() if name in searched}
        distributions = {name: distribution_of(searched[name]) for name in recorded}
        return create_trial(state=TrialState.RUNNING, params=recorded, distributions=distributions)

    def tell(self, outcome: TrialOutcome) -> None:
        """See `Searcher`."""
        from optuna.trial import TrialState

        trial = self._trials.pop(outcome.number)
        if outcome.values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, [sign * value for sign, value in zip(self._signs, outcome.values, strict=True)])


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


# ---- parameters in Optuna's terms


def suggested(trial: optuna.trial.Trial, parameter: Parameter) -> Value:
    """The value Optuna proposes."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(parameter.dimension, Fixed):
        return parameter.dimension.value
    match distribution_of(parameter):
        case CategoricalDistribution() as categories:
            found: object = trial.suggest_categorical(parameter.name, categories.choices)
        case IntDistribution() as whole:
            found = trial.suggest_int(parameter.name, whole.low, whole.high, log=whole.log)
        case numbers:
            found = trial.suggest_float(parameter.name, numbers.low, numbers.high, log=numbers.log)
    return from_internal(parameter, found)


def distribution_of(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    """What Optuna searches instead: categories, multiples of a step and quantiles of normal distributions by their number."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match parameter.dimension:
        case Categories(choices):
            return CategoricalDistribution(tuple(range(len(choices))))
        case Interval(step=step, log=log) as interval if step:
            return IntDistribution(*interval.multiples, log=log)
        case Interval(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
        case _:
            return IntDistribution(1, _QUANTILES - 1)


def from_internal(parameter: Parameter, found: object) -> Value:
    """The value that a number of Optuna's stands for."""
    match parameter.dimension, found:
        case Categories(choices), int() as index:
            return choices[index]
        case Interval(step=step) as interval, int() as number if step:
            return interval.multiple(number)
        case Normal() as normal, int() as number:
            return normal.at(number / _QUANTILES)
    return found


def to_internal(parameter: Parameter, value: Value) -> Value:
    """The other way round."""
    match parameter.dimension, value:
        case Categories(choices), _:
            return [json.dumps(choice, sort_keys=True) for choice in choices].index(json.dumps(value, sort_keys=True))
        case Interval(step=step), int() | float() as number if step:
            return round(number / step)
        case Normal() as normal, int() | float() as number:
            return normal.quantile(number, _QUANTILES)
    return value


def _is_ambiguous(parameter: Parameter) -> bool:
    return isinstance(parameter.dimension, Normal) and parameter.dimension.step > 0.0


# ---- the plug-ins

_TPE_OPTIONS = ("n_startup_trials", "n_ei_candidates", "multivariate", "group")
_CMA_OPTIONS = ("sigma0", "n_startup_trials", "popsize", "restart_strategy", "inc_popsize", "use_separable_cma", "lr_adapt")


def _tpe(problem: SearchProblem) -> OptunaSearcher:
    problem.check_options(_TPE_OPTIONS)
    samplers = problem.library("optuna").samplers
    return _made(problem, lambda seed: samplers.TPESampler(seed=seed, constant_liar=True, **problem.options), stateless=True)


def _gp(problem: SearchProblem) -> OptunaSearcher:
    problem.check_options(("n_startup_trials", "deterministic_objective"))
    problem.library("torch")
    samplers = problem.library("optuna").samplers
    return _made(problem, lambda seed: samplers.GPSampler(seed=seed, **problem.options), stateless=True)


def _cmaes(problem: SearchProblem) -> OptunaSearcher:
    problem.check_options(_CMA_OPTIONS)
    problem.needs_one_objective("cmaes")
    problem.needs_plain_space("cmaes")
    problem.library("cmaes")
    samplers = problem.library("optuna").samplers
    options = {"warn_independent_sampling": False, **problem.options}
    return _made(problem, lambda seed: samplers.CmaEsSampler(seed=seed, **options), stateless=False)


def _qmc(problem: SearchProblem) -> OptunaSearcher:
    problem.check_options(("qmc_type", "scramble"))
    problem.needs_plain_space("qmc")
    problem.library("scipy")
    samplers = problem.library("optuna").samplers
    # one seed for all points: a sequence is scrambled as a whole, or its points would not lie evenly
    options = {"warn_independent_sampling": False, "warn_asynchronous_seeding": False, **problem.options}
    return _made(problem, lambda _: samplers.QMCSampler(seed=problem.seed, **options), stateless=False)


def _nsga2(problem: SearchProblem) -> OptunaSearcher:
    problem.check_options(("population_size", "mutation_prob", "crossover_prob", "swapping_prob"))
    samplers = problem.library("optuna").samplers
    return _made(problem, lambda seed: samplers.NSGAIISampler(seed=seed, **problem.options), stateless=False)


def _made(problem: SearchProblem, sampler: Callable[[int], optuna.samplers.BaseSampler], *, stateless: bool) -> OptunaSearcher:
    """A searcher; its options are tried. Raises InvalidInput."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return OptunaSearcher(problem, sampler, stateless=stateless)
        except (TypeError, ValueError) as refusal:
            raise problem.refuse(str(refusal), field="search.options") from refusal


TPE = SearcherPlugin("tpe", _tpe)
GP = SearcherPlugin("gp", _gp)
CMAES = SearcherPlugin("cmaes", _cmaes)
QMC = SearcherPlugin("qmc", _qmc)
NSGA2 = SearcherPlugin("nsga2", _nsga2)
