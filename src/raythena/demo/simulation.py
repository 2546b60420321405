"""The demo's simulation: a payload function that turns one event of an EVNT file into one HITS file.

Fatras, the fast simulation of ACTS, takes charged particles and photons through field and material: they bend, scatter, lose
energy, radiate, convert. Where they cross a sensor, ACTS's digitisation makes a measurement. How long an event takes depends on
how many proton-proton collisions are in it: from ten milliseconds to a second.

Every random number comes from (run number, event number) alone, see `chain`. (The same on one kind of processor: another may
round the last bit of a sine differently.)
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from raythena.demo import evnt, hits
from raythena.demo.chain import Chain, Products
from raythena.demo.detector import TRACKER_HALF_LENGTH_MM, TRACKER_RADIUS_MM, Detector, build_detector, digitisation, log_level
from raythena.demo.event_files import EventReader, OneEventWriter, write_events
from raythena.demo.extra import LibraryObject, optional
from raythena.demo.tables import Column, Event
from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import EventRange

MIN_PT_GEV = 0.15
"""Of the particles that are simulated; those below curl up before the strips."""
MAX_ETA = 3.0
SIMULATED = (11, 13, 22, 211, 321, 2212)
"""Kinds of particles, without sign, that leave tracks or turn into some: e, mu, photon, pi, K, p."""
SEED = 20240611


class EventContext(Protocol):
    """What the payload tells the function; see the payload `python`."""

    @property
    def state(self) -> object:
        """What `setup` returned."""

    def new_output(self, suffix: str = "") -> Path:
        """A path for a new file, below the scratch directory."""


@dataclass
class Simulation:
    """The chain of ACTS, how EVNT are read, and how HITS are written."""

    chain: Chain
    reader: EventReader
    writer: OneEventWriter

    def event(self, path: str, number: int) -> Event:
        """Simulate event `number`, counted from 1, of an EVNT file. Raises InvalidInput when there is no such event."""
        generated = self.reader.event(path, number)
        return simulated(self.chain, generated)


def setup(options: Mapping[str, object]) -> Simulation:
    """Build detector and chain once for all events. There are no options. Raises InvalidInput."""
    if options:
        raise InvalidInput("demo", "options", f"{', '.join(sorted(options))} is not known", expected="no options")
    return Simulation(simulation_chain(build_detector()), EventReader(evnt.SCHEMA.tree), OneEventWriter(hits.SCHEMA))


def process(event_range: EventRange, context: EventContext) -> Path:
    """Simulate the events of a range into a new HITS file."""
    simulation = context.state
    assert isinstance(simulation, Simulation)  # noqa: S101
    numbers = range(event_range.first_event, event_range.last_event + 1)
    events = [simulation.event(event_range.pfn, number) for number in numbers]
    output = context.new_output(".root")
    if len(events) == 1:
        simulation.writer.write(output, events[0])
    else:
        write_events(output, hits.SCHEMA, events)
    return output


def simulation_chain(detector: Detector) -> Chain:
    """Fatras and digitisation, ready to run."""
    examples = optional("acts.examples")
    random_numbers = examples.RandomNumbers(examples.RandomNumbers.Config(seed=SEED))
    simulation = examples.FatrasSimulation(
        level=log_level(),
        inputParticles="particles_generated",
        outputParticles="particles_simulated",
        outputSimHits="simhits",
        randomNumbers=random_numbers,
        trackingGeometry=detector.geometry,
        magneticField=detector.field,
        generateHitsOnSensitive=True,
        emScattering=True,
        emEnergyLossIonisation=True,
        emEnergyLossRadiation=True,
        emPhotonConversion=True,
    )
    return Chain(
        detector,
        [simulation, _digitiser(detector, random_numbers)],
        inputs={"particles_generated": examples.SimParticleContainer},
        outputs={
            "particles_simulated": examples.SimParticleContainer,
            "measurements": examples.MeasurementContainer,
            "measurement_particles": examples.MeasurementParticlesMap,
        },
    )


def _digitiser(detector: Detector, random_numbers: LibraryObject) -> LibraryObject:
    examples = optional("acts.examples")
    return examples.DigitizationAlgorithm(
        level=log_level(),
        digitizationConfigs=digitisation(),
        surfaceByIdentifier=detector.geometry.geoIdSurfaceMap(),
        randomNumbers=random_numbers,
        inputSimHits="simhits",
        outputMeasurements="measurements",
        outputMeasurementParticlesMap="measurement_particles",
        outputMeasurementSimHitsMap="measurement_simhits",
        outputParticleMeasurementsMap="particle_measurements",
        outputSimHitMeasurementsMap="simhit_measurements",
    )


def simulated(chain: Chain, generated: Event) -> Event:
    """The HITS of one event from its EVNT."""
    particles = _generated_particles(generated.groups["particle"])
    products = chain.run(_acts_number(*generated.number), {"particles_generated": particles})
    rows, row_of = _particle_rows(products)
    collisions = generated.groups["collision"]
    groups = {
        "particle": rows,
        "measurement": _measurement_rows(products, row_of),
        "collision": {name: collisions[name] for name in hits.SCHEMA.groups["collision"]},
    }
    return Event({name: generated.scalars[name] for name in hits.SCHEMA.scalars}, groups)


def _acts_number(run: int, event: int) -> int:
    """The number by which ACTS knows an event, from which its random numbers come: other runs have other ones."""
    return int(np.random.SeedSequence([run, event]).generate_state(1, np.uint64)[0])


def chosen_particles(particles: dict[str, Column]) -> npt.NDArray[np.intp]:
    """Rows of the particles that are simulated: they leave tracks, and are born inside the tracker, not too low or forward."""
    px, py, pz = (particles[name].astype(np.float64) for name in ("px", "py", "pz"))
    pt = np.hypot(px, py)
    inside = (np.hypot(particles["vx"], particles["vy"]) < TRACKER_RADIUS_MM) & (np.abs(particles["vz"]) < TRACKER_HALF_LENGTH_MM)
    seen = (pt > MIN_PT_GEV) & (np.abs(pz) < pt * np.sinh(MAX_ETA))
    return np.flatnonzero(inside & seen & np.isin(np.abs(particles["pdgId"]), SIMULATED))


def _generated_particles(particles: dict[str, Column]) -> LibraryObject:
    """The particles as ACTS wants them; each is known by its row and its collision."""
    acts, examples = optional("acts"), optional("acts.examples")
    container = examples.SimParticleContainer()
    rows = chosen_particles(particles)
    columns = [particles[name][rows].tolist() for name in ("pdgId", "collision", "px", "py", "pz", "vx", "vy", "vz")]
    for row, pdg, collision, px, py, pz, vx, vy, vz in zip(rows.tolist(), *columns, strict=True):
        barcode = examples.SimBarcode()
        barcode.vertexPrimary, barcode.particle = collision + 1, row + 1
        particle = examples.SimParticle(barcode, acts.PdgParticle(pdg))
        particle.fourPosition = acts.Vector4(vx, vy, vz, 0.0)
        p = (px * px + py * py + pz * pz) ** 0.5
        particle.direction = acts.Vector3(px / p, py / p, pz / p)
        particle.absoluteMomentum = p
        container.insert(particle)
    return container


def _particle_rows(products: Products) -> tuple[dict[str, Column], dict[Hashable, int]]:
    """Columns of the charged particles of an event, and the row of each barcode."""
    particles = [one for one in products["particles_simulated"] if one.charge]
    row_of = {one.particleId: row for row, one in enumerate(particles)}
    momentum = np.array([_components(one.momentum) for one in particles], dtype=np.float64).reshape(-1, 3)
    place = np.array([_components(one.position) for one in particles], dtype=np.float64).reshape(-1, 3)
    rows: dict[str, npt.ArrayLike] = {
        "pdgId": [int(one.pdg) for one in particles],
        "charge": [one.charge for one in particles],
        "collision": [barcode.vertexPrimary - 1 for barcode in row_of],
        "generation": [barcode.generation for barcode in row_of],
        **dict(zip(("px", "py", "pz"), momentum.T, strict=True)),
        **dict(zip(("vx", "vy", "vz"), place.T, strict=True)),
        "n_hits": [one.numberOfHits for one in particles],
    }
    return _typed(rows, "particle"), row_of


def _components(vector: LibraryObject) -> tuple[float, float, float]:
    """Not by iterating: ACTS's vectors end that with an exception, which costs more than everything else."""
    return vector[0], vector[1], vector[2]


def _measurement_rows(products: Products, row_of: dict[Hashable, int]) -> dict[str, Column]:
    causing = {index: row_of.get(barcode, -1) for index, barcode in products["measurement_particles"]}
    parameters = [(one.geometryId.value, one.fullParameters) for one in products["measurements"]]
    rows: dict[str, npt.ArrayLike] = {
        "sensor": [sensor for sensor, _ in parameters],
        "local0": [values[0] for _, values in parameters],
        "local1": [values[1] for _, values in parameters],
        "particle": [causing.get(index, -1) for index in range(len(parameters))],
    }
    return _typed(rows, "measurement")


def _typed(rows: Mapping[str, npt.ArrayLike], group: str) -> dict[str, Column]:
    return {name: np.array(rows[name], dtype=code) for name, code in hits.SCHEMA.groups[group].items()}
