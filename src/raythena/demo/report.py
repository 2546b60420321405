"""The report of a demo: what became of the run, and AOD quantities of Raythena beside those of the reference.

One HTML file that needs nothing else (no script, no font, no picture from elsewhere), readable in light and dark, plus the same
in short for a terminal. The figures are SVG, made of the few shapes below and put in place by the template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from rich.console import Group as RenderGroup
from rich.table import Table as RichTable
from rich.text import Text

from raythena.demo.extra import optional
from raythena.demo.histograms import Histogram, counted

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, MIDDLE, BOTTOM = 44, 448, 20, 210, 266
"""Edges of the drawing in pixels: counts are drawn between TOP and MIDDLE, the ratio between MIDDLE + `GAP` and BOTTOM."""
GAP = 18
RATIO_RANGE = (0.5, 1.5)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    place: float
    label: str


@dataclass(frozen=True)
class Point:
    """A bin of Raythena's histogram: a dot with its statistical error, and the ratio to the reference where there is one."""

    x: float
    y: float
    error_top: float
    error_bottom: float
    ratio_y: float | None


@dataclass(frozen=True)
class Figure:
    """One histogram, ready to draw."""

    histogram: Histogram
    outline: str
    """The reference as the `points` of an SVG polygon."""
    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    ratio_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT


def write_report(path: Path, aod_files: Sequence[Path], reference_aod_files: Sequence[Path], facts: Mapping[str, str]) -> None:
    """Write the HTML report to `path`. `facts` are shown as they are, in their order. Raises InvalidInput."""
    histograms, events = counted(aod_files, reference_aod_files)
    template = _environment().get_template("report.html.j2")
    page = template.render(
        figures=[figure(histogram) for histogram in histograms],
        identical=all(histogram.identical for histogram in histograms),
        events=events,
        facts=facts,
        LEFT=LEFT,
        RIGHT=RIGHT,
        TOP=TOP,
        MIDDLE=MIDDLE,
        BOTTOM=BOTTOM,
        GAP=GAP,
    )
    scratch = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    scratch.write_text(page, encoding="utf-8")
    scratch.replace(path)


def _environment() -> Any:
    jinja2 = optional("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raythena.demo", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = in_short
    return environment


def figure(histogram: Histogram) -> Figure:
    """Lay out one histogram."""
    quantity = histogram.quantity
    top = max(1.0, 1.15 * float(_with_error(np.maximum(histogram.raythena, histogram.reference)).max()))
    x = _scaled(quantity.edges, (quantity.low, quantity.high), (LEFT, RIGHT))
    return Figure(
        histogram=histogram,
        outline=_outline(x, _scaled(histogram.reference, (0, top), (MIDDLE, TOP))),
        points=tuple(_points(histogram, (x[:-1] + x[1:]) / 2, top)),
        x_ticks=_ticks((quantity.low, quantity.high), (LEFT, RIGHT)),
        y_ticks=_ticks((0, top), (MIDDLE, TOP), wanted=4),
        ratio_ticks=_ticks(RATIO_RANGE, (BOTTOM, MIDDLE + GAP), wanted=2),
    )


def _scaled(values: npt.ArrayLike, source: tuple[float, float], target: tuple[float, float]) -> npt.NDArray[np.float64]:
    fraction = (np.asarray(values, dtype=np.float64) - source[0]) / (source[1] - source[0])
    return np.round(target[0] + fraction * (target[1] - target[0]), 1)


def _with_error(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.asarray(counts + np.sqrt(counts), dtype=np.float64)


def _outline(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> str:
    corners = np.stack((np.repeat(x, 2), np.concatenate(([MIDDLE], np.repeat(y, 2), [MIDDLE]))), axis=1)
    return " ".join(f"{corner_x:g},{corner_y:g}" for corner_x, corner_y in corners)


def _points(histogram: Histogram, centres: npt.NDArray[np.float64], top: float) -> list[Point]:
    """A dot for every bin in which anything was found."""
    ours, theirs = histogram.raythena, histogram.reference
    y, high, low = (_scaled(counts, (0, top), (MIDDLE, TOP)) for counts in (ours, _with_error(ours), ours - np.sqrt(ours)))
    ratio = np.clip(ours / np.maximum(theirs, 1), *RATIO_RANGE)
    ratio_y = _scaled(ratio, RATIO_RANGE, (BOTTOM, MIDDLE + GAP))
    return [
        Point(float(centres[i]), float(y[i]), float(high[i]), float(low[i]), float(ratio_y[i]) if theirs[i] else None)
        for i in np.flatnonzero((ours > 0) | (theirs > 0))
    ]


def _ticks(source: tuple[float, float], target: tuple[float, float], wanted: int = 6) -> tuple[Tick, ...]:
    """Marks at round numbers, about as many as wanted."""
    rough = (source[1] - source[0]) / wanted
    magnitude = 10 ** np.floor(np.log10(rough))
    step = magnitude * min((1, 2, 5, 10), key=lambda factor: abs(factor * magnitude - rough))
    values = np.arange(np.ceil(source[0] / step - 1e-9), np.floor(source[1] / step + 1e-9) + 1) * step
    places = _scaled(values, source, target)
    return tuple(Tick(float(place), f"{value + 0.0:g}") for place, value in zip(places, values, strict=True))


def in_short(value: float) -> str:
    """A number for people: three digits or so."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


SPARKLINE_WIDTH = 20
_BLOCKS = " ▁▂▃▄▅▆▇█"


def terminal_summary(aod_files: Sequence[Path], reference_aod_files: Sequence[Path]) -> RenderGroup:
    """The histograms for a terminal, a line each: shape, means and whether both sides agree. Raises InvalidInput."""
    histograms, events = counted(aod_files, reference_aod_files)
    table = RichTable(box=None, pad_edge=False, header_style="dim")
    for heading, justify in (
        ("quantity", "left"),
        ("Raythena", "left"),
        ("mean", "right"),
        ("reference", "right"),
        ("histograms", "left"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for histogram in histograms:
        unit = f" [{histogram.quantity.unit}]" if histogram.quantity.unit else ""
        table.add_row(
            Text(histogram.quantity.title + unit),
            Text(sparkline(histogram.raythena), style="cyan"),
            in_short(histogram.raythena_mean),
            in_short(histogram.reference_mean),
            Text("same", style="green") if histogram.identical else Text("differs", style="bold red"),
        )
    return RenderGroup(table, Text(f"{events} events reconstructed on both sides", style="dim"))


def sparkline(counts: npt.NDArray[np.int64]) -> str:
    """A histogram in one line of at most `SPARKLINE_WIDTH` characters; any bin with something in it shows."""
    together = max(1, -(-len(counts) // SPARKLINE_WIDTH))
    counts = np.add.reduceat(counts, np.arange(0, len(counts), together)) if len(counts) else counts
    top = max(1, int(counts.max(initial=0)))
    levels = np.ceil(counts / top * (len(_BLOCKS) - 1)).astype(int)
    return "".join(_BLOCKS[level] for level in levels)
