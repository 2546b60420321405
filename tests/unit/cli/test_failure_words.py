"""The last words of a command about failed events."""

from __future__ import annotations

import json

import pytest

from raythena.cli.failure_words import CAUSES_SHOWN, failures_of
from raythena.cli.run import tell_result
from raythena.domain.errors import ExitCode
from raythena.domain.progress import Progress
from raythena.domain.records import AttemptFailed
from raythena.domain.results import FailureKind
from raythena.runtime.session_end import SessionResult
from raythena.storage.ledger import Ledger, SessionInfo


@pytest.fixture
def failed(task, job):
    """A task whose events failed with these messages."""

    def fail(*messages):
        task.job.write_text(json.dumps(job.to_dict()))
        ledger = Ledger.create(task.ledger, job)
        ledger.begin_session(SessionInfo("s", "h", 1, 0.0))
        ledger.commit([AttemptFailed(index, 3, "h.1", FailureKind.CRASH, text, True, 1.0) for index, text in enumerate(messages)])
        ledger.close()
        return task

    return fail


def progress(failed):
    counts = {"events": 12, "ready": 0, "leased": 0, "stored": 0, "merged": 12 - failed, "failed": failed}
    zeros = dict.fromkeys(("attempts_failed", "outputs", "outputs_merged", "merging", "resumed", "rate_per_s", "elapsed_s"), 0)
    return Progress(job="sim", phase="ended", remaining_s=0.0, occupancy=1.0, **counts, **zeros)


def test_run_ends_with_why_events_failed(failed, capsys):
    task = failed(*["the worker died: killed by signal 11 (SIGSEGV)"] * 8)
    tell_result(SessionResult("incomplete", "8 of 12 events failed", ExitCode.INCOMPLETE, progress(8)), task.root, "lines")
    told = capsys.readouterr().out
    assert "8 × the worker died: killed by signal 11 (SIGSEGV)" in told
    assert "crash, the fault of: payload" in told
    assert "events  EVNT.1.root-1, EVNT.1.root-2, EVNT.1.root-3, …" in told
    assert "do      Look for the signal" in told


def test_a_job_without_failures_says_nothing_of_them(task, capsys):
    tell_result(SessionResult("complete", "done", ExitCode.OK, progress(0)), task.root, "lines")
    assert "×" not in capsys.readouterr().out


def test_many_causes_are_cut(failed):
    told = failures_of(failed(*[f"{word} is broken" for word in ("a", "b", "c", "d", "e", "f", "g")]))
    assert sum(" × " in line for line in told) == CAUSES_SHOWN
    assert told[-1] == "and 2 for 2 other causes"


def test_status_tells_the_same_from_the_ledger_alone(run, failed):
    out = run("status", failed("no convergence", "no convergence").root).out
    assert "2 × no convergence" in out


@pytest.mark.parametrize("damage", ["", "{}", "no json"])
def test_what_cannot_be_read_does_not_disturb_the_last_words(failed, damage):
    task = failed("x")
    task.job.write_text(damage)
    assert failures_of(task) == []
