"""A job without a head node is put back or cancelled, and no other job is."""

import pytest

from raythena.launch import headless
from raythena.launch.headless import end_headless_job
from raythena.launch.slurm_batch import BatchError, QueuedJob


class Slurm:
    """What Slurm says of a node, and what is asked of it; sleeping is what makes time pass."""

    def __init__(self, monkeypatch, states, *, requeues=True, job="RUNNING"):
        self.states = list(states)
        self.job = job
        self.done = []
        self.now = 0.0
        self._requeues = requeues
        for name in ("node_state", "requeue_job", "queued", "cancel_job"):
            monkeypatch.setattr(headless, name, getattr(self, name))

    def node_state(self, node):
        assert node == "n1"
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "":
            raise BatchError("sinfo did not answer in 60 s")
        return state

    def requeue_job(self, job_id):
        if not self._requeues:
            raise BatchError("scontrol ended with 1: Requested operation is presently disabled")
        self.done.append(f"requeue {job_id}")

    def queued(self, job_ids):
        return {job_ids[0]: QueuedJob(job_ids[0], self.job, None, "")} if self.job else {}

    def cancel_job(self, job_id):
        self.done.append(f"cancel {job_id}")

    def sleep(self, pause_s):
        self.now += pause_s

    def end(self):
        return end_headless_job("7", "n1", lambda: self.now, self.sleep)


@pytest.mark.parametrize("states", [["down"], ["down*"], ["allocated", "allocated", "down*"], ["", "down"]])
def test_it_is_put_back_once_slurm_knows_that_the_head_is_down(monkeypatch, states):
    slurm = Slurm(monkeypatch, states)
    assert slurm.end() == "put back in the queue"
    assert slurm.done == ["requeue 7"]


@pytest.mark.parametrize("state", ["allocated", "mixed", "idle", "draining", ""])
def test_a_job_whose_head_lives_is_left_alone(monkeypatch, state):
    """Its command has ended, or is about to: the batch system sees to that."""
    slurm = Slurm(monkeypatch, [state])
    assert slurm.end() == ""
    assert slurm.done == []
    assert 100 < slurm.now < 200


def test_where_jobs_may_not_be_put_back_it_is_cancelled(monkeypatch):
    slurm = Slurm(monkeypatch, ["down"], requeues=False)
    assert slurm.end() == "cancelled"
    assert slurm.done == ["cancel 7"]


@pytest.mark.parametrize("job", ["PENDING", "COMPLETING", ""])
def test_what_another_node_has_put_back_is_not_cancelled(monkeypatch, job):
    slurm = Slurm(monkeypatch, ["down"], requeues=False, job=job)
    assert slurm.end() == ""
    assert slurm.done == []
