"""Figures for the report, drawn by matplotlib and mplhep as SVG.

Reference as a filled outline, Raythena as points with errors, below it the ratio of both. The colours are variables of the page
the figure is put into, so that it can be read in light and dark; text stays text.
"""

from __future__ import annotations

import io
import re
import warnings

import numpy as np

from raythena.demo.extra import LibraryObject, optional
from raythena.demo.performance import Kind, Result

RATIO_RANGE = (0.5, 1.5)
SIZE_INCHES = (6.0, 4.2)
INK, SOFT, REFERENCE, REFERENCE_LINE, RAYTHENA = ("#0000a1", "#0000a2", "#0000a3", "#0000a4", "#0000a5")
"""Stand for colours of the page while matplotlib draws, which knows no variables."""
PAGE_COLOURS = {INK: "ink", SOFT: "soft", REFERENCE: "reference", REFERENCE_LINE: "reference-line", RAYTHENA: "raythena"}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "raythena",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def figure(result: Result) -> str:
    """The SVG element of one plot, to be put into a page that has the variables of `PAGE_COLOURS`."""
    matplotlib = optional("matplotlib")
    matplotlib.use("svg")
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mplhep about a library for errors that are given here
        drawn = _drawn(result)
        written = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        drawn.savefig(written, format="svg", transparent=True, metadata=nothing)
    return _for_a_page(written.getvalue())


def _drawn(result: Result) -> LibraryObject:
    canvas = optional("matplotlib.figure").Figure(figsize=SIZE_INCHES, layout="constrained")
    above, below = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    plot, edges = result.plot, result.plot.edges
    if plot.log_x:
        above.set_xscale("log")
    _outline(above, result)
    _points(above, result)
    _ratio(below, result)
    above.set_ylabel(plot.y_label)
    below.set_xlabel(plot.x_label)
    below.set_ylabel("ratio")
    above.set_xlim(edges[0], edges[-1])
    return canvas


def _outline(axes: LibraryObject, result: Result) -> None:
    mplhep, values = optional("mplhep"), np.nan_to_num(result.reference.values)
    mplhep.histplot(values, result.plot.edges, ax=axes, histtype="fill", color=REFERENCE, alpha=0.45)
    mplhep.histplot(values, result.plot.edges, ax=axes, histtype="step", color=REFERENCE_LINE, linewidth=1.3, yerr=False)
    axes.set_ylim(0.0, top_of_axis(result))


def top_of_axis(result: Result) -> float:
    """Where the axis of values ends: above everything, but no share is above one."""
    sides = (result.raythena, result.reference)
    highest = float(max((np.nan_to_num(side.values) + np.nan_to_num(side.errors)).max(initial=0.0) for side in sides))
    if result.plot.kind is Kind.FRACTION:
        return min(1.05, 1.15 * highest) or 0.01
    return 1.15 * highest or 1.0


def _points(axes: LibraryObject, result: Result) -> None:
    optional("mplhep").histplot(
        result.raythena.values,
        result.plot.edges,
        ax=axes,
        histtype="errorbar",
        yerr=np.nan_to_num(result.raythena.errors),
        color=RAYTHENA,
        markersize=5,
    )


def _ratio(axes: LibraryObject, result: Result) -> None:
    ours, theirs = result.raythena.values, result.reference.values
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(theirs == 0, np.where(ours == 0, 1.0, np.inf), ours / theirs)
    centres = (result.plot.edges[:-1] + result.plot.edges[1:]) / 2
    shown = np.isfinite(theirs) & ~((ours == 0) & (theirs == 0))
    axes.axhline(1.0, color=REFERENCE_LINE, linewidth=1.2)
    axes.plot(centres[shown], np.clip(ratio[shown], *RATIO_RANGE), "o", color=RAYTHENA, markersize=4)
    axes.set_ylim(*RATIO_RANGE)


def _for_a_page(svg: str) -> str:
    """Only the element itself, as wide as its place, in the colours of the page."""
    opening, rest = svg[svg.index("<svg ") :].split(">", 1)
    element = re.sub(r' (width|height)="[^"]*"', "", opening) + ">" + rest
    for colour, name in PAGE_COLOURS.items():
        element = element.replace(colour, f"var(--{name})")
    return element
