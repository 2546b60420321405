"""Whole jobs on nodes that are processes of this machine, for all that does not take Ray itself; see `tests/ray` for that."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "stand_ins" / "python"))

from job_fixtures import event_loop_program, mark  # noqa: F401 (fixtures)
from job_kit import Processes


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch):
    """Every command of a test starts processes, for nodes of one core, unless it says otherwise."""
    monkeypatch.setenv("RAYTHENA_LAUNCH_ON", "processes")
    monkeypatch.setenv("RAYTHENA_NODES_CORES_PER_NODE", "1")


@pytest.fixture
def cluster():
    """Two logical nodes with one core each; every session has its own."""
    with Processes(nodes=2, cores=1) as processes:
        yield processes
