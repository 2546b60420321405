"""The report: histograms that count right, a page that stands alone and says what it must."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from raythena.demo import histograms, reconstruction, report
from raythena.demo.histograms import Histogram, Quantity
from raythena.demo.tables import read_table, write_table

QUANTITY = Quantity("Something", "GeV", lambda table: table.scalars["met_pt"], 0, 10, 5)


@pytest.fixture(scope="module")
def aod_files(reference_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return reconstruction.reconstruct_all(reference_files, tmp_path_factory.mktemp("aod"))


@pytest.fixture(scope="module")
def changed_files(aod_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """As `aod_files`, but with other missing momenta."""
    directory = tmp_path_factory.mktemp("changed")
    for path in aod_files:
        table = read_table(path, "AOD")
        table.scalars["met_pt"] = table.scalars["met_pt"] + np.float32(10)
        write_table(directory / path.name, reconstruction.SCHEMA, table)
    return [directory / path.name for path in aod_files]


@given(st.lists(st.floats(0, 10, exclude_max=True, width=32)))
def test_bins_are_those_of_numpy(values: list[float]) -> None:
    expected, _ = np.histogram(values, bins=QUANTITY.edges)
    assert histograms.bin_counts(QUANTITY, np.array(values)).tolist() == expected.tolist()


def test_values_beyond_the_range_are_in_the_outermost_bins() -> None:
    assert histograms.bin_counts(QUANTITY, np.array([-5.0, 0.0, 9.9, 10.0, 1e9])).tolist() == [2, 0, 0, 0, 3]


def test_every_quantity_is_counted_as_numpy_would(aod_files: list[Path]) -> None:
    counted, events = histograms.counted(aod_files, aod_files)
    tables = [read_table(path, "AOD") for path in aod_files]
    assert events == 12
    for histogram in counted:
        values = np.concatenate([histogram.quantity.values(table) for table in tables])
        clipped = np.clip(values, histogram.quantity.low, np.nextafter(histogram.quantity.high, 0))
        assert histogram.raythena.tolist() == np.histogram(clipped, bins=histogram.quantity.edges)[0].tolist()
        assert histogram.identical
        assert histogram.raythena_mean == pytest.approx(values.mean())


def test_leading_jets_are_one_per_event_with_jets(aod_files: list[Path]) -> None:
    leading = histograms.QUANTITIES[0]
    for path in aod_files:
        table = read_table(path, "AOD")
        jets = [table.groups["jet"].rows(event)["pt"] for event in range(table.n_events)]
        assert leading.values(table).tolist() == [pt.max() for pt in jets if len(pt)]


def test_only_shared_events_are_counted(aod_files: list[Path]) -> None:
    counted, events = histograms.counted(aod_files, aod_files[:2])
    assert events == 6
    assert all(histogram.identical for histogram in counted)
    assert histograms.counted(aod_files[:1], aod_files[2:])[1] == 0


class Page(HTMLParser):
    """What is in a page: tags that were opened and closed, text, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.addresses, self.tags, self._open = "", [], [], []  # type: ignore[var-annotated]
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "link", "br"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class TestPage:
    """The HTML."""

    def page(self, path: Path, *arguments: Any) -> Page:
        report.write_report(path / "report.html", *arguments)
        assert [entry.name for entry in path.iterdir()] == ["report.html"]
        return Page((path / "report.html").read_text(encoding="utf-8"))

    def test_says_what_it_must_and_needs_nothing_else(self, aod_files: list[Path], tmp_path: Path) -> None:
        page = self.page(tmp_path, aod_files, aod_files, {"Occupancy": "98.7 %", "Makespan": "17 s (ideal 16.8 s)"})
        for words in (
            "Occupancy",
            "98.7 %",
            "Makespan",
            "17 s (ideal 16.8 s)",
            "All histograms agree",
            "12 events on both sides",
        ):
            assert words in page.text
        for quantity in histograms.QUANTITIES:
            assert quantity.title in page.text
        assert page.tags.count("figure") == len(histograms.QUANTITIES)
        assert page.addresses == []
        assert "script" not in page.tags
        assert "url(" not in page.text

    def test_says_when_histograms_differ(self, aod_files: list[Path], changed_files: list[Path], tmp_path: Path) -> None:
        page = self.page(tmp_path, changed_files, aod_files, {})
        assert "Some histograms differ" in page.text
        assert "All histograms agree" not in page.text

    def test_facts_cannot_inject_markup(self, aod_files: list[Path], tmp_path: Path) -> None:
        page = self.page(tmp_path, aod_files, aod_files, {"<b>name</b>": "<script>alert(1)</script>"})
        assert "script" not in page.tags
        assert "<script>alert(1)</script>" in page.text

    def test_no_shared_event_still_gives_a_page(self, aod_files: list[Path], tmp_path: Path) -> None:
        assert "0 events on both sides" in self.page(tmp_path, aod_files[:1], aod_files[2:], {}).text


@given(st.lists(st.integers(0, 10**6), min_size=5, max_size=5), st.lists(st.integers(0, 10**6), min_size=5, max_size=5))
def test_everything_is_drawn_inside_the_figure(ours: list[int], theirs: list[int]) -> None:
    drawn = report.figure(Histogram(QUANTITY, np.array(ours), np.array(theirs), 0.0, 0.0))
    corners = [tuple(map(float, corner.split(","))) for corner in drawn.outline.split()]
    assert all(report.LEFT <= x <= report.RIGHT and report.TOP <= y <= report.MIDDLE for x, y in corners)
    assert all(report.TOP <= point.error_top <= point.y <= report.MIDDLE for point in drawn.points)
    assert all(report.MIDDLE < point.ratio_y <= report.BOTTOM for point in drawn.points if point.ratio_y is not None)
    assert len(drawn.points) == sum(1 for a, b in zip(ours, theirs, strict=True) if a or b)


def test_the_outline_has_the_heights_of_the_reference() -> None:
    drawn = report.figure(Histogram(QUANTITY, np.zeros(5, dtype=int), np.array([0, 4, 2, 0, 1]), 0.0, 0.0))
    heights = [report.MIDDLE - float(corner.split(",")[1]) for corner in drawn.outline.split()][1:-1:2]
    assert heights == pytest.approx([0, heights[1], heights[1] / 2, 0, heights[1] / 4], abs=0.2)


def test_a_ratio_of_one_lies_on_its_line() -> None:
    same = np.array([5, 7, 0, 1, 2])
    drawn = report.figure(Histogram(QUANTITY, same, same, 0.0, 0.0))
    one = next(tick.place for tick in drawn.ratio_ticks if tick.label == "1")
    assert {point.ratio_y for point in drawn.points} == {one}


def test_terminal_summary_names_every_quantity_and_the_odd_one_out(aod_files: list[Path], changed_files: list[Path]) -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(report.terminal_summary(changed_files, aod_files))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    for quantity in histograms.QUANTITIES:
        (line,) = [line for line in lines if quantity.title in line]
        assert line.rstrip().endswith("differs" if quantity.title == "Missing pT" else "same")
    assert max(len(line.rstrip()) for line in lines) <= 80


@pytest.mark.parametrize(("counts", "line"), [([0, 1, 8], " ▁█"), ([0, 0], "  "), ([], ""), ([1, 1000], "▁█")])
def test_sparkline(counts: list[int], line: str) -> None:
    assert report.sparkline(np.array(counts, dtype=np.int64)) == line


def test_sparkline_is_never_too_wide() -> None:
    assert len(report.sparkline(np.ones(300, dtype=np.int64))) <= report.SPARKLINE_WIDTH


def test_template_uses_no_colour_outside_its_variables() -> None:
    template = Path(report.__file__).with_name("templates") / "report.html.j2"
    body = template.read_text(encoding="utf-8").split("* { box-sizing")[1]
    assert re.findall(r"#[0-9a-fA-F]{6}", body) == []
