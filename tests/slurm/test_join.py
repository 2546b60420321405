"""Nodes of a second allocation for a job that runs, on real Slurm."""

import json

import pytest
from slurm_kit import (
    assert_nothing_left,
    committed,
    events_by_host,
    hurry,
    launch_log,
    left_on,
    raythena_job,
    run_toy,
    toy_job,
    until_all_compute,
)

from raythena.domain.errors import ExitCode
from slurm_cluster.nodes import eventually


@pytest.fixture(autouse=True)
def nothing_left(cluster):
    yield
    assert_nothing_left(*cluster.nodes.values(), limit_s=30)


@pytest.mark.slow
def test_nodes_are_added_and_leave_when_their_allocation_ends(cluster):
    """They compute beside the others; before their minute is over they give back what they have not begun. None is lost."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "", "--nodes=2", "--nodelist=n1,n2")
    until_all_compute(toy, "n1", "n2")
    added = raythena_job(cluster, f"join {toy.task}", "--nodes=2", "--nodelist=n3,n4", "--time=1")
    until_all_compute(toy, "n1", "n2", "n3", "n4")
    eventually(lambda: "2 nodes of" in launch_log(toy), "the answer is told")
    assert added.ended(100) == "COMPLETED", added
    assert "the end of this allocation is near" in added.text()
    assert left_on(cluster.nodes["n3"]) == left_on(cluster.nodes["n4"]) == []
    told = json.loads((toy.task / "status.json").read_text())["warnings"]
    assert any("its allocation ends before another event would" in text for text in told), told
    before = committed(toy)
    eventually(lambda: committed(toy) > before, "the others go on")
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    assert set(events_by_host(toy.task)) == {"n1", "n2", "n3", "n4"}
    assert not list(toy.task.glob("rt-*")), "the secret of the session was left beside the task"
    assert not (toy.task / "joining").exists()


@pytest.mark.slow
def test_nodes_that_were_added_leave_with_the_job_or_at_a_signal(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "", "--nodes=2", "--nodelist=n1,n2")
    until_all_compute(toy, "n1", "n2")
    first, second = (
        raythena_job(cluster, f"join {toy.task} --cores 1", "--nodes=1", f"--nodelist={node}") for node in ("n3", "n4")
    )
    until_all_compute(toy, "n1", "n2", "n3", "n4")
    first.cancel()
    assert first.ended(30) == "CANCELLED"
    assert_nothing_left(cluster.nodes["n3"])
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    assert second.ended(30) == "COMPLETED", second
    assert "the job is over" in second.text()
    toy.assert_complete()


@pytest.mark.slow
def test_there_is_nothing_to_join_where_nobody_works(cluster):
    (cluster.shared / "empty").mkdir(exist_ok=True)
    job = raythena_job(cluster, f"join {cluster.shared / 'empty'}", "--nodes=1")
    assert job.ended(60) == "FAILED"
    assert "nobody is at work on a task here" in job.text()
    assert f"ExitCode={int(ExitCode.INVALID_INPUT)}:0" in cluster.run("scontrol", "show", "job", job.id)
