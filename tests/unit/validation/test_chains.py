"""A chain of tasks, proved from its first input to its last output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from task_kit import EVENTS, event_number, jsonlines, make_task
from typer.testing import CliRunner

from raythena.cli.app import app
from raythena.domain.errors import ExitCode
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.jobfile import parse_job_document
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged
from raythena.domain.report_document import ReportInput, build_report
from raythena.domain.results import FailureKind, MergedOutput
from raythena.gateways.file import DiskInputs
from raythena.runtime.upstream_watch import UpstreamWatch
from raythena.storage.atomic import adler32_of
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.ledger_view import LedgerView, inputs_taken
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.simulation.samples import group_of
from raythena.validation import Standing, validate

PER_OUTPUT = 30


def chained(
    first: TaskDirectory, directory: Path, failed: Sequence[int] = (), wrong: dict[int, int] | None = None
) -> TaskDirectory:
    """A finished second task over a finished first one. `wrong` are events written in place of others."""
    task = TaskDirectory(directory)
    task.outputs.mkdir(parents=True)
    job = job_of(first, directory)
    task.job.write_text(json.dumps(job.to_dict()))
    with LedgerView.read(first.ledger) as view:
        files = view.outputs()
        lost_there = {int(failure.range_index) for failure in view.given_up()}
    watch = UpstreamWatch(job, job.upstream, task)
    taken = [watch.take(merged) for merged in files]
    failures = [
        AttemptFailed(index, 0, "", FailureKind.UPSTREAM if index in lost_there else FailureKind.CRASH, "lost", True, 1.0)
        for index in sorted({*failed, *lost_there})
    ]
    lost = {failure.range_index for failure in failures}
    records, merged = [*taken, *failures], []
    for output, lfn in enumerate(job.outputs):
        held = [index for index in range(output * PER_OUTPUT, (output + 1) * PER_OUTPUT) if index not in lost]
        path = task.outputs / lfn
        jsonlines(path, [(wrong or {}).get(index, event_number(index)) for index in held])
        missing = tuple(sorted(lost & set(range(output * PER_OUTPUT, (output + 1) * PER_OUTPUT))))
        sizes = (path.stat().st_size, adler32_of(path), len(held))
        merged.append(MergedOutput(output, lfn, f"outputs/{lfn}", f"SECOND-{output}", *sizes, missing, 0.5))
        records += [GroupStored(group_of(f"g{output}", "n", output, held)), OutputMerged(merged[-1], ())]
    with Ledger.create(task.ledger, job) as ledger:
        ledger.begin_session(SessionInfo("s", "h", 1, 0.0))
        ledger.commit(records)
    code = ExitCode.INCOMPLETE if lost else ExitCode.OK
    report = ReportInput(job, code, "ended", "", "2026-01-01T00:00:00", merged, failures, np.empty(0, dtype=np.int64))
    task.report.write_text(json.dumps(build_report(report)))
    return task


def job_of(first: TaskDirectory, directory: Path, kind: str = "AOD") -> Job:
    document = {
        "name": "second",
        "inputs": {"from": str(first.root)},
        "outputs": {"events_per_file": PER_OUTPUT, "name": kind + ".{n}.jsonl"},
        "payload": {"kind": "simulated"},
        "merge": "concat",
    }
    return parse_job_document(document, "second.yaml", "/", DiskInputs()).kept_in(str(directory))


def codes(validation) -> set[str]:
    return {finding.code for link in validation.chain for finding in link.findings}


def test_a_chain_is_proved_to_its_first_input(tmp_path):
    second = chained(make_task(tmp_path), tmp_path / "second")
    validation = validate(second.root)
    assert validation.standing is Standing.PROVEN
    assert [link.proven for link in validation.chain] == [EVENTS, EVENTS]
    assert validation.summary().count("proven") == 2
    assert validation.to_dict()["upstream"]["standing"] == "proven"


def test_a_chain_of_three_is_one(tmp_path):
    first = make_task(tmp_path)
    second = chained(first, tmp_path / "second")
    third = TaskDirectory(tmp_path / "third")
    job = job_of(second, third.root, "NTUP")
    third.root.mkdir()
    third.job.write_text(json.dumps(replace(job, payload=PayloadSpec("x"), merge=MergeSpec("concat")).to_dict()))
    Ledger.create(third.ledger, job).close()
    assert len(validate(third.root, partial=True).chain) == 3


def test_events_the_first_task_gave_up_are_missing_in_both(tmp_path):
    second = chained(make_task(tmp_path, failed=(3, 30, 31)), tmp_path / "second", failed=(7,))
    validation = validate(second.root)
    assert validation.standing is Standing.PROVEN
    assert [link.failed for link in validation.chain] == [4, 3]


def test_an_event_that_another_took_the_place_of_is_found(tmp_path):
    second = chained(make_task(tmp_path), tmp_path / "second", wrong={5: event_number(6)})
    assert {"event-lost", "event-duplicated"} <= codes(validate(second.root))


def test_what_is_wrong_in_the_first_task_is_wrong_in_the_chain(tmp_path):
    first = make_task(tmp_path, contents={0: [event_number(index) for index in (0, 1, 2, 3, 4, 5, 6, 7, 8, 8)]})
    validation = validate(chained(first, tmp_path / "second", wrong={9: event_number(8)}).root)
    assert validation.standing is Standing.WRONG
    assert not validation.upstream.ok
    assert "provenance-wrong" in {finding.code for finding in validation.findings}, "event 9 became event 8 on the way"


@pytest.mark.parametrize("harm", ["first", "second"])
def test_an_input_that_was_altered_is_found(tmp_path, harm):
    """There are two names for the file; whoever writes into it harms both tasks."""
    first = make_task(tmp_path)
    second = chained(first, tmp_path / "second")
    path = next(iter(second.inputs.glob("*/*"))) if harm == "second" else sorted(first.outputs.iterdir())[0]
    path.write_text(path.read_text().replace("x", "y", 1))
    found = codes(validate(second.root))
    assert {"input-altered", "output-checksum"} <= found


def test_a_file_the_first_task_never_made_is_found(tmp_path):
    first = make_task(tmp_path)
    second = chained(first, tmp_path / "second")
    first.ledger.unlink()
    job = Job.from_dict(json.loads(first.job.read_bytes()))
    Ledger.create(first.ledger, job).close()
    assert "provenance-wrong" in codes(validate(second.root, partial=True))


def test_without_the_first_task_events_are_proved_from_the_inputs_taken_on(tmp_path):
    first = make_task(tmp_path)
    second = chained(first, tmp_path / "second")
    first.root.rename(tmp_path / "away")
    validation = validate(second.root)
    assert validation.standing is Standing.UNPROVEN
    assert codes(validation) == {"upstream-gone"}
    assert validation.proven == EVENTS


def test_inputs_that_were_removed_leave_events_unproven(tmp_path):
    second = chained(make_task(tmp_path), tmp_path / "second")
    for path in second.inputs.glob("*/*"):
        path.unlink()
    validation = validate(second.root)
    assert validation.standing is Standing.UNPROVEN
    assert "input-unreadable" in codes(validation)


def test_events_that_are_there_by_now_are_told_of(tmp_path):
    first = make_task(tmp_path, failed=(3,))
    second = chained(first, tmp_path / "second")
    job = Job.from_dict(json.loads(first.job.read_bytes()))
    path = first.outputs / job.outputs[0]
    path.unlink()
    jsonlines(path, [event_number(index) for index in range(10)])
    first.ledger.unlink()
    with Ledger.create(first.ledger, job) as ledger, LedgerView.read(second.ledger) as view:
        for file in inputs_taken(view):
            old = MergedOutput(
                file.number,
                file.lfn,
                f"outputs/{file.lfn}",
                file.guid,
                file.size_bytes,
                file.adler32,
                file.n_events,
                file.missing,
            )
            ledger.commit([OutputMerged(old, ())])
        new = MergedOutput(0, path.name, f"outputs/{path.name}", "NEW", path.stat().st_size, adler32_of(path), 10)
        ledger.commit([OutputMerged(new, ())])
    validation = validate(second.root)
    assert "input-superseded" in {finding.code for finding in validation.findings}
    assert "provenance-wrong" not in codes(validation)


def test_report_and_export_tell_where_events_came_from(tmp_path):
    second = chained(make_task(tmp_path, failed=(3,)), tmp_path / "second")
    told = json.loads(CliRunner().invoke(app, ["export", str(second.root)]).stdout)
    assert told["from"]["task"] == str(tmp_path / "task")
    guids = {lfn: [file["guid"] for file in files] for lfn, files in told["parents"].items()}
    assert guids == {"AOD.1.jsonl": ["GUID-0", "GUID-1", "GUID-2"], "AOD.2.jsonl": ["GUID-3", "GUID-4", "GUID-5"]}
    page = CliRunner().invoke(app, ["report", str(second.root)]).stdout
    assert "6 of 6 taken on" in page
    assert "GUID-4" in page
    record = json.loads(CliRunner().invoke(app, ["report", str(second.root), "--json"]).stdout)
    assert [len(file["missing"]) for file in record["inputs_taken"]] == [1, 0, 0, 0, 0, 0]
    assert record["upstream"]["fingerprint"]


def test_the_watch_takes_on_what_is_proved(tmp_path):
    """Of a whole look, as the coordinator has it."""
    first = make_task(tmp_path)
    task = TaskDirectory(tmp_path / "second")
    job = job_of(first, task.root)
    heard = []

    class Once:
        over = False

        def tell(self, event):
            heard.append(event)
            self.over = type(event).__name__ == "UpstreamSeen"

        def stop(self, reason, cause=None):
            raise cause

    asyncio.run(UpstreamWatch(job, job.upstream, task).run(Once()))
    assert len(heard) == 7, "six files, and that it is finished"
    assert heard[-1].reason == ""
