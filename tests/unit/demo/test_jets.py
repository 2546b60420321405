"""Jets of charged particles."""

from __future__ import annotations

import numpy as np
import pytest

from raythena.demo import aod
from raythena.demo.jets import jets_of


def test_two_sprays_are_two_jets_the_hardest_first() -> None:
    pt = np.array([5.0, 6.0, 12.0, 8.0, 1.0])
    eta = np.array([0.0, 0.1, 1.0, 1.1, -2.0])
    phi = np.array([0.0, 0.1, 3.1, -3.1, 1.5])
    jets = jets_of(pt, eta, phi)
    assert jets["pt"] == pytest.approx([20, 11], rel=0.01)
    assert jets["eta"] == pytest.approx([1.04, 0.055], abs=0.01)
    assert np.abs(jets["phi"][0]) == pytest.approx(np.pi, abs=0.05)
    assert jets["n_tracks"].tolist() == [2, 2]
    assert (jets["m"] > 0).all()


def test_what_is_too_soft_is_no_jet_and_nothing_makes_none() -> None:
    for particles in (np.empty(0), np.array([1.0])):
        jets = jets_of(particles, particles, particles)
        assert {name: (column.dtype.str[1:], len(column)) for name, column in jets.items()} == {
            name: (code, 0) for name, code in aod.JET_FIELDS.items()
        }
