"""Jets of charged particles by FastJet: anti-kt of Cacciari, Salam and Soyez (2008).

The same for tracks and for true particles, so that one can be compared with the other. All are taken to be pions.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from raythena.demo.aod import JET_FIELDS
from raythena.demo.extra import LibraryObject, optional
from raythena.demo.tables import Column

RADIUS = 0.4
MIN_PT_GEV = 5.0
PION_MASS_GEV = 0.13957

Floats = npt.NDArray[np.float64]


def jets_of(pt: Floats, eta: Floats, phi: Floats) -> dict[str, Column]:
    """Jets of some particles, the hardest first, one column for each of `JET_FIELDS`."""
    fastjet = optional("fastjet")
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px * px + py * py + pz * pz + PION_MASS_GEV**2)
    particles = [fastjet.PseudoJet(*one) for one in zip(px.tolist(), py.tolist(), pz.tolist(), energy.tolist(), strict=True)]
    if not particles:
        return {name: np.empty(0, dtype=code) for name, code in JET_FIELDS.items()}
    sequence = fastjet.ClusterSequence(particles, _definition())
    found = fastjet.sorted_by_pt(sequence.inclusive_jets(MIN_PT_GEV))
    rows = [(jet.pt(), jet.eta(), jet.phi_std(), jet.m(), len(jet.constituents())) for jet in found]
    columns = np.array(rows, dtype=np.float64).reshape(-1, len(JET_FIELDS)).T
    return {name: column.astype(code) for (name, code), column in zip(JET_FIELDS.items(), columns, strict=True)}


@cache
def _definition() -> LibraryObject:
    fastjet = optional("fastjet")
    return fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
