"""The detector of the demo: ACTS's generic silicon tracker in a solenoid field, and how well its sensors measure.

The geometry and its material come with ACTS: pixels near the beam, then short and long strips, in barrels and discs out to about
one metre. Building it takes a second; it is built once per process and then only read. Nothing here draws a random number.
Units are ACTS's own: millimetres, GeV, and its own for the field.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.demo.extra import LibraryObject, optional

FIELD_T = 2.0
PIXEL_VOLUMES = (7, 8, 9)
SHORT_STRIP_VOLUMES = (12, 13, 14)
LONG_STRIP_VOLUMES = (16, 17, 18)
"""Backward discs, barrel and forward discs of each."""
RESOLUTION_MM = {
    **dict.fromkeys(PIXEL_VOLUMES, (0.015, 0.015)),
    **dict.fromkeys(SHORT_STRIP_VOLUMES, (0.025, 0.35)),
    **dict.fromkeys(LONG_STRIP_VOLUMES, (0.035, 3.0)),
}
"""Standard deviation of the two local coordinates, by volume: that of strips of 0.09 mm pitch, 1.2 mm length, and so on."""
TRACKER_RADIUS_MM = 1080.0
TRACKER_HALF_LENGTH_MM = 3000.0
_VOLUME_SHIFT = 56
"""Where the volume is in an identifier of ACTS."""


@dataclass(frozen=True)
class Detector:
    """Everything a charged particle meets. `geometry` and `field` are ACTS's; `owner` keeps the sensors of the geometry alive."""

    geometry: LibraryObject
    field: LibraryObject
    owner: LibraryObject


@cache
def build_detector() -> Detector:
    """Build it, once for all that want it. Raises InvalidInput when ACTS is not installed."""
    acts, examples = optional("acts"), optional("acts.examples")
    quiet = log_level()
    owner = examples.GenericDetector(
        examples.GenericDetector.Config(logLevel=quiet, surfaceLogLevel=quiet, layerLogLevel=quiet, volumeLogLevel=quiet)
    )
    field = acts.ConstantBField(acts.Vector3(0, 0, FIELD_T * acts.UnitConstants.T))
    return Detector(owner.trackingGeometry(), field, owner)


def log_level() -> LibraryObject:
    """How much ACTS says on standard output: nothing but errors."""
    return optional("acts").logging.ERROR


def digitisation() -> LibraryObject:
    """How ACTS turns hits into measurements: each local coordinate is smeared by the resolution of its volume."""
    entries = [
        {"volume": volume, "value": {"smearing": [_smearing(index, sigma) for index, sigma in enumerate(sigmas)]}}
        for volume, sigmas in RESOLUTION_MM.items()
    ]
    header = {"format-version": 0, "value-identifier": "digitization-configuration"}
    with tempfile.TemporaryDirectory(prefix="raythena-demo-") as directory:
        path = Path(directory, "digitisation.json")  # ACTS takes it from a file only
        path.write_text(json.dumps({"acts-geometry-hierarchy-map": header, "entries": entries}), encoding="utf-8")
        return optional("acts.examples.json").readDigiConfigFromJson(str(path))


def _smearing(index: int, sigma: float) -> dict[str, object]:
    return {"index": index, "type": "Gauss", "mean": 0.0, "stddev": sigma}


def variances_mm2(sensors: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Variances of the two local coordinates that were measured by some sensors, shape (n, 2)."""
    table = np.zeros((256, 2))
    for volume, sigmas in RESOLUTION_MM.items():
        table[volume] = np.square(sigmas)
    return np.asarray(table[(sensors >> np.uint64(_VOLUME_SHIFT)).astype(np.int64)])
