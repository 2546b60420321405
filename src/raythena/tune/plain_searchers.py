"""Searchers that learn nothing: random points and grids. They need no library, and no point depends on another.

`random` draws each point from a generator of its own, seeded with the scan's seed and the point's number, so that any point can
be had without those before it. Parameters with `grid_search` are not drawn: all combinations of their categories come in turn.

`grid` goes through every combination, the last parameter fastest. All parameters must have values that can be counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from raythena.domain.scan.search_space import Categories, Dimension, Fixed, Interval, Parameter, Value, Values
from raythena.engine.scan_policy import TrialOutcome
from raythena.tune.searcher_interface import SearcherPlugin, SearchProblem


class PlainSearcher:
    """A `Searcher` whose points are a function of their number."""

    learns = False
    size: int | None = None

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`."""
        raise NotImplementedError

    def recall(self, number: int, parameters: Values) -> None:
        """See `Searcher`: nothing depends on it."""

    def tell(self, outcome: TrialOutcome) -> None:
        """See `Searcher`: nothing depends on it."""


class RandomSearcher(PlainSearcher):
    """Independent points."""

    def __init__(self, problem: SearchProblem) -> None:
        problem.check_options(())
        self._space = problem.space
        self._seed = problem.seed
        self._in_turn = _places(
            {
                each.name: len(each.dimension.choices)
                for each in problem.space.parameters
                if isinstance(each.dimension, Categories) and each.dimension.in_turn
            }
        )

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`."""
        draw = np.random.default_rng((self._seed, number)).random

        def value_of(parameter: Parameter) -> Value:
            place = self._in_turn.get(parameter.name)
            if place is None or not isinstance(parameter.dimension, Categories):
                return parameter.dimension.at(float(draw()))
            stride, count = place
            return parameter.dimension.choices[(number - 1) // stride % count]

        return self._space.choose(value_of)


class GridSearcher(PlainSearcher):
    """Every combination once."""

    def __init__(self, problem: SearchProblem) -> None:
        problem.check_options(())
        problem.needs_plain_space("grid")
        self._space = problem.space
        counts = {each.name: _count(problem, each) for each in problem.space.parameters}
        self._places = _places(counts)
        self.size = math.prod(counts.values())

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`."""

        def value_of(parameter: Parameter) -> Value:
            stride, count = self._places[parameter.name]
            return _counted(parameter.dimension, (number - 1) // stride % count)

        return self._space.choose(value_of)


def _count(problem: SearchProblem, parameter: Parameter) -> int:
    match parameter.dimension:
        case Fixed():
            return 1
        case Categories(choices):
            return len(choices)
        case Interval() as interval if interval.count:
            return interval.count
    raise problem.refuse(
        f"the values of {parameter.name} cannot be counted",
        expected="for a grid: categorical, uniformint, quniform, quniformint, qloguniform or fixed",
    )


def _counted(dimension: Dimension, index: int) -> Value:
    match dimension:
        case Categories(choices):
            return choices[index]
        case Interval() as interval:
            return interval.multiple(interval.multiples[0] + index)
        case _:
            return dimension.at(0.0)


def _places(counts: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """(points between two values, number of values) by name: the last parameter changes fastest."""
    places: dict[str, tuple[int, int]] = {}
    stride = 1
    for name, count in reversed(list(counts.items())):
        places[name] = (stride, count)
        stride *= count
    return places


RANDOM = SearcherPlugin("random", RandomSearcher)
GRID = SearcherPlugin("grid", GridSearcher)
