"""Reconstruction: clusters, jets and missing momentum of made-up and of simulated events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raythena.demo import hits, reconstruction
from raythena.demo.detector import Calorimeter
from raythena.demo.tables import Group, Table, group_of, read_table
from raythena.demo.tracking import TRACK_FIELDS

CALORIMETER = Calorimeter()


def cells_at(*deposits: tuple[float, float, float]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Cells of the first layer with the transverse energies given as (et, eta, phi)."""
    et, eta, phi = (np.array(values) for values in zip(*deposits, strict=True))
    ids = CALORIMETER.cell_of(np.zeros(len(et), dtype=np.int64), eta, phi)
    centre, _ = CALORIMETER.centres(ids)
    return {"id": ids, "energy": et * np.cosh(centre)}


def event_with(cells: dict[str, np.ndarray], tracks: int = 0) -> Table:  # type: ignore[type-arg]
    track = {name: np.full(tracks, 0.2 if name == "charge_over_pt" else 0.05) for name in TRACK_FIELDS}
    groups = {"track": group_of([track], TRACK_FIELDS), "cell": group_of([cells], hits.CELL_FIELDS)}
    return Table({"RunNumber": np.array([1]), "EventNumber": np.array([2])}, groups)


def test_two_separate_deposits_are_two_balanced_jets() -> None:
    aod = reconstruction.reconstructed(event_with(cells_at((50, 0.0, 0.05), (50, 0.0, np.pi + 0.05)), tracks=3), CALORIMETER)
    jets = aod.groups["jet"].rows(0)
    assert jets["pt"] == pytest.approx([50, 50], rel=1e-5)
    assert sorted(jets["n_tracks"]) == [0, 3]
    assert aod.scalars["met_pt"][0] < 0.1
    assert aod.scalars["n_tracks"].tolist() == [3]


def test_a_lonely_jet_leaves_missing_momentum_opposite() -> None:
    aod = reconstruction.reconstructed(event_with(cells_at((40, 1.0, 1.0))), CALORIMETER)
    assert aod.scalars["met_pt"][0] == pytest.approx(40, rel=1e-5)
    turned = aod.scalars["met_phi"][0] - aod.groups["jet"].fields["phi"][0]
    assert np.cos(turned) == pytest.approx(-1, abs=1e-6)


def test_neighbours_join_the_highest_also_around_phi() -> None:
    deposits = ((5.0, 0.05, 0.01), (2.0, 0.05, -0.01), (1.0, 0.15, 0.01), (3.0, 0.05, 3.0))
    clusters = reconstruction.reconstructed(event_with(cells_at(*deposits)), CALORIMETER).groups["cluster"].rows(0)
    assert clusters["n_towers"].tolist() == [3, 1]
    assert clusters["pt"][0] == pytest.approx(8.0, rel=0.01)


def test_a_faint_deposit_is_no_cluster() -> None:
    aod = reconstruction.reconstructed(event_with(cells_at((reconstruction.SEED_ET_GEV * 0.9, 0.0, 1.0))), CALORIMETER)
    assert aod.groups["cluster"].counts.tolist() == [0]
    assert aod.groups["jet"].counts.tolist() == [0]


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_summits_are_local_maxima_reached_uphill(seed: int) -> None:
    et = np.random.default_rng(seed).exponential(size=(7, 8))
    summits = reconstruction.summits(et)
    assert (et.flat[summits] >= et.ravel()).all()
    assert np.array_equal(summits[summits], summits)
    for i, j in {divmod(int(summit), 8) for summit in summits}:
        around = et[max(0, i - 1) : i + 2][:, [(j - 1) % 8, j, (j + 1) % 8]]
        assert et[i, j] == around.max()


@pytest.fixture(scope="module")
def aod_files(reference_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return reconstruction.reconstruct_all(reference_files, tmp_path_factory.mktemp("aod"))


def test_files_keep_names_order_and_events(reference_files: list[Path], aod_files: list[Path]) -> None:
    assert [path.name for path in aod_files] == [path.name.replace("HITS", "AOD") for path in reference_files]
    for before, after in zip(reference_files, aod_files, strict=True):
        for name in ("RunNumber", "EventNumber"):
            assert np.array_equal(read_table(before, "HITS").scalars[name], read_table(after, "AOD").scalars[name])


def test_simulated_events_have_jets_in_order(aod_files: list[Path]) -> None:
    tables = [read_table(path, "AOD") for path in aod_files]
    jets: list[Group] = [table.groups["jet"] for table in tables]
    assert sum(int(group.counts.sum()) for group in jets) >= 8
    for group in jets:
        for event in range(len(group.counts)):
            pt = group.rows(event)["pt"]
            assert (pt >= reconstruction.MIN_JET_PT_GEV).all()
            assert (np.diff(pt) <= 0).all()


def test_reconstruction_says_nothing_on_standard_output(
    reference_files: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reconstruction.reconstruct_all(reference_files[:1], tmp_path)
    assert capfd.readouterr().out == ""
