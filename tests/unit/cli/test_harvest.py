"""`raythena harvest` where it does not come as far as a cluster: PanDA learns why, and the exit code says the same."""

import json
import signal
import subprocess
import sys
import time

import pytest

from raythena.domain.errors import ExitCode

RAYTHENA = (sys.executable, "-c", "from raythena.cli import main; main()")
PAYLOAD = "payload: {python: 'm:f'}\nmerge: concat\n"


@pytest.fixture
def point(tmp_path):
    directory = tmp_path / "point"
    directory.mkdir()
    (tmp_path / "payload.yaml").write_text(PAYLOAD)
    return directory


def harvest(point, *options):
    argv = [
        *RAYTHENA,
        "harvest",
        "--payload",
        str(point.parent / "payload.yaml"),
        "--access-point",
        str(point),
        "--patience",
        "0.1",
    ]
    return subprocess.Popen([*argv, *options], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(point):
    return json.loads((point / "worker_attributes.json").read_text())


def test_a_job_that_is_none(point):
    (point / "HPCJobs.json").write_text('{"1": {"PandaID": 1, "StatusCode": 20}}')
    command = harvest(point)
    _, errors = command.communicate(timeout=200)
    assert command.returncode == ExitCode.INVALID_INPUT
    assert "StatusCode" in errors
    assert "Traceback" not in errors
    assert told(point)["pilotErrorCode"] == 9004
    assert json.loads((point / "jobReport.json").read_text())["exitCode"] == ExitCode.INVALID_INPUT


def test_sigterm_while_the_job_is_waited_for(point):
    command = harvest(point, "--late-binding")
    deadline = time.monotonic() + 200
    while not (point / "worker_requestjob.json").exists():
        assert time.monotonic() < deadline
        assert command.poll() is None, command.communicate()
        time.sleep(0.05)
    command.send_signal(signal.SIGTERM)
    _, errors = command.communicate(timeout=200)
    assert command.returncode == 143, errors
    assert told(point)["pilotErrorCode"] == 1201


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--harvester-config", "/nowhere/panda_harvester.cfg"), "cannot be read"),
        (("--map-type", "ManyToOne"), "OneToOne or OneToMany"),
    ],
)
def test_what_the_site_has_set_wrong(point, options, words):
    command = harvest(point, *options)
    _, errors = command.communicate(timeout=200)
    assert command.returncode == ExitCode.INVALID_INPUT
    assert words in errors
