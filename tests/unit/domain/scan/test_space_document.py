"""Search spaces: every method in both forms, the values they stand for, and what is refused."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.scan.search_space import Categories, Condition, Fixed, Interval, Normal
from raythena.domain.scan.space_document import METHODS, parse_space

PANDA = {
    "categorical": ({"categories": ["a", 2, None], "grid_search": 1}, Categories(("a", 2, None), True)),
    "uniform": ({"low": -1, "high": 2.5}, Interval(-1.0, 2.5)),
    "uniformint": ({"low": 1, "high": 5}, Interval(1, 4, step=1.0, whole=True)),
    "quniform": ({"low": 0, "high": 1, "q": 0.25}, Interval(0.0, 1.0, step=0.25)),
    "quniformint": ({"low": 0, "high": 10, "q": 5}, Interval(0, 10, step=5.0, whole=True)),
    "loguniform": ({"low": 1e-5, "high": 1, "base": 10}, Interval(1e-5, 1.0, True)),
    "qloguniform": ({"low": 1, "high": 100, "q": 2}, Interval(1.0, 100.0, True, 2.0)),
    "normal": ({"mu": 0, "sigma": 1}, Normal(0.0, 1.0)),
    "qnormal": ({"mu": 0, "sigma": 1, "q": 0.5}, Normal(0.0, 1.0, step=0.5)),
    "lognormal": ({"mu": 0, "sigma": 1, "base": 10}, Normal(0.0, 1.0, True, 10.0)),
    "qlognormal": ({"mu": 0, "sigma": 1, "q": 1}, Normal(0.0, 1.0, True, math.e, 1.0)),
    "fixed": ("relu", Fixed("relu")),
}


def space(document):
    return parse_space(FieldPath("scan.yaml", "space", document))


def dimension(document):
    return space({"p": document}).parameters[0].dimension


def refused(document) -> str:
    with pytest.raises(InvalidInput) as refusal:
        space(document)
    return str(refusal.value)


def test_every_method_of_panda_is_known():
    assert set(PANDA) == set(METHODS)


@pytest.mark.parametrize("method", PANDA)
def test_the_form_of_panda(method):
    written, meant = PANDA[method]
    assert dimension({"method": method, "dimension": written}) == meant


@pytest.mark.parametrize("method", [name for name in PANDA if name not in {"fixed", "uniformint"}])
def test_our_form_means_the_same(method):
    written, meant = PANDA[method]
    assert dimension({"method": method, **written}) == meant


def test_where_our_form_differs():
    assert dimension({"method": "uniformint", "low": 1, "high": 5}) == Interval(1, 5, step=1.0, whole=True)
    assert dimension(["a", "b"]) == Categories(("a", "b"))
    assert dimension(3) == dimension({"method": "fixed", "value": 3}) == Fixed(3)
    assert dimension({"method": "fixed", "dimension": {"value": 3}}) == Fixed(3)


def test_a_parameter_may_depend_on_an_earlier_one():
    found = space({"kind": ["a", "b"], "x": {"method": "uniform", "low": 0, "high": 1, "when": {"kind": ["b"]}}})
    assert found.parameters[1].when == Condition("kind", ("b",))
    assert found.is_conditional
    assert found.choose(lambda parameter: {"kind": "a", "x": 0.5}[parameter.name]) == {"kind": "a"}
    assert found.choose(lambda parameter: {"kind": "b", "x": 0.5}[parameter.name]) == {"kind": "b", "x": 0.5}


@given(st.sampled_from(sorted(PANDA)), st.floats(0.0, 1.0, exclude_max=True))
def test_a_quantile_has_a_value_within_the_range(method, quantile):
    what = dimension({"method": method, "dimension": PANDA[method][0]})
    value = what.at(quantile)
    match what:
        case Categories(choices):
            assert value in choices
        case Interval(low=low, high=high, step=step):
            assert low <= value <= high
            assert not step or math.isclose(value / step, round(value / step))
        case Normal():
            assert math.isfinite(value)


@pytest.mark.parametrize(
    ("method", "written", "median"),
    [
        ("loguniform", {"low": 1e-4, "high": 1}, 1e-2),
        ("normal", {"mu": 3, "sigma": 2}, 3.0),
        ("uniform", {"low": 0, "high": 4}, 2.0),
    ],
)
def test_distributions_are_what_they_are_called(method, written, median):
    what = dimension({"method": method, **written})
    assert statistics.median(what.at((k + 0.5) / 999) for k in range(999)) == pytest.approx(median, rel=1e-6)


def test_multiples_are_written_as_people_write_them():
    what = dimension({"method": "quniform", "low": 0, "high": 1, "q": 0.1})
    assert [what.at(k / 11 + 0.01) for k in range(11)] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"method": "unifrom", "low": 0, "high": 1}, "space.p.method: unknown method 'unifrom'; expected one of categorical"),
        ({"method": "uniform", "low": 1, "high": 1}, "low is 1 and high is 1; expected low below high"),
        ({"method": "uniform", "low": 2, "high": 1}, "expected low below high"),
        ({"method": "uniform", "low": 2}, "space.p.high: is missing"),
        ({"method": "uniform", "low": True, "high": 3}, "space.p.low: is true"),
        ({"method": "uniform", "low": 0, "high": float("inf")}, "expected a finite number"),
        ({"method": "uniform", "low": 0, "high": 10**400}, "is too large"),
        ({"method": "uniform", "low": 0, "high": 1, "q": 1}, "unknown key 'q'"),
        ({"method": "loguniform", "low": 0, "high": 1}, "space.p.low: is 0; expected a number above 0"),
        ({"method": "loguniform", "low": -1, "high": 1}, "expected a number above 0"),
        ({"method": "qloguniform", "low": 1, "high": 2, "q": 3}, "space.p.q: is 3, and the range is 1 wide"),
        ({"method": "quniform", "low": 0, "high": 1, "q": 0}, "space.p.q: is 0; expected a number above 0"),
        ({"method": "uniformint", "low": 0.5, "high": 3}, "expected a whole number"),
        ({"method": "normal", "mu": 0, "sigma": 0}, "space.p.sigma: is 0; expected a number above 0"),
        ({"method": "lognormal", "mu": 600, "sigma": 100}, "too large"),
        ({"method": "categorical", "categories": []}, "space.p.categories: is empty"),
        ({"method": "categorical", "categories": "ab"}, "expected a list"),
        ({"method": "categorical", "categories": ["a", "a"]}, "'a' is listed twice"),
        ({"method": "categorical", "categories": ["a"], "grid_search": 2}, "expected 0 or 1"),
        ({"low": 0, "high": 1}, "space.p.method: is missing"),
        ({"method": "uniform", "low": 0, "high": 1, "when": {"later": 1}}, "depends on 'later'"),
        ([], "is empty"),
    ],
)
def test_what_makes_no_sense_is_refused(written, told):
    assert told in refused({"p": written})


def test_a_range_as_wide_as_a_step_has_a_multiple():
    """A step that is not wider than the range always has one: what is refused is the step that is wider."""
    assert dimension({"method": "quniform", "low": 0.35, "high": 0.65, "q": 0.3}).at(0.5) == 0.6


def test_conditions_are_looked_up():
    assert "'c' is no category of kind" in refused({"kind": ["a"], "x": {"method": "fixed", "value": 1, "when": {"kind": ["c"]}}})
    assert "expected one earlier parameter" in refused({"x": {"method": "fixed", "value": 1, "when": 3}})
    assert "expected parameters by name" in refused([])
    assert "expected at most 1000" in refused({f"p{number}": 1 for number in range(1001)})
