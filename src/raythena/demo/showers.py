"""Energy in the calorimeter: every particle becomes a shower of spots, every spot falls into a cell.

A parametrised shower in the manner of GFLASH: how deep a spot lies follows a gamma distribution, how far from the axis an
exponential one, how much energy is seen fluctuates with the sampling of the calorimeter. The number of spots grows with the
energy, so an event costs what its particles cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raythena.demo.detector import Calorimeter, Floats, Ints

CELL_FIELDS = {"id": "i4", "energy": "f4"}
SPOTS_PER_GEV = 60.0
MOST_SPOTS = 100_000
"""Of one particle: above, spots get heavier instead of more."""


@dataclass(frozen=True)
class Arrivals:
    """Particles at the calorimeter's face. `kind` is one of `EM`, `HADRON`, `MUON`; energies in GeV."""

    kind: npt.NDArray[np.uint8]
    energy: Floats
    eta: Floats
    phi: Floats

    def __len__(self) -> int:
        return len(self.energy)

    def within(self, max_eta: float) -> Arrivals:
        """Those in the acceptance."""
        seen = np.abs(self.eta) < max_eta
        return Arrivals(self.kind[seen], self.energy[seen], self.eta[seen], self.phi[seen])


NOTHING, EM, HADRON, MUON = range(4)
_DEPTH_SHAPE = np.array([0.0, 2.5, 1.8, 1.0])
_DEPTH_SCALE_X0 = np.array([0.0, 2.0, 26.0, 60.0])
_RADIUS_MM = np.array([0.0, 14.0, 60.0, 3.0])
MUON_DEPOSIT_GEV = 2.2


def deposit(calorimeter: Calorimeter, arrivals: Arrivals, cost: float, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """The cells with energy above the noise, one column for each of `CELL_FIELDS`, ids rising.

    `cost` multiplies the number of spots.
    """
    energy = _seen_energy(calorimeter, arrivals, rng)
    spots = np.ceil(cost * np.minimum(4 + SPOTS_PER_GEV * energy, MOST_SPOTS)).astype(np.int64)
    owner = np.repeat(np.arange(len(arrivals)), spots)
    cells = _spot_cells(calorimeter, arrivals, owner, rng)
    inside = cells >= 0
    content: Floats = np.bincount(cells[inside], (energy / spots)[owner[inside]], minlength=calorimeter.n_cells).astype(
        np.float64
    )
    return _above_noise(calorimeter, content, rng)


def _seen_energy(calorimeter: Calorimeter, arrivals: Arrivals, rng: np.random.Generator) -> Floats:
    """What the active material sees: unbiased, never negative, with the resolution of sampling."""
    energy = np.where(arrivals.kind == MUON, np.minimum(arrivals.energy, MUON_DEPOSIT_GEV), arrivals.energy)
    hadronic = arrivals.kind == HADRON
    variance = np.where(hadronic, calorimeter.had_sampling, calorimeter.em_sampling) ** 2 / energy
    variance += np.where(hadronic, calorimeter.had_constant, 0.0) ** 2
    return np.asarray(energy * rng.gamma(1 / variance, variance))


def _spot_cells(calorimeter: Calorimeter, arrivals: Arrivals, owner: Ints, rng: np.random.Generator) -> Ints:
    kind = arrivals.kind[owner]
    start = np.where(arrivals.kind == HADRON, rng.exponential(calorimeter.x0_per_interaction_length, len(arrivals)), 0.0)
    deeper = 1 + 0.12 * np.log1p(arrivals.energy)
    depth = start[owner] + rng.standard_gamma(_DEPTH_SHAPE[kind]) * (_DEPTH_SCALE_X0[kind] * deeper[owner])
    radius = rng.standard_exponential(len(owner)) * _RADIUS_MM[kind]
    angle = rng.uniform(0, 2 * np.pi, len(owner))
    # A millimetre across the shower is this much in phi; in eta, more the further forward, which the lever arm takes care of.
    with np.errstate(divide="ignore"):
        lever = np.minimum(calorimeter.barrel_radius_mm, calorimeter.endcap_z_mm / np.abs(np.sinh(arrivals.eta)))[owner]
    eta = arrivals.eta[owner] + radius * np.sin(angle) / lever
    phi = arrivals.phi[owner] + radius * np.cos(angle) / lever
    return calorimeter.cell_of(calorimeter.layer_at(depth), eta, phi)


def _above_noise(calorimeter: Calorimeter, content: Floats, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    sigma = np.repeat(calorimeter.noise_gev, calorimeter.n_eta * calorimeter.n_phi)
    measured = content + sigma * rng.standard_normal(len(content))
    cells = np.flatnonzero(measured > calorimeter.kept_above_sigma * sigma)
    return {"id": cells, "energy": measured[cells]}
