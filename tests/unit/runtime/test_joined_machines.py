"""Which machines of a cluster of somebody else's are used, and with how many cores."""

import asyncio

import pytest

from raythena.runtime import ray_cluster as cluster_module
from raythena.runtime.ray_cluster import RayCluster
from raythena.runtime.session_config import JoinedNodes


def node(name, cores=4, *, alive=True):
    resources = {"CPU": float(cores), "memory": 1.0} if cores else {"memory": 1.0}
    return {"NodeID": name, "Resources": resources if alive else {}, "NodeManagerHostname": f"{name}.site", "Alive": alive}


@pytest.fixture
def cores(monkeypatch):
    """Cores used on each machine, after each of these lists of nodes."""

    def look(joined, *lists):
        cluster = RayCluster("raythena-s", joined)
        seen = []
        for nodes in lists:
            monkeypatch.setattr(cluster_module.ray, "nodes", lambda nodes=nodes: nodes)
            machines = asyncio.run(cluster.machines())
            seen.append({machine.machine_id: machine.cores for machine in machines if machine.cores})
        return seen

    return look


def test_all_that_have_processors(cores):
    assert cores(JoinedNodes(), [node("a"), node("b", 0), node("c", 16)]) == [{"a": 4, "c": 16}]


def test_at_most_so_many_cores(cores):
    assert cores(JoinedNodes(cores=8), [node("a"), node("c", 16)]) == [{"a": 4, "c": 8}]


def test_a_machine_that_dies_makes_room_for_another(cores):
    before = [node("a"), node("b"), node("c")]
    after = [node("a", alive=False), node("b"), node("c")]
    assert cores(JoinedNodes(2), before, before[::-1], after) == [{"a": 4, "b": 4}, {"a": 4, "b": 4}, {"b": 4, "c": 4}]


def test_a_cluster_of_ours_is_known_by_its_mark(cores):
    ours = node("a")
    ours["Resources"]["raythena_core"] = 3.0
    assert cores(None, [ours, node("b")]) == [{"a": 3}]
