"""What the report shows of the AODs: quantities, and their histograms for Raythena and for the reference.

Only counting happens here; drawing is the report's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raythena.demo import reconstruction
from raythena.demo.tables import Column, Table, read_table

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Quantity:
    """Something to count in an AOD. `low` to `high` is cut into `bins`; what lies outside goes into the first or last bin."""

    title: str
    unit: str
    values: Callable[[Table], Column]
    low: float
    high: float
    bins: int = 30
    entry: str = "events"
    """What is counted."""

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Edges of the bins, one more than there are bins."""
        return np.linspace(self.low, self.high, self.bins + 1)


@dataclass(frozen=True)
class Histogram:
    """One quantity counted twice. The means are those of the values themselves, not of the bins."""

    quantity: Quantity
    raythena: Counts
    reference: Counts
    raythena_mean: float
    reference_mean: float

    @property
    def identical(self) -> bool:
        """Whether every bin holds the same number."""
        return bool(np.array_equal(self.raythena, self.reference))


def _leading(group: str, name: str) -> Callable[[Table], Column]:
    """The first row's value for every event that has one."""

    def values(table: Table) -> Column:
        offsets = table.groups[group].offsets
        return table.groups[group].fields[name][offsets[:-1][np.diff(offsets) > 0]]

    return values


QUANTITIES = (
    Quantity("Leading jet pT", "GeV", _leading("jet", "pt"), 15, 125),
    Quantity("Jet eta", "", lambda table: table.groups["jet"].fields["eta"], -4.9, 4.9, 28, "jets"),
    Quantity("Jets in an event", "", lambda table: table.groups["jet"].counts, -0.5, 8.5, 9),
    Quantity("Tracks in an event", "", lambda table: table.scalars["n_tracks"], 0, 150),
    Quantity("Missing pT", "GeV", lambda table: table.scalars["met_pt"], 0, 45),
    Quantity("Sum of ET", "GeV", lambda table: table.scalars["sum_et"], 0, 450),
)


def counted(aod_files: Sequence[Path], reference_files: Sequence[Path]) -> tuple[list[Histogram], int]:
    """The histograms of `QUANTITIES`, and the number of events in them: those that both sides have. Raises InvalidInput."""
    ours, theirs = ([read_table(path, reconstruction.SCHEMA.tree) for path in files] for files in (aod_files, reference_files))
    shared = np.intersect1d(_event_numbers(ours), _event_numbers(theirs))
    histograms = []
    for quantity in QUANTITIES:
        found, expected = (
            np.concatenate([quantity.values(_only(table, shared)) for table in side] or [np.empty(0)]) for side in (ours, theirs)
        )
        means = [float(values.mean()) if len(values) else float("nan") for values in (found, expected)]
        histograms.append(Histogram(quantity, bin_counts(quantity, found), bin_counts(quantity, expected), *means))
    return histograms, len(shared)


def bin_counts(quantity: Quantity, values: Column) -> Counts:
    """How many values are in each bin, those beyond the range in the outermost ones."""
    inner = quantity.edges[1:-1]
    return np.bincount(np.searchsorted(inner, values, side="right"), minlength=quantity.bins).astype(np.int64)


def _event_numbers(tables: Sequence[Table]) -> npt.NDArray[Any]:
    return np.concatenate([table.scalars["EventNumber"] for table in tables] or [np.empty(0, dtype=np.uint64)])


def _only(table: Table, wanted: npt.NDArray[Any]) -> Table:
    """The events of the table whose numbers are wanted."""
    chosen = np.flatnonzero(np.isin(table.scalars["EventNumber"], wanted))
    if len(chosen) == table.n_events:
        return table
    return table.taken(chosen)
