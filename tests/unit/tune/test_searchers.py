"""Every searcher: the same points in whatever order trials end and whatever is killed; within the space; better than chance."""

from __future__ import annotations

import json
import statistics
from collections import Counter

import pytest
from scan_runs import CONDITIONAL, ScanRun, make_scan, new_policy, parabola

from raythena.domain.errors import InvalidInput
from raythena.domain.scan.scan_file import Objective
from raythena.tune.searcher_interface import SearchDiverged, SearchProblem, searcher_for

PLAIN = {"depth": {"method": "uniformint", "low": 2, "high": 10}, "x": {"method": "uniform", "low": -1.0, "high": 3.0}}
GRID = {"depth": {"method": "quniformint", "low": 2, "high": 10, "q": 4}, "kind": ["a", "b", "c"], "rounds": 3}
LEARNING = ["tpe", "cmaes", "qmc", "nsga2"]


def parameters_of(points) -> list[str]:
    return [json.dumps(point.parameters, sort_keys=True) for point in points]


@pytest.mark.parametrize("method", ["nevergrad", "hyperopt"])
def test_those_of_other_libraries_too(method):
    scan = make_scan(method, 30)
    undisturbed = ScanRun(scan, order=1).go()
    assert parameters_of(ScanRun(scan, 2, frozenset({3, 20, 41, 60})).go()) == parameters_of(undisturbed)
    assert all(scan.space.holds(point.parameters) for point in undisturbed)
    with pytest.raises(InvalidInput, match=f"{method} takes one objective"):
        new_policy(make_scan(method, objective={"a": "minimize", "b": "minimize"}))


@pytest.mark.parametrize(
    ("searcher", "arguments"),
    [
        ("ray.tune.search.optuna:OptunaSearch", {"seed": 3}),
        ("ray.tune.search.hyperopt:HyperOptSearch", {"random_state_seed": 3}),
    ],
)
def test_searchers_of_ray_tune(searcher, arguments):
    options = {"searcher": searcher, "arguments": arguments}
    scan = make_scan("ray", 16, search={"options": options})
    undisturbed = ScanRun(scan, order=1).go()
    assert parameters_of(ScanRun(scan, 2, frozenset({3, 20, 30})).go()) == parameters_of(undisturbed)
    assert all(scan.space.holds(point.parameters) for point in undisturbed)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "search.options.searcher: is missing; expected module:class"),
        ({"searcher": "no.such:Thing"}, "cannot be made: No module named 'no'"),
        ({"searcher": "ray.tune.search.optuna:OptunaSearch", "arguments": {"sead": 1}}, "cannot be made: .*sead"),
    ],
)
def test_searchers_of_ray_tune_that_cannot_be_made(options, told):
    with pytest.raises(InvalidInput, match=told):
        new_policy(make_scan("ray", search={"options": options}))


def test_a_gaussian_process_where_pytorch_is_installed():
    """PyTorch is gigabytes, and not among what a developer's machine gets."""
    pytest.importorskip("torch")
    scan = make_scan("gp", 16, search={"options": {"n_startup_trials": 6}})
    undisturbed = ScanRun(scan, order=1).go()
    assert parameters_of(ScanRun(scan, 2, frozenset({3, 20, 30})).go()) == parameters_of(undisturbed)
    assert all(scan.space.holds(point.parameters) for point in undisturbed)


@pytest.mark.parametrize("method", ["random", *LEARNING])
def test_the_same_points_are_proposed_whatever_is_killed_and_in_whatever_order_trials_end(method):
    scan = make_scan(method, 30)
    undisturbed = parameters_of(ScanRun(scan, order=1).go())
    assert len(undisturbed) == 30
    for order in (2, 3):
        killed = ScanRun(scan, order, kill_at=frozenset(range(order, 200, 9)))
        assert parameters_of(killed.go()) == undisturbed


@pytest.mark.parametrize("method", ["random", "tpe", "nsga2"])
def test_conditional_spaces_too(method):
    scan = make_scan(method, 30, space=CONDITIONAL)
    points = ScanRun(scan, order=1).go()
    assert parameters_of(ScanRun(scan, 5, frozenset({20, 40, 41})).go()) == parameters_of(points)
    assert {("drop" in point.parameters) == (point.parameters["kind"] == "tree") for point in points} == {True}


def test_quantised_normal_distributions_are_asked_for_again():
    space = {
        "a": {"method": "qnormal", "mu": 3, "sigma": 2, "q": 1},
        "b": {"method": "qlognormal", "mu": 0, "sigma": 1, "q": 0.5},
    }
    scan = make_scan("tpe", 25, space=space, objective={"loss": "maximize"})
    points = ScanRun(scan, 1).go_with(lambda parameters: parameters["a"])
    assert ScanRun(scan, 2, frozenset({5, 17, 30})).go_with(lambda parameters: parameters["a"]) == points


@pytest.mark.parametrize("method", ["tpe", "nsga2"])
def test_several_objectives(method):
    scan = make_scan(method, 25, objective={"loss": "minimize", "quality": "maximize"})
    points = parameters_of(ScanRun(scan, 1).go())
    assert parameters_of(ScanRun(scan, 2, frozenset({13, 30})).go()) == points


def test_bounds_of_early_stopping_are_the_same_too():
    scan = make_scan("tpe", 40, early_stopping={"rule": "median", "startup": 3})
    points = ScanRun(scan, 1).go()
    assert sum(bool(point.bounds) for point in points) > 20
    assert ScanRun(scan, 3, frozenset({11, 35, 60})).go() == points


def test_the_bounds_of_hyperband_are_the_same_too():
    scan = make_scan("random", 40, early_stopping={"rule": "hyperband", "last_step": 9, "startup": 2})
    points = ScanRun(scan, 1).go()
    assert 5 < sum(bool(point.bounds) for point in points) < 35
    assert ScanRun(scan, 3, frozenset({11, 35, 60})).go() == points


@pytest.mark.parametrize(("method", "margin"), [("tpe", 0.7), ("cmaes", 0.7)])
def test_learning_pays(method, margin):
    scan = make_scan(method, 80, search={"parallel": 2})
    losses = [parabola(point.parameters) for point in ScanRun(scan, 1).go()]
    chance = [parabola(point.parameters) for point in ScanRun(make_scan("random", 80), 1).go()]
    assert statistics.median(losses[40:]) < margin * statistics.median(chance)


@pytest.mark.parametrize("method", ["random", "tpe", "cmaes", "qmc"])
def test_points_lie_in_the_space_and_differ(method):
    space = {
        "u": {"method": "uniform", "low": -2.5, "high": 7.0},
        "q": {"method": "quniform", "low": 0.05, "high": 1.0, "q": 0.1},
        "i": {"method": "uniformint", "low": -3, "high": 3},
        "j": {"method": "quniformint", "low": 10, "high": 50, "q": 10},
        "l": {"method": "loguniform", "low": 1e-6, "high": 1e-2},
        "c": {"method": "categorical", "categories": [[1, 2], {"a": 1}, None, True, 1]},
    }
    points = [point.parameters for point in ScanRun(make_scan(method, 60, space=space), 1).go_with(lambda p: p["u"])]
    for values in points:
        assert -2.5 <= values["u"] <= 7.0
        assert values["q"] in [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
        assert values["i"] in range(-3, 4)
        assert isinstance(values["i"], int)
        assert values["j"] in (10, 20, 30, 40, 50)
        assert 1e-6 <= values["l"] <= 1e-2
    assert len({json.dumps(values) for values in points}) > 50


def test_a_grid_has_every_combination_once():
    points = parameters_of(ScanRun(make_scan("grid", 1000, space=GRID), 1).go_with(lambda _: 1.0))
    assert len(points) == len(set(points)) == 6
    assert [json.loads(text)["kind"] for text in points[:4]] == ["a", "b", "c", "a"]


def test_categories_in_turn():
    space = {
        "a": {"method": "categorical", "categories": [1, 2], "grid_search": 1},
        "b": {"method": "categorical", "categories": ["x", "y"], "grid_search": 0},
        "c": {"method": "categorical", "categories": ["p", "q", "r"], "grid_search": 1},
        "d": {"method": "uniform", "low": 0, "high": 1},
    }
    points = [point.parameters for point in ScanRun(make_scan("random", 24, space=space), 1).go_with(lambda _: 1.0)]
    assert Counter((values["a"], values["c"]) for values in points) == {(a, c): 4 for a in (1, 2) for c in "pqr"}
    assert len({values["d"] for values in points}) == 24


@pytest.mark.parametrize(
    ("method", "keys", "told"),
    [
        ("tpee", {}, "no searcher called 'tpee'; expected one of cmaes, gp, grid.*Did you mean 'tpe'"),
        ("random", {"search": {"options": {"x": 1}}}, "search.options.x: unknown option"),
        ("tpe", {"search": {"options": {"n_startup_trial": 1}}}, "Did you mean 'n_startup_trials'"),
        ("grid", {}, "the values of rate cannot be counted"),
        ("grid", {"space": CONDITIONAL}, "grid takes no parameters with `when`"),
        ("cmaes", {"space": CONDITIONAL}, "cmaes takes no parameters with `when`"),
        ("cmaes", {"objective": {"a": "minimize", "b": "maximize"}}, "cmaes takes one objective"),
        ("qmc", {"search": {"options": {"qmc_type": "Sobel"}}}, "search.options: .*Sobel"),
    ],
)
def test_what_a_searcher_cannot_do_is_refused_before_anything_is_started(method, keys, told):
    with pytest.raises(InvalidInput, match=told):
        new_policy(make_scan(method, **keys))


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(InvalidInput, match="needs the package optuna"):
        new_policy(make_scan("tpe"))


def test_another_version_of_a_library_is_noticed():
    problem = SearchProblem.of(make_scan("qmc", space=PLAIN))
    with pytest.raises(SearchDiverged, match="another version"):
        searcher_for(problem, "qmc").recall(1, {"depth": 2, "x": 0.123})


def test_a_seed_makes_the_points():
    one, two = (ScanRun(make_scan("tpe", 5, search={"seed": seed}), 1).go() for seed in (1, 2))
    assert parameters_of(one) != parameters_of(two)


def test_what_is_maximised_is_told_with_the_other_sign():
    assert [Objective("a").sign, make_scan(objective={"a": "maximize"}).objectives[0].sign] == [1.0, -1.0]
    scan = make_scan("tpe", 60, space=PLAIN, objective={"x": "maximize"}, search={"parallel": 1})
    found = [point.parameters["x"] for point in ScanRun(scan, 1).go_with(lambda parameters: parameters["x"])]
    assert statistics.median(found[30:]) > 2.0
