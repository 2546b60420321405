"""A few generated events, shared by the tests of the demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from raythena.domain.job import Job

pytest.importorskip("pythia8mc", reason="needs the extra 'demo'")
pytest.importorskip("fastjet", reason="needs the extra 'demo'")


@pytest.fixture(scope="session")
def demo_job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job of 2 files with 6 events each, in outputs of 4 events: an input is split over two outputs."""
    from raythena.demo.workload import prepare_demo

    return prepare_demo(tmp_path_factory.mktemp("evnt"), events=12, files=2, events_per_output=4, seed=7, cost=0.5, processes=1)


@pytest.fixture(scope="session")
def reference_files(demo_job: Job, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The HITS of `demo_job`, simulated in this process."""
    from raythena.demo.reference import simulate_reference

    return simulate_reference(demo_job, tmp_path_factory.mktemp("reference"))
