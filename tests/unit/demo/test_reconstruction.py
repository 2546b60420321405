"""The reconstruction finds the tracks that are there, and knows which particle made them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.demo import aod, hits
from raythena.demo.reconstruction import Reconstruction, matched, process, reconstructed, setup, true_particles
from raythena.demo.simulation import Simulation, simulated
from raythena.demo.tables import Event, read_table
from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import EventRange

POINT_MM = (0.05, -0.02, 30.0)
PT_GEV = np.array([1.0, 2.0, 5.0, 20.0, 3.0, 1.5, 8.0, 2.5])
PHI = np.array([-3.0, -2.0, -1.0, -0.2, 0.5, 1.2, 2.0, 2.9])
ETA = np.array([-1.9, -1.0, -0.3, 0.0, 0.4, 0.9, 1.4, 2.2])


def muons() -> Event:
    """An EVNT with eight muons from one point."""
    momentum = {"px": PT_GEV * np.cos(PHI), "py": PT_GEV * np.sin(PHI), "pz": PT_GEV * np.sinh(ETA)}
    place = {name: np.full(len(PHI), value) for name, value in zip(("vx", "vy", "vz"), POINT_MM, strict=True)}
    kind = {"collision": np.zeros(len(PHI), dtype=int), "pdgId": np.resize([13, -13], len(PHI)), "e": PT_GEV * np.cosh(ETA)}
    points = {name: np.array([value]) for name, value in zip("xyz", POINT_MM, strict=True)}
    return Event({"RunNumber": 1, "EventNumber": 3}, {"particle": kind | momentum | place, "collision": points})


@pytest.fixture(scope="module")
def found(simulation: Simulation, reconstruction: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Event:
    """The AOD of `muons`."""
    return reconstructed(reconstruction.chain, simulated(simulation.chain, muons()), tmp_path_factory.mktemp("scratch"))


class TestMuons:
    """What is known to be there is found."""

    def test_each_is_found_once_and_nothing_else(self, found: Event) -> None:
        tracks = found.groups["track"]
        assert sorted(tracks["particle"]) == list(range(8))
        assert (tracks["purity"] > 0.8).all()
        assert (tracks["n_measurements"] >= 7).all()

    def test_their_parameters_are_right_within_the_errors(self, found: Event) -> None:
        tracks, true = found.groups["track"], found.groups["particle"]
        of = tracks["particle"]
        pt = np.abs(np.sin(tracks["theta"]) / tracks["charge_over_p"])
        assert pt == pytest.approx(true["pt"][of], rel=0.1)
        assert np.sign(tracks["charge_over_p"]).tolist() == true["charge"][of].tolist()
        assert tracks["phi"] == pytest.approx(true["phi"][of], abs=0.01)
        for name in ("d0", "z0"):
            pull = (tracks[name] - true[name][of]) / tracks[f"sigma_{name}"]
            assert np.abs(pull).max() < 5
            assert pull.std() > 0.1

    def test_they_make_one_vertex_where_they_come_from(self, found: Event) -> None:
        vertices = found.groups["vertex"]
        assert len(vertices["z"]) == 1
        assert vertices["z"][0] == pytest.approx(POINT_MM[2], abs=0.2)
        assert vertices["x"][0] == pytest.approx(POINT_MM[0], abs=0.1)
        assert vertices["n_tracks"][0] == 8
        assert set(found.groups["track"]["vertex"]) == {0}

    def test_true_directions_are_those_generated(self, found: Event) -> None:
        true = found.groups["particle"]
        order = np.argsort(true["phi"])
        assert true["eta"][order] == pytest.approx(ETA, abs=1e-4)
        assert true["pt"][order] == pytest.approx(PT_GEV, rel=1e-5)


def test_an_event_without_measurements_is_an_event_without_anything(reconstruction: Reconstruction, tmp_path: Path) -> None:
    groups = {name: {one: np.empty(0, dtype=code) for one, code in fields.items()} for name, fields in hits.SCHEMA.groups.items()}
    event = reconstructed(reconstruction.chain, Event({"RunNumber": 1, "EventNumber": 2}, groups), tmp_path)
    assert event.number == (1, 2)
    assert event.groups.keys() == aod.SCHEMA.groups.keys()
    assert all(len(column) == 0 for fields in event.groups.values() for column in fields.values())
    assert list(tmp_path.iterdir()) == []


def test_an_event_comes_out_the_same_after_any_other(
    hits_files: list[Path], aod_files: list[Path], reconstruction: Reconstruction, tmp_path: Path
) -> None:
    table = read_table(aod_files[0], "AOD")
    for number in (4, 1, 2, 4):
        found, expected = reconstruction.event(str(hits_files[0]), number, tmp_path), table.event(number - 1)
        assert all(
            found.groups[group][name].tobytes() == values.tobytes()
            for group, fields in expected.groups.items()
            for name, values in fields.items()
        )


@pytest.mark.parametrize("numbers", [(2, 2), (1, 3)])
def test_a_range_becomes_a_file_and_leaves_nothing_else(
    hits_files: list[Path],
    reconstruction: Reconstruction,
    context: Callable[[Any], Any],
    tmp_path: Path,
    numbers: tuple[int, int],
) -> None:
    output = process(EventRange("r", hits_files[0].name, str(hits_files[0]), "", *numbers), context(reconstruction))
    assert read_table(output, "AOD").scalars["EventNumber"].tolist() == list(range(numbers[0], numbers[1] + 1))
    assert list(output.parent.iterdir()) == [output]


def test_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="radius"):
        setup({"radius": 1.0})


class TestMatching:
    """Which particle made a track."""

    CAUSED_BY = np.array([4, 4, 4, 7, 7, 9, -1, -1], dtype=np.int32)

    @pytest.mark.parametrize(
        ("rows", "particle", "purity"),
        [
            ([0, 1, 2], 4, 1.0),
            ([0, 1, 3], 4, 2 / 3),
            ([0, 3], 4, 0.5),
            ([0, 3, 5], -1, 1 / 3),
            ([0, 6, 7], -1, 1 / 3),
            ([3, 4, 6], 7, 2 / 3),
            ([6, 7], -1, 0.0),
            ([], -1, 0.0),
        ],
    )
    def test_the_majority_decides(self, rows: list[int], particle: int, purity: float) -> None:
        result = matched([rows], self.CAUSED_BY)
        assert result["particle"].tolist() == [particle]
        assert result["purity"] == pytest.approx([purity])

    @given(st.lists(st.lists(st.integers(0, 7), max_size=9), max_size=5))
    def test_a_match_has_at_least_half_of_the_measurements(self, tracks: list[list[int]]) -> None:
        result = matched(tracks, self.CAUSED_BY)
        for rows, particle, purity in zip(tracks, result["particle"], result["purity"], strict=True):
            share = max([float(np.mean(self.CAUSED_BY[rows] == one)) for one in (4, 7, 9)], default=0.0) if rows else 0.0
            assert purity == pytest.approx(share)
            assert (particle >= 0) == (share >= 0.5)


@given(phi=st.floats(-3, 3), z=st.floats(-100, 100), across=st.floats(-2, 2), along=st.floats(-2, 2), slope=st.floats(-3, 3))
def test_impact_parameters_of_a_straight_line(phi: float, z: float, across: float, along: float, slope: float) -> None:
    """A line that passes the beam at `across`, followed for `along`."""
    direction, normal = np.array([np.cos(phi), np.sin(phi)]), np.array([-np.sin(phi), np.cos(phi)])
    x, y = across * normal + along * direction
    row = {"px": direction[0], "py": direction[1], "pz": slope, "vx": x, "vy": y, "vz": z + along * slope}
    rest = dict.fromkeys(("pdgId", "charge", "collision", "generation", "n_hits"), 1.0)
    true = true_particles({name: np.array([value]) for name, value in (row | rest).items()})
    assert true["d0"][0] == pytest.approx(across, abs=1e-6)
    assert true["z0"][0] == pytest.approx(z, abs=1e-4)
