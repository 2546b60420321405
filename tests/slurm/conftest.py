"""One real Slurm cluster for all tests; each finds its nodes up and leaves nothing on them."""

import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
sys.path.insert(0, str(Path(__file__).parent))

from needed_programs import need_namespaces
from slurm_cluster.cluster import SlurmCluster
from slurm_cluster.nodes import eventually


@pytest.fixture(scope="session")
def running_cluster():
    """Four nodes. Not below `/tmp`, because every node has one of its own."""
    need_namespaces()
    place = Path(tempfile.mkdtemp(prefix="raythena-slurm-", dir="/var/tmp"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us early leaves no cluster either
    try:
        with SlurmCluster(place) as cluster:
            yield cluster
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def cluster(running_cluster):
    """The cluster with all nodes idle; nothing may be left on any of them."""
    yield running_cluster
    running_cluster.run("scancel", "--user=root", "--signal=KILL", check=False)
    running_cluster.run("scancel", "--user=root", check=False)
    for node in running_cluster.nodes.values():
        node.start_slurmd()
        node.heal()
        if not node.is_up:
            node.start()
    eventually(lambda: len(running_cluster.nodes_in("idle")) == len(running_cluster.nodes), "all nodes idle again")


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.timeout(900))
