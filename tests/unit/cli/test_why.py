"""`raythena why`: the causes in words and as JSON."""

from __future__ import annotations

import json

from raythena.domain.records import AttemptFailed
from raythena.domain.results import FailureKind
from raythena.storage.ledger import Ledger, SessionInfo


def test_the_causes_are_told_with_advice(run, computed, write_status):
    write_status(phase="ended", exit_code=4)
    computed.report.write_text(
        '{"exitCode": 4, "exitMsg": "1 event failed", "raythena": {"error": {"what": "incomplete", "hint": "Look"}}}'
    )
    told = run("why", computed.root)
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0].startswith("why it is slow: no cause")
    assert lines[1:4] == ["why it failed:", "  1. 100.0 %  incomplete (exit code 4): 1 event failed", "              Look"]
    assert "8.3 %  1 event was given up (8.3 %): the process computing the event died: killed by" in told.out


def test_json_has_the_figures(run, computed):
    document = json.loads(run("why", computed.root, "--json").out)
    assert document["slow"] == []
    assert document["failed"][0]["name"] == "failed:crash"
    assert document["failed"][0]["figures"]["events"] == 1


def test_a_task_that_has_not_begun_has_no_causes(run, task, job):
    task.job.write_text(json.dumps(job.to_dict()))
    assert "why it failed: nothing has failed" in run("why", task.root).out


def test_what_payloads_say_is_shown_and_not_obeyed(run, task, job):
    task.job.write_text(json.dumps(job.to_dict()))
    ledger = Ledger.create(task.ledger, job)
    ledger.begin_session(SessionInfo("s1", "host", 1, 1_700_000_000.0))
    ledger.commit([AttemptFailed(0, 1, "a.1", FailureKind.CRASH, "bad \x1b[31m\x07\u202eevent", True, 1.0)])
    ledger.close()
    told = run("why", task.root).out
    assert "event" in told
    assert not set(told) & {"\x1b", "\x07", "\u202e"}


def test_no_task_is_refused(run, tmp_path):
    assert run("why", tmp_path).code == 3
