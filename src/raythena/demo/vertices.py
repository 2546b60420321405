"""Vertices: read from what ACTS writes, and which track comes from which.

ACTS hands vertices to Python in one way only, as a CSV file; it is written and read for each event.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.demo.chain import Chain, Products
from raythena.demo.detector import log_level
from raythena.demo.extra import optional
from raythena.demo.tables import Column

LARGEST_DISTANCE_MM = 2.0
"""A track further away along the beam than this, and than `LARGEST_PULL` of its error, comes from no vertex."""
LARGEST_PULL = 5.0

Floats = npt.NDArray[np.float64]


def found_vertices(chain: Chain, event: int, products: Products, scratch: Path) -> Floats:
    """x, y, z of the vertices of an event, shape (n, 3), in the order ACTS found them. `scratch` is a directory to write in."""
    writer = optional("acts.examples").CsvVertexWriter(
        level=log_level(), inputVertices="vertices", outputDir=str(scratch), outputStem="vertices", outputPrecision=9
    )
    chain.write(writer, event, products)
    (path,) = scratch.glob("*-vertices.csv")
    _, *lines = path.read_text(encoding="utf-8").splitlines()
    path.unlink()
    return np.array([line.split(",")[:3] for line in lines], dtype=np.float64).reshape(-1, 3)


@dataclass(frozen=True)
class Association:
    """Vertices, the hardest first, as columns of the AOD's group, and for each track the row of its vertex or −1."""

    vertices: dict[str, Column]
    of_track: npt.NDArray[np.int32]


def associated(points: Floats, z0: Floats, sigma_z0: Floats, pt: Floats) -> Association:
    """Give each track to the vertex that is nearest along the beam, if that is near, and order vertices by the sum of pT²."""
    nearest = _nearest(points[:, 2], z0, sigma_z0)
    taken = nearest >= 0
    sum_pt2 = np.bincount(nearest[taken], pt[taken] ** 2, minlength=len(points)).astype(np.float64)
    n_tracks = np.bincount(nearest[taken], minlength=len(points))
    order = np.argsort(-sum_pt2, kind="stable")
    rank = np.empty(len(points) + 1, dtype=np.int32)
    rank[order], rank[-1] = np.arange(len(points)), -1
    columns = {**dict(zip("xyz", points[order].T, strict=True)), "n_tracks": n_tracks[order], "sum_pt2": sum_pt2[order]}
    return Association(columns, rank[nearest])


def _nearest(vertex_z: Floats, z0: Floats, sigma_z0: Floats) -> npt.NDArray[np.int64]:
    if not len(vertex_z):
        return np.full(len(z0), -1)
    distance = np.abs(z0[:, None] - vertex_z[None, :])
    nearest = distance.argmin(axis=1)
    limit = np.maximum(LARGEST_DISTANCE_MM, LARGEST_PULL * sigma_z0)
    return np.where(distance[np.arange(len(z0)), nearest] <= limit, nearest, -1)
