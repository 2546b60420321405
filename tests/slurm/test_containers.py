"""Payload and merges inside real containers, in steps of a Slurm job on four nodes."""

from copy import deepcopy

import pytest
from slurm_kit import assert_nothing_left, events_by_host, hurry, run_toy

from container_image import ENGINES, build_image, in_engine
from job_kit import make_job
from raythena.monitor.snapshot import read_snapshot
from raythena.storage.taskdir import TaskDirectory
from slurm_cluster.nodes import eventually

EVENTS = 240
MERGE = "--inputHITSFile=@inputFor_${OUTPUT0} --outputHITS_MRGFile=${OUTPUT0}"


@pytest.fixture(scope="module")
def image(running_cluster):
    return build_image(running_cluster.shared / "image")


def nodes_up(toy):
    snapshot = read_snapshot(TaskDirectory(toy.task).status)
    return [] if snapshot is None else [node for node in snapshot.progress.nodes if node.state == "up"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_payload_and_merges_run_inside_on_every_node(cluster, image, engine):
    """Every event is computed inside, every output merged inside; nothing of the engine is left on any node."""
    place = cluster.shared / f"contained-{engine}"
    container = {**in_engine(engine, image), "binds": [str(place)]}
    command = ["bash", "-c", "until [[ -e $GO ]]; do sleep 0.1; done; exec event_loop --mode spool --event-ms 50"]
    inside = {"command": command, "container": container, "environment": {"GO": str(place / "hurry")}}
    payload = {"kind": "process", "options": inside}
    options = {"transformation": "HITSMerge_tf.py", "parameters": MERGE, "container": deepcopy(container)}
    toy = make_job(place, [EVENTS], EVENTS // 4, payload=payload, merge={"kind": "transform", "options": options})
    job = run_toy(cluster, toy)
    eventually(lambda: len(nodes_up(toy)) == 4, "an agent on every node", 120)
    hurry(toy)
    assert job.ended(150) == "COMPLETED", job
    assert set(events_by_host(toy.task)) == set(cluster.nodes)
    assert sum(events_by_host(toy.task).values()) == EVENTS
    outputs = sorted((toy.task / "outputs").iterdir())
    assert len(outputs) == 4
    assert sum(path.read_text().count("EventNumber") for path in outputs) == EVENTS
    merges = [path.read_text() for path in toy.task.glob("logs/*/merges/*.out.log")]
    assert len(merges) == 4
    assert all("merged in a container: ours" in text for text in merges)
    assert_nothing_left(*cluster.nodes.values())
