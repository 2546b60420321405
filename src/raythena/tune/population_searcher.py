"""Population based training: `pbt`. Trials go on from where others ended, bad ones from good ones, with changed parameters.

The population has as many members as points are open at a time (`parallel`), and point `k` is a turn of member `k` modulo that
number. It is proposed when everything up to the member's last turn is settled, and starts from a checkpoint in the task
directory: of that turn, with the same parameters; or, when the member is among the worst, of one of the best, with parameters
that are tried anew (explored). Whom a point goes on from is part of the point, which is in the ledger before anybody computes it:
after a restart, weights and parameters cannot belong to different trials.

A turn that failed counts as the worst. Nobody waits for the whole population.
"""

from __future__ import annotations

import math

import numpy as np

from raythena.domain.document import FieldPath
from raythena.domain.scan.search_space import Categories, Dimension, Fixed, Interval, Parameter, Value, Values
from raythena.domain.scan.trial import finite
from raythena.engine.scan_policy import TrialOutcome
from raythena.tune.searcher_interface import SearcherPlugin, SearchProblem, ask_again

_USUAL = {"quantile": 0.25, "resample": 0.25, "factor": 1.2}
_LEAST = 2


class PopulationSearcher:
    """A `Searcher` and `Breeder`.

    Options: `quantile`, so many of the members are among the worst, and as many among the best; `resample`, the chance that an
    explored parameter is drawn anew; `factor`, by which it is multiplied or divided otherwise.
    """

    learns = True
    size: int | None = None

    def __init__(self, problem: SearchProblem) -> None:
        problem.check_options(tuple(_USUAL))
        problem.needs_one_objective("pbt")
        problem.needs_plain_space("pbt")
        options = {name: _option(problem, name) for name in _USUAL}
        if problem.parallel < _LEAST:
            raise problem.refuse(f"is {problem.parallel}", field="search.parallel", expected="a population: 2 or more for pbt")
        self._problem = problem
        self._members = problem.parallel
        self._most = max(1, int(self._members * options["quantile"]))
        self._resample, self._factor = options["resample"], options["factor"]
        self._latest: dict[int, tuple[float, int]] = {}
        """Of each member its last settled turn: (what it came to, number)."""
        self._parameters: dict[int, Values] = {}
        self._parents: dict[int, int | None] = {}

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`."""
        draw = np.random.default_rng((self._problem.seed, number))
        last = number - self._members
        parent = self._source(last, draw) if last > 0 else None
        if parent is None:
            parameters = self._problem.space.choose(lambda each: each.dimension.at(float(draw.random())))
        elif parent == last:
            parameters = dict(self._parameters[parent])
        else:
            known = self._parameters[parent]
            parameters = self._problem.space.choose(lambda each: self._explored(each, known[each.name], draw))
        self._parameters[number], self._parents[number] = parameters, parent
        for old in (number - 2 * self._members, number - 3 * self._members):
            self._parents.pop(old, None)
        self._parameters.pop(number - 3 * self._members, None)
        return parameters

    def _source(self, last: int, draw: np.random.Generator) -> int | None:
        """Whom the next turn of a member goes on from; None when nothing has gone well so far."""
        ranked = sorted(self._latest.values())
        good = [number for value, number in ranked[: self._most] if value < math.inf]
        if not good:
            return None
        value, number = self._latest[(last - 1) % self._members]
        bad = {each for _, each in ranked[len(ranked) - self._most :]}
        stays = value < math.inf and (number not in bad or number in good)
        return number if stays else good[int(draw.integers(len(good)))]

    def _explored(self, parameter: Parameter, value: Value, draw: np.random.Generator) -> Value:
        if draw.random() < self._resample:
            return parameter.dimension.at(float(draw.random()))
        return _neighbour(parameter.dimension, value, self._factor if draw.random() < 0.5 else 1.0 / self._factor)

    def parent_of(self, number: int) -> int | None:
        """See `Breeder`."""
        return self._parents[number]

    def recall(self, number: int, parameters: Values) -> None:
        """See `Searcher`. Raises SearchDiverged. Points of other scans are not used: their checkpoints are elsewhere."""
        if number > 0:
            ask_again(self, number, parameters)

    def tell(self, outcome: TrialOutcome) -> None:
        """See `Searcher`."""
        if outcome.number > 0:
            value = math.inf if outcome.values is None else self._problem.objectives[0].sign * outcome.values[0]
            self._latest[(outcome.number - 1) % self._members] = (value, outcome.number)


def _neighbour(dimension: Dimension, value: Value, factor: float) -> Value:
    """A value near by: times the factor within the interval, or the next category."""
    match dimension, value:
        case Fixed(), _:
            return value
        case Categories(choices), _:
            place = choices.index(value) + (1 if factor > 1.0 else -1)
            return choices[min(max(place, 0), len(choices) - 1)]
        case Interval() as interval, int() | float() as number:
            moved = interval.nearest(number * factor)
            return _next_multiple(interval, number, factor) if moved == value else moved
        case _, int() | float() as number:
            return number * factor
    return value


def _next_multiple(interval: Interval, number: float, factor: float) -> Value:
    """Where the factor does not reach the next multiple of the step, that one; at an end of the interval nothing moves."""
    return interval.nearest(number + (interval.step if factor > 1.0 else -interval.step))


def _option(problem: SearchProblem, name: str) -> float:
    place = FieldPath(problem.source, f"search.options.{name}", problem.options.get(name, _USUAL[name]))
    number = finite(place)
    low, high = {"quantile": (0.0, 0.5), "resample": (0.0, 1.0), "factor": (1.0, 100.0)}[name]
    if not low <= number <= high:
        raise place.refuse(f"is {number:g}", expected=f"a number from {low:g} to {high:g}")
    return number


PBT = SearcherPlugin("pbt", PopulationSearcher)
