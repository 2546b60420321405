"""The report of a demo: what became of the run, and how well was reconstructed, Raythena beside the reference.

One HTML file that needs nothing else (no script, no font, no picture from elsewhere), readable in light and dark, plus the same
in short for a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from rich.console import Group as RenderGroup
from rich.table import Table as RichTable
from rich.text import Text

from raythena.demo.aod_columns import EFFICIENCY_MAX_ETA
from raythena.demo.drawing import figure
from raythena.demo.extra import LibraryObject, optional
from raythena.demo.performance import Result

IN_SHORT = (
    "Track efficiency",
    "Resolution of pT",
    "Resolution of d0",
    "Tracks in an event",
    "Vertices in an event",
    "Leading jet pT",
)
"""Titles of the plots that a terminal is shown."""


def write_report(path: Path, results: Sequence[Result], events: int, facts: Mapping[str, str]) -> None:
    """Write the HTML report to `path`. `facts` are shown as they are, in their order. Raises InvalidInput."""
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            figures=[(result, figure(result)) for result in results],
            identical=all(result.identical for result in results),
            events=events,
            facts=facts,
            max_eta=EFFICIENCY_MAX_ETA,
        )
    )
    scratch = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    scratch.write_text(page, encoding="utf-8")
    scratch.replace(path)


def _environment() -> LibraryObject:
    jinja2 = optional("jinja2")
    return jinja2.Environment(
        loader=jinja2.PackageLoader("raythena.demo", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )


SPARKLINE_WIDTH = 20
_BLOCKS = " ▁▂▃▄▅▆▇█"


def terminal_summary(results: Sequence[Result], events: int) -> RenderGroup:
    """Some plots for a terminal, a line each: shape, the number for the whole, and whether both sides agree."""
    table = RichTable(box=None, pad_edge=False, header_style="dim")
    for heading in ("quantity", "Raythena", "", "reference", "every bin"):
        table.add_column(heading, justify="right" if heading in ("", "reference") else "left", no_wrap=True)
    for result in results:
        if result.plot.title in IN_SHORT or not result.identical:
            table.add_row(
                Text(result.plot.title),
                Text(sparkline(result.raythena.values), style="cyan"),
                result.plot.overall.format(result.raythena.overall),
                result.plot.overall.format(result.reference.overall),
                Text("same", style="green") if result.identical else Text("differs", style="bold red"),
            )
    return RenderGroup(table, Text(f"{events} events reconstructed on both sides", style="dim"))


def sparkline(values: npt.NDArray[np.float64]) -> str:
    """Bins in one line of at most `SPARKLINE_WIDTH` characters; any bin with something in it shows."""
    heights = np.nan_to_num(np.asarray(values, dtype=np.float64))
    together = max(1, -(-len(heights) // SPARKLINE_WIDTH))
    heights = np.add.reduceat(heights, np.arange(0, len(heights), together)) if len(heights) else heights
    top = heights.max(initial=0) or 1.0
    levels = np.ceil(heights / top * (len(_BLOCKS) - 1)).astype(int)
    return "".join(_BLOCKS[level] for level in levels)
