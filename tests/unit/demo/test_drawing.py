"""Figures that stand in a page: well-formed, in its colours, with text as text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from raythena.demo import drawing
from raythena.demo.performance import PLOTS, Measured, Plot, Result

EFFICIENCY, COUNT = PLOTS[0], next(plot for plot in PLOTS if plot.title == "Pull of d0")


def result(plot=EFFICIENCY, ours=None, theirs=None) -> Result:  # type: ignore[no-untyped-def]
    bins = len(plot.edges) - 1
    ours = np.linspace(0.8, 0.9, bins) if ours is None else ours
    theirs = ours if theirs is None else theirs
    return Result(plot, *(Measured(values, 0.1 * values, 0.5) for values in (ours, theirs)))


def test_an_element_of_its_own_without_a_size_in_the_colours_of_the_page() -> None:
    svg = drawing.figure(result())
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "viewBox" in root.attrib
    assert not {"width", "height"} & root.attrib.keys()
    used = set(re.findall(r"var\(--([a-z-]+)\)", svg))
    assert used >= set(drawing.PAGE_COLOURS.values()) - {"ink"}
    assert not re.findall("#0000a[1-5]", svg)


def test_labels_are_text() -> None:
    text = "".join(ElementTree.fromstring(drawing.figure(result())).itertext())
    for words in (EFFICIENCY.x_label, EFFICIENCY.y_label, "ratio"):
        assert words in text


def test_another_value_is_drawn_elsewhere() -> None:
    ours = np.linspace(0.8, 0.9, len(EFFICIENCY.edges) - 1)
    theirs = ours.copy()
    theirs[3] = 0.5
    assert drawing.figure(result(theirs=theirs)) != drawing.figure(result())


def test_a_value_without_an_error_is_on_the_axis_too() -> None:
    plot = next(plot for plot in PLOTS if plot.title == "Vertices in an event")
    values = np.arange(len(plot.edges) - 1, dtype=np.float64)
    errors = np.where(values == values[-1], np.nan, 0.1)  # one event alone in a bin
    alone = Measured(values, errors, 1.0)
    assert drawing.top_of_axis(Result(plot, alone, alone)) > values[-1]


@pytest.mark.parametrize(("plot", "ours", "theirs"), [(EFFICIENCY, np.nan, 0.0), (COUNT, 1e6, np.nan), (COUNT, 0.0, 0.0)])
def test_whatever_was_measured_is_drawn(plot: Plot, ours: float, theirs: float) -> None:
    bins = len(plot.edges) - 1
    ElementTree.fromstring(drawing.figure(result(plot, np.full(bins, ours), np.full(bins, theirs))))
