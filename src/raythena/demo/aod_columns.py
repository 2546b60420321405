"""AODs as flat columns: every track, particle, vertex and jet of many events, with what plots want to know of them.

A `Sample` is one side of a comparison. All selections are made here, so that a plot is a choice of columns and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raythena.demo import aod
from raythena.demo.tables import Column, Group, Table, read_table
from raythena.demo.track_finding import MIN_MEASUREMENTS

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LARGEST_D0_MM = 1.0
"""A true particle that passes the beam further away was not born in a collision."""
EFFICIENCY_MIN_PT_GEV = 1.0
EFFICIENCY_MAX_ETA = 2.5
JET_MATCH_DISTANCE = 0.2
"""In eta and phi, between a true jet and the found one that is taken for it."""


@dataclass(frozen=True)
class Sample:
    """Some events of AOD files."""

    table: Table

    @property
    def n_events(self) -> int:
        """How many there are."""
        return self.table.n_events

    def column(self, group: str, name: str) -> Floats:
        """A column of all events, one behind the other."""
        return np.asarray(self.table.groups[group].fields[name], dtype=np.float64)

    def counts(self, group: str) -> Floats:
        """Rows of each event."""
        return np.asarray(self.table.groups[group].counts, dtype=np.float64)

    @property
    def track_pt(self) -> Floats:
        """Of all tracks, GeV."""
        return np.abs(np.sin(self.column("track", "theta")) / self.column("track", "charge_over_p"))

    @property
    def track_eta(self) -> Floats:
        """Of all tracks."""
        return -np.log(np.tan(self.column("track", "theta") / 2))

    @property
    def is_fake(self) -> Flags:
        """Tracks that no particle made."""
        return np.asarray(self.table.groups["track"].fields["particle"] < 0)

    @property
    def is_reconstructable(self) -> Flags:
        """Particles that were born in a collision and left enough measurements for a track."""
        born = (self.column("particle", "generation") == 0) & (np.abs(self.column("particle", "d0")) < LARGEST_D0_MM)
        return np.asarray(born & (self.column("particle", "n_hits") >= MIN_MEASUREMENTS))

    @property
    def is_found(self) -> Flags:
        """Particles that have a track."""
        found = np.zeros(len(self.table.groups["particle"].fields["pt"]), dtype=bool)
        found[self._particle_of_track[self._particle_of_track >= 0]] = True
        return found

    @property
    def _particle_of_track(self) -> npt.NDArray[np.int64]:
        """Rows in the flat columns of particles, −1 for fakes."""
        tracks, particles = self.table.groups["track"], self.table.groups["particle"]
        row = tracks.fields["particle"].astype(np.int64)
        return np.where(row >= 0, row + np.repeat(particles.offsets[:-1], tracks.counts), -1)

    def matched(self, track: str, particle: str) -> tuple[Floats, Floats]:
        """Two columns for the tracks whose particle was born in a collision: the track's own, and its particle's."""
        of_track = self._particle_of_track
        wanted = np.flatnonzero(of_track >= 0)
        wanted = wanted[self.is_reconstructable[of_track[wanted]]]
        ours = self.track_pt if track == "pt" else self.column("track", track)
        return ours[wanted], self.column("particle", particle)[of_track[wanted]]

    def leading(self, group: str, name: str) -> Floats:
        """The first row's value for each event that has one."""
        rows = self.table.groups[group]
        return np.asarray(rows.fields[name][rows.offsets[:-1][rows.counts > 0]], dtype=np.float64)

    @property
    def hardest_vertex_distance(self) -> Floats:
        """How far along the beam the hardest vertex is from the hard collision, mm, for events with a vertex."""
        collisions = self.table.groups["collision"]
        true_z = collisions.fields["z"][collisions.offsets[:-1][self.counts("vertex") > 0]]
        return self.leading("vertex", "z") - true_z

    @property
    def jet_response(self) -> tuple[Floats, Floats]:
        """pT of the leading true jet, and pT of the jet that was found there divided by it, where one was found."""
        true, found = self.table.groups["true_jet"], self.table.groups["jet"]
        pairs = [_response(true, found, event) for event in range(self.n_events)]
        both = np.array([pair for pair in pairs if pair is not None], dtype=np.float64).reshape(-1, 2)
        return both[:, 0], both[:, 1]


def _response(true: Group, found: Group, event: int) -> tuple[float, float] | None:
    leading, jets = true.rows(event), found.rows(event)
    if not len(leading["pt"]) or not len(jets["pt"]):
        return None
    across = np.remainder(jets["phi"] - leading["phi"][0] + np.pi, 2 * np.pi) - np.pi
    distance = np.hypot(jets["eta"] - leading["eta"][0], across)
    nearest = int(distance.argmin())
    if distance[nearest] > JET_MATCH_DISTANCE:
        return None
    return float(leading["pt"][0]), float(jets["pt"][nearest] / leading["pt"][0])


def read_both(aod_files: Sequence[Path], reference_files: Sequence[Path]) -> tuple[Sample, Sample]:
    """The events that both sides have. Raises InvalidInput."""
    ours, theirs = _read(aod_files), _read(reference_files)
    shared = np.intersect1d(ours.scalars["EventNumber"], theirs.scalars["EventNumber"])
    return _only(ours, shared), _only(theirs, shared)


def _read(files: Sequence[Path]) -> Table:
    tables = [read_table(path, aod.SCHEMA.tree) for path in files]
    scalars = {name: _joined([table.scalars[name] for table in tables], code) for name, code in aod.SCHEMA.scalars.items()}
    groups = {
        name: Group(
            np.concatenate(([0], np.cumsum(_joined([table.groups[name].counts for table in tables], "i8")))).astype(np.int64),
            {one: _joined([table.groups[name].fields[one] for table in tables], code) for one, code in fields.items()},
        )
        for name, fields in aod.SCHEMA.groups.items()
    }
    return Table(scalars, groups)


def _joined(columns: Sequence[Column], code: str) -> npt.NDArray[Any]:
    return np.concatenate([*columns, np.empty(0, dtype=code)])


def _only(table: Table, wanted: npt.NDArray[Any]) -> Sample:
    chosen = np.flatnonzero(np.isin(table.scalars["EventNumber"], wanted))
    return Sample(table if len(chosen) == table.n_events else table.taken(chosen))
