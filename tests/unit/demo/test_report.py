"""The report: a page that stands alone and says what it must, and the same in short for a terminal."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from raythena.demo import report
from raythena.demo.performance import PLOTS, Measured, Plot, Result


def results(*plots: Plot, differing: str = "") -> list[Result]:
    """A result for every plot; both sides agree but in the plot called `differing`."""
    return [Result(plot, side(plot.edges, 1.0), side(plot.edges, 2.0 if plot.title == differing else 1.0)) for plot in plots]


def side(edges: np.ndarray, value: float) -> Measured:  # type: ignore[type-arg]
    values = value * np.linspace(0.1, 0.5, len(edges) - 1)
    return Measured(values, values / 10, value)


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

    def page(self, path: Path, found: list[Result], events: int, facts: dict[str, str]) -> Page:
        report.write_report(path / "report.html", found, events, facts)
        assert [entry.name for entry in path.iterdir()] == ["report.html"]
        return Page((path / "report.html").read_text(encoding="utf-8"))

    def test_says_what_it_must_and_needs_nothing_else(self, tmp_path: Path) -> None:
        page = self.page(tmp_path, results(*PLOTS[:2]), 12, {"Occupancy": "98.7 %", "Makespan": "17 s (ideal 16.8 s)"})
        for words in ("Occupancy", "98.7 %", "Makespan", "17 s (ideal 16.8 s)", "All plots agree", "12 events on both sides"):
            assert words in page.text
        for plot in PLOTS[:2]:
            assert plot.title in page.text
            assert plot.x_label in page.text
        assert page.tags.count("figure") == page.tags.count("figcaption") == 2
        assert page.addresses == []
        assert "script" not in page.tags
        assert "url(" not in page.text

    def test_says_when_plots_differ(self, tmp_path: Path) -> None:
        page = self.page(tmp_path, results(PLOTS[0], differing=PLOTS[0].title), 12, {})
        assert "Some plots differ" in page.text
        assert "All plots agree" not in page.text

    def test_facts_cannot_inject_markup(self, tmp_path: Path) -> None:
        page = self.page(tmp_path, results(PLOTS[0]), 12, {"<b>name</b>": "<script>alert(1)</script>"})
        assert "script" not in page.tags
        assert "<script>alert(1)</script>" in page.text


def terminal(found: list[Result]) -> list[str]:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(report.terminal_summary(found, 12))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_the_terminal_is_told_the_most_important_and_the_odd_one_out() -> None:
    lines = terminal(results(*PLOTS, differing="Fake tracks"))
    said = {line.split("  ")[0] for line in lines[1:-1]}
    assert said == {*report.IN_SHORT, "Fake tracks"}
    assert set(report.IN_SHORT) <= {plot.title for plot in PLOTS}
    for line in lines[1:-1]:
        assert line.rstrip().endswith("differs" if line.startswith("Fake tracks") else "same")
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "12 events" in lines[-1]


@pytest.mark.parametrize(
    ("values", "line"), [([0, 1, 8], " ▁█"), ([0, 0], "  "), ([], ""), ([1, 1000], "▁█"), ([np.nan, 0.5, 1], " ▄█")]
)
def test_sparkline(values: list[float], line: str) -> None:
    assert report.sparkline(np.array(values)) == line


def test_sparkline_is_never_too_wide() -> None:
    assert len(report.sparkline(np.ones(300))) <= report.SPARKLINE_WIDTH


def test_template_uses_no_colour_outside_its_variables() -> None:
    template = Path(report.__file__).with_name("templates") / "report.html.j2"
    body = template.read_text(encoding="utf-8").split("* { box-sizing")[1]
    assert re.findall(r"#[0-9a-fA-F]{6}", body) == []
