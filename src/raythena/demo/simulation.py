"""The demo's simulation: a payload function that turns one event of an EVNT file into one HITS file.

Charged particles fly through the solenoid and the tracker, all particles shower in the calorimeter. How long an event takes
depends on what is in it: a few tens of milliseconds, with a long tail.

The rule everything rests on: every random number of an event comes from one stream that is seeded from (run number, event
number) alone, and the stream is used in an order the event itself determines. So an event comes out the same whoever computes
it, when, on which attempt, alone or among others. (The same on one kind of processor and one NumPy: another may round the last
bit of a sine differently.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from raythena.demo import evnt, hits
from raythena.demo.detector import Calorimeter, Detector, Floats
from raythena.demo.showers import EM, HADRON, MUON, NOTHING, Arrivals, deposit
from raythena.demo.tables import Column, Table, read_table
from raythena.demo.tracking import Particles, fly, tracks_of
from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import EventRange
from raythena.storage.root.fast_writer import RootTemplate

STEP_MM = 45.0
"""Length of a step through the field at cost 1."""
COST_LIMITS = (0.25, 100.0)
MIN_PT_GEV = 0.1
"""A charged particle below never reaches anything."""
_CHARGE = {11: -1, 13: -1, 211: 1, 321: 1, 2212: 1, 3222: 1, 3112: -1, 3312: -1, 3334: -1}
_KIND = {11: EM, 22: EM, 13: MUON, 12: NOTHING, 14: NOTHING, 16: NOTHING}


class EventContext(Protocol):
    """What the payload tells the function; see the payload `python`."""

    @property
    def state(self) -> Any:
        """What `setup` returned."""

    def new_output(self, suffix: str = "") -> Path:
        """A path for a new file, below the scratch directory."""


@dataclass
class Simulation:
    """The detector, the wanted cost, how HITS are written, and the EVNT files read so far."""

    detector: Detector
    cost: float
    template: RootTemplate
    _inputs: dict[str, Table] = field(default_factory=dict)

    def event(self, path: str, number: int) -> hits.Event:
        """Simulate event `number`, counted from 1, of an EVNT file. Raises InvalidInput when there is no such event."""
        table = self._table(path)
        if not 1 <= number <= table.n_events:
            raise InvalidInput(path, "", f"there is no event {number}", expected=f"1 to {table.n_events}")
        run, event = int(table.scalars["RunNumber"][number - 1]), int(table.scalars["EventNumber"][number - 1])
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([run, event])))
        return run, event, *simulate(self.detector, table.groups["particle"].rows(number - 1), self.cost, rng)

    def _table(self, path: str) -> Table:
        if path not in self._inputs:
            if len(self._inputs) >= 4:
                self._inputs.pop(next(iter(self._inputs)))
            self._inputs[path] = read_table(Path(path), evnt.SCHEMA.tree)
        return self._inputs[path]


def setup(options: dict[str, Any]) -> Simulation:
    """Build the detector once for all events. Options: `cost`, relative CPU cost of an event (default 1). Raises InvalidInput."""
    cost = options.get("cost", 1.0)
    least, most = COST_LIMITS
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not least <= cost <= most:
        raise InvalidInput("demo", "cost", f"is {cost!r}", expected=f"a number from {least:g} to {most:g}")
    return Simulation(Detector(), float(cost), hits.one_event_mould())


def process(event_range: EventRange, context: EventContext) -> Path:
    """Simulate the events of a range into a new HITS file."""
    simulation: Simulation = context.state
    numbers = range(event_range.first_event, event_range.last_event + 1)
    events = [simulation.event(event_range.pfn, number) for number in numbers]
    output = context.new_output(".root")
    if len(events) == 1:
        hits.write_one(output, events[0], simulation.template)
    else:
        hits.write_hits(output, events)
    return output


def simulate(
    detector: Detector, particles: dict[str, Column], cost: float, rng: np.random.Generator
) -> tuple[dict[str, Column], dict[str, Column]]:
    """Tracks and cells of one event from its stable particles (columns of the EVNT group `particle`)."""
    code = np.abs(particles["pdgId"])
    charge = np.sign(particles["pdgId"]) * _looked_up(code, _CHARGE, 0)
    born = Particles(_stacked(particles, "vx", "vy", "vz"), _stacked(particles, "px", "py", "pz"), charge.astype(np.float64))
    flying = np.flatnonzero((charge != 0) & (born.pt > MIN_PT_GEV))
    flight = fly(detector, born.chosen(flying), STEP_MM / cost, rng)
    tracks = tracks_of(detector, flight, born.chosen(flying), rng)
    place, direction = born.place.copy(), born.momentum.copy()
    place[:, flying], direction[:, flying] = flight.place, flight.direction
    arriving = (charge == 0) & (born.pt > 0)
    arriving[flying] = ~flight.inside
    kind = _looked_up(code, _KIND, HADRON)
    meeting = np.flatnonzero(arriving & (kind != NOTHING) & detector.calorimeter.encloses(place))
    eta, phi = _where_met(detector.calorimeter, place[:, meeting], direction[:, meeting])
    arrivals = Arrivals(kind[meeting].astype(np.uint8), particles["e"].astype(np.float64)[meeting], eta, phi)
    return tracks, deposit(detector.calorimeter, arrivals.within(detector.calorimeter.max_eta), cost, rng)


def _stacked(particles: dict[str, Column], *names: str) -> Floats:
    return np.stack([particles[name].astype(np.float64) for name in names])


def _looked_up(codes: Column, table: dict[int, int], otherwise: int) -> Column:
    found = np.full(len(codes), otherwise, dtype=np.int64)
    for code, value in table.items():
        found[codes == code] = value
    return found


def _where_met(calorimeter: Calorimeter, place: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """Eta and phi where straight lines from inside, both arguments (3, n), meet the calorimeter's face."""
    unit = direction / np.sqrt((direction * direction).sum(axis=0))
    flat = np.maximum(unit[0] ** 2 + unit[1] ** 2, 1e-12)
    outward = (place[0] * unit[0] + place[1] * unit[1]) / flat
    missing = (calorimeter.barrel_radius_mm**2 - place[0] ** 2 - place[1] ** 2) / flat
    to_barrel = np.sqrt(np.maximum(outward**2 + missing, 0.0)) - outward
    with np.errstate(divide="ignore"):
        to_endcap = (np.copysign(calorimeter.endcap_z_mm, unit[2]) - place[2]) / unit[2]
    x, y, z = place + np.minimum(to_barrel, to_endcap) * unit
    return np.arcsinh(z / np.hypot(x, y)), np.arctan2(y, x)
