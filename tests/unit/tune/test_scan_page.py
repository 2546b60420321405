"""The page of a scan: everything that is told is there, nothing runs, nothing is loaded, and nobody's text becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from raythena.domain.scan.scan_file import parse_scan
from raythena.domain.scan.trial import Point, TrialReport, TrialResult
from raythena.tune.scan_importance import parameter_importance
from raythena.tune.scan_page import MOST_DRAWN, Axis, drawn_of, scan_page
from raythena.tune.scan_results import ScanResults, TrialRow

DOCUMENT = {
    "name": "bdt <script>",
    "space": {
        "rate": {"method": "loguniform", "low": 1e-4, "high": 1},
        "kind": ["tree", "<b>"],
        "shift": {"method": "normal", "mu": 0, "sigma": 1},
        "drop": {"method": "uniform", "low": 0, "high": 1, "when": {"kind": "tree"}},
        "rounds": 7,
    },
    "budget": {"points": 5},
    "trial": {"python": "m:f"},
}


def results(points: int, **keys) -> ScanResults:
    rows = []
    for number in range(1, points + 1):
        kind = "tree" if number % 2 else "<b>"
        parameters = {"rate": 0.001 * number / points + 1e-4, "kind": kind, "shift": number - 2.5, "rounds": 7}
        point = Point(number, parameters | ({"drop": 0.5} if kind == "tree" else {}))
        reports = tuple(TrialReport(float(step), 1.0 / step + number, 0.1) for step in (1, 2, 3))
        result = TrialResult(number, point.parameters, {"loss": float(number)}, number == 3, reports, 1.0)
        rows.append(TrialRow(point, "stopped early" if number == 3 else "finished", result))
    rows.append(TrialRow(Point(points + 1, {}), "failed", reason="no <i>data</i>"))
    return ScanResults(parse_scan({**DOCUMENT, **keys}, "scan.yaml"), tuple(rows))


def drawings(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page)]


def test_everything_is_on_the_page():
    page = scan_page(results(5))
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Best",
        "Learning curves",
        "Parallel coordinates",
        "What each parameter does",
        "Cost",
        "Failures",
    ]
    assert "6 points: 4 finished, 1 stopped early, 1 failed." in page
    curves, parallel, *slices, cost = drawings(page)
    assert len(curves.findall("polyline")) == 1 + 5
    assert len(parallel.findall("polyline")) == 5 + 5, "a line for each point, one for each axis"
    assert len(slices) == 4, "what is fixed has no slice"
    assert len(cost.findall("circle")) == 5
    assert "0.00139 hours of trials that gave a result, 1 s each" in page
    assert [len(drawing.findall("circle")) for drawing in slices] == [5, 5, 5, 3]


def test_which_parameters_matter():
    """The loss is the number of the point; `rate` and `shift` grow with it, `kind` says whether it is odd."""
    shares = parameter_importance(results(40))
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == {"rate", "kind", "shift"}, "what is fixed, or has no value at some points, is left out"
    assert shares["kind"] < 0.3 < max(shares["rate"], shares["shift"])
    assert "<td>kind</td>" in scan_page(results(40)).partition("How much each parameter matters")[2]
    assert parameter_importance(results(5)) == {}, "too few to say anything"


def test_where_every_point_comes_to_the_same_nothing_is_said_of_importance():
    same = results(20)
    rows = [replace(row, result=replace(row.result, values={"loss": 1.0})) if row.result else row for row in same.rows]
    shares = parameter_importance(replace(same, rows=tuple(rows)))
    assert len(set(shares.values())) <= 1, "none matters more than another"


def test_a_pareto_front_is_drawn():
    two = results(12, objective={"loss": "minimize", "time": "minimize"})
    rows = [
        replace(row, result=replace(row.result, values={"loss": row.result.values["loss"], "time": 1.0 / row.point.number}))
        if row.result
        else row
        for row in two.rows
    ]
    page = scan_page(replace(two, rows=tuple(rows)))
    (front,) = drawings(page.partition("Pareto front")[2].partition("</section>")[0])
    line = front.findall("polyline")[1].get("points") or ""
    assert len(line.split()) == 11, "no point is better than another in both; point 3 was stopped"
    assert {"loss", "time"} <= {(text.text or "").partition(" ")[0] for text in front.findall("text")}
    assert "Pareto front" not in scan_page(results(12))


def test_nothing_runs_nothing_is_loaded_and_text_stays_text():
    page = scan_page(results(5))
    assert "<script" not in page
    assert "<i>" not in page
    assert "<b>" not in page
    assert "bdt &lt;script&gt;" in page
    assert "no &lt;i&gt;data&lt;/i&gt;" in page
    assert re.findall(r"(?:src|href|url)\s*[=(]", page) == []


def test_all_that_is_drawn_lies_in_the_drawing():
    for drawing in drawings(scan_page(results(40))):
        for circle in drawing.findall("circle"):
            assert 0 <= float(circle.get("cx", "")) <= 720
            assert 0 <= float(circle.get("cy", "")) <= 260
        for line in drawing.findall("polyline"):
            for pair in (line.get("points") or "").split():
                x, y = map(float, pair.split(","))
                assert 0 <= x <= 720
                assert 0 <= y <= 260


def test_of_very_many_points_the_best_are_drawn_last():
    many = results(3000)
    drawn = drawn_of(many)
    assert len(drawn) <= MOST_DRAWN
    assert [result.number for result in drawn[-3:]] == [3, 2, 1]
    assert f"Drawn are {len(drawn):,} of them." in scan_page(many)
    assert len(scan_page(many)) < 1_000_000


def test_a_scan_of_which_nothing_has_finished():
    page = scan_page(ScanResults(parse_scan(DOCUMENT, "scan.yaml"), ()))
    assert "0 points: none." in page
    assert "<svg" not in page


@pytest.mark.parametrize(
    ("numbers", "log", "middle"),
    [([1.0, 10.0], False, 5.5), ([1e-4, 1.0], True, 1e-2), ([-1.0, 1.0], False, 0.0), ([3.0], False, 3.0)],
)
def test_an_axis(numbers, log, middle):
    axis = Axis.of(numbers)
    assert axis.log is log
    assert axis.place(middle) == pytest.approx(0.5)
