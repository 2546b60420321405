"""Whole jobs on real Slurm: every node of the allocation computes, and nothing of ours is left on any."""

import subprocess
import sys

import pytest
from slurm_kit import (
    assert_nothing_left,
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


@pytest.fixture(autouse=True)
def nothing_left(cluster):
    yield
    assert_nothing_left(*cluster.nodes.values())


def test_every_node_computes(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    until_all_compute(toy, "n1", "n2", "n3", "n4")
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    for name in ("n2", "n3", "n4"):
        assert f"node {name} is there after" in launch_log(toy)
    assert "again in" not in launch_log(toy), "the end of a job is no failure"


def test_the_head_node_may_keep_its_cores(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "--head-cores 0 --nodes 3")
    until_all_compute(toy, "n2", "n3")
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    assert set(events_by_host(toy.task)) == {"n2", "n3"}


def test_an_interface_that_is_not_there_is_named(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "--set launch.interface=hsn9")
    assert job.ended() == "FAILED"
    assert "launch.interface: 'hsn9' on n1: No such device; expected an interface with an address: " in job.text()
    assert cluster.run("scontrol", "show", "job", job.id).find(f"ExitCode={int(ExitCode.INVALID_INPUT)}:0") > 0


@pytest.mark.slow
def test_the_interface_is_the_sites_choice(cluster):
    """An address that leads nowhere, which every node has: told by each node, waited for by none."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "--set launch.interface=decoy --set launch.max_start_failures=1")
    for name in ("n2", "n3", "n4"):
        job.until_said(f"node {name} is set aside")
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    assert set(events_by_host(toy.task)) == {"n1"}
    assert "node n2 is set aside: the head at 172.31.255.1:" in launch_log(toy)


@pytest.mark.slow
@pytest.mark.parametrize("stdin", ["true", "false"])
def test_hosts_of_a_file_reached_by_any_remote_shell(cluster, stdin):
    """`srun` as a remote shell that passes standard input on, as ssh does, or does not, as pbsdsh."""
    toy = toy_job(cluster)
    hosts = cluster.shared / "hosts-of-mine"
    hosts.write_text("n1 1\nn2\nn4 1\n")
    shell = f"srun --nodes=1 --ntasks=1 --overlap --input={'all' if stdin == 'true' else 'none'} --nodelist={{host}}"
    settings = {"launch.hosts": hosts, "launch.remote_shell": shell, "launch.remote_stdin": stdin}
    options = " ".join(f"--set '{name}={value}'" for name, value in settings.items())
    job = run_toy(cluster, toy, f"--on ssh {options}")
    until_all_compute(toy, "n1", "n2", "n4")
    assert left_on(cluster.nodes["n3"]) == []
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    assert not list(toy.task.glob("rt-*")), "an order was left beside the task"


LARGE = ("pyacts*", "acts*", "pythia8*", "playwright*", "mypy*", "optuna*", "sklearn*", "pyarrow*", "scipy*", "matplotlib*")


@pytest.mark.slow
def test_nodes_start_from_an_archive_of_the_environment(cluster):
    """Unpacked on each node but the head's; gone afterwards. An archive that was damaged on the way sets the nodes aside."""
    archive = cluster.shared / "environment.tar"
    without = [f"--without=lib/python*/site-packages/{name}" for name in LARGE]
    subprocess.run([sys.executable, "-m", "raythena.cli", "stage", archive, *without], check=True, timeout=200)
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, f"--set launch.environment={archive}", "--nodes=2", "--nodelist=n1,n2")
    until_all_compute(toy, "n1", "n2")
    started = [one.command for one in cluster.nodes["n2"].processes() if "environment/bin/python" in one.command]
    assert any("raythena.launch.ray_start" in command for command in started), started
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    assert_nothing_left(*cluster.nodes.values(), limit_s=30)
    with archive.open("r+b") as stream:
        stream.seek(1 << 20)
        stream.write(b"damage")
    toy = toy_job(cluster)
    options = f"--set launch.environment={archive} --set launch.max_start_failures=1"
    job = run_toy(cluster, toy, options, "--nodes=2", "--nodelist=n1,n2")
    job.until_said("node n2 is set aside")
    assert "is damaged" in job.text()
    archive.unlink()
    hurry(toy)
    assert job.ended() == "COMPLETED", job


@pytest.mark.slow
def test_the_demo_on_four_nodes(cluster):
    place = cluster.shared / "demo"
    job = raythena_job(cluster, f"demo --directory {place} --events 400 --files 4 --events-per-output 200")
    assert job.ended(280.0) == "COMPLETED", job
    assert "simulating on 4 nodes of Slurm job" in job.text()
    assert set(events_by_host(place / "simulation")) == {"n1", "n2", "n3", "n4"}
