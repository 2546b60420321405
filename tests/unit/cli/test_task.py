"""`raythena.Task`: what it promises, and what it answers for a task that is half done."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields

import pytest

import raythena
from raythena.domain.errors import InvalidInput
from raythena.storage.range_records import COLUMNS, Record

PROMISED = {"accounting", "failures", "job", "outputs", "path", "ranges", "status", "story", "summary", "table", "validate"}


def test_exactly_what_is_promised_is_there(computed):
    public = {name for name in dir(raythena.Task(computed.root)) if not name.startswith("_")}
    assert public == PROMISED
    assert raythena.__all__ == ["Task", "__version__"]
    undocumented = [name for name in PROMISED - {"path"} if not inspect.getdoc(getattr(raythena.Task, name))]
    assert undocumented == []


def test_a_record_has_the_fields_it_is_documented_with():
    assert {field.name for field in fields(Record)} == {
        *set(COLUMNS) - {"adler32"},
        "index",
        "failure",
        "process",
    }


def test_no_other_name_is_there():
    with pytest.raises(AttributeError, match="no attribute 'Tusk'"):
        raythena.Tusk  # noqa: B018


def test_a_task_tells_what_became_of_its_ranges(computed):
    task = raythena.Task(str(computed.root))
    assert task.job.name == "sim"
    assert task.status() is None
    assert [record.state for record in task.ranges()] == ["merged"] * 4 + ["failed", "stored", "stored"] + ["open"] * 5
    assert [record.range_id for record in task.ranges(state="failed")] == ["EVNT.1.root-5"]
    assert [record.index for record in task.ranges(node="alpha", lfn="EVNT.2")] == [6]
    assert [output.lfn for output in task.outputs()] == ["HITS.1"]
    assert [(cause.count, str(cause.kind)) for cause in task.failures()] == [(1, "crash")]
    assert task.summary().events == 6
    assert task.accounting().nodes == ()
    assert task.validate(partial=True).failed == 1


def test_all_that_is_known_of_a_range_is_told_in_order(computed):
    log = computed.logs / "s1" / "alpha.1" / "agent.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "2023-11-14 22:13:21,500 WARNING raythena.runtime.agent: range 4 failed (crash): killed\n"
        "2023-11-14 22:13:21,600 WARNING raythena.runtime.agent: range 44 failed (crash): killed\n"
        "EVNT.1.root-5 is what the payload calls it\nEVNT.1.root-55 is another\n"
    )
    told = raythena.Task(computed.root).story("EVNT.1.root-5")
    assert [line.source for line in told].count("ledger") == 2
    assert [line.text for line in told if line.source == "s1/alpha.1/agent.log"] == [
        "2023-11-14 22:13:21,500 WARNING raythena.runtime.agent: range 4 failed (crash): killed",
        "EVNT.1.root-5 is what the payload calls it",
    ]
    times = [line.at for line in told if line.at is not None]
    assert times == sorted(times)
    assert told[-1].at is None


def test_a_range_that_is_none_is_refused(computed):
    with pytest.raises(InvalidInput, match="is no event range"):
        raythena.Task(computed.root).story("EVNT.1.root-99")


def test_a_state_that_is_none_is_refused(computed):
    with pytest.raises(InvalidInput, match="no state called 'done'"):
        list(raythena.Task(computed.root).ranges(state="done"))


def test_a_task_that_has_not_begun_has_no_records(task, job):
    task.job.write_text(json.dumps(job.to_dict()))
    with pytest.raises(InvalidInput, match="has not begun"):
        list(raythena.Task(task.root).ranges())


def test_no_task_is_refused_at_once(tmp_path):
    with pytest.raises(InvalidInput, match="is no task directory"):
        raythena.Task(tmp_path)


def test_the_table_tells_the_same_as_the_records(computed):
    pytest.importorskip("pyarrow")
    task = raythena.Task(computed.root)
    table = task.table()
    assert tuple(table.column_names) == COLUMNS
    assert table["state"].to_pylist() == [record.state for record in task.ranges()]
    assert table["wall_s"].to_pylist() == [record.wall_s for record in task.ranges()]
    assert task.table(state="open").num_rows == 5
