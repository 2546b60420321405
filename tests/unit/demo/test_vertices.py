"""Which track comes from which vertex."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.demo.vertices import LARGEST_DISTANCE_MM, LARGEST_PULL, associated


def at(*z: float) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([(0.0, 0.0, one) for one in z]).reshape(-1, 3)


def test_a_track_belongs_to_the_nearest_vertex_and_the_hardest_is_first() -> None:
    z0 = np.array([0.1, 9.9, 10.1, 50.0])
    found = associated(at(0.0, 10.0), z0, np.full(4, 0.1), np.array([1.0, 2.0, 3.0, 9.0]))
    assert found.vertices["z"].tolist() == [10.0, 0.0]
    assert found.vertices["sum_pt2"].tolist() == [13.0, 1.0]
    assert found.vertices["n_tracks"].tolist() == [2, 1]
    assert found.of_track.tolist() == [1, 0, 0, -1]


def test_an_uncertain_track_may_be_further_away() -> None:
    z0 = np.array([3.0, 3.0])
    assert associated(at(0.0), z0, np.array([0.1, 1.0]), np.ones(2)).of_track.tolist() == [-1, 0]


def test_no_vertex_and_no_track() -> None:
    assert associated(at(), np.array([1.0]), np.ones(1), np.ones(1)).of_track.tolist() == [-1]
    lonely = associated(at(1.0, 2.0), np.empty(0), np.empty(0), np.empty(0))
    assert lonely.vertices["n_tracks"].tolist() == [0, 0]
    assert lonely.vertices["z"].tolist() == [1.0, 2.0]


@given(
    st.lists(st.floats(-100, 100), max_size=5),
    st.lists(st.tuples(st.floats(-100, 100), st.floats(0.01, 2), st.floats(0.5, 20)), max_size=12),
)
def test_every_track_is_counted_where_it_belongs(vertices: list[float], tracks: list[tuple[float, float, float]]) -> None:
    z0, sigma, pt = np.array(tracks, dtype=np.float64).reshape(-1, 3).T
    found = associated(at(*vertices), z0, sigma, pt)
    assert sorted(found.vertices["z"]) == sorted(vertices)
    assert found.vertices["sum_pt2"].tolist() == sorted(found.vertices["sum_pt2"], reverse=True)
    for number, z in enumerate(found.vertices["z"]):
        mine = found.of_track == number
        assert found.vertices["n_tracks"][number] == mine.sum()
        assert found.vertices["sum_pt2"][number] == pytest.approx((pt[mine] ** 2).sum())
        assert (np.abs(z0[mine] - z) <= np.maximum(LARGEST_DISTANCE_MM, LARGEST_PULL * sigma[mine])).all()
