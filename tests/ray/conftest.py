"""One real Ray cluster for all tests that may share one; those that break clusters bring their own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "stand_ins" / "python"))

from job_fixtures import event_loop_program, mark  # noqa: F401 (fixtures)
from job_kit import SharedCluster


@pytest.fixture(scope="session")
def cluster():
    """Two logical nodes with one core each, shared by all tests that leave it as they found it."""
    with SharedCluster(nodes=2, cores=1) as shared:
        yield shared


GROUPS = {
    "test_athenamp": "commands",
    "test_command": "commands",
    "test_limits": "commands",
    "test_security": "commands",
    "test_pilot_alone": "pilots without Ray",
    "test_pilot_words": "pilots without Ray",
}
"""Modules whose tests do not share the cluster, by the process that runs them; the rest of those goes to `payloads`."""


@pytest.hookimpl(tryfirst=True)  # before the plug-in that reads the groups
def pytest_collection_modifyitems(items):
    """Tests that share the cluster run one after the other in one process, the others in two more: three clusters at a time."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            own = GROUPS.get(item.path.stem, "payloads")
            item.add_marker(pytest.mark.ray)
            item.add_marker(pytest.mark.xdist_group("shared cluster" if "cluster" in item.fixturenames else own))
