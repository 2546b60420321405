"""The simulation: the same event is the same event, and the physics is roughly right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raythena.demo import hits, simulation
from raythena.demo.detector import Calorimeter, Detector, Solenoid, Tracker
from raythena.demo.showers import EM, HADRON, MUON, Arrivals, deposit
from raythena.demo.tables import read_table
from raythena.demo.tracking import GEV_PER_TESLA_MM, Particles, fly, step, tracks_of
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.ranges import EventRange


class Context:
    def __init__(self, scratch: Path, state: Any) -> None:
        self.scratch, self.state, self._given = scratch, state, 0

    def new_output(self, suffix: str = "") -> Path:
        self._given += 1
        return self.scratch / f"out-{self._given}{suffix}"


def identical(one: hits.Event, other: hits.Event) -> bool:
    return one[:2] == other[:2] and all(
        np.array_equal(ours[name], theirs[name])
        for ours, theirs in zip(one[2:], other[2:], strict=True)
        for name in ours | theirs  # type: ignore[operator]
    )


class TestDeterminism:
    """An event depends on (run, event number) and nothing else."""

    def test_order_and_attempt_do_not_matter(self, demo_job: Job) -> None:
        path = demo_job.inputs[0].pfn
        forwards, backwards = simulation.setup({"cost": 0.5}), simulation.setup({"cost": 0.5})
        first = {number: forwards.event(path, number) for number in (1, 2, 3)}
        for number in (3, 1, 2, 1):
            assert identical(backwards.event(path, number), first[number])
        assert not identical(first[1], first[2])

    def test_another_process_gets_the_same(self, demo_job: Job, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path\n"
            "from raythena.demo import hits, simulation\n"
            "event = simulation.setup({'cost': 0.5}).event(sys.argv[1], 4)\n"
            "hits.write_hits(Path(sys.argv[2]), [event], compressed=False)\n"
        )
        subprocess.run([sys.executable, "-c", program, demo_job.inputs[0].pfn, str(tmp_path / "theirs.root")], check=True)
        event = simulation.setup({"cost": 0.5}).event(demo_job.inputs[0].pfn, 4)
        hits.write_hits(tmp_path / "ours.root", [event], compressed=False)
        ours, theirs = (read_table(tmp_path / name, "HITS") for name in ("ours.root", "theirs.root"))
        for group in ours.groups:
            for name, column in ours.groups[group].fields.items():
                assert column.tobytes() == theirs.groups[group].fields[name].tobytes()

    def test_global_random_state_is_neither_used_nor_touched(self, demo_job: Job) -> None:
        path, model = demo_job.inputs[0].pfn, simulation.setup({"cost": 0.5})
        np.random.seed(1)
        before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
        event = model.event(path, 1)
        assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]
        np.random.seed(2)
        assert identical(event, model.event(path, 1))

    def test_the_event_number_is_what_seeds(self, demo_job: Job) -> None:
        model = simulation.setup({"cost": 0.5})
        particles = model._table(demo_job.inputs[0].pfn).groups["particle"].rows(0)
        streams = [np.random.Generator(np.random.Philox(np.random.SeedSequence([1, n]))) for n in (1, 1, 2)]
        one, same, other = (simulation.simulate(model.detector, particles, 0.5, stream) for stream in streams)
        assert np.array_equal(one[1]["energy"], same[1]["energy"])
        assert not np.array_equal(one[1]["energy"], other[1]["energy"])


class TestProcess:
    """The payload function."""

    def test_writes_the_events_of_the_range(self, demo_job: Job, tmp_path: Path) -> None:
        file, model = demo_job.inputs[1], simulation.setup({"cost": 0.5})
        event_range = EventRange("x", file.lfn, file.pfn, file.guid, 2, 3)
        table = read_table(simulation.process(event_range, Context(tmp_path, model)), "HITS")
        assert table.scalars["EventNumber"].tolist() == [8, 9]
        expected = model.event(file.pfn, 3)
        assert np.array_equal(table.groups["cell"].rows(1)["id"], expected[3]["id"])
        assert np.array_equal(table.groups["track"].rows(1)["eta"], expected[2]["eta"].astype("f4"))

    def test_one_event_is_small_and_leaves_no_scratch(self, demo_job: Job, tmp_path: Path) -> None:
        file = demo_job.inputs[0]
        output = simulation.process(EventRange("x", file.lfn, file.pfn, "", 1, 1), Context(tmp_path, simulation.setup({})))
        assert 10_000 < output.stat().st_size < 80_000
        assert list(tmp_path.iterdir()) == [output]

    @pytest.mark.parametrize("number", [0, 7, -1])
    def test_an_event_outside_the_file_is_refused(self, demo_job: Job, number: int) -> None:
        with pytest.raises(InvalidInput, match=r"1 to 6"):
            simulation.setup({}).event(demo_job.inputs[0].pfn, number)

    @pytest.mark.parametrize("cost", [0, -1, 0.01, 1e6, "much", None, True])
    def test_an_impossible_cost_is_refused(self, cost: object) -> None:
        with pytest.raises(InvalidInput, match="cost"):
            simulation.setup({"cost": cost})

    @pytest.mark.parametrize("content", [b"", b"not a ROOT file at all", b"root" + bytes(400)])
    def test_a_bad_input_file_is_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "EVNT.root").write_bytes(content)
        with pytest.raises(InvalidInput, match=r"EVNT\.root"):
            simulation.setup({}).event(str(tmp_path / "EVNT.root"), 1)


class TestTracking:
    """Particles in the field."""

    @settings(max_examples=30)
    @given(pt=st.floats(0.5, 50), phi=st.floats(-3, 3), sign=st.sampled_from([-1.0, 1.0]))
    def test_a_particle_in_a_uniform_field_goes_in_a_circle(self, pt: float, phi: float, sign: float) -> None:
        long = Solenoid(strength_t=2.0, half_length_mm=1e6, reach_mm=10)
        place, direction = np.zeros((3, 1)), np.array([[np.cos(phi)], [np.sin(phi)], [0.0]])
        bend, length, n = np.array([sign * GEV_PER_TESLA_MM / pt]), 900.0, 30
        for _ in range(n):
            place, direction = step(long, place, direction, bend, length / n)
        radius = pt / (GEV_PER_TESLA_MM * 2.0)
        turned = -sign * length / radius
        assert np.arctan2(direction[1, 0], direction[0, 0]) == pytest.approx(np.angle(np.exp(1j * (phi + turned))), abs=1e-4)
        assert np.hypot(place[0, 0], place[1, 0]) == pytest.approx(2 * radius * np.sin(length / (2 * radius)), rel=1e-4)

    def test_the_field_has_no_divergence_near_the_axis(self) -> None:
        solenoid, h = Solenoid(), 2.0
        x, y, z = np.full(5, 80.0), np.full(5, -40.0), np.linspace(-2600, 2600, 5)
        divergence = sum(
            (
                solenoid.at(*(p + h * shift for p, shift in zip((x, y, z), axis, strict=True)))[i]
                - solenoid.at(*(p - h * shift for p, shift in zip((x, y, z), axis, strict=True)))[i]
            )
            / (2 * h)
            for i, axis in enumerate(np.eye(3))
        )
        assert np.abs(divergence).max() < 1e-6 * 2.0

    def test_hits_and_track_of_a_central_particle(self) -> None:
        perfect = Detector(tracker=Tracker(efficiency=1.0))
        n = 400
        born = Particles(np.zeros((3, n)), np.tile([[10.0], [0.0], [2.0]], n), np.ones(n))
        rng = np.random.default_rng(3)
        flight = fly(perfect, born, 30.0, rng)
        assert (flight.hits == len(perfect.tracker.radii_mm)).all()
        assert not flight.inside.any()
        tracks = tracks_of(perfect, flight, born, rng)
        pull = (tracks["charge_over_pt"] - 0.1) / np.hypot(4e-4, 0.0012)
        assert abs(pull.mean()) < 0.2
        assert pull.std() == pytest.approx(1.0, abs=0.15)

    def test_what_curls_up_or_is_born_outside_leaves_no_track(self) -> None:
        born = Particles(
            np.array([[0.0, 1200.0], [0.0, 0.0], [0.0, 0.0]]), np.array([[0.12, 5.0], [0.0, 0.0], [0.0, 0.0]]), np.ones(2)
        )
        flight = fly(Detector(), born, 30.0, np.random.default_rng(1))
        assert flight.inside.tolist() == [True, False]
        assert flight.place[:, 1].tolist() == [1200.0, 0.0, 0.0]


class TestCalorimeter:
    """Showers in cells."""

    quiet = Calorimeter(noise_gev=(1e-9,) * 4)

    def shower(self, kind: int, energy: float, seed: int, eta: float = 0.3) -> dict[str, Any]:
        arrivals = Arrivals(np.array([kind], dtype=np.uint8), np.array([energy]), np.array([eta]), np.array([1.0]))
        return deposit(self.quiet, arrivals, 1.0, np.random.default_rng(seed))

    @pytest.mark.parametrize(("kind", "resolution"), [(EM, 0.1 / np.sqrt(50)), (HADRON, np.hypot(0.55 / np.sqrt(50), 0.04))])
    def test_energy_is_right_on_average_and_spread_as_specified(self, kind: int, resolution: float) -> None:
        seen = np.array([self.shower(kind, 50.0, seed)["energy"].sum() for seed in range(300)]) / 50
        contained = 1.0 if kind == EM else 0.95
        assert seen.mean() == pytest.approx(contained, abs=0.06)
        assert seen.std() == pytest.approx(resolution, rel=0.35)

    def test_electrons_stop_early_and_hadrons_go_deep(self) -> None:
        per_layer = self.quiet.n_eta * self.quiet.n_phi
        deep = []
        for kind in (EM, HADRON):
            cells = [self.shower(kind, 50.0, seed) for seed in range(20)]
            deep.append(np.mean([one["energy"][one["id"] // per_layer >= 2].sum() / one["energy"].sum() for one in cells]))
        assert deep[0] < 0.05
        assert deep[1] > 0.3

    def test_a_muon_leaves_little(self) -> None:
        assert self.shower(MUON, 100.0, 1)["energy"].sum() < 5

    def test_the_shower_is_where_the_particle_is(self) -> None:
        cells = self.shower(EM, 100.0, 5, eta=-2.0)
        eta, phi = self.quiet.centres(cells["id"])
        assert np.average(eta, weights=cells["energy"]) == pytest.approx(-2.0, abs=0.06)
        assert np.average(phi, weights=cells["energy"]) == pytest.approx(1.0, abs=0.06)

    @given(st.integers(0, 4 * 98 * 64 - 1))
    def test_the_centre_of_a_cell_is_in_the_cell(self, cell: int) -> None:
        eta, phi = self.quiet.centres(np.array([cell]))
        layer = np.array([cell // (98 * 64)])
        assert self.quiet.cell_of(layer, eta, phi).tolist() == [cell]
        assert self.quiet.cell_of(layer, eta, phi - 2 * np.pi).tolist() == [cell]

    @pytest.mark.parametrize(("layer", "eta"), [(0, 4.91), (0, -4.91), (4, 0.0)])
    def test_outside_is_no_cell(self, layer: int, eta: float) -> None:
        assert self.quiet.cell_of(np.array([layer]), np.array([eta]), np.array([0.0])).tolist() == [-1]

    def test_noise_alone_is_mostly_suppressed_and_cells_are_sorted(self) -> None:
        nothing = Arrivals(np.empty(0, dtype=np.uint8), np.empty(0), np.empty(0), np.empty(0))
        cells = deposit(Calorimeter(), nothing, 1.0, np.random.default_rng(1))
        assert len(cells["id"]) < 20
        assert (np.diff(cells["id"]) > 0).all()
