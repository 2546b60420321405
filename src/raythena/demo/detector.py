"""The detector of the demo: a solenoid, a tracker of thin cylinders around the beam, a calorimeter of cells.

Pure geometry and material, built once per process from the options and then only read. Nothing here draws a random number. Units
are millimetres, tesla and GeV; z is the beam axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Solenoid:
    """The magnetic field, tabulated along the axis.

    Near the axis a field that is B(z) on it is Bz = B − r²/4 · B″ and Br = −r/2 · B′: the first terms of the expansion that keeps
    curl and divergence zero. B(z) itself is that of a thin coil, B₀/2 · [(z+L)/√((z+L)²+R²) − (z−L)/√((z−L)²+R²)].
    """

    strength_t: float = 2.0
    coil_radius_mm: float = 1250.0
    half_length_mm: float = 2900.0
    reach_mm: int = 4000
    """The table covers z from −reach to +reach in steps of a millimetre."""
    on_axis: Floats = field(init=False, repr=False)
    slope: Floats = field(init=False, repr=False)
    curvature: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        z = np.arange(-self.reach_mm, self.reach_mm + 1, dtype=np.float64)
        near, far = z + self.half_length_mm, z - self.half_length_mm
        on_axis = self.strength_t / 2 * (near / np.hypot(near, self.coil_radius_mm) - far / np.hypot(far, self.coil_radius_mm))
        slope = np.gradient(on_axis)
        for name, table in (("on_axis", on_axis), ("slope", slope), ("curvature", np.gradient(slope))):
            object.__setattr__(self, name, table)

    def at(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Bx, By, Bz in tesla at points inside the coil, which must be within `reach_mm`."""
        index = np.rint(z).astype(np.int64) + self.reach_mm
        radial = -0.5 * self.slope[index]
        along = self.on_axis[index] - 0.25 * (x * x + y * y) * self.curvature[index]
        return x * radial, y * radial, along


@dataclass(frozen=True)
class Tracker:
    """Concentric silicon layers; each has the same resolution, thickness and efficiency."""

    radii_mm: Floats = field(
        default_factory=lambda: np.array([33.0, 50.0, 88.0, 122.0, 300.0, 370.0, 440.0, 515.0, 700.0, 850.0, 1000.0])
    )
    outer_radius_mm: float = 1150.0
    half_length_mm: float = 2700.0
    thickness_x0: float = 0.02
    """Of a layer crossed at a right angle, in radiation lengths."""
    efficiency: float = 0.985
    min_hits: int = 5

    def contains(self, place: Floats) -> npt.NDArray[np.bool_]:
        """Which of the points, (3, n), are inside the tracker."""
        return _within(place, self.outer_radius_mm, self.half_length_mm)


@dataclass(frozen=True)
class Calorimeter:
    """Cells in (layer, eta, phi): two electromagnetic layers in front of two hadronic ones.

    A cell's id is `(layer · n_eta + i_eta) · n_phi + i_phi`.
    """

    n_layers: int = 4
    n_eta: int = 98
    n_phi: int = 64
    max_eta: float = 4.9
    barrel_radius_mm: float = 1500.0
    endcap_z_mm: float = 3600.0
    depths_x0: tuple[float, float, float] = (6.0, 25.0, 120.0)
    """Where layers 0, 1 and 2 end, in radiation lengths; layer 3 takes the next `last_depth_x0`, what goes deeper is lost."""
    last_depth_x0: float = 240.0
    x0_per_interaction_length: float = 22.0
    em_sampling: float = 0.10
    had_sampling: float = 0.55
    """Relative fluctuation at 1 GeV; it falls with the square root of the energy."""
    had_constant: float = 0.04
    noise_gev: tuple[float, ...] = (0.03, 0.05, 0.10, 0.12)
    """Of one cell, by layer."""
    kept_above_sigma: float = 4.0

    @property
    def n_cells(self) -> int:
        """Cells in all layers."""
        return self.n_layers * self.n_eta * self.n_phi

    @property
    def eta_width(self) -> float:
        """Size of a cell in eta."""
        return 2 * self.max_eta / self.n_eta

    @property
    def phi_width(self) -> float:
        """Size of a cell in phi, radians."""
        return 2 * np.pi / self.n_phi

    def encloses(self, place: Floats) -> npt.NDArray[np.bool_]:
        """Which of the points, (3, n), are in front of the calorimeter and not in or behind it."""
        return _within(place, self.barrel_radius_mm, self.endcap_z_mm)

    def cell_of(self, layer: Ints, eta: Floats, phi: Floats) -> Ints:
        """Ids of the cells; −1 outside the acceptance or behind the last layer."""
        i_eta = np.floor((eta + self.max_eta) / self.eta_width).astype(np.int64)
        i_phi = np.floor(phi / self.phi_width).astype(np.int64) % self.n_phi
        inside = (i_eta >= 0) & (i_eta < self.n_eta) & (layer < self.n_layers)
        return np.where(inside, (layer * self.n_eta + i_eta) * self.n_phi + i_phi, -1)

    def layer_at(self, depth_x0: Floats) -> Ints:
        """The layer at a depth; `n_layers` when it is behind the last one."""
        return np.searchsorted(np.array([*self.depths_x0, self.last_depth_x0]), depth_x0, side="right")

    def centres(self, cells: npt.NDArray[np.integer]) -> tuple[Floats, Floats]:
        """Eta and phi of the middle of the cells; phi from 0 to 2π."""
        eta = (cells // self.n_phi % self.n_eta + 0.5) * self.eta_width - self.max_eta
        return eta.astype(np.float64), ((cells % self.n_phi + 0.5) * self.phi_width).astype(np.float64)


def _within(place: Floats, radius_mm: float, half_length_mm: float) -> npt.NDArray[np.bool_]:
    return np.asarray((np.hypot(place[0], place[1]) < radius_mm) & (np.abs(place[2]) < half_length_mm))


@dataclass(frozen=True)
class Detector:
    """Everything a particle meets."""

    solenoid: Solenoid = field(default_factory=Solenoid)
    tracker: Tracker = field(default_factory=Tracker)
    calorimeter: Calorimeter = field(default_factory=Calorimeter)
