"""The simulation: the same event is the same event, and particles leave measurements where they pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raythena.demo import hits
from raythena.demo.detector import LONG_STRIP_VOLUMES, PIXEL_VOLUMES, RESOLUTION_MM, SHORT_STRIP_VOLUMES, variances_mm2
from raythena.demo.simulation import Simulation, chosen_particles, process, setup, simulated
from raythena.demo.tables import Event, read_table
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.ranges import EventRange

VOLUMES = {*PIXEL_VOLUMES, *SHORT_STRIP_VOLUMES, *LONG_STRIP_VOLUMES}


def identical(one: Event, other: Event) -> bool:
    return one.number == other.number and all(
        values.tobytes() == other.groups[group][name].tobytes()
        for group, fields in one.groups.items()
        for name, values in fields.items()
    )


def generated(number: int = 1, run: int = 1, **columns: list[float]) -> Event:
    """An EVNT with the particles given; by default a muon of 10 GeV at a right angle to the beam."""
    muon = {"collision": [0], "pdgId": [13], "px": [10.0], "py": [0.0], "pz": [0.0], "e": [10.0], "vx": [0], "vy": [0], "vz": [0]}
    count = len(next(iter(columns.values()), [0]))
    particles = {name: np.array(columns.get(name, values * count)) for name, values in muon.items()}
    point = {"process": np.array([111]), "x": np.zeros(1), "y": np.zeros(1), "z": np.zeros(1)}
    return Event({"RunNumber": run, "EventNumber": number}, {"particle": particles, "collision": point})


class TestDeterminism:
    """An event depends on (run, event number) and nothing else."""

    def test_order_and_attempt_do_not_matter(self, demo_job: Job, simulation: Simulation) -> None:
        path = demo_job.inputs[0].pfn
        first = {number: simulation.event(path, number) for number in (1, 2, 3)}
        again = setup({})
        for number in (3, 1, 2, 1):
            assert identical(again.event(path, number), first[number])
        assert not identical(first[1], first[2])

    @pytest.mark.parametrize("other", [{"number": 2}, {"run": 2}])
    def test_other_numbers_are_other_random_numbers(self, simulation: Simulation, other: dict[str, int]) -> None:
        one, two = (simulated(simulation.chain, generated(**numbers)) for numbers in ({}, other))
        assert not np.array_equal(one.groups["measurement"]["local0"], two.groups["measurement"]["local0"])


class TestMeasurements:
    """What particles leave."""

    def test_a_muon_is_measured_in_every_layer_of_the_barrel(self, simulation: Simulation) -> None:
        event = simulated(simulation.chain, generated())
        measurements, particles = event.groups["measurement"], event.groups["particle"]
        assert particles["pdgId"].tolist() == [13]
        assert particles["charge"].tolist() == [-1.0]
        assert particles["n_hits"][0] == len(measurements["sensor"]) >= 10
        assert set(measurements["particle"]) == {0}
        assert set(measurements["sensor"] >> np.uint64(56)) == {8, 13, 17}

    def test_each_measurement_belongs_to_the_particle_that_made_it(self, demo_job: Job, simulation: Simulation) -> None:
        event = simulation.event(demo_job.inputs[0].pfn, 2)
        made = np.bincount(event.groups["measurement"]["particle"], minlength=len(event.groups["particle"]["n_hits"]))
        n_hits = event.groups["particle"]["n_hits"]
        assert (made <= n_hits).all()  # one that would come to lie beside its sensor is not made
        assert made.sum() > 0.99 * n_hits.sum()

    def test_all_volumes_measure_and_no_other(self, demo_job: Job, hits_files: list[Path]) -> None:
        seen = {
            int(volume) for path in hits_files for volume in read_table(path, "HITS").groups["measurement"].fields["sensor"] >> 56
        }
        assert seen == VOLUMES

    def test_measurements_are_spread_by_the_resolution_of_their_volume(self, simulation: Simulation) -> None:
        """The same muons without material, many times: what remains is the resolution."""
        place: dict[int, list[tuple[float, float]]] = {}
        for number in range(1, 120):
            measured = simulated(simulation.chain, generated(number, px=[500.0], e=[500.0])).groups["measurement"]
            for sensor, *local in zip(measured["sensor"].tolist(), measured["local0"], measured["local1"], strict=True):
                place.setdefault(sensor, []).append(tuple(local))
        often = {sensor: np.array(local) for sensor, local in place.items() if len(local) > 100}
        assert len(often) >= 8
        for sensor, local in often.items():
            assert local.std(axis=0) == pytest.approx(RESOLUTION_MM[sensor >> 56], rel=0.35)

    def test_neutral_particles_leave_nothing_and_photons_may_convert(self, simulation: Simulation) -> None:
        neutrons = simulated(simulation.chain, generated(pdgId=[2112] * 20, collision=[0] * 20))
        assert len(neutrons.groups["particle"]["pdgId"]) == len(neutrons.groups["measurement"]["sensor"]) == 0
        photons = simulated(simulation.chain, generated(pdgId=[22] * 50, collision=[0] * 50)).groups["particle"]
        assert set(np.abs(photons["pdgId"])) == {11}
        assert (photons["generation"] > 0).all()
        assert np.hypot(photons["vx"], photons["vy"]).min() > 10

    def test_variances_are_those_of_the_volume(self) -> None:
        sensors = np.array([volume << 56 | 123 for volume in RESOLUTION_MM], dtype=np.uint64)
        assert variances_mm2(sensors) == pytest.approx(np.square(list(RESOLUTION_MM.values())))


@pytest.mark.parametrize(
    ("change", "chosen"),
    [
        ({}, True),
        ({"pdgId": [-211]}, True),
        ({"pdgId": [12]}, False),
        ({"px": [0.1]}, False),
        ({"pz": [90.0]}, True),
        ({"pz": [110.0]}, False),
        ({"vx": [1100.0]}, False),
        ({"vz": [3100.0]}, False),
        ({"vy": [500.0]}, True),
    ],
)
def test_what_could_be_seen_is_simulated(change: dict[str, list[float]], chosen: bool) -> None:
    assert len(chosen_particles(generated(**change).groups["particle"])) == chosen


@pytest.mark.parametrize(("first", "last"), [(2, 2), (2, 4)])
def test_a_range_becomes_a_file(
    demo_job: Job, simulation: Simulation, context: Callable[[Any], Any], first: int, last: int
) -> None:
    file = demo_job.inputs[0]
    output = process(EventRange("r", file.lfn, file.pfn, file.guid, first, last), context(simulation))
    table = read_table(output, hits.SCHEMA.tree)
    assert table.scalars["EventNumber"].tolist() == list(range(first, last + 1))
    assert identical(table.event(0), simulation.event(file.pfn, first))


def test_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="cost"):
        setup({"cost": 1.0})
