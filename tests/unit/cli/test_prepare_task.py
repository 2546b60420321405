"""The task directory is looked at before anything is started."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from raythena.cli import session
from raythena.cli.launching import continuation
from raythena.cli.session import prepare_task, session_config, takeover_patience_s
from raythena.cli.settings import LaunchSettings, Settings
from raythena.domain.errors import ExitCode, LedgerBusy
from raythena.domain.job import PayloadSpec
from raythena.runtime.session_config import SESSION_VARIABLE
from raythena.storage.task_lease import SILENCE_S, TaskLease
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


def test_whoever_waits_for_long_says_for_whom(tmp_path, job, monkeypatch):
    task = prepare_task(job, tmp_path / "task", resume=False)
    lease = TaskLease(task.lease)
    lease.acquire("theirs", "4711")
    now, told = [0.0], []

    def sleep(seconds):
        now[0] += seconds
        if now[0] > 30.0:
            lease.release()

    monkeypatch.setattr(session.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(session.time, "sleep", sleep)
    prepare_task(job, tmp_path / "task", resume=True, patience_s=90.0, tell=told.append)
    assert len(told) == 1
    assert told[0].startswith("waiting for at most 90 s: ")
    assert "batch job 4711" in told[0]


@pytest.mark.parametrize(
    ("environ", "takeover_s", "patience_s"),
    [
        ({}, 0.0, 3.0),
        ({"SLURM_JOB_ID": "7"}, 0.0, SILENCE_S + 30.0),
        ({"PBS_JOBID": "7.server"}, 0.0, SILENCE_S + 30.0),
        ({"SLURM_JOB_ID": "7"}, 300.0, 300.0),
        ({}, 20.0, 20.0),
    ],
)
def test_in_a_batch_job_a_dead_coordinator_is_waited_for_until_it_is_known_to_be(environ, takeover_s, patience_s):
    settings = Settings.model_validate({"runtime": {"takeover_s": takeover_s}})
    assert takeover_patience_s(settings, environ) == patience_s


def test_a_lease_that_is_held_for_this_command_is_no_obstacle(tmp_path, job, monkeypatch):
    """The node process that started it in the place of a dead head holds it, under the session's name."""
    task = prepare_task(job, tmp_path / "task", resume=False)
    lease = TaskLease(task.lease)
    lease.acquire("ours")
    monkeypatch.setenv(SESSION_VARIABLE, "ours")
    prepare_task(job, tmp_path / "task", resume=True, patience_s=0.0)
    assert session_config(job, task, Settings()).session == "ours"
    assert SESSION_VARIABLE not in os.environ, "payloads are not told"
    assert session_config(job, task, Settings()).session != "ours"
    lease.release()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["run", "job.yaml"], ["run", "--resume", "job.yaml"]),
        (["run", "job.yaml", "--resume", "--chained"], ["run", "job.yaml", "--resume", "--chained"]),
        (["harvest", "--payload", "p.yaml"], ["harvest", "--payload", "p.yaml"]),
    ],
)
def test_another_node_goes_on_with_the_same_command(tmp_path, job, monkeypatch, typed, words):
    monkeypatch.setattr(sys, "argv", ["raythena", *typed])
    config = session_config(job, prepare_task(job, tmp_path / "task", resume=False), Settings())
    goes_on = continuation(Settings(), {"SLURM_JOB_ID": "7", "HOME": "/h"}, config)
    assert list(goes_on.argv[-len(words) :]) == words
    assert (goes_on.session, goes_on.directory, goes_on.environ) == (config.session, str(Path.cwd()), {"SLURM_JOB_ID": "7"})
    assert goes_on.told_by_exit_code == (words[0] == "harvest")
    assert continuation(Settings(launch=LaunchSettings(succession=False)), {}, config) is None
