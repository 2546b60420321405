"""Charged particles on their way through the field and the tracker.

All particles of an event fly together, step by step (fourth-order Runge–Kutta–Nyström), scatter in every layer they cross and
leave hits there. What comes out are tracks, with the resolution their number of hits and their momentum give them, and the point
where every particle reaches the calorimeter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raythena.demo.detector import Detector, Floats, Ints, Solenoid

GEV_PER_TESLA_MM = 0.299792458e-3
"""Momentum of a unit charge bent to a radius of 1 mm by 1 T."""
LONGEST_PATH_MM = 3600.0
"""A particle still inside after this much curls up and is stopped."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Particles:
    """Where particles are born (mm), with which momentum (GeV) and charge. `place` and `momentum` have shape (3, n)."""

    place: Floats
    momentum: Floats
    charge: Floats

    @property
    def pt(self) -> Floats:
        """Transverse momentum in GeV."""
        return np.asarray(np.hypot(self.momentum[0], self.momentum[1]))

    def chosen(self, which: Ints) -> Particles:
        """Some of them."""
        return Particles(self.place[:, which], self.momentum[:, which], self.charge[which])


@dataclass
class Flight:
    """The particles of one event in flight: `place` and `direction` have shape (3, n) and change with every step.

    `charge_over_p` in 1/GeV; `hits` counts the layers that saw the particle; `inside` is False once it left the tracker.
    """

    place: Floats
    direction: Floats
    charge_over_p: Floats
    hits: Ints
    inside: Flags


def fly(detector: Detector, born: Particles, step_mm: float, rng: np.random.Generator) -> Flight:
    """Carry charged particles to the surface of the tracker. Those born outside stay where they are."""
    p = np.sqrt((born.momentum**2).sum(axis=0))
    inside = detector.tracker.contains(born.place)
    flight = Flight(born.place.copy(), born.momentum / p, born.charge / p, np.zeros(p.shape, dtype=np.int64), inside)
    for _ in range(int(np.ceil(LONGEST_PATH_MM / step_mm))):
        moving = np.flatnonzero(flight.inside)
        if not len(moving):
            break
        _advance(detector, flight, moving, step_mm, rng)
    return flight


def _advance(detector: Detector, flight: Flight, moving: Ints, step_mm: float, rng: np.random.Generator) -> None:
    """One step of the particles `moving`."""
    before, bend = flight.place[:, moving], GEV_PER_TESLA_MM * flight.charge_over_p[moving]
    after, direction = step(detector.solenoid, before, flight.direction[:, moving], bend, step_mm)
    crossed = _layers_crossed(detector.tracker.radii_mm, before, after)
    touched = np.flatnonzero(crossed)
    if len(touched):
        flight.hits[moving[touched]] += rng.binomial(crossed[touched], detector.tracker.efficiency)
        material = detector.tracker.thickness_x0 * crossed[touched]
        direction[:, touched] = _scattered(direction[:, touched], flight.charge_over_p[moving[touched]], material, rng)
    flight.place[:, moving], flight.direction[:, moving] = after, direction
    flight.inside[moving] = detector.tracker.contains(after)


def step(solenoid: Solenoid, place: Floats, direction: Floats, bend: Floats, h: float) -> tuple[Floats, Floats]:
    """Place and unit direction after the path length `h` (mm). `bend` is charge/momentum in 1/(T mm).

    Runge–Kutta–Nyström for x″ = bend · x′ × B(x), as in every tracking code since Bugge and Myrheim (1981).
    """
    k1 = _turn(solenoid, place, direction, bend)
    half = place + (h / 2) * direction + (h * h / 8) * k1
    k2 = _turn(solenoid, half, direction + (h / 2) * k1, bend)
    k3 = _turn(solenoid, half, direction + (h / 2) * k2, bend)
    k4 = _turn(solenoid, place + h * direction + (h * h / 2) * k3, direction + h * k3, bend)
    moved = place + h * direction + (h * h / 6) * (k1 + k2 + k3)
    turned = direction + (h / 6) * (k1 + 2 * (k2 + k3) + k4)
    return moved, turned / np.sqrt((turned * turned).sum(axis=0))


def _turn(solenoid: Solenoid, place: Floats, direction: Floats, bend: Floats) -> Floats:
    bx, by, bz = solenoid.at(*place)
    dx, dy, dz = direction
    turn = np.empty_like(direction)
    turn[0], turn[1], turn[2] = dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx
    turn *= bend
    return turn


def _layers_crossed(radii: Floats, before: Floats, after: Floats) -> Ints:
    inner = np.searchsorted(radii, np.hypot(before[0], before[1]))
    outer = np.searchsorted(radii, np.hypot(after[0], after[1]))
    return np.asarray(np.abs(outer - inner))


def _scattered(direction: Floats, charge_over_p: Floats, thickness_x0: npt.NDArray[Any], rng: np.random.Generator) -> Floats:
    """Multiple scattering by Highland's formula, 13.6 MeV/p · √(x/X₀) in each projection."""
    transverse = np.maximum(np.hypot(direction[0], direction[1]), 0.05)
    angle = 0.0136 * np.abs(charge_over_p) * np.sqrt(thickness_x0 / transverse)
    kicked = direction + angle * rng.standard_normal(direction.shape)
    return np.asarray(kicked / np.sqrt((kicked * kicked).sum(axis=0)))


TRACK_FIELDS = {"charge_over_pt": "f4", "eta": "f4", "phi": "f4", "d0": "f4", "z0": "f4", "n_hits": "i4"}


def tracks_of(detector: Detector, flight: Flight, born: Particles, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """The tracks that are found, one column for each of `TRACK_FIELDS`, measured at the beam line.

    Resolutions follow Gluckstern: the curvature from the hits along the lever arm, everything worse by multiple scattering.
    """
    found = np.flatnonzero(flight.hits >= detector.tracker.min_hits)
    true, hits = born.chosen(found), flight.hits[found]
    (x, y, z), (px, py, pz), pt = true.place, true.momentum, true.pt
    smear = rng.standard_normal((5, len(found)))
    fewer = np.sqrt(len(detector.tracker.radii_mm) / hits)
    scattering = 1.0 / pt
    phi = np.arctan2(py, px)
    d0 = y * np.cos(phi) - x * np.sin(phi)
    return {
        "charge_over_pt": true.charge / pt + smear[0] * fewer * np.hypot(4e-4, 0.012 * scattering),
        "eta": np.arcsinh(pz / pt) + smear[1] * fewer * np.hypot(3e-4, 1e-3 * scattering),
        "phi": phi + smear[2] * fewer * np.hypot(1e-4, 1e-3 * scattering),
        "d0": d0 + smear[3] * fewer * np.hypot(0.012, 0.08 * scattering),
        "z0": z + smear[4] * fewer * np.hypot(0.06, 0.15 * scattering),
        "n_hits": hits,
    }
