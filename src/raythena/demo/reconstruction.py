"""From HITS to AOD: calorimeter clusters, jets, missing transverse momentum, tracks counted.

What an analysis would look at. It reads merged HITS files only, so that whatever the merge did to an event shows here too.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from raythena.demo import hits
from raythena.demo.detector import Calorimeter, Detector, Floats
from raythena.demo.extra import optional
from raythena.demo.tables import Column, Group, Schema, Table, group_of, read_table, write_table

CLUSTER_FIELDS = {"pt": "f4", "eta": "f4", "phi": "f4", "n_towers": "i4"}
JET_FIELDS = {"pt": "f4", "eta": "f4", "phi": "f4", "m": "f4", "n_tracks": "i4"}
SCHEMA = Schema(
    tree="AOD",
    scalars={"RunNumber": "u4", "EventNumber": "u8", "n_tracks": "i4", "met_pt": "f4", "met_phi": "f4", "sum_et": "f4"},
    groups={"jet": JET_FIELDS, "cluster": CLUSTER_FIELDS},
)
JET_RADIUS = 0.4
MIN_JET_PT_GEV = 15.0
MIN_TRACK_PT_GEV = 0.5
SEED_ET_GEV = 0.8
"""A cluster begins at a tower with at least this much,"""
GROWTH_ET_GEV = 0.15
"""and takes in neighbours down to this."""


def reconstruct_all(hits_files: Sequence[Path], directory: Path, processes: int | None = None) -> list[Path]:
    """One AOD file in `directory` for each HITS file, in the same order, `processes` at a time. Raises InvalidInput."""
    optional("fastjet")
    directory.mkdir(parents=True, exist_ok=True)
    outputs = [directory / path.name.replace("HITS", "AOD") for path in hits_files]
    workers = min(len(outputs), processes or len(os.sched_getaffinity(0)))
    # Processes of their own even for one file: FastJet introduces itself on standard output, which may be ours for JSON.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_silence) as pool:
        list(pool.map(reconstruct, hits_files, outputs))
    return outputs


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)


def reconstruct(hits_file: Path, aod_file: Path) -> int:
    """Reconstruct all events of a HITS file into a new AOD file; returns how many. Raises InvalidInput."""
    table = read_table(hits_file, hits.SCHEMA.tree)
    write_table(aod_file, SCHEMA, reconstructed(table, Detector().calorimeter))
    return table.n_events


def reconstructed(table: Table, calorimeter: Calorimeter) -> Table:
    """The AOD of some HITS events, in their order."""
    towers = [_towers(calorimeter, table.groups["cell"].rows(event)) for event in range(table.n_events)]
    clusters = group_of([_clusters(calorimeter, et) for et in towers], CLUSTER_FIELDS)
    tracks = [_good_tracks(table.groups["track"].rows(event)) for event in range(table.n_events)]
    met_x, met_y = _missing(clusters)
    scalars: dict[str, Column] = {
        "RunNumber": table.scalars["RunNumber"],
        "EventNumber": table.scalars["EventNumber"],
        "n_tracks": np.array([len(chosen["eta"]) for chosen in tracks]),
        "met_pt": np.hypot(met_x, met_y),
        "met_phi": np.arctan2(met_y, met_x),
        "sum_et": np.array([et.sum() for et in towers]),
    }
    return Table(scalars, {"jet": _jets(clusters, tracks), "cluster": clusters})


def _towers(calorimeter: Calorimeter, cells: dict[str, Column]) -> Floats:
    """Transverse energy summed over the layers, shape (n_eta, n_phi), GeV."""
    eta, _ = calorimeter.centres(cells["id"])
    et = cells["energy"].astype(np.float64) / np.cosh(eta)
    size = calorimeter.n_eta * calorimeter.n_phi
    return np.bincount(cells["id"] % size, et, minlength=size).reshape(calorimeter.n_eta, calorimeter.n_phi).astype(np.float64)


def _clusters(calorimeter: Calorimeter, et: Floats) -> dict[str, Column]:
    """Clusters of towers, one column for each of `CLUSTER_FIELDS`, the hardest first."""
    tower = np.flatnonzero(et > GROWTH_ET_GEV)
    summit = summits(et)[tower]
    tower, summit = tower[et.flat[summit] > SEED_ET_GEV], summit[et.flat[summit] > SEED_ET_GEV]
    seeds, member = np.unique(summit, return_inverse=True)
    eta, phi = calorimeter.centres(tower)
    pt = et.flat[tower]
    px, py, pz = (np.bincount(member, pt * part, minlength=len(seeds)) for part in (np.cos(phi), np.sin(phi), np.sinh(eta)))
    total = np.hypot(px, py)
    order = np.argsort(-total, kind="stable")
    sizes = np.bincount(member, minlength=len(seeds))
    columns = {"pt": total, "eta": np.arcsinh(pz / np.maximum(total, 1e-9)), "phi": np.arctan2(py, px), "n_towers": sizes}
    return {name: column[order] for name, column in columns.items()}


def summits(et: Floats) -> npt.NDArray[np.int64]:
    """For every tower, the flat index of the local maximum that uphill steps lead to. phi goes around, eta ends.

    Every tower points to the highest among itself and its eight neighbours; following the pointers twice as far each time takes
    all towers to their summit in a few rounds.
    """
    n_eta, n_phi = et.shape
    padded = np.pad(et, ((1, 1), (0, 0)), constant_values=-np.inf)
    shifts = [(i, j) for i in (0, -1, 1) for j in (0, -1, 1)]
    around = np.stack([np.roll(padded, (-i, -j), axis=(0, 1))[1:-1] for i, j in shifts])
    step = np.array(shifts)[around.argmax(axis=0)]
    i_eta, i_phi = np.indices((n_eta, n_phi))
    uphill = ((i_eta + step[..., 0]) * n_phi + (i_phi + step[..., 1]) % n_phi).ravel()
    while not np.array_equal(further := uphill[uphill], uphill):
        uphill = further
    return np.asarray(uphill)


def _good_tracks(tracks: dict[str, Column]) -> dict[str, Column]:
    good = np.abs(tracks["charge_over_pt"]) < 1 / MIN_TRACK_PT_GEV
    return {name: column[good] for name, column in tracks.items()}


def _missing(clusters: Group) -> tuple[Floats, Floats]:
    """What the clusters lack to balance in the transverse plane, one component each."""
    n_events = len(clusters.counts)
    event = np.repeat(np.arange(n_events), clusters.counts)
    pt, phi = clusters.fields["pt"].astype(np.float64), clusters.fields["phi"].astype(np.float64)
    x, y = (-np.bincount(event, pt * part, minlength=n_events).astype(np.float64) for part in (np.cos(phi), np.sin(phi)))
    return x, y


def _jets(clusters: Group, tracks: Sequence[dict[str, Column]]) -> Group:
    """Anti-kt jets of the clusters, the hardest first, with the tracks inside them counted."""
    found = _anti_kt(clusters)
    per_event = []
    for event, chosen in enumerate(tracks):
        jets = {name: np.asarray(found[name][event]) for name in ("pt", "eta", "phi", "m")}
        order = np.argsort(-jets["pt"], kind="stable")
        jets = {name: column[order] for name, column in jets.items()}
        per_event.append(jets | {"n_tracks": _inside(jets, chosen)})
    return group_of(per_event, JET_FIELDS)


def _anti_kt(clusters: Group) -> dict[str, Any]:
    """pt, eta, phi and m of the jets of all events, jagged; anti-kt of Cacciari, Salam and Soyez (2008) by FastJet."""
    fastjet = optional("fastjet")
    pt, eta, phi = (clusters.fields[name].astype(np.float64) for name in ("pt", "eta", "phi"))
    fields = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "E": pt * np.cosh(eta)}
    inputs = ak.with_name(Group(clusters.offsets, fields).as_awkward(), "Momentum4D")
    jets = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.antikt_algorithm, JET_RADIUS)).inclusive_jets(
        MIN_JET_PT_GEV
    )
    jet_pt = np.hypot(jets.px, jets.py)
    mass = np.sqrt(np.maximum(jets.E**2 - jet_pt**2 - jets.pz**2, 0.0))
    return {"pt": jet_pt, "eta": np.arcsinh(jets.pz / jet_pt), "phi": np.arctan2(jets.py, jets.px), "m": mass}


def _inside(jets: dict[str, Column], tracks: dict[str, Column]) -> Column:
    """How many tracks are closer than the jet radius to each jet."""
    d_eta = jets["eta"][:, None] - tracks["eta"][None, :]
    d_phi = np.remainder(jets["phi"][:, None] - tracks["phi"][None, :] + np.pi, 2 * np.pi) - np.pi
    return np.asarray((np.hypot(d_eta, d_phi) < JET_RADIUS).sum(axis=1))
