"""Jobs that take several allocations, submitted by `raythena submit` on real Slurm."""

import itertools
import json
import subprocess
import sys

import pytest
from slurm_kit import assert_nothing_left, committed, hurry, toy_job

from raythena.storage.chain_directory import ChainDirectory
from raythena.storage.ledger_view import LedgerView
from slurm_cluster.nodes import eventually

SHORT = ["--set", "batch.warning_s=10", "--set", "engine.margin_s=5", "--sbatch", "cpus-per-task=2"]


@pytest.fixture
def command(cluster, tmp_path):
    """Run `raythena` on this machine, as on a login node."""
    environ = {**cluster.environ, "XDG_STATE_HOME": str(tmp_path / "state")}

    def run(*arguments):
        argv = [sys.executable, "-m", "raythena.cli", *map(str, arguments)]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    assert_nothing_left(*cluster.nodes.values(), limit_s=30)


def seams(task):
    """Seconds between the last event of a session and the first one of the next."""
    with LedgerView.read(task / "ledger.sqlite") as ledger:
        nodes = ledger.summary().nodes
    sessions = sorted({node.session for node in nodes})
    first = {session: min(node.first_start for node in nodes if node.session == session) for session in sessions}
    last = {session: max(node.last_end for node in nodes if node.session == session) for session in sessions}
    return [first[later] - last[earlier] for earlier, later in itertools.pairwise(sessions)]


@pytest.mark.slow
def test_a_chain_is_listed_and_cancelled(cluster, command):
    toy = toy_job(cluster, 4000)
    told = command("submit", toy.path, "--taskdir", toy.task, "--nodes", 4, "--time", "10m", "--until-done", *SHORT)
    first = told.split()[1]
    eventually(lambda: committed(toy) > 50, "events", 120)
    (row,) = json.loads(command("jobs", "--json"))
    assert row["state"] == "running"
    assert row["finished"] > 0
    assert sorted(row["jobs"].values()) == ["PENDING", "RUNNING"]
    assert command("cancel", toy.task).splitlines()[-1] == f"ending {first}"
    eventually(lambda: json.loads(command("jobs", "--json"))[0]["state"] == "cancelled", "the end", 90, 1.0)
    assert not (toy.task / "coordinator.lease").exists()
    assert cluster.run("squeue", "-h") == ""


@pytest.mark.slow
def test_one_allocation_after_the_other_until_it_is_done(cluster, command):
    """None is lost, none is computed twice, and the last allocation takes its successor back."""
    toy = toy_job(cluster, 4000)
    command("submit", toy.path, "--taskdir", toy.task, "--nodes", 4, "--time", "1m", "--until-done", *SHORT)
    eventually(lambda: json.loads(command("jobs", "--json"))[0]["state"] == "done", "the job", 900, 3.0)
    eventually(lambda: cluster.run("squeue", "-h") == "", "an empty queue")
    toy.assert_complete()
    begun = ChainDirectory(toy.task).begun()
    assert len(begun) >= 4
    assert [allocation.finished for allocation in begun] == sorted({allocation.finished for allocation in begun})
    print("seams:", [round(seam, 1) for seam in seams(toy.task)])


@pytest.mark.slow
def test_an_allocation_that_is_killed_is_followed_by_the_next(cluster, command):
    toy = toy_job(cluster)
    told = command("submit", toy.path, "--taskdir", toy.task, "--nodes", 4, "--time", "10m", "--until-done", *SHORT)
    first = told.split()[1]
    eventually(lambda: committed(toy) > 50, "events", 120)
    cluster.run("scancel", first)
    hurry(toy)
    eventually(lambda: json.loads(command("jobs", "--json"))[0]["state"] == "done", "the job", 300, 3.0)
    toy.assert_complete()
    assert len(ChainDirectory(toy.task).begun()) == 2
