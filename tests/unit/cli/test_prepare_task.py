"""The task directory is looked at before anything is started."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raythena.cli.session import prepare_task
from raythena.domain.errors import ExitCode, LedgerBusy
from raythena.domain.job import PayloadSpec
from raythena.storage.task_lease import TaskLease
from raythena.testing.simulation.samples import small_job


@pytest.fixture
def job():

    return replace(small_job(), payload=PayloadSpec("python", {"function": "json:loads"}))


def test_a_task_somebody_works_on_is_refused_before_a_cluster_is_started(tmp_path, job):
    task = prepare_task(job, tmp_path / "task", resume=False)
    lease = TaskLease(task.lease)
    lease.acquire("theirs")
    with pytest.raises(LedgerBusy, match="session theirs") as refusal:
        prepare_task(job, tmp_path / "task", resume=True, patience_s=0.0)
    assert refusal.value.exit_code is ExitCode.LEDGER
    lease.release()
    prepare_task(job, tmp_path / "task", resume=True, patience_s=0.0)


def test_a_coordinator_that_is_about_to_go_is_waited_for(tmp_path, job, monkeypatch):
    task = prepare_task(job, tmp_path / "task", resume=False)
    lease = TaskLease(task.lease)
    lease.acquire("theirs")
    monkeypatch.setattr("time.sleep", lambda seconds: lease.release())
    prepare_task(job, tmp_path / "task", resume=True, patience_s=3600.0)
