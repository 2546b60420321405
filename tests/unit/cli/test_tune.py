"""`raythena tune` before it starts anything: what it refuses, and how."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from raythena.cli.app import main
from raythena.cli.tune import _read, _warm
from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.scan.trial import TrialResult
from raythena.storage.taskdir import TaskDirectory

SCAN = {
    "name": "bdt",
    "space": {"x": {"method": "uniform", "low": 0, "high": 1}},
    "budget": {"points": 3},
    "trial": {"python": "training:train"},
}


def written(directory: Path, **keys: object) -> Path:
    path = directory / "scan.yaml"
    path.write_text(yaml.safe_dump({**SCAN, **keys}))
    return path


def refused(path: Path, capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["tune", str(path), "--taskdir", str(path.parent / "task"), *arguments])
    assert end.value.code == ExitCode.INVALID_INPUT
    assert not (path.parent / "task").exists(), "nothing is made for a scan that is refused"
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"space": {"x": {"method": "uniform", "low": 1, "high": 0}}}, "space.x: low is 1 and high is 0"),
        ({"search": "tpee"}, "search.method: no searcher called 'tpee'"),
        ({"search": {"method": "tpe", "options": {"x": 1}}}, "search.options.x: unknown option"),
        ({"trial": {"pyton": "a:b"}}, "payload.options.pyton: unknown option"),
        ({"trial": {}}, "has neither python nor command"),
        ({"budget": {"points": "many"}}, "budget.points: is 'many'"),
        ({"space": "other.json"}, "other.json: does not exist"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_started(tmp_path, capsys, keys, told):
    assert told in refused(written(tmp_path, **keys), capsys)


def test_a_space_of_its_own_file_is_in_the_form_of_panda(tmp_path):
    (tmp_path / "space.json").write_text(json.dumps({"x": {"method": "uniformint", "dimension": {"low": 1, "high": 5}}}))
    path = written(tmp_path, space="space.json")
    scan, document = _read(yaml.safe_load(path.read_text()), path)
    assert scan.space.parameters[0].dimension.at(0.999) == 4
    assert document["space"] == {"x": {"method": "uniformint", "dimension": {"low": 1, "high": 5}}}, "the job holds all of it"


def test_a_warm_start_stays_what_it_was(tmp_path):
    path = written(tmp_path)
    scan, _ = _read(yaml.safe_load(path.read_text()), path)
    task = TaskDirectory(tmp_path / "task")
    task.root.mkdir()
    assert _warm(scan, path, task) == []
    kept = TrialResult(1, {"x": 0.5}, {"loss": 1.0})
    (task.root / "warm_start.json").write_text(json.dumps([kept.to_bytes().decode()]))
    assert _warm(scan, path, task) == [kept]


def test_an_earlier_scan_that_is_not_there(tmp_path):
    path = written(tmp_path, warm_start=["gone.raythena"])
    scan, _ = _read(yaml.safe_load(path.read_text()), path)
    with pytest.raises(InvalidInput, match=r"gone\.raythena: holds no task"):
        _warm(scan, path, TaskDirectory(tmp_path))
