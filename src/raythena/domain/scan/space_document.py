"""Search spaces as people write them: PanDA's JSON form, and the shorter one of our own scan files.

    PanDA    {"rate": {"method": "loguniform", "dimension": {"low": 1e-4, "high": 0.3}}, ...}
    ours     rate: {method: loguniform, low: 1.0e-4, high: 0.3, when: {booster: [tree]}}
             booster: [tree, linear]        a list is a choice
             rounds: 100                    anything else is fixed

The methods are the same in both. One thing differs: the `high` of PanDA's `uniformint` does not belong to the range, as in
hpogrid, whose form it is; ours does. Whatever makes no sense is refused with its place in the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

from raythena.domain.document import FieldPath, nearest, shown
from raythena.domain.scan.search_space import Categories, Condition, Dimension, Fixed, Interval, Normal, Parameter, SearchSpace
from raythena.domain.scan.trial import finite

MAX_PARAMETERS = 1000
MAX_CATEGORIES = 10_000
_MAX_WHOLE = 2**53
"""Beyond this, not every whole number has a float of its own."""


@dataclass(frozen=True, slots=True)
class _Method:
    """How a method is read: its keys, those that must be there, and what makes a dimension of them."""

    keys: tuple[str, ...]
    required: tuple[str, ...]
    make: Callable[[FieldPath, bool], Dimension]


def parse_space(place: FieldPath) -> SearchSpace:
    """The search space at `place`. Raises InvalidInput."""
    if not isinstance(place.value, dict) or not place.value:
        raise place.refuse(f"is {shown(place.value)}", expected="parameters by name, each with its method")
    if len(place.value) > MAX_PARAMETERS:
        raise place.refuse(f"has {len(place.value)} parameters", expected=f"at most {MAX_PARAMETERS}")
    parameters: list[Parameter] = []
    for name in place.value:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise place.refuse(f"has a parameter called {shown(name)}", expected="names that can be printed")
        parameters.append(_parameter(place.entry(name), name, parameters))
    return SearchSpace(tuple(parameters))


def _parameter(place: FieldPath, name: str, before: list[Parameter]) -> Parameter:
    if isinstance(place.value, list):
        return Parameter(name, _categories(FieldPath(place.source, place.field, {"categories": place.value}), False))
    if not isinstance(place.value, dict):
        return Parameter(name, Fixed(place.plain()))
    if "dimension" in place.value:
        place.mapping(("method", "dimension"), required=("method",))
        method = _method(place.entry("method"))
        return Parameter(name, _dimension(place.entry("dimension"), method, panda=True))
    method_place = place.entry("method")
    if not method_place.given:
        raise method_place.refuse("is missing", expected="one of " + ", ".join(METHODS))
    method = _method(method_place)
    when = _condition(place.entry("when"), before) if place.entry("when").given else None
    values = {key: value for key, value in place.value.items() if key not in ("method", "when")}
    return Parameter(name, _dimension(FieldPath(place.source, place.field, values), method, panda=False), when)


def _method(place: FieldPath) -> str:
    name = place.text("one of " + ", ".join(METHODS))
    if name not in METHODS:
        raise place.refuse(f"unknown method {shown(name)}", expected="one of " + ", ".join(METHODS), hint=nearest(name, METHODS))
    return name


def _dimension(place: FieldPath, name: str, *, panda: bool) -> Dimension:
    method = METHODS[name]
    if name == "fixed" and panda and not (isinstance(place.value, dict) and set(place.value) == {"value"}):
        return Fixed(place.plain())
    place.mapping(method.keys, required=method.required)
    return method.make(place, panda)


def _condition(place: FieldPath, before: list[Parameter]) -> Condition:
    if not isinstance(place.value, dict) or len(place.value) != 1:
        raise place.refuse(f"is {shown(place.value)}", expected="one earlier parameter with the values it must have")
    (name,) = place.value
    known = {parameter.name: parameter.dimension for parameter in before}
    if name not in known:
        raise place.refuse(f"depends on {shown(name)}", expected="a parameter that stands before this one")
    dimension, value = known[name], place.entry(name)
    among = [item.plain() for item in value.items(at_least=1)] if isinstance(value.value, list) else [value.plain()]
    if isinstance(dimension, Categories):
        for each in among:
            if each not in dimension.choices:
                raise value.refuse(
                    f"{shown(each)} is no category of {name}", expected=f"some of {shown(list(dimension.choices))}"
                )
    return Condition(name, tuple(among))


# ---- the methods


def _whole(place: FieldPath) -> int:
    number = finite(place)
    if number != int(number) or abs(number) > _MAX_WHOLE:
        raise place.refuse(f"is {shown(place.value)}", expected="a whole number")
    return int(number)


def _positive(place: FieldPath) -> float:
    number = finite(place)
    if number <= 0.0:
        raise place.refuse(f"is {shown(place.value)}", expected="a number above 0")
    return number


def _categories(place: FieldPath, panda: bool) -> Dimension:
    entry, grid = place.entry("categories"), place.entry("grid_search")
    items = entry.items(at_least=1)
    if len(items) > MAX_CATEGORIES:
        raise entry.refuse(f"has {len(items)} categories", expected=f"at most {MAX_CATEGORIES}")
    choices = tuple(item.plain() for item in items)
    seen: set[str] = set()
    for item, choice in zip(items, choices, strict=True):
        text = json.dumps(choice, sort_keys=True)
        if text in seen:
            raise item.refuse(f"{shown(choice)} is listed twice", expected="every category once")
        seen.add(text)
    if grid.given and grid.value not in (0, 1):
        raise grid.refuse(f"is {shown(grid.value)}", expected="0 or 1")
    return Categories(choices, bool(grid.value))


def _bounds(place: FieldPath, low: float, high: float) -> None:
    if low >= high:
        raise place.refuse(f"low is {low:g} and high is {high:g}", expected="low below high")


def _step(place: FieldPath, interval: Interval) -> Interval:
    if interval.step > interval.high - interval.low:
        raise place.entry("q").refuse(
            f"is {interval.step:g}, and the range is {interval.high - interval.low:g} wide", expected="a step within the range"
        )
    if interval.count < 1:
        raise place.entry("q").refuse("has no multiple in the range", expected="a step of which a multiple lies in the range")
    return interval


def _interval(*, log: bool = False, quantised: bool = False) -> Callable[[FieldPath, bool], Dimension]:
    def make(place: FieldPath, panda: bool) -> Dimension:
        low, high = (_positive if log else finite)(place.entry("low")), finite(place.entry("high"))
        _bounds(place, low, high)
        if log and place.entry("base").given:
            _positive(place.entry("base"))  # whatever the base, the same numbers come out
        interval = Interval(low, high, log, _positive(place.entry("q")) if quantised else 0.0)
        return _step(place, interval) if quantised else interval

    return make


def _whole_interval(*, quantised: bool = False) -> Callable[[FieldPath, bool], Dimension]:
    def make(place: FieldPath, panda: bool) -> Dimension:
        low, high = _whole(place.entry("low")), _whole(place.entry("high"))
        _bounds(place, low, high)
        if not quantised:
            return Interval(low, high - 1 if panda else high, step=1.0, whole=True)
        step = _whole(place.entry("q"))
        if step < 1:
            raise place.entry("q").refuse(f"is {step}", expected="at least 1")
        return _step(place, Interval(low, high, step=float(step), whole=True))

    return make


def _normal(*, log: bool = False, quantised: bool = False) -> Callable[[FieldPath, bool], Dimension]:
    def make(place: FieldPath, panda: bool) -> Dimension:
        mean, deviation = finite(place.entry("mu")), _positive(place.entry("sigma"))
        step = _positive(place.entry("q")) if quantised else 0.0
        if not log:
            return Normal(mean, deviation, step=step)
        base = _positive(place.entry("base")) if place.entry("base").given else math.e
        reach = 6.0
        if base == 1.0 or abs(mean) + reach * deviation > math.log(1e300) / abs(math.log(base)):
            raise place.refuse("the numbers of this distribution are too large", expected="a smaller mu, sigma or base")
        return Normal(mean, deviation, log, base, step)

    return make


def _fixed(place: FieldPath, panda: bool) -> Dimension:
    return Fixed(place.entry("value").plain())


_RANGE, _BELL = ("low", "high"), ("mu", "sigma")
METHODS = {
    "categorical": _Method(("categories", "grid_search"), ("categories",), _categories),
    "uniform": _Method(_RANGE, _RANGE, _interval()),
    "uniformint": _Method(_RANGE, _RANGE, _whole_interval()),
    "quniform": _Method((*_RANGE, "q"), (*_RANGE, "q"), _interval(quantised=True)),
    "quniformint": _Method((*_RANGE, "q"), (*_RANGE, "q"), _whole_interval(quantised=True)),
    "loguniform": _Method((*_RANGE, "base"), _RANGE, _interval(log=True)),
    "qloguniform": _Method((*_RANGE, "q", "base"), (*_RANGE, "q"), _interval(log=True, quantised=True)),
    "normal": _Method(_BELL, _BELL, _normal()),
    "qnormal": _Method((*_BELL, "q"), (*_BELL, "q"), _normal(quantised=True)),
    "lognormal": _Method((*_BELL, "base"), _BELL, _normal(log=True)),
    "qlognormal": _Method((*_BELL, "q", "base"), (*_BELL, "q"), _normal(log=True, quantised=True)),
    "fixed": _Method(("value",), (), _fixed),
}
"""Every method of PanDA's form."""
