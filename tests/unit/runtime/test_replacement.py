"""A merged file takes the place of an older one: whoever dies when, what the ledger knows is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raythena.domain.errors import InvalidInput
from raythena.domain.records import AttemptFailed, RangesReopened
from raythena.domain.reopening import RetryRequest
from raythena.domain.results import FailureKind, MergedOutput
from raythena.runtime.replacement import put_into_place, reopening_in
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.simulation.samples import small_job

OLD = MergedOutput(0, "HITS.root", "outputs/HITS.root", "OLD", 3, 1, 1, (1,))
NEW = replace(OLD, path="outputs/.replacing/1.HITS.root", guid="NEW", n_events=2, missing=())


@pytest.fixture
def task(tmp_path):
    directory = TaskDirectory(tmp_path)
    directory.replacing.mkdir(parents=True)
    (directory.outputs / "HITS.root").write_text("old")
    return directory


def test_the_older_file_stays_until_the_new_one_is_put_there(task):
    new = task.root / NEW.path
    new.write_text("new")
    assert (task.output(OLD).read_text(), task.output(NEW).read_text()) == ("old", "new")
    put_into_place(task, [NEW])
    assert task.output(NEW) == task.outputs / "HITS.root"
    assert task.output(NEW).read_text() == "new"
    assert not new.exists()


def test_it_may_be_done_twice_and_leaves_alone_what_is_in_place(task):
    put_into_place(task, [OLD])
    assert task.output(OLD).read_text() == "old"
    (task.root / NEW.path).write_text("new")
    put_into_place(task, [NEW])
    put_into_place(task, [NEW])
    assert task.output(NEW).read_text() == "new"


def ledger_with_a_failure(path, gateway=""):
    ledger = Ledger.create(path, small_job((4,), 4))
    ledger.begin_session(SessionInfo("first", "host", 1, 1.0, gateway=gateway))
    ledger.commit([AttemptFailed(2, 3, "node", FailureKind.CRASH, "it broke", True, 1.0)])
    return ledger


def test_what_is_meant_is_read_from_the_ledger(tmp_path):
    ledger = ledger_with_a_failure(tmp_path / "ledger.sqlite")
    assert reopening_in(ledger, small_job((4,), 4), RetryRequest()) == RangesReopened((2,))
    assert reopening_in(ledger, small_job((4,), 4), RetryRequest(frozenset({FailureKind.HANG}))) is None
    ledger.close()


def test_a_task_that_served_a_gateway_is_refused(tmp_path):
    ledger = ledger_with_a_failure(tmp_path / "ledger.sqlite", gateway="harvester")
    with pytest.raises(InvalidInput, match="told to PanDA"):
        reopening_in(ledger, small_job((4,), 4), RetryRequest())
    ledger.close()
