"""A scan that iDDS itself steers: its classes make the points and take the losses of a real `raythena harvest`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harvester_double.idds import ScanHarvester, write_scan_job
from job_kit import RAYTHENA, find, raythena_processes

EVALUATE = """
import json
x = json.load(open("input.json"))["x"]
json.dump({"status": 0, "loss": (x - 1) ** 2, "message": "trained"}, open("output.json", "w"))
"""
STEERING = Path(__file__).with_name("steering_process.py")


class RealIdds:
    """The same questions as to the double, answered by iDDS."""

    def __init__(self, python: Path, home: Path, max_points: int, batch: int) -> None:
        home.mkdir()
        settings = {
            "home": str(home),
            "python": sys.executable,
            "space": {"x": [-2, 3]},
            "max_points": max_points,
            "batch": batch,
        }
        environment = {**os.environ, "IDDS_CONFIG": str(python.parents[1] / "config_default" / "idds.cfg")}
        self._process = subprocess.Popen(
            [python, STEERING, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(home / "log").open("w"),
            env=environment,
            text=True,
        )
        self.points: list[str] = []
        self.is_over = False
        self.told: dict[str, list[float]] = {}

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def ask(self, **question: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def step(self) -> None:
        answer = self.ask(ask="step")
        self.points, self.is_over = answer["ids"], answer["over"]

    def get(self, point_id: str) -> dict[str, Any]:
        answer = self.ask(ask="get", id=point_id)
        (point,) = answer["body"]
        assert answer["status"] == 200
        return point

    def put(self, point_id: str, loss: str) -> None:
        assert self.ask(ask="put", id=point_id, loss=loss)["status"] == 200, f"iDDS refuses {loss}"
        self.told.setdefault(point_id, []).append(float(loss))


@pytest.fixture
def idds(idds_python, tmp_path):
    made: list[RealIdds] = []

    def make(max_points: int, batch: int) -> RealIdds:
        made.append(RealIdds(idds_python, tmp_path / "idds", max_points, batch))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_idds_takes_for_a_loss(idds):
    """Why no loss of ours is ever anything but one finite number."""
    steering = idds(max_points=2, batch=2)
    for _ in range(2):
        steering.step()
    assert steering.points == ["1", "2"]
    assert set(steering.get("1")) == {"id", "parameters", "loss"}
    assert steering.ask(ask="put", id="1", loss="bad")["status"] == 500
    assert steering.ask(ask="put", id="1", loss="0.5")["status"] == 200
    assert steering.ask(ask="put", id="1", loss="nan")["status"] == 200, "the last word wins, whatever it is"
    assert math.isnan(steering.get("1")["loss"])
    steering.step()
    assert steering.points == ["1", "2"], "no new point while one is not evaluated"


def test_a_scan_that_idds_steers(idds, tmp_path):
    point = write_scan_job(tmp_path, EVALUATE)
    steering = idds(max_points=9, batch=3)
    harvester = ScanHarvester(point, "4321", "99", steering, batch=3)
    mark = tmp_path.name
    arguments = ["harvest", "--access-point", str(point), "--payload", str(tmp_path / "payload.yaml"), "--nodes", "1"]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [*RAYTHENA, *arguments, "--cores", "2"],
            cwd=tmp_path,
            env={**os.environ, "E2E_MARK": mark},
            stdout=subprocess.DEVNULL,
            stderr=err,
        )
    killed = False
    while process.poll() is None:
        steering.step()
        harvester.step()
        if not killed and len(steering.told) > 4 and (victims := find(mark, "coordinator")):
            victims[0].kill()
            killed = True
        time.sleep(0.05)
    harvester.step()
    assert killed
    assert steering.is_over, (tmp_path / "err").read_text()
    assert sorted(steering.told, key=int) == [str(number) for number in range(1, 10)]
    for point_id, losses in steering.told.items():
        told = steering.get(point_id)
        assert len(set(losses)) == 1, "one loss for a point, ever"
        assert told["loss"] == losses[0] == pytest.approx((told["parameters"]["x"] - 1) ** 2, abs=1e-300)
    assert raythena_processes(mark) == []
