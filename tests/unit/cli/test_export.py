"""The outputs of a task, described for others."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raythena.cli.app import app
from raythena.cli.export_command import described
from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.job import NO_MERGE, MergeSpec
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged
from raythena.domain.results import FailureKind, MergedOutput
from raythena.storage.ledger import Ledger
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.simulation.samples import group_of, small_job

JOB = small_job((6,), 3, name="study")
CONTENT = b"three events"


def task_of(directory: Path, *, finished: bool = True, job=JOB) -> TaskDirectory:
    """Two outputs; one event of the second failed, or nobody has finished the second."""
    task = TaskDirectory(directory)
    task.outputs.mkdir(parents=True)
    task.job.write_text(json.dumps(job.to_dict()))
    with Ledger.create(task.ledger, job) as ledger:
        sizes = (len(CONTENT), zlib.adler32(CONTENT))
        first = MergedOutput(0, "HITS.0.root", "outputs/HITS.0.root", "GUID-A", *sizes, 3)
        ledger.commit([GroupStored(group_of("a", "n", 0, [0, 1, 2])), OutputMerged(first, ("a",))])
        if finished:
            second = MergedOutput(1, "HITS.1.root", "outputs/HITS.1.root", "GUID-B", *sizes, 2, (5,))
            ledger.commit([AttemptFailed(5, 3, "n", FailureKind.CRASH, "it broke", True, 1.0)])
            ledger.commit([GroupStored(group_of("b", "n", 1, [3, 4])), OutputMerged(second, ("b",))])
    for lfn in ("HITS.0.root", "HITS.1.root"):
        (task.outputs / lfn).write_bytes(CONTENT)
    return task


def test_what_is_told_is_true_of_the_files(tmp_path):
    task = task_of(tmp_path / "task")
    done = CliRunner().invoke(app, ["export", str(task.root), "--scope", "user.jdoe", "--name", "user.jdoe.study"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["scope"], told["name"], told["events"], told["failed"]) == ("user.jdoe", "user.jdoe.study", 5, 1)
    assert [file["meta"] for file in told["files"]] == [{"guid": "GUID-A", "events": 3}, {"guid": "GUID-B", "events": 2}]
    for file in told["files"]:
        content = Path(told["paths"][file["name"]]).read_bytes()
        assert (file["bytes"], file["adler32"]) == (len(content), f"{zlib.adler32(content):08x}")
        assert file["scope"] == "user.jdoe"


def test_the_dataset_is_called_like_the_job_if_nobody_says_otherwise(tmp_path):
    assert described(task_of(tmp_path / "task").root, "", "")["name"] == "study"


def test_what_is_not_finished_is_refused(tmp_path):
    task = task_of(tmp_path / "task", finished=False)
    done = CliRunner().invoke(app, ["export", str(task.root)])
    assert done.exit_code == ExitCode.INVALID_INPUT
    assert "is not finished: 3 events are in no output" in done.output


@pytest.mark.parametrize(
    "job", [replace(JOB, merge=MergeSpec(NO_MERGE)), replace(JOB, ranges_given=True, merge=MergeSpec(NO_MERGE))]
)
def test_what_merges_nothing_has_nothing_to_describe(tmp_path, job):
    task = TaskDirectory(tmp_path)
    task.job.write_text(json.dumps(job.to_dict()))
    Ledger.create(task.ledger, job).close()
    with pytest.raises(InvalidInput, match="no merged outputs"):
        described(task.root, "", "")


def test_what_is_no_task_is_refused(tmp_path):
    done = CliRunner().invoke(app, ["export", str(tmp_path / "nothing")])
    assert done.exit_code == ExitCode.LEDGER
    assert "there is no ledger" in done.output
