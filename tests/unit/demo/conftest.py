"""A few generated events and what becomes of them, shared by the tests of the demo."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raythena.domain.job import Job

for module in ("pythia8mc", "acts", "fastjet", "hist", "mplhep"):
    pytest.importorskip(module, reason="needs the extra 'demo'")


@pytest.fixture(scope="session")
def demo_job(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Job:
    """A job of 2 files with 6 events each, in outputs of 4 events: an input is split over two outputs."""
    from raythena.demo.workload import prepare_demo

    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with (shared / "evnt.lock").open("w") as lock:  # one generates for all: Pythia takes seconds to start
        fcntl.flock(lock, fcntl.LOCK_EX)
        return prepare_demo(shared / "evnt", events=12, files=2, events_per_output=4, seed=7, pileup=1.5, processes=2)


@pytest.fixture(scope="session")
def simulation() -> Any:
    """The simulation's state."""
    from raythena.demo.simulation import setup

    return setup({})


@pytest.fixture(scope="session")
def reconstruction() -> Any:
    """The reconstruction's state."""
    from raythena.demo.reconstruction import setup

    return setup({})


@pytest.fixture(scope="session")
def hits_files(demo_job: Job, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The HITS of `demo_job`, simulated in this process."""
    from raythena.demo.reference import simulate_reference

    return simulate_reference(demo_job, tmp_path_factory.mktemp("hits"))


@pytest.fixture(scope="session")
def aod_files(hits_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The AOD of `demo_job`, reconstructed in this process."""
    from raythena.demo.reference import reconstruct_reference

    return reconstruct_reference(hits_files, tmp_path_factory.mktemp("aod"))


class Context:
    """What a payload's function is handed."""

    def __init__(self, scratch: Path, state: Any) -> None:
        self.scratch, self.state, self._given = scratch, state, 0

    def new_output(self, suffix: str = "") -> Path:
        self._given += 1
        return self.scratch / f"out-{self._given}{suffix}"


@pytest.fixture
def context(tmp_path: Path) -> Callable[[Any], Context]:
    """Makes a context around what a setup function returned."""
    return lambda state: Context(tmp_path, state)
