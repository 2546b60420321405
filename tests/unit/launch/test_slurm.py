"""What Slurm is asked for, and what of its environment goes on to steps."""

import asyncio
import sys

import pytest

from raythena.domain.allocation import AllocatedNode
from raythena.domain.errors import InvalidInput
from raythena.launch.launcher import LaunchOrder
from raythena.launch.many_machines import head_cores
from raythena.launch.slurm import SlurmCluster, step, step_environment

IN_SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_CPUS_PER_NODE": "8(x3)", "SLURMD_NODENAME": "n1"}


def test_a_step_is_one_process_on_one_node_and_harms_no_other():
    spec = step(AllocatedNode("n7", 64))
    assert spec.name == "n7"
    assert spec.argv[:3] == ("srun", "--nodes=1", "--ntasks=1")
    assert {"--nodelist=n7", "--overlap", "--no-kill", "--kill-on-bad-exit=0", "--wait=0"} <= set(spec.argv)
    assert spec.argv[-4:] == (sys.executable, "-P", "-m", "raythena.launch.node_process")


def test_a_site_has_the_last_word_on_a_step():
    argv = step(AllocatedNode("n7", 64), ("--mem=0", "--cpu-bind=cores")).argv
    assert argv.index("--cpu-bind=cores") > argv.index("--cpu-bind=none")
    assert argv.index("--mem=0") < argv.index(sys.executable)


def test_a_part_of_a_heterogeneous_job_is_named():
    assert "--het-group=1" in step(AllocatedNode("n7", 64, 1)).argv
    assert not any("het-group" in word for word in step(AllocatedNode("n7", 64)).argv)


def test_steps_do_not_inherit_how_the_users_own_are_made():
    environ = {
        "HOME": "/home/me",
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURM_JOB_ID": "7",
        "SLURM_HET_SIZE": "2",
        "SLURM_JOB_ID_HET_GROUP_1": "8",
        "SLURM_NTASKS_PER_NODE": "64",
        "SLURM_MEM_PER_CPU": "2000",
        "SLURM_CPU_BIND": "cores",
        "SRUN_CPUS_PER_TASK": "4",
        "SLURMD_NODENAME": "n1",
        "SBATCH_TIMELIMIT": "5",
    }
    kept = {"HOME", "SLURM_CONF", "SLURM_JOB_ID", "SLURM_HET_SIZE", "SLURM_JOB_ID_HET_GROUP_1"}
    assert step_environment(environ) == {name: environ[name] for name in kept}


@pytest.mark.parametrize(
    ("order", "given", "cores"),
    [
        (LaunchOrder({}, "", "", head_cores=0), 64, 0),
        (LaunchOrder({}, "", "", head_cores=5), 2, 5),
        (LaunchOrder({}, "", "", cores=8), 64, 7),
        (LaunchOrder({}, "", "", cores=3), 64, 3),
        (LaunchOrder({}, "", ""), 1, 1),
    ],
)
def test_cores_of_the_head_node(order, given, cores):
    assert head_cores(order, given) == cores


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "this is no Slurm job; expected SLURM_JOB_ID"),
        ({**IN_SLURM, "SLURMD_NODENAME": "login1"}, "login1 is no node of job 7; expected one of its nodes. Below salloc: srun"),
    ],
)
def test_where_it_cannot_work(environ, words):
    with pytest.raises(InvalidInput, match=words):
        SlurmCluster(LaunchOrder(environ, "", ""))


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    def install(script):
        program = tmp_path / "squeue"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return install


def end(environ):
    told = []
    return asyncio.run(SlurmCluster(LaunchOrder(environ, "", "", tell=told.append)).ends_at()), told


def test_the_end_is_asked_for_where_the_environment_does_not_tell(squeue):
    import time

    squeue('test "$*" = "--noheader --jobs=7 --format=%L" && echo 1:00:00')
    ends_at, told = end(IN_SLURM)
    assert told == []
    assert abs(ends_at - time.time() - 3600) < 60


def test_the_environment_tells_it_better(squeue):
    squeue("exit 1")
    assert end({**IN_SLURM, "SLURM_JOB_END_TIME": "1790000000"}) == (1790000000.0, [])


def test_no_limit_is_no_end(squeue):
    squeue("echo UNLIMITED")
    assert end(IN_SLURM) == (None, [])


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo Socket timed out >&2; exit 1", "squeue ended with 1: Socket timed out"),
        ("echo soon", "'soon' is no duration"),
    ],
)
def test_errors_of_squeue_end_nothing(squeue, script, words):
    squeue(script)
    ends_at, told = end(IN_SLURM)
    assert ends_at is None
    assert len(told) == 1
    assert words in told[0]
