"""Whole jobs on nodes that are processes of this machine, for all that does not take Ray itself; see `tests/ray` for that."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "stand_ins" / "python"))

from job_fixtures import event_loop_program, mark  # noqa: F401 (fixtures)
from job_kit import Processes


@pytest.fixture(autouse=True, scope="module")
def _without_ray():
    """Every command of a module starts processes, for nodes of one core, unless it says otherwise."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAYTHENA_LAUNCH_ON", "processes")
        environment.setenv("RAYTHENA_NODES_CORES_PER_NODE", "1")
        yield


@pytest.fixture
def cluster():
    """Two logical nodes with one core each; every session has its own."""
    with Processes(nodes=2, cores=1) as processes:
        yield processes
