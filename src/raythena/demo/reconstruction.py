"""From HITS to AOD: a payload function that reconstructs one event; tracks, vertices, jets, and the truth they are compared with.

It reads merged HITS files only, so that whatever the merge did to an event shows here too. Nothing here draws a random number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.demo import aod, hits
from raythena.demo.chain import Chain
from raythena.demo.detector import build_detector, variances_mm2
from raythena.demo.event_files import EventReader, OneEventWriter, write_events
from raythena.demo.extra import LibraryObject, optional
from raythena.demo.jets import jets_of
from raythena.demo.simulation import EventContext
from raythena.demo.tables import Column, Event
from raythena.demo.track_finding import MAX_ETA, MIN_PT_GEV, track_finding_chain
from raythena.demo.vertices import associated, found_vertices
from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import EventRange

LEAST_PURITY = 0.5
"""Share of its measurements that one particle must have made for a track to be that particle's."""


@dataclass
class Reconstruction:
    """The chain of ACTS, how HITS are read, and how AOD are written."""

    chain: Chain
    reader: EventReader
    writer: OneEventWriter

    def event(self, path: str, number: int, scratch: Path) -> Event:
        """Reconstruct event `number`, counted from 1, of a HITS file. Raises InvalidInput when there is no such event."""
        return reconstructed(self.chain, self.reader.event(path, number), scratch)


def setup(options: Mapping[str, object]) -> Reconstruction:
    """Build detector and chain once for all events. There are no options. Raises InvalidInput."""
    if options:
        raise InvalidInput("demo", "options", f"{', '.join(sorted(options))} is not known", expected="no options")
    return Reconstruction(track_finding_chain(build_detector()), EventReader(hits.SCHEMA.tree), OneEventWriter(aod.SCHEMA))


def process(event_range: EventRange, context: EventContext) -> Path:
    """Reconstruct the events of a range into a new AOD file."""
    reconstruction = context.state
    assert isinstance(reconstruction, Reconstruction)  # noqa: S101
    scratch = context.new_output("-vertices")
    scratch.mkdir()
    numbers = range(event_range.first_event, event_range.last_event + 1)
    events = [reconstruction.event(event_range.pfn, number, scratch) for number in numbers]
    scratch.rmdir()
    output = context.new_output(".root")
    if len(events) == 1:
        reconstruction.writer.write(output, events[0])
    else:
        write_events(output, aod.SCHEMA, events)
    return output


def reconstructed(chain: Chain, simulated: Event, scratch: Path) -> Event:
    """The AOD of one event from its HITS. `scratch` is a directory to write in."""
    measurements = simulated.groups["measurement"]
    _, number = simulated.number
    products = chain.run(number, _acts_measurements(measurements))
    tracks = _track_columns(products["tracks"])
    pt = np.abs(np.sin(tracks["theta"]) / tracks["charge_over_p"])
    eta = -np.log(np.tan(tracks["theta"] / 2))
    origin = associated(found_vertices(chain, number, products, scratch), tracks["z0"], tracks["sigma_z0"], pt)
    tracks["vertex"] = origin.of_track
    tracks |= matched(_measurements_of_tracks(products["tracks"]), measurements["particle"])
    hard = origin.of_track == 0
    particles = true_particles(simulated.groups["particle"])
    groups = {
        "track": tracks,
        "vertex": origin.vertices,
        "jet": jets_of(pt[hard], eta[hard], tracks["phi"][hard]),
        "particle": particles,
        "collision": simulated.groups["collision"],
        "true_jet": _true_jets(particles),
    }
    scalars = {name: simulated.scalars[name] for name in aod.SCHEMA.scalars}
    return Event(scalars, {name: _typed(columns, name) for name, columns in groups.items()})


def _typed(columns: dict[str, Column], group: str) -> dict[str, Column]:
    return {name: np.asarray(columns[name], dtype=code) for name, code in aod.SCHEMA.groups[group].items()}


def _acts_measurements(measurements: dict[str, Column]) -> dict[str, LibraryObject]:
    """The measurements as ACTS wants them: all of them, and which of them to use, which is again all of them."""
    acts, examples = optional("acts"), optional("acts.examples")
    container = examples.MeasurementContainer()
    container.reserve(len(measurements["sensor"]))
    local = zip(measurements["local0"].tolist(), measurements["local1"].tolist(), strict=True)
    errors = variances_mm2(measurements["sensor"]).tolist()
    for sensor, place, variances in zip(measurements["sensor"].tolist(), local, errors, strict=True):
        container.emplaceMeasurement(acts.GeometryIdentifier(sensor), (0, 1), place, variances)
    everything = range(len(container))
    return {
        "measurements": container,
        "measurement_subset": lambda products: examples.MeasurementSubset(products["measurements"], everything),
    }


def _track_columns(tracks: LibraryObject) -> dict[str, Column]:
    parameters = np.array(tracks.parameters, dtype=np.float64).reshape(-1, 6)
    covariance = np.array(tracks.covariance, dtype=np.float64).reshape(-1, 6, 6)
    d0, z0, phi, theta, charge_over_p = parameters[:, :5].T
    sigma_d0, sigma_z0, sigma_charge_over_p = np.sqrt(covariance[:, (0, 1, 4), (0, 1, 4)]).T
    return {
        "d0": d0,
        "z0": z0,
        "phi": phi,
        "theta": theta,
        "charge_over_p": charge_over_p,
        "sigma_d0": sigma_d0,
        "sigma_z0": sigma_z0,
        "sigma_charge_over_p": sigma_charge_over_p,
        "chi2": np.array(tracks.chi2),
        "n_measurements": np.array(tracks.nMeasurements),
        "n_holes": np.array(tracks.nHoles),
    }


def _measurements_of_tracks(tracks: LibraryObject) -> list[list[int]]:
    """Rows of the measurements on each track."""
    link = optional("acts.examples").IndexSourceLink
    return [
        [
            link.fromSourceLink(state.uncalibratedSourceLink).index()
            for state in track.trackStatesReversed
            if state.hasUncalibratedSourceLink
        ]
        for track in tracks
    ]


def matched(measurements: list[list[int]], caused_by: npt.NDArray[np.int32]) -> dict[str, Column]:
    """For each track, given as rows of measurements, the particle that caused most of them and its share of them."""
    particle = np.full(len(measurements), -1, dtype=np.int32)
    purity = np.zeros(len(measurements))
    for track, rows in enumerate(measurements):
        causes = caused_by[rows]
        found, counts = np.unique(causes[causes >= 0], return_counts=True)
        if len(found):
            purity[track] = counts.max() / len(rows)
            if purity[track] >= LEAST_PURITY:
                particle[track] = found[counts.argmax()]
    return {"particle": particle, "purity": purity}


def true_particles(particles: dict[str, Column]) -> dict[str, Column]:
    """The particles of HITS as the AOD describes them: direction at birth, `d0` and `z0` where the line of it passes the beam.

    The line stands for the helix, which is right for what is born near the beam.
    """
    px, py, pz, vx, vy, vz = (particles[name].astype(np.float64) for name in ("px", "py", "pz", "vx", "vy", "vz"))
    pt, phi = np.hypot(px, py), np.arctan2(py, px)
    return {name: particles[name] for name in ("pdgId", "charge", "collision", "generation", "n_hits")} | {
        "pt": pt,
        "eta": np.arcsinh(pz / pt),
        "phi": phi,
        "d0": vy * np.cos(phi) - vx * np.sin(phi),
        "z0": vz - (vx * np.cos(phi) + vy * np.sin(phi)) * pz / pt,
    }


def _true_jets(particles: dict[str, Column]) -> dict[str, Column]:
    """Jets of the charged particles that could have been seen of the hard collision."""
    hard = (particles["collision"] == 0) & (particles["generation"] == 0)
    seen = hard & (particles["pt"] > MIN_PT_GEV) & (np.abs(particles["eta"]) < MAX_ETA)
    pt, eta, phi = (particles[name][seen] for name in ("pt", "eta", "phi"))
    return jets_of(pt, eta, phi)
