"""Hyper-parameter scans on processes of this machine: the same points whatever is killed, every one settled once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from harvester_double.idds import IddsDouble, ScanHarvester, write_scan_job
from job_kit import RAYTHENA, Process, eventually, find, raythena_processes
from raythena.domain.errors import ExitCode
from raythena.gateways.harvester.documents import LEAST_LOSS
from raythena.storage.ledger_view import LedgerView
from raythena.storage.taskdir import TaskDirectory
from raythena.tune.scan_results import ScanResults, read_scan

TRAINING = """
import os, time

def train(parameters, report):
    with open(os.environ["TRAINED"], "a") as stream:
        stream.write(f"{parameters['x']!r}\\n")
    for step in (1, 2, 3):
        report((parameters["x"] - 1) ** 2 + 1 / step, step)
        time.sleep(0.05)
    return (parameters["x"] - 1) ** 2
"""
SCAN = {
    "name": "scan",
    "space": {"x": {"method": "uniform", "low": -2.0, "high": 3.0}, "kind": ["a", "b"]},
    "budget": {"points": 30},
    "search": {"method": "tpe", "seed": 5, "parallel": 4},
    "trial": {"python": "training:train"},
    "early_stopping": {"rule": "median", "startup": 4},
}


class ScanCommand:
    """`raythena tune` in a process of its own."""

    def __init__(self, directory: Path, mark: str, *arguments: str, scan: dict | None = None) -> None:
        self.directory = directory
        self.mark = mark
        directory.mkdir(exist_ok=True)
        (directory / "training.py").write_text(TRAINING)
        (directory / "scan.yaml").write_text(yaml.safe_dump(scan or SCAN))
        self.task = TaskDirectory(directory / "task")
        environment = {**os.environ, "E2E_MARK": mark, "TRAINED": str(directory / "trained")}
        command = [*RAYTHENA, "tune", "scan.yaml", "--taskdir", "task", "--nodes", "2", "--cores", "1", "--json", *arguments]
        with (directory / "out").open("w") as out, (directory / "err").open("w") as err:
            self.process = subprocess.Popen(command, cwd=directory, env=environment, stdout=out, stderr=err)

    def until_finished(self, count: int) -> None:
        def finished() -> bool:
            assert self.process.poll() is None, (self.directory / "err").read_text()
            try:
                progress = json.loads(self.task.status.read_text())
                return progress["stored"] + progress["merged"] >= count
            except (OSError, ValueError, KeyError):
                return False

        eventually(finished, f"{count} points")

    def victims(self, role: str) -> list[Process]:
        """Whom a test may kill now. The head's node it may not: with it the cluster is gone, as when the command is killed."""
        return [process for process in find(self.mark, role) if role != "raylet" or " --head " not in process.command]

    def wait(self) -> int:
        code = self.process.wait(240)
        eventually(lambda: not raythena_processes(self.mark), "every process is gone", 30.0)
        return code

    def last(self) -> dict:
        return json.loads((self.directory / "out").read_text().splitlines()[-1])


def points_of(results: ScanResults) -> list[str]:
    return [json.dumps([row.point.parameters, row.point.bounds]) for row in results.rows]


def assert_settled_once(task: TaskDirectory, points: int) -> None:
    with LedgerView.read(task.ledger) as view:
        committed = [index for chunk in view.iter_events() for index in chunk.events["range"].tolist()]
    assert sorted(committed) == list(range(points)), "a point was lost, or counted twice"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The scan as it runs when nobody disturbs it."""
    command = ScanCommand(tmp_path_factory.mktemp("undisturbed"), "undisturbed")
    assert command.wait() == ExitCode.OK, (command.directory / "err").read_text()
    return command


def test_from_beginning_to_end(undisturbed):
    results = read_scan(undisturbed.task)
    assert [row.point.number for row in results.rows] == list(range(1, 31))
    assert results.count("finished") + results.count("stopped early") == 30
    assert results.count("stopped early") > 0
    assert_settled_once(undisturbed.task, 30)
    last = undisturbed.last()
    assert last["result"] == "complete"
    assert last["best"][0]["values"]["loss"] < 0.05
    trained = Counter((undisturbed.directory / "trained").read_text().split())
    assert max(trained.values()) == 1, "no point is computed twice when nothing goes wrong"
    assert {path.name for path in undisturbed.task.outputs.iterdir()} >= {
        "points.csv",
        "losses.csv",
        "best.json",
        "points.parquet",
    }


@pytest.mark.parametrize("role", ["coordinator", "agent", "worker"])
def test_whatever_is_killed_the_same_points_are_proposed(undisturbed, tmp_path, mark, role):
    command = ScanCommand(tmp_path / "killed", mark)
    command.until_finished(9)
    victims = eventually(lambda: command.victims(role), role)
    victims[-1].kill()
    assert command.wait() == ExitCode.OK, (command.directory / "err").read_text()
    assert points_of(read_scan(command.task)) == points_of(read_scan(undisturbed.task))
    assert_settled_once(command.task, 30)


def test_the_command_killed_and_resumed(undisturbed, tmp_path, mark):
    command = ScanCommand(tmp_path / "killed", mark)
    for goal in (7, 19):
        command.until_finished(goal)
        command.process.send_signal(signal.SIGKILL)
        command.wait()
        command = ScanCommand(tmp_path / "killed", mark, "--resume")
        time.sleep(0.1)
    assert command.wait() == ExitCode.OK, (command.directory / "err").read_text()
    assert points_of(read_scan(command.task)) == points_of(read_scan(undisturbed.task))
    assert_settled_once(command.task, 30)


EVALUATE = """
import json, os, time
x = json.load(open("input.json"))["x"]
with open(os.environ["TRAINED"], "a") as stream:
    stream.write(f"{x!r}\\n")
while x > 7 and not os.path.exists(os.environ["KILLED"]):
    time.sleep(0.05)
if x == 3:
    raise SystemExit("no data")
json.dump({"status": 0, "loss": (x - 1) ** 2}, open("output.json", "w"))
"""


def test_points_that_idds_steers_through_raythena_harvest(tmp_path, mark):
    """A job of a scan from its specification to its last word, by a program, with its coordinator killed on the way: before that
    it does not end."""
    point = write_scan_job(tmp_path, EVALUATE)
    idds = IddsDouble.of([{"x": x} for x in range(12)])
    harvester = ScanHarvester(point, "4321", "99", idds)
    environment = {**os.environ, "E2E_MARK": mark, "TRAINED": str(tmp_path / "trained"), "KILLED": str(tmp_path / "killed")}
    command = [*RAYTHENA, "harvest", "--access-point", str(point), "--payload", str(tmp_path / "payload.yaml"), "--nodes", "1"]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [*command, "--cores", "2"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=err
        )
        killed = False
        while process.poll() is None:
            harvester.step()
            if not killed and idds.told and (victims := find(mark, "coordinator")):
                victims[0].kill()
                killed = True
                (tmp_path / "killed").touch()
            time.sleep(0.05)
    harvester.step()
    assert killed
    assert {point_id: set(losses) for point_id, losses in idds.told.items()} == {
        str(x): {float((x - 1) ** 2) or LEAST_LOSS} for x in range(12) if x != 3
    }, (tmp_path / "err").read_text()
    assert set(harvester.statuses["3"]) == {"failed"}
    assert "log" in harvester.staged
    trained = Counter((tmp_path / "trained").read_text().split())
    assert trained["3"] >= 3, "three attempts"
    assert raythena_processes(mark) == []


def test_another_search_is_another_task(undisturbed):
    changed = {**SCAN, "search": {"method": "tpe", "seed": 6, "parallel": 4}}
    command = ScanCommand(undisturbed.directory, "changed", "--resume", scan=changed)
    assert command.wait() == ExitCode.LEDGER
    assert "another job" in (command.directory / "err").read_text() or "belongs" in (command.directory / "err").read_text()
