"""What may be searched: the parameters of a scan and the values each can take.

Every dimension can say which value lies at a quantile `u` of its distribution, 0 <= u < 1. That one question is enough for random
and quasi-random searches, and for libraries that know no normal distributions. Those that know intervals and categories are told
about them as they are.

Rules: a parameter may depend on one that stands before it (`Condition`); one whose condition does not hold has no value at all.
Everything here was checked when it was read (`space_document`): nothing below is asked whether it makes sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

Value = object
"""Of a parameter: whatever JSON can carry."""
Values = Mapping[str, Value]
"""Of the parameters of one point, by name."""

_EDGE = 1e-9
"""A quantile nearer than this to an end of a normal distribution is taken to be there: the ends themselves are infinite."""
_DIGITS = 12
"""A multiple of a step is rounded to so many digits, so that three times 0.1 is 0.3."""


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


@dataclass(frozen=True, slots=True)
class Fixed:
    """One value."""

    value: Value

    def holds(self, value: Value) -> bool:
        """Whether this is the value."""
        return value == self.value

    def at(self, quantile: float) -> Value:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Categories:
    """One of several values, without order."""

    choices: tuple[Value, ...]
    in_turn: bool = False
    """Random searches take the categories in turn, with all combinations of those of other such parameters (`grid_search`)."""

    def holds(self, value: Value) -> bool:
        """Whether it is one of them."""
        return value in self.choices

    def at(self, quantile: float) -> Value:
        """The category there."""
        return self.choices[min(int(quantile * len(self.choices)), len(self.choices) - 1)]


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `low` to `high`, both included, uniform in the number or (`log`) its logarithm."""

    low: float
    high: float
    log: bool = False
    step: float = 0.0
    """Only multiples of it; 0: any number. At least 1 where numbers are `whole`."""
    whole: bool = False

    def holds(self, value: Value) -> bool:
        """Whether it is such a number in the interval."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return not self.step or value == self.nearest(value)

    @property
    def multiples(self) -> tuple[int, int]:
        """The first and the last multiple of the step that lies in the interval; (0, -1) without a step."""
        if not self.step:
            return 0, -1
        slack = 1e-9
        return math.ceil(self.low / self.step - slack), math.floor(self.high / self.step + slack)

    @property
    def count(self) -> int:
        """How many values there are; 0: too many to count."""
        first, last = self.multiples
        return last - first + 1

    def multiple(self, number: int) -> Value:
        """`number` times the step."""
        return round(number * self.step) if self.whole else _rounded(number * self.step)

    def nearest(self, number: float) -> Value:
        """The value that is next to a number."""
        if not self.step:
            return min(max(number, self.low), self.high)
        first, last = self.multiples
        return self.multiple(min(max(round(number / self.step), first), last))

    def at(self, quantile: float) -> Value:
        """The value there."""
        if self.log:
            return self.nearest(math.exp(math.log(self.low) + quantile * (math.log(self.high) - math.log(self.low))))
        if self.step:
            first, _ = self.multiples
            return self.multiple(first + min(int(quantile * self.count), self.count - 1))
        return self.low + quantile * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Normal:
    """Numbers around `mean`; `log`: numbers whose logarithm (of `base`) is normally distributed."""

    mean: float
    deviation: float
    log: bool = False
    base: float = math.e
    step: float = 0.0

    def holds(self, value: Value) -> bool:
        """Whether it is a number that can come of it."""
        return isinstance(value, int | float) and not isinstance(value, bool) and (value > 0.0 or not self.log)

    def at(self, quantile: float) -> Value:
        """The value there."""
        number = NormalDist(self.mean, self.deviation).inv_cdf(min(max(quantile, _EDGE), 1.0 - _EDGE))
        if self.log:
            number = self.base**number
        return _rounded(round(number / self.step) * self.step) if self.step else number

    def quantile(self, number: float, parts: int) -> int:
        """The nearest of the bounds between `parts` equal parts of the distribution: 1 to `parts` - 1."""
        number = math.log(number) / math.log(self.base) if self.log else number
        return min(max(round(NormalDist(self.mean, self.deviation).cdf(number) * parts), 1), parts - 1)


Dimension = Fixed | Categories | Interval | Normal


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds when an earlier parameter has one of these values."""

    parameter: str
    among: tuple[Value, ...]

    def holds(self, values: Values) -> bool:
        """Whether it does, for the parameters that have values so far."""
        return self.parameter in values and values[self.parameter] in self.among


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a scan."""

    name: str
    dimension: Dimension
    when: Condition | None = None
    """None: it always has a value."""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """All parameters, each behind those it depends on."""

    parameters: tuple[Parameter, ...]

    @property
    def is_conditional(self) -> bool:
        """Some parameter has a value only sometimes."""
        return any(parameter.when is not None for parameter in self.parameters)

    def holds(self, values: Values) -> bool:
        """Whether these are values of a point of this space: of the parameters that have one there, and within their ranges."""
        needed = {each.name for each in self.parameters if each.when is None or each.when.holds(values)}
        return set(values) == needed and all(
            each.dimension.holds(values[each.name]) for each in self.parameters if each.name in needed
        )

    def choose(self, value_of: Callable[[Parameter], Value]) -> dict[str, Value]:
        """A point: `value_of` is asked for each parameter that has a value, in order."""
        values: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.when is None or parameter.when.holds(values):
                values[parameter.name] = value_of(parameter)
        return values
