"""What is measured of the AODs is what NumPy would make of their columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.demo import aod, performance
from raythena.demo.aod_columns import Sample, read_both
from raythena.demo.performance import PLOTS, Kind, Plot, measured, results
from raythena.demo.tables import Event, read_table, table_of, write_table

EDGES = np.linspace(0, 10, 6)
PAIRS = st.lists(st.tuples(st.floats(0, 10, exclude_max=True, width=32), st.floats(-3, 3, width=32)), max_size=40)


def plot(kind: Kind) -> Plot:
    return Plot("Something", kind, "x", "y", EDGES, lambda sample: (sample.track_pt, None), "{:.2f}")


def columns(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    x, y = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return x, y


@given(PAIRS)
def test_counts_are_those_of_numpy(pairs: list[tuple[float, float]]) -> None:
    x, _ = columns(pairs)
    counted = measured(plot(Kind.COUNT), (x, None))
    expected, _ = np.histogram(x, bins=EDGES)
    assert counted.values.tolist() == expected.tolist()
    assert counted.errors == pytest.approx(np.sqrt(expected))


def test_what_lies_beyond_the_axis_counts_in_its_outermost_bin() -> None:
    counted = measured(plot(Kind.COUNT), (np.array([-5.0, 0.0, 9.9, 10.0, 1e9]), None))
    assert counted.values.tolist() == [2, 0, 0, 0, 3]


@given(PAIRS)
def test_means_are_those_of_numpy(pairs: list[tuple[float, float]]) -> None:
    x, y = columns(pairs)
    found = measured(plot(Kind.MEAN), (x, y))
    for number in range(5):
        inside = y[(x >= EDGES[number]) & (x < EDGES[number + 1])]
        if len(inside) == 0:
            assert np.isnan(found.values[number])
        else:
            assert found.values[number] == pytest.approx(inside.mean(), abs=1e-6)
        if len(inside) > 1:
            assert found.errors[number] == pytest.approx(inside.std(ddof=1) / np.sqrt(len(inside)), abs=1e-6)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_shares_and_their_binomial_errors(flags: list[bool]) -> None:
    values = np.array(flags, dtype=np.float64)
    found = measured(plot(Kind.FRACTION), (np.full(len(flags), 5.0), values))
    share = values.mean()
    assert found.values[2] == pytest.approx(share)
    assert found.errors[2] == pytest.approx(np.sqrt(share * (1 - share) / len(flags)), abs=1e-9)
    assert found.overall == pytest.approx(share)


def test_a_width_is_the_standard_deviation_and_ignores_tails() -> None:
    y = np.random.default_rng(1).normal(1.0, 2.0, 20_000)
    y[:100] = 1e6
    found = measured(plot(Kind.SPREAD), (np.full(len(y), 5.0), y))
    assert found.values[2] == pytest.approx(2.0, rel=0.05)
    assert found.errors[2] == pytest.approx(2.0 / np.sqrt(40_000), rel=0.05)
    assert np.isnan(found.values[[0, 1, 3, 4]]).all()


def test_the_number_for_the_whole_leaves_out_what_the_plot_does() -> None:
    found = measured(plot(Kind.FRACTION), (np.array([-1.0, 5.0, 5.0, 20.0]), np.array([0.0, 1.0, 1.0, 0.0])))
    assert found.overall == 1.0


@pytest.mark.parametrize("kind", Kind)
def test_nothing_at_all_is_measured_as_nothing(kind: Kind) -> None:
    found = measured(plot(kind), (np.empty(0), None if kind is Kind.COUNT else np.empty(0)))
    assert np.nan_to_num(found.values).tolist() == [0.0] * 5
    assert np.isnan(found.overall)


class TestSample:
    """Two events, three particles and as many tracks, known one by one."""

    @pytest.fixture
    def sample(self) -> Sample:
        return Sample(table_of(aod.SCHEMA, [made_up(1, [0, -1], [0, 5]), made_up(2, [0], [0])]))

    def test_tracks_are_counted_as_fakes_and_particles_as_found(self, sample: Sample) -> None:
        assert sample.is_fake.tolist() == [False, True, False]
        assert sample.is_found.tolist() == [True, False, True]

    def test_only_particles_from_collisions_with_enough_measurements_count(self, sample: Sample) -> None:
        assert sample.is_reconstructable.tolist() == [True, False, True]

    def test_a_track_is_compared_with_its_own_particle(self, sample: Sample) -> None:
        found, true = sample.matched("d0", "d0")
        assert found.tolist() == [pytest.approx(1.0), pytest.approx(2.0)]
        assert true.tolist() == [pytest.approx(0.1), pytest.approx(0.2)]

    def test_a_jet_is_compared_with_the_one_at_its_place(self, sample: Sample) -> None:
        true, response = sample.jet_response
        assert true.tolist() == [10.0, 10.0]
        assert response == pytest.approx([0.8, 0.8])

    def test_the_hardest_vertex_is_compared_with_the_hard_collision(self, sample: Sample) -> None:
        assert sample.hardest_vertex_distance == pytest.approx([0.5, 0.5])


def made_up(number: int, particle_of_track: list[int], generation: list[int]) -> Event:
    groups = {name: {one: np.zeros(0) for one in fields} for name, fields in aod.SCHEMA.groups.items()}
    tracks, particles = len(particle_of_track), len(generation)
    groups["track"] = {name: np.full(tracks, float(number)) for name in aod.SCHEMA.groups["track"]}
    groups["track"]["particle"] = np.array(particle_of_track)
    groups["particle"] = {name: np.full(particles, number / 10) for name in aod.SCHEMA.groups["particle"]}
    groups["particle"] |= {"generation": np.array(generation), "n_hits": np.full(particles, 9)}
    groups["vertex"] = {name: np.array([2.5, 9.0]) for name in aod.SCHEMA.groups["vertex"]}
    groups["collision"] = {name: np.array([2.0, 9.0, 1.0]) for name in aod.SCHEMA.groups["collision"]}
    groups["true_jet"] = jets((10.0, 0.0, 3.1), (6.0, 2.0, 0.0))
    groups["jet"] = jets((20.0, 2.0, 3.0), (8.0, 0.05, -3.1))
    return Event({"RunNumber": 1, "EventNumber": number}, groups)


def jets(*rows: tuple[float, float, float]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    pt, eta, phi = np.array(rows).T
    return {"pt": pt, "eta": eta, "phi": phi, "m": np.zeros(len(rows)), "n_tracks": np.ones(len(rows))}


class TestResults:
    """All plots of real events."""

    def test_the_same_files_give_the_same_plots(self, aod_files: list[Path]) -> None:
        found, events = results(aod_files, aod_files)
        assert events == 12
        assert [one.plot for one in found] == list(PLOTS)
        assert all(one.identical for one in found)

    def test_the_reconstruction_is_a_good_one(self, aod_files: list[Path]) -> None:
        overall = {one.plot.title: one.raythena.overall for one in results(aod_files, aod_files)[0]}
        assert overall["Track efficiency above 1 GeV"] > 0.95
        assert overall["Fake tracks"] < 0.01
        assert 0.5 < overall["Resolution of pT"] < 3
        assert 20 < overall["Resolution of d0"] < 200
        assert overall["Response of jets"] == pytest.approx(1, abs=0.2)

    def test_plots_differ_when_a_column_does(self, aod_files: list[Path], tmp_path: Path) -> None:
        table = read_table(aod_files[0], "AOD")
        table.groups["track"].fields["d0"] += np.float32(0.5)
        write_table(tmp_path / "AOD.root", aod.SCHEMA, table)
        found, _ = results([tmp_path / "AOD.root"], aod_files[:1])
        differing = {one.plot.title for one in found if not one.identical}
        assert "Pull of d0" in differing
        assert differing <= {"Pull of d0", "Resolution of d0"}

    def test_only_events_of_both_sides_count(self, aod_files: list[Path]) -> None:
        ours, theirs = read_both(aod_files, aod_files[1:2])
        assert ours.n_events == theirs.n_events == 2
        assert ours.counts("track").tolist() == theirs.counts("track").tolist()
        assert results(aod_files[:1], aod_files[2:])[1] == 0
        assert results([], aod_files)[1] == 0

    def test_titles_are_told_apart(self) -> None:
        assert len({one.title for one in performance.PLOTS}) == len(performance.PLOTS)
