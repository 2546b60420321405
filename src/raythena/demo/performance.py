"""What a physicist wants to know of the AODs: efficiencies, fakes, resolutions, vertices, jets; for Raythena and the reference.

A `Plot` says what is measured against what; `measured` does it. Counting and averaging is left to the library `hist`; drawing is
somebody else's.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.demo.aod_columns import EFFICIENCY_MAX_ETA, EFFICIENCY_MIN_PT_GEV, Sample, read_both
from raythena.demo.extra import LibraryObject, optional

Floats = npt.NDArray[np.float64]
Points = tuple[Floats, Floats | None]
"""Where points lie on the axis of a plot, and their values; None: they are counted."""


class Kind(enum.Enum):
    """What is done with the points of a bin."""

    COUNT = "how many there are; those beyond the axis count in its outermost bins"
    FRACTION = "the share of those that are true"
    MEAN = "the mean"
    SPREAD = "half the width of the middle 68 %"


@dataclass(frozen=True)
class Plot:
    """One measurement. `edges` are those of the bins along x."""

    title: str
    kind: Kind
    x_label: str
    y_label: str
    edges: Floats
    points: Callable[[Sample], Points]
    overall: str
    """How to print the number for the whole plot, a format: the mean of what is counted, or share, mean, width of all bins."""
    log_x: bool = False


@dataclass(frozen=True)
class Measured:
    """One side of a plot: a value and its statistical error for each bin, NaN in empty ones, and the number for the whole."""

    values: Floats
    errors: Floats
    overall: float


@dataclass(frozen=True)
class Result:
    """A plot measured on both sides."""

    plot: Plot
    raythena: Measured
    reference: Measured

    @property
    def identical(self) -> bool:
        """Whether every bin holds the same number."""
        return bool(np.array_equal(self.raythena.values, self.reference.values, equal_nan=True))


def _even(low: float, high: float, bins: int) -> Floats:
    return np.linspace(low, high, bins + 1)


def _logarithmic(low: float, high: float, bins: int) -> Floats:
    return np.geomspace(low, high, bins + 1)


_PT = _logarithmic(0.5, 32.0, 12)
_ETA = _even(-2.5, 2.5, 20)
_TRUE_PT, _TRUE_ETA = "true pT [GeV]", "true eta"


def _efficiency(axis: str) -> Callable[[Sample], Points]:
    def points(sample: Sample) -> Points:
        pt, eta = sample.column("particle", "pt"), sample.column("particle", "eta")
        wanted = sample.is_reconstructable & (np.abs(eta) < EFFICIENCY_MAX_ETA)
        if axis != "pt":
            wanted &= pt > EFFICIENCY_MIN_PT_GEV
        return sample.column("particle", axis)[wanted], sample.is_found[wanted].astype(np.float64)

    return points


def _momentum_error(axis: str) -> Callable[[Sample], Points]:
    def points(sample: Sample) -> Points:
        found, true = sample.matched("pt", "pt")
        return sample.matched("pt", axis)[1], 100 * (found / true - 1)

    return points


def _distance(what: str, axis: str) -> Callable[[Sample], Points]:
    def points(sample: Sample) -> Points:
        found, true = sample.matched(what, what)
        return sample.matched(what, axis)[1], 1000 * (found - true)

    return points


def _pull(sample: Sample) -> Points:
    found, true = sample.matched("d0", "d0")
    return (found - true) / sample.matched("sigma_d0", "d0")[0], None


PLOTS = (
    Plot("Track efficiency", Kind.FRACTION, _TRUE_PT, "found", _PT, _efficiency("pt"), "{:.2%}", log_x=True),
    Plot("Track efficiency above 1 GeV", Kind.FRACTION, _TRUE_ETA, "found", _ETA, _efficiency("eta"), "{:.2%}"),
    Plot(
        "Fake tracks",
        Kind.FRACTION,
        "eta",
        "fakes among tracks",
        _ETA,
        lambda sample: (sample.track_eta, sample.is_fake.astype(np.float64)),
        "{:.3%}",
    ),
    Plot(
        "Foreign measurements",
        Kind.MEAN,
        "eta",
        "share made by other particles",
        _ETA,
        lambda sample: (sample.track_eta, 1 - sample.column("track", "purity")),
        "{:.2%}",
    ),
    Plot("Resolution of pT", Kind.SPREAD, _TRUE_PT, "[%]", _PT, _momentum_error("pt"), "{:.2f} %", log_x=True),
    Plot("Resolution of pT along eta", Kind.SPREAD, _TRUE_ETA, "[%]", _ETA, _momentum_error("eta"), "{:.2f} %"),
    Plot("Resolution of d0", Kind.SPREAD, _TRUE_PT, "[µm]", _PT, _distance("d0", "pt"), "{:.0f} µm", log_x=True),
    Plot("Resolution of z0", Kind.SPREAD, _TRUE_ETA, "[µm]", _ETA, _distance("z0", "eta"), "{:.0f} µm"),
    Plot("Pull of d0", Kind.COUNT, "(found − true) / error", "tracks", _even(-5, 5, 40), _pull, "{:+.3f}"),
    Plot(
        "Tracks in an event",
        Kind.COUNT,
        "tracks",
        "events",
        _even(0, 500, 25),
        lambda sample: (sample.counts("track"), None),
        "{:.1f}",
    ),
    Plot(
        "Vertices in an event",
        Kind.MEAN,
        "collisions",
        "found vertices",
        _even(0.5, 15.5, 15),
        lambda sample: (sample.counts("collision"), sample.counts("vertex")),
        "{:.2f}",
    ),
    Plot(
        "Hardest vertex",
        Kind.COUNT,
        "distance from the hard collision along the beam [mm]",
        "events",
        _even(-0.15, 0.15, 31),
        lambda sample: (sample.hardest_vertex_distance, None),
        "{:.2f} mm",
    ),
    Plot(
        "Leading jet pT",
        Kind.COUNT,
        "pT [GeV]",
        "events",
        _even(5, 80, 25),
        lambda sample: (sample.leading("jet", "pt"), None),
        "{:.1f} GeV",
    ),
    Plot(
        "Response of jets",
        Kind.MEAN,
        "pT of the leading true jet [GeV]",
        "found pT / true pT",
        _even(5, 65, 12),
        lambda sample: sample.jet_response,
        "{:.3f}",
    ),
)


def results(aod_files: Sequence[Path], reference_files: Sequence[Path]) -> tuple[list[Result], int]:
    """All `PLOTS`, and the number of events in them: those that both sides have. Raises InvalidInput."""
    ours, theirs = read_both(aod_files, reference_files)
    found = [Result(plot, measured(plot, plot.points(ours)), measured(plot, plot.points(theirs))) for plot in PLOTS]
    return found, ours.n_events


def measured(plot: Plot, points: Points) -> Measured:
    """Put points into the bins of a plot."""
    x, y = points
    if y is None:
        return _counted(plot, x)
    inside = (x >= plot.edges[0]) & (x < plot.edges[-1])
    x, y = x[inside], y[inside]
    return _spread(plot, x, y) if plot.kind is Kind.SPREAD else _averaged(plot, x, y)


def _overall(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _counted(plot: Plot, x: Floats) -> Measured:
    counts = _empty(plot.edges, "Double").fill(_inside(plot.edges, x)).values()
    return Measured(counts, np.sqrt(counts), _overall(x))


def _inside(edges: Floats, x: Floats) -> Floats:
    return np.clip(x, edges[0], np.nextafter(edges[-1], edges[0]))


def _averaged(plot: Plot, x: Floats, y: Floats) -> Measured:
    means = _empty(plot.edges, "Mean").fill(x, sample=y)
    counts, values = means.counts(), means.values()
    # what `hist` calls variance is that of the mean: the variance of one value divided by their number
    squares = values * (1 - values) if plot.kind is Kind.FRACTION else means.variances() * counts
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.sqrt(squares / counts)
    return Measured(np.where(counts > 0, values, np.nan), np.where(counts > 0, errors, np.nan), _overall(y))


def _empty(edges: Floats, storage: str) -> LibraryObject:
    hist = optional("hist")
    return hist.Hist(hist.axis.Variable(edges), storage=getattr(hist.storage, storage)())


FEWEST_FOR_SPREAD = 5


def _spread(plot: Plot, x: Floats, y: Floats) -> Measured:
    """Half the distance between the 16th and the 84th percentile: the standard deviation, undisturbed by tails."""
    bins = np.digitize(x, plot.edges) - 1
    values = np.full(len(plot.edges) - 1, np.nan)
    errors = values.copy()
    for number in range(len(values)):
        inside = y[bins == number]
        if len(inside) >= FEWEST_FOR_SPREAD:
            values[number] = _half_width(inside)
            errors[number] = values[number] / np.sqrt(2 * len(inside))
    return Measured(values, errors, _half_width(y) if len(y) else float("nan"))


def _half_width(values: Floats) -> float:
    low, high = np.percentile(values, (15.865, 84.135))
    return float(high - low) / 2
