"""`raythena status` on task directories in every state."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable

import pytest

from raythena.cli import status as status_module
from raythena.domain.errors import InvalidInput
from raythena.monitor.snapshot import STALE_AFTER_S, read_snapshot


@pytest.fixture
def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_a_running_job(run, task, write_status):
    write_status()
    ran = run("status", task.root)
    assert ran.code == 0
    assert "4/12 events" in ran.out
    assert "14 s left" in ran.out
    assert f"process {os.getpid()}" in ran.out
    assert "stale" not in ran.out


def test_a_running_job_for_machines(run, task, write_status):
    write_status()
    document = json.loads(run("status", task.root, "--json").out)
    assert (document["phase"], document["stored"], document["merged"], document["nodes"][0]["name"]) == ("running", 2, 2, "alpha")
    assert document["stale"] is False
    assert document["age_s"] < 10


def test_an_ended_job_shows_verdict_and_exit_code(run, task, write_status):
    write_status(phase="ended", verdict="incomplete: 1 event failed", exit_code=4, written_at=time.time() - 7300)
    ran = run("status", task.root)
    assert ran.code == 0
    assert "ended 2 h 01 min ago: incomplete: 1 event failed, exit code 4" in ran.out
    assert "stale" not in ran.out


def test_a_dead_coordinator_on_this_host_is_noticed_at_once(run, task, write_status, dead_pid):
    write_status(pid=dead_pid)
    ran = run("status", task.root)
    assert "stale: this is how it stood" in ran.out
    assert f"its coordinator (process {dead_pid} on {socket.gethostname()}) is gone" in ran.out
    assert "--resume" in ran.out
    assert json.loads(run("status", task.root, "--json").out)["stale"] is True


def test_a_coordinator_elsewhere_is_judged_by_its_silence(run, task, write_status):
    write_status(host="elsewhere", pid=1, written_at=time.time() - 2)
    assert "stale" not in run("status", task.root).out
    write_status(host="elsewhere", pid=1, written_at=time.time() - STALE_AFTER_S - 105)
    ran = run("status", task.root)
    assert "stale: this is how it stood 2 min 00 s ago" in ran.out
    assert "process 1 on elsewhere) has been silent since" in ran.out


def test_a_clock_ahead_of_ours_is_no_trouble(run, task, write_status):
    write_status(host="elsewhere", written_at=time.time() + 3600)
    ran = run("status", task.root)
    assert "as of 0 s ago" in ran.out


def test_without_a_status_the_ledger_answers(run, computed):
    ran = run("status", computed.root)
    assert ran.code == 0
    assert "has not reported its status yet" in ran.out
    assert "sim: the ledger holds 6 of 12 events, 1 failed, 1 outputs merged" in ran.out


def test_without_a_status_the_ledger_answers_machines(run, computed):
    document = json.loads(run("status", computed.root, "--json").out)
    assert document["ledger"] == {"job": "sim", "events": 12, "finished": 6, "failed": 1, "outputs_merged": 1}


def test_with_nothing_computed_that_is_said(run, task, job):
    task.job.write_text(json.dumps(job.to_dict()))
    ran = run("status", task.root)
    assert (ran.code, "nothing has been computed" in ran.out) == (0, True)


BROKEN = {
    "empty": (b"", "not JSON"),
    "torn": (b'{"job": "sim", "pha', "not JSON"),
    "not utf-8": (b"\xff\xfe\xfa", "not JSON"),
    "a list": (b"[]", "is no status"),
    "null": (b"null", "not reported its status yet"),
    "another document": (b'{"exitCode": 0}', "is no status"),
    "nodes of another shape": (b'{"job": "x", "nodes": [1]}', "is no status"),
    "deep": (b"[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_status_is_named_and_the_ledger_answers(run, computed, case):
    content, problem = BROKEN[case]
    computed.status.write_bytes(content)
    ran = run("status", computed.root)
    assert ran.code == 0
    assert problem in ran.out
    assert "the ledger holds 6 of 12 events" in ran.out


def test_fields_of_a_later_version_are_passed_over(write_status):
    snapshot = read_snapshot(write_status(colour="blue"))
    assert snapshot.progress.events == 12


def test_a_missing_field_is_named(write_status):
    path = write_status()
    document = json.loads(path.read_text())
    del document["written_at"]
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match="written_at"):
        read_snapshot(path)


def test_a_broken_ledger_ends_with_its_own_exit_code(run, computed):
    computed.ledger.write_bytes(b"not a database, but long enough to be read as one" * 10)
    ran = run("status", computed.root)
    assert ran.code == 6
    assert ran.err.startswith("error: ")
    assert "ledger.sqlite" in ran.err


@pytest.mark.parametrize(
    ("name", "problem"), [("none", "does not exist"), ("file", "is not a directory"), ("empty", "is no task directory")]
)
def test_what_is_no_task_directory_is_refused(run, tmp_path, name, problem):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    ran = run("status", tmp_path / name)
    assert ran.code == 3
    assert problem in ran.err
    assert ran.out == ""


@pytest.fixture
def meanwhile(monkeypatch):
    """Lets something happen after the watcher has looked a few times."""

    def after(looks: int, happen: Callable[[], object]) -> None:
        def sleep(_: float) -> None:
            nonlocal looks
            looks -= 1
            if looks == 0:
                happen()

        monkeypatch.setattr(status_module.time, "sleep", sleep)

    return after


def test_following_ends_with_the_job_and_its_exit_code(run, task, write_status, meanwhile):
    write_status()
    meanwhile(3, lambda: write_status(phase="ended", verdict="incomplete", exit_code=4))
    ran = run("status", task.root, "--follow")
    assert ran.code == 4
    assert "running" in ran.out
    assert ran.out.rstrip().endswith("ended: incomplete")


def test_following_a_dead_job_says_so_once_and_waits(run, task, write_status, dead_pid, meanwhile):
    write_status(pid=dead_pid)
    meanwhile(20, lambda: write_status(phase="ended", verdict="done", exit_code=0))
    ran = run("status", task.root, "--follow", "--json")
    messages = [json.loads(line)["text"] for line in ran.out.splitlines() if '"type":"message"' in line]
    assert [message[:8] for message in messages] == ["waiting:", "ended: d"]


def test_ctrl_c_ends_the_watching_only(run, task, write_status, monkeypatch):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status_module.time, "sleep", interrupt)
    write_status()
    assert run("status", task.root, "--follow").code == 0


def test_where_core_time_goes_is_told_in_a_line(run, task, write_status):
    write_status()
    lives = [
        {
            "node": "alpha.1",
            "cores": 2,
            "began_at": 10.0,
            "as_of": 60.0,
            "computed_s": 80.0,
            "open_s": 10.0,
            "thrown_away_s": {},
            "idle_s": {"between_events": 6.0, "initialisation": 4.0},
        }
    ]
    path = task.core_times("s1")
    path.parent.mkdir(parents=True)
    facts = {"session": "s1", "began_at": 10.0, "written_at": 61.0, "ended_at": None, "lives": lives, "lost": []}
    path.write_text(json.dumps(facts))
    line = "core time: 80.0 % computing, 10.0 % computing under way, 6.0 % between events, 4.0 % initialisation"
    assert line in run("status", task.root).out
    told = json.loads(run("status", task.root, "--json").out)["accounting"]
    assert told["core_s"] == {
        "initialisation": 4.0,
        "computing_kept": 80.0,
        "computing_under_way": 10.0,
        "between_events": 6.0,
    }
