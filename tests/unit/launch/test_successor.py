"""A node process that takes a head's place: the lease, the command it starts, and what it leaves when that fails."""

import asyncio
import json
import sys
import time

import pytest

from raythena.launch.launcher import Continuation
from raythena.launch.slurm_batch import BatchError
from raythena.launch.successor import Successor, passed_on
from raythena.storage.task_lease import Holder, TaskLease

TAKES_OVER = """
import json, os, sys, time
from pathlib import Path
from raythena.storage.task_lease import TaskLease
lease = TaskLease(Path(sys.argv[1]))
lease.acquire(os.environ["RAYTHENA_SESSION"])
Path(sys.argv[2]).write_text(json.dumps({"cwd": os.getcwd(), **os.environ}))
time.sleep(float(sys.argv[3]))
lease.release()
"""


@pytest.fixture
def lease(tmp_path):
    (tmp_path / "task").mkdir()
    return tmp_path / "task" / "coordinator.lease"


@pytest.fixture
def successor(tmp_path, lease, monkeypatch):
    """Makes one; what it told Slurm is in `cancelled`."""
    monkeypatch.setattr("raythena.launch.successor._BEAT_S", 0.05)

    def make(*argv, job_id="7", cancel=None, requeue=None, watched=False):
        known = {"SLURM_JOB_ID": "7", "SLURM_CONF": "/c"}
        goes_on = Continuation("first", str(lease.parent), argv, str(tmp_path), known, told_by_exit_code=watched)
        return Successor(goes_on, job_id, cancel or make.cancelled.append, requeue or make.requeued.append)

    make.cancelled, make.requeued = [], []
    return make


def eventually(condition):
    while not condition():
        time.sleep(0.05)


def told(lease):
    return "".join(path.read_text() for path in lease.parent.glob("logs/*/launch.log"))


def goes_on(lease, tmp_path, seconds=0.2):
    return (sys.executable, "-c", TAKES_OVER, str(lease), str(tmp_path / "seen"), str(seconds))


async def _succeed(one):
    assert await one.take_lease()
    assert one.is_head
    return await one.lead()


def test_the_lease_goes_to_the_command(successor, lease, tmp_path, monkeypatch):
    """And the command knows the allocation as the head did, but is on its own node."""
    monkeypatch.setenv("SLURMD_NODENAME", "n2")
    monkeypatch.setenv("SLURM_STEP_ID", "3")
    assert asyncio.run(_succeed(successor(*goes_on(lease, tmp_path))))
    assert not lease.exists(), "the job is over"
    seen = json.loads((tmp_path / "seen").read_text())
    assert (seen["SLURM_JOB_ID"], seen["SLURM_CONF"], seen["SLURMD_NODENAME"], seen["cwd"]) == ("7", "/c", "n2", str(tmp_path))
    assert "SLURM_STEP_ID" not in seen
    assert successor.cancelled == ["7"], "nobody else would tell Slurm"
    assert "takes over from session first" in told(lease)


def test_a_command_that_fails_leaves_a_lease_that_becomes_silent(successor, lease):
    one = successor(sys.executable, "-c", "raise SystemExit(3)")
    assert not asyncio.run(_succeed(one))
    assert not one.is_head
    assert Holder.read(lease) is not None
    assert successor.cancelled == []
    assert "its command ended with 3" in told(lease)


def test_after_a_failure_the_same_node_may_try_again(successor, lease, tmp_path):
    """Its own dead claim does not stand in its way."""

    async def twice():
        one = successor(*goes_on(lease, tmp_path))
        assert await one.take_lease()
        return await _succeed(one)

    assert asyncio.run(twice())


def test_a_command_that_cannot_be_run_is_a_failure(successor, lease):
    assert not asyncio.run(_succeed(successor("/no/such/program")))
    assert "cannot go on" in told(lease)


def test_a_lease_that_is_alive_is_not_taken(successor, lease):
    held = TaskLease(lease)
    held.acquire("first")
    one = successor(sys.executable)
    assert not asyncio.run(one.take_lease())
    assert not one.is_head
    assert "cannot take over" in told(lease)
    held.release()


def test_a_signal_reaches_the_command(successor, lease, tmp_path):
    """Slurm ends everything then: it need not be told."""

    async def ended_early():
        one = successor(*goes_on(lease, tmp_path, 60))
        assert await one.take_lease()
        leading = asyncio.create_task(one.lead())
        await asyncio.to_thread(eventually, (tmp_path / "seen").exists)
        await asyncio.sleep(0.2)
        one.end()
        return await asyncio.wait_for(leading, 30)

    assert asyncio.run(ended_early())
    assert successor.cancelled == []


def test_slurm_that_does_not_answer_changes_nothing(successor, lease, tmp_path):
    def refuse(_):
        raise BatchError("scancel did not answer in 60 s")

    assert asyncio.run(_succeed(successor(*goes_on(lease, tmp_path), cancel=refuse)))
    assert "Slurm could not be told: scancel did not answer" in told(lease)


def test_a_job_that_is_judged_by_its_exit_code_says_it_in_its_next_life(successor, lease, tmp_path):
    assert asyncio.run(_succeed(successor(*goes_on(lease, tmp_path), watched=True)))
    assert (successor.requeued, successor.cancelled) == (["7"], [])
    assert "its script will say how it ended" in told(lease)


def test_a_job_that_may_not_be_put_back_is_cancelled(successor, lease, tmp_path):
    def refuse(_):
        raise BatchError("scontrol ended with 1: Job requeue is disabled")

    assert asyncio.run(_succeed(successor(*goes_on(lease, tmp_path), watched=True, requeue=refuse)))
    assert successor.cancelled == ["7"]
    assert "requeue is disabled" in told(lease)


def test_what_is_to_be_seen(successor, lease):
    one = successor(sys.executable)
    nobody = asyncio.run(one.sight(ray_runs=True))
    assert (nobody.head_answers, nobody.ray_runs, nobody.lease_readable, nobody.holder) == (False, True, True, "")
    held = TaskLease(lease)
    held.acquire("first")
    somebody = asyncio.run(one.sight(ray_runs=False))
    assert (somebody.holder, somebody.heartbeat > 0, somebody.ray_runs) == ("first", True, False)
    held.release()
    lease.mkdir()  # reading it is refused, as on a disk that does not answer
    assert not asyncio.run(one.sight(ray_runs=True)).lease_readable


def test_only_the_allocation_is_passed_on():
    allocation = {"SLURM_JOB_ID": "7", "PBS_NODEFILE": "/f"}
    assert passed_on({**allocation, "SLURM_NODEID": "0", "SLURMD_NODENAME": "n1", "HOME": "/h", "RAY_X": "1"}) == allocation
