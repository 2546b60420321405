"""`examples/acts`, as somebody who copied it has it: its job files, and its functions on a few muons. Whole jobs: tests/jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from raythena.domain.job import Job
from raythena.domain.ranges import RangeTable
from raythena.gateways.file import load_job
from raythena.payloads.mergers.root import merge_root
from raythena.payloads.workers.python_worker import WorkerContext, load_work
from raythena.runtime.merger_interface import MergeContext

pytest.importorskip("acts", reason="needs the extra 'demo'")

EXAMPLE = Path(__file__).parents[3] / "examples" / "acts"
PHI = np.linspace(-3, 3, 6)
PT_GEV = 5.0


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The example in a directory of its own, with two events of six muons as input."""
    place = tmp_path / "acts"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("__pycache__", "*.root", "*.raythena"))
    zero = np.zeros(6, dtype="f4")
    muons = {"pdg": np.full(6, 13, dtype="f4"), "px": PT_GEV * np.cos(PHI), "py": PT_GEV * np.sin(PHI), "pz": zero + 1}
    muons |= {"vx": zero, "vy": zero, "vz": zero + 20}
    with uproot.recreate(place / "EVNT.000001.root") as file:
        rows = ak.zip({name: ak.Array([values.astype("f4")] * 2) for name, values in muons.items()})
        tree = file.mktree("EVNT", {"EventNumber": np.uint64, "particle": rows.type})
        tree.extend({"EventNumber": np.array([7, 8], dtype="u8"), "particle": rows})
    return place


def computed(job: Job, scratch: Path) -> Path:
    """Every event of a job, one by one, merged into its first output."""
    scratch.mkdir()
    work = load_work({"setup": "", **job.payload.options})
    context = WorkerContext(scratch, work.options, work.state, 1)
    ranges = RangeTable(job.inputs)
    parts = [Path(work.function(ranges.event_range(index), context)) for index in range(job.n_events)]
    merge_root(parts, scratch / job.outputs[0], MergeContext(job.outputs[0], "0B6C2D2E-6E0B-4E5C-8A4C-5B1B6A1C7D11", {}))
    return scratch / job.outputs[0]


def test_muons_become_hits_and_hits_become_tracks(copied: Path, tmp_path: Path) -> None:
    simulated = computed(load_job(copied / "simulate.yaml"), tmp_path / "simulate")
    outputs = copied / "simulate.raythena" / "outputs"
    outputs.mkdir(parents=True)
    simulated.rename(outputs / simulated.name)
    found = uproot.open(computed(load_job(copied / "reconstruct.yaml"), tmp_path / "reconstruct"))["TRACKS"]
    assert found["EventNumber"].array().tolist() == [7, 8]
    for event in range(2):
        phi, theta, charge_over_p, z0 = (np.asarray(found[f"track_{name}"].array()[event]) for name in NAMES)
        assert np.sort(phi) == pytest.approx(PHI, abs=0.02)
        assert np.abs(np.sin(theta) / charge_over_p) == pytest.approx(PT_GEV, rel=0.1)
        assert (charge_over_p < 0).all()
        assert z0 == pytest.approx(20, abs=1)
    assert found["track_phi"].array()[0].tolist() != found["track_phi"].array()[1].tolist()


NAMES = ("phi", "theta", "charge_over_p", "z0")
