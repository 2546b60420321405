"""The test cluster is what it claims to be: several machines, real Slurm, and faults that are what they are called."""

import time

import pytest

from slurm_cluster.nodes import DECOY, eventually

LOOK = "hostname; ls /tmp | wc -l; touch /tmp/mine; ip -4 -o addr show decoy | cut -d' ' -f 7; ps -e | wc -l"


@pytest.fixture
def batch(cluster):
    """Submit a script; its job's number, and where it writes."""

    def submit(script, *options):
        output = cluster.shared / f"out-{time.monotonic_ns()}"
        job = cluster.run("sbatch", "--parsable", "--nodes=4", f"--output={output}", *options, "--wrap", script)
        return job, output

    return submit


def state(cluster, job):
    return cluster.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")


def ends(cluster, job):
    return eventually(lambda: (now := state(cluster, job)) not in {"PENDING", "RUNNING", "COMPLETING"} and now, "the job's end")


def test_four_machines(cluster, batch):
    look = cluster.shared / "look.sh"
    look.write_text(LOOK)
    job, output = batch(f"srun --nodes=4 --ntasks=4 --label bash {look}")
    assert ends(cluster, job) == "COMPLETED"
    lines = output.read_text().split("\n")
    for task in range(4):
        name, files, decoy, processes = (line.partition(": ")[2] for line in lines if line.startswith(f"{task}:"))
        assert name in cluster.nodes
        assert (int(files), decoy) == (0, DECOY)
        assert int(processes) < 12, "a node sees its own processes only"
    for node in cluster.nodes.values():
        assert [path.name for path in node.tmp.iterdir()] == ["mine"]
        (node.tmp / "mine").unlink()


@pytest.fixture
def go_on(cluster):
    """The file a waiting task waits for."""
    return cluster.shared / f"go-on-{time.monotonic_ns()}"


def waiting(go_on):
    """A task that tells its host's name when it may."""
    return f"bash -c 'until [ -e {go_on} ]; do sleep 0.2; done; hostname'"


def test_power_is_lost_and_the_others_go_on(cluster, batch, go_on):
    step = "srun --no-kill --kill-on-bad-exit=0 --wait=0 --nodes=4 --ntasks=4"
    _, output = batch(f"{step} {waiting(go_on)}; echo over", "--no-kill")
    node = cluster.nodes["n3"]
    eventually(lambda: any("sleep" in process.command for process in node.processes()), "the task")
    node.lose_power()
    assert node.processes() == []
    go_on.touch()
    eventually(lambda: set(output.read_text().split()) == {"n1", "n2", "n4"}, "the other tasks")
    node.start()
    eventually(lambda: any(process.name == "slurmd" for process in node.processes()), "slurmd")


def test_a_cut_link_is_no_death(cluster, batch, go_on):
    node = cluster.nodes["n2"]
    job, output = batch(f"srun --nodes=1 --ntasks=1 --nodelist=n2 {waiting(go_on)}")
    eventually(lambda: any("sleep" in process.command for process in node.processes()), "the task")
    node.cut()
    go_on.touch()
    time.sleep(3)
    assert output.read_text() == ""
    node.heal()
    assert ends(cluster, job) == "COMPLETED"
    assert output.read_text().split() == ["n2"]


def test_only_the_daemon_dies(cluster, batch, go_on):
    node = cluster.nodes["n4"]
    job, output = batch(f"srun --nodes=1 --ntasks=1 --nodelist=n4 {waiting(go_on)}")
    eventually(lambda: any("sleep" in process.command for process in node.processes()), "the task")
    node.kill_slurmd()
    assert not any(process.name == "slurmd" for process in node.processes())
    assert any("sleep" in process.command for process in node.processes())
    go_on.touch()
    node.start_slurmd()
    assert ends(cluster, job) == "COMPLETED"
    assert output.read_text().split() == ["n4"]
