"""Everything that happens to jobs of Slurm's: nodes, links and daemons that fail, signals, limits, neighbours.

After each of them every event is in an output exactly once, or the job can go on; and nothing of ours is left on any node.
"""

import json
import subprocess
import sys
import time

import pytest
from slurm_kit import (
    OVER,
    assert_nothing_left,
    committed,
    events_by_host,
    hurry,
    launch_log,
    run_toy,
    toy_job,
    until_all_compute,
)

from raythena.domain.errors import ExitCode
from raythena.domain.node_name import NodeName
from raythena.storage.ledger_view import LedgerView
from slurm_cluster.nodes import eventually


def exit_code(cluster, job):
    text = cluster.run("scontrol", "show", "job", job.id)
    return int(text.partition(" ExitCode=")[2].partition(":")[0])


def until_committed(toy, events):
    eventually(lambda: committed(toy) >= events, f"{events} events in the ledger", 120)


def until_on(node, words):
    return eventually(lambda: [one for one in node.processes() if words in one.command], f"{words} on {node}")


def finish(cluster, toy):
    """A second job, which goes on where the first one ended."""
    hurry(toy)
    job = run_toy(cluster, toy, "--resume")
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    assert_nothing_left(*cluster.nodes.values())


# ---- nodes


@pytest.mark.slow
def test_a_node_that_never_starts_is_not_waited_for(cluster):
    """Slurm has given us the node, and cannot start anything there."""
    toy = toy_job(cluster)
    sick = cluster.nodes["n3"]
    limits = "--set launch.max_start_failures=1 --set launch.start_limit_s=60"
    job = run_toy(cluster, toy, limits, before="sleep 3")
    eventually(lambda: job.state == "RUNNING", "the job")
    sick.kill_slurmd()
    until_all_compute(toy, "n1", "n2", "n4")
    job.until_said("node n3 is set aside: srun ended with 1")
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    assert set(events_by_host(toy.task)) == {"n1", "n2", "n4"}
    sick.start_slurmd()
    assert_nothing_left(*cluster.nodes.values())


@pytest.mark.slow
def test_one_node_with_a_full_disk_is_set_aside_with_its_reason(cluster):
    toy = toy_job(cluster)
    sick = cluster.nodes["n2"]
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=4k", "full", "/tmp"]
    subprocess.run(sick.inside(mount), check=True)
    try:
        job = run_toy(cluster, toy, "--set launch.max_start_failures=2")
        job.until_said("node n2 is set aside")
        until_all_compute(toy, "n1", "n3", "n4")
        hurry(toy)
        assert job.ended() == "COMPLETED", job
        toy.assert_complete()
        assert set(events_by_host(toy.task)) == {"n1", "n3", "n4"}
        assert "node n2: Read-only file system: /tmp/rt-" in launch_log(toy)
        assert "node n2 is set aside: Read-only file system: /tmp/rt-" in launch_log(toy)
    finally:
        subprocess.run(sick.inside(["umount", "/tmp"]), check=True)
    assert_nothing_left(*cluster.nodes.values())


@pytest.mark.slow
def test_a_node_on_which_the_task_cannot_be_written_is_named_at_once(cluster):
    """By the check it fails, before anything else goes wrong there; the others compute."""
    toy = toy_job(cluster)
    sick = cluster.nodes["n3"]
    shared = str(cluster.shared)
    subprocess.run(sick.inside(["mount", "--bind", shared, shared]), check=True)
    subprocess.run(sick.inside(["mount", "-o", "remount,ro,bind", shared]), check=True)
    try:
        job = run_toy(cluster, toy)
        job.until_said("node n3 fails the check of shared directory: ")
        until_all_compute(toy, "n1", "n2", "n4")
        assert launch_log(toy).count("fails the check of") == 1
        hurry(toy)
        assert job.ended() == "COMPLETED", job
        toy.assert_complete()
        assert "n3" not in events_by_host(toy.task)
    finally:
        subprocess.run(sick.inside(["umount", shared]), check=True)
    assert_nothing_left(*cluster.nodes.values())


def test_power_is_lost_and_returns(cluster):
    """The events of the node are computed by the others; back before Slurm has noticed, it computes again."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    until_all_compute(toy, "n1", "n3")
    node = cluster.nodes["n3"]
    node.lose_power()
    time.sleep(1)
    node.forget_disk()
    node.start()
    job.until_said("node n3: its Ray node is dead")
    eventually(lambda: launch_log(toy).count("node n3 is there after") == 2, "n3 is back", 120)
    eventually(lambda: len({one.node for one in toy.summary().nodes if one.node.startswith("n3-")}) == 2, "it computes again", 60)
    hurry(toy)
    assert job.ended(200) == "COMPLETED", job
    toy.assert_complete()
    assert_nothing_left(*cluster.nodes.values())


@pytest.mark.slow
def test_a_process_on_a_node_is_killed_and_takes_everything_with_it(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    node = cluster.nodes["n2"]
    until_all_compute(toy, "n2")
    (process,) = [one for one in node.processes() if one.command.endswith("raythena.launch.node_process")]
    process.kill()
    job.until_said("node n2:")
    eventually(lambda: launch_log(toy).count("node n2 is there after") == 2, "n2 is back", 120)
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    assert_nothing_left(*cluster.nodes.values())


@pytest.mark.slow
def test_the_head_node_dies_and_the_job_goes_on_in_its_next_life(cluster):
    """Where no other node may take its place, they see to it that it does not stay there as running with nothing in it."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "--resume --set launch.succession=false", "--requeue")
    until_all_compute(toy, "n1", "n2", "n3", "n4")
    head = cluster.nodes["n1"]
    head.lose_power()
    eventually(lambda: job.state == "PENDING", "back in the queue", 240)
    assert_nothing_left(*(node for node in cluster.nodes.values() if node is not head), limit_s=60)
    head.forget_disk()
    head.start()
    hurry(toy)
    cluster.run("scontrol", "update", f"JobId={job.id}", "StartTime=now", check=False)
    assert job.ended(280) == "COMPLETED", job
    toy.assert_complete(scratch_lost=True)
    assert_nothing_left(*cluster.nodes.values(), limit_s=30)


def nodes_of(toy, session):
    """What the ledger says of the nodes of one session."""
    with LedgerView.read(toy.task / "ledger.sqlite") as ledger:
        summary = ledger.summary()
    names = {number + 1: found.name for number, found in enumerate(summary.sessions)}
    return [node for node in summary.nodes if names[node.session] == session]


@pytest.mark.slow
def test_the_head_node_dies_and_another_takes_its_place(cluster):
    """In the same allocation: results that were not acknowledged are brought along, and the job is completed by the others."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    until_all_compute(toy, "n1", "n2", "n3", "n4")
    (first,) = {path.name for path in (toy.task / "logs").iterdir()}
    head = cluster.nodes["n1"]
    head.lose_power()
    died_at, before = time.time(), committed(toy)
    eventually(lambda: committed(toy) > before, "events computed under another head", 240)
    head.forget_disk()
    (second,) = {path.name for path in (toy.task / "logs").iterdir() if (path / "command.log").exists()}

    def computing():
        return {
            node.node.partition("-")[0]: node.first_start
            for node in nodes_of(toy, second)
            if NodeName.parse(node.node).incarnation
        }

    eventually(lambda: set(computing()) == {"n2", "n3", "n4"}, "events from all that are left", 120)
    brought_along = sum(node.events for node in nodes_of(toy, second) if not NodeName.parse(node.node).incarnation)
    assert brought_along > 0
    print({host: f"computes again after {at - died_at:.0f} s" for host, at in computing().items()}, brought_along)
    hurry(toy)
    eventually(lambda: job.state in OVER, "the end of the job", 120)
    toy.assert_complete(scratch_lost=True)
    assert first != second
    assert "takes over from session" in (toy.task / "logs" / second / "launch.log").read_text()
    assert "complete: every event is in an output" in (toy.task / "logs" / second / "command.log").read_text()
    assert_nothing_left(*cluster.nodes.values(), limit_s=60)


# ---- links and daemons


@pytest.mark.slow
def test_a_link_is_cut_and_healed(cluster):
    """The node computes on alone, comes back too late, and is started anew; each event counts once."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    node = cluster.nodes["n4"]
    until_all_compute(toy, "n4")
    node.cut()
    job.until_said("node n4: its Ray node is dead", 60)
    node.heal()
    eventually(lambda: launch_log(toy).count("node n4 is there after") == 2, "n4 is back", 120)
    hurry(toy)
    assert job.ended(200) == "COMPLETED", job
    toy.assert_complete()
    assert_nothing_left(*cluster.nodes.values(), limit_s=170)


@pytest.mark.slow
def test_slurmd_is_killed_and_nobody_notices(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    node = cluster.nodes["n2"]
    until_all_compute(toy, "n2")
    node.kill_slurmd()
    before = events_by_host(toy.task)["n2"]
    eventually(lambda: events_by_host(toy.task)["n2"] > before, "it computes on")
    hurry(toy)
    job.until_said("complete: every event is in an output")
    assert "again in" not in launch_log(toy)
    node.start_slurmd()
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    assert_nothing_left(*cluster.nodes.values())


# ---- the end of a job, early


def test_scancel_ends_everything_at_once_and_loses_nothing(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    until_committed(toy, 60)
    job.cancel()
    assert job.ended(30) == "CANCELLED"
    assert_nothing_left(*cluster.nodes.values())
    before = committed(toy)
    assert before >= 60
    finish(cluster, toy)


def test_a_warning_is_enough_to_drain(cluster):
    """`--signal=B:USR1@...` comes in time: running events end, everything is committed, the exit code says why."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "--grace 20")
    until_committed(toy, 60)
    job.cancel("--signal=USR1", "--batch")
    assert job.ended(40) == "FAILED"
    assert exit_code(cluster, job) == ExitCode.STOPPED
    assert "stopped: stopped by SIGUSR1" in job.text()
    assert json.loads((toy.task / "jobReport.json").read_text())["exitCode"] != 0
    assert not (toy.task / "coordinator.lease").exists()
    assert_nothing_left(*cluster.nodes.values())


@pytest.mark.slow
def test_a_command_told_twice_at_once_drains_once(cluster):
    """What `scancel --full` does: SIGTERM for the command, and for its group."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "--grace 20")
    until_committed(toy, 40)
    (command,) = [one for one in cluster.nodes["n1"].processes() if f"run {toy.path}" in one.command]
    command.kill(15)
    command.kill(15)
    assert job.ended(40) == "FAILED"
    assert exit_code(cluster, job) == ExitCode.STOPPED
    assert "stopped: stopped by SIGTERM" in job.text()
    assert_nothing_left(*cluster.nodes.values())


@pytest.mark.slow
def test_the_walltime_is_known_without_being_told(cluster):
    """A minute of walltime: over before Slurm has to say anything, with what was computed committed and acknowledged."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "", "--time=1")
    assert job.ended(120) == "FAILED", job
    assert exit_code(cluster, job) == ExitCode.STOPPED
    assert "SIGTERM" not in job.text()
    assert committed(toy) > 0
    assert_nothing_left(*cluster.nodes.values())


@pytest.mark.slow
def test_a_limit_nobody_knew_of_loses_nothing(cluster):
    """The limit is lowered behind our back: SIGTERM and SIGKILL come as a surprise."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    until_committed(toy, 60)
    cluster.run("scontrol", "update", f"JobId={job.id}", "TimeLimit=1")
    assert job.ended(150) in {"TIMEOUT", "FAILED", "COMPLETED"}
    assert_nothing_left(*cluster.nodes.values())
    finish(cluster, toy)


@pytest.mark.slow
def test_kill_without_a_word(cluster):
    """Only the command dies: its channel to every node closes, and all of them end."""
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    until_committed(toy, 60)
    (command,) = [one for one in cluster.nodes["n1"].processes() if f"run {toy.path}" in one.command]
    command.kill()
    assert job.ended(60) == "FAILED"
    assert_nothing_left(*cluster.nodes.values(), limit_s=30)
    finish(cluster, toy)


@pytest.mark.slow
def test_a_job_that_is_requeued_goes_on(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy, "--resume", "--requeue")
    until_committed(toy, 60)
    cluster.run("scontrol", "requeue", job.id)
    eventually(lambda: job.state == "PENDING", "back in the queue")
    assert_nothing_left(*cluster.nodes.values())
    cluster.run("scontrol", "update", f"JobId={job.id}", "StartTime=now", check=False)
    hurry(toy)
    assert job.ended(280) == "COMPLETED", job
    toy.assert_complete()
    assert len(set(toy.committed().values())) == 2, "both runs computed"
    assert_nothing_left(*cluster.nodes.values())


# ---- neighbours


def test_two_jobs_at_once_on_the_same_nodes(cluster):
    toys = [toy_job(cluster) for _ in range(2)]
    jobs = [run_toy(cluster, toy, "--cores 1", "--cpus-per-task=1") for toy in toys]
    for toy in toys:
        until_all_compute(toy, "n1", "n2", "n3", "n4")
    for job, toy in zip(jobs, toys, strict=True):
        hurry(toy)
        assert job.ended(200) == "COMPLETED", job
        toy.assert_complete()
    assert_nothing_left(*cluster.nodes.values())


@pytest.mark.slow
def test_a_foreign_ray_is_left_alone(cluster):
    """Ray of the same user, with Ray's defaults, on a node that a job uses: neither sees the other."""
    node = cluster.nodes["n2"]
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--include-dashboard=false", "--disable-usage-stats"]
    subprocess.run(node.inside([*start, f"--node-ip-address={node.address}"]), check=True, capture_output=True, timeout=120)
    foreign = {one.pid: one.command for one in node.processes() if "ray" in one.command}
    assert len(foreign) >= 3
    try:
        toy = toy_job(cluster)
        job = run_toy(cluster, toy)
        until_all_compute(toy, "n2")
        hurry(toy)
        assert job.ended() == "COMPLETED", job
        toy.assert_complete()
        assert {one.pid for one in node.processes()} >= set(foreign), "a process of the foreign Ray is gone"
        assert not [path for path in node.files() if "/tmp/rt-" in path]
        assert not [one.command for one in node.processes() if "/tmp/rt-" in one.command or "raythena.launch" in one.command]
    finally:
        for process in node.processes():
            if process.pid in foreign:
                process.kill()
        subprocess.run(node.inside(["rm", "-rf", "/tmp/ray"]), check=False)
