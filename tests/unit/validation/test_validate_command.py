"""The verdict as a person and as a program get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from task_kit import make_task, numbers_of, opaque
from typer.testing import CliRunner, Result

from raythena.cli.validate import validate_command
from raythena.domain.errors import ExitCode, InvalidInput


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(validate_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_good_task(tmp_path: Path) -> None:
    ran = run(make_task(tmp_path, failed=[3]).root)
    assert ran.exit_code == ExitCode.OK
    assert ran.stdout.startswith("proven: 59 of 60 events")
    assert "1 recorded as failed" in ran.stdout
    assert ran.stdout.count("proven ") == 6


def test_a_wrong_task_is_named_line_by_line(tmp_path: Path) -> None:
    ran = run(make_task(tmp_path, contents={0: numbers_of(1, 10)}).root)
    assert ran.exit_code == ExitCode.INVALID_OUTPUT
    assert ran.stdout.startswith("wrong: 59 of 60 events")
    assert "event-lost" in ran.stdout
    assert "1 event is missing from HITS.1" in ran.stdout


def test_for_machines(tmp_path: Path) -> None:
    task = make_task(tmp_path, contents={0: numbers_of(1, 10)})
    ran = run(task.root, "--json")
    assert ran.exit_code == ExitCode.INVALID_OUTPUT
    document = json.loads(ran.stdout)
    assert (document["standing"], document["events"], document["proven"]) == ("wrong", 60, 59)
    assert {finding["code"] for finding in document["findings"]} == {"event-lost", "output-count"}
    assert document["files"][0] == {"lfn": "HITS.1", "standing": "wrong", "expected": 10, "found": 9, "failed": 0}


def test_what_cannot_be_inspected_fails_only_when_asked(tmp_path: Path) -> None:
    task = make_task(tmp_path, write=opaque, merge="python")
    assert run(task.root).exit_code == ExitCode.OK
    assert "unproven" in run(task.root).stdout
    assert run(task.root, "--strict").exit_code == ExitCode.INVALID_OUTPUT


def test_a_task_at_work(tmp_path: Path) -> None:
    task = make_task(tmp_path, unmerged=[1])
    assert run(task.root).exit_code == ExitCode.INVALID_OUTPUT
    ran = run(task.root, "--partial")
    assert ran.exit_code == ExitCode.OK
    assert "absent" in ran.stdout


def test_very_many_findings_are_cut_short_for_people_only(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    for number in range(80):
        (task.outputs / f"stray{number}").touch()
    assert "… and 30 more" in run(task.root).stdout
    assert len(json.loads(run(task.root, "--json").stdout)["findings"]) == 80


def test_no_task(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        raise run(tmp_path / "nowhere").exception or AssertionError
