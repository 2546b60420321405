"""`raythena harvest` where it does not come as far as a cluster: PanDA learns why, and the exit code says the same."""

import json
import signal
import subprocess
import sys
import time

import pytest
import typer

from raythena.domain.errors import ExitCode
from raythena.domain.job import Job, MergeSpec, PayloadSpec

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


LOADING = """
import importlib.abc, os, signal, sys
class Killer(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Killer())
from raythena.cli import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "module",
    [
        "raythena.cli.app",
        "typer.main",
        "raythena.gateways.harvester.harvester_config",
        "raythena.cli.session",
        "raythena.monitor.display",
    ],
)
def test_sigterm_while_the_command_is_loading(point, module):
    """Whatever is being imported: PanDA learns of the end, and the exit code says the same."""
    (point / "HPCJobs.json").write_text('{"1": {"PandaID": 1, "StatusCode": 20}}')
    payload = str(point.parent / "payload.yaml")
    argv = [sys.executable, "-c", LOADING, module, "harvest", "--payload", payload, "--access-point", str(point)]
    command = subprocess.run([*argv, "--grace", "1"], capture_output=True, text=True, timeout=200, check=False)
    assert command.returncode == 143, command.stderr
    assert "Traceback" not in command.stderr
    assert told(point)["pilotErrorCode"] == 1201
    assert (point / "jobReport.json").exists()


@pytest.mark.parametrize(("nohup", "code", "told_code"), [(False, 143, 1201), (True, 3, 9004)])
def test_sighup_while_the_command_is_loading(point, nohup, code, told_code):
    """A session that has lost its terminal ends in order; under nohup nothing happens, and the job is read."""
    (point / "HPCJobs.json").write_text('{"1": {"PandaID": 1, "StatusCode": 20}}')
    payload = str(point.parent / "payload.yaml")
    loading = LOADING.replace("signal.SIGTERM", "signal.SIGHUP")
    argv = [sys.executable, "-c", loading, "typer.main", "harvest", "--payload", payload, "--access-point", str(point)]
    command = subprocess.run(
        [*(["nohup"] if nohup else []), *argv, "--grace", "1", "--patience", "0.1"],
        capture_output=True, text=True, timeout=200, check=False, cwd=point,
    )  # fmt: skip
    assert command.returncode == code, command.stderr
    assert told(point)["pilotErrorCode"] == told_code


def test_other_commands_end_with_a_signal_as_ever():
    argv = [sys.executable, "-c", LOADING, "raythena.cli.app", "config", "show"]
    assert subprocess.run(argv, capture_output=True, timeout=200, check=False).returncode == -signal.SIGTERM


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


def test_a_site_sets_how_long_harvester_is_waited_for(point):
    """Without a job: after one second of patience instead of 45."""
    began = time.monotonic()
    command = harvest(point, "--set", "harvester.answer_patience_s=1")
    _, errors = command.communicate(timeout=200)
    assert command.returncode == ExitCode.INVALID_INPUT
    assert "does not exist" in errors
    assert time.monotonic() - began < 30


def test_every_wait_has_a_setting_and_reaches_the_gateway(tmp_path):
    """The defaults are those of the gateway itself."""
    from dataclasses import asdict

    from raythena.cli.harvest import _patience
    from raythena.cli.settings import HarvesterSettings, Settings
    from raythena.gateways.harvester.access_point import AccessPoint
    from raythena.gateways.harvester.conversation import Patience
    from raythena.gateways.harvester.gateway import HarvesterGateway
    from raythena.gateways.harvester.harvester_config import FileNames
    from raythena.gateways.harvester.worker import HarvesterWorker
    from raythena.runtime.gateway_interface import GatewayContext

    assert _patience(Settings()) == Patience()
    own = HarvesterSettings(answer_patience_s=7, torn_patience_s=8, settle_s=9, first_poll_s=10, last_poll_s=11)
    patience = _patience(Settings(harvester=own))
    assert asdict(patience) == {"invisible_s": 7, "settle_s": 9, "torn_s": 8, "first_poll_s": 10, "last_poll_s": 11}
    spec = HarvesterWorker(AccessPoint(tmp_path, FileNames()), patience=patience).gateway(1.0)
    job = Job("panda", (), ("HITS",), PayloadSpec("python"), MergeSpec("none"), 1, job_id="1", ranges_given=True)
    gateway = HarvesterGateway(GatewayContext(job, "s", tmp_path, spec.options))
    assert gateway._messenger._patience == patience


@pytest.mark.parametrize(("nodes", "exit_code", "killed"), [("2", 8, True), ("1", 8, False), ("", 8, False), ("2", 0, False)])
def test_harvester_is_asked_to_kill_only_where_something_may_survive(point, monkeypatch, nodes, exit_code, killed):
    """A kill makes a worker a cancelled one: it is asked for only when the job has failed and other nodes may keep it alive."""
    from raythena.cli import harvest as module
    from raythena.domain.errors import ClusterError
    from raythena.gateways.harvester.last_word import Ending, LastWord
    from raythena.gateways.harvester.worker import HarvesterWorker

    monkeypatch.setenv("SLURM_JOB_NUM_NODES", nodes)
    monkeypatch.setattr(module, "_let_signals_end_it", lambda: None)
    monkeypatch.setattr(module, "_work", lambda _: (Ending(8, "lost", None), ClusterError("the cluster is lost")))
    monkeypatch.setattr(HarvesterWorker, "end", lambda *_: LastWord(exit_code, {}, "over"))
    with pytest.raises((ClusterError, typer.Exit)):
        module.harvest_command(point.parent / "payload.yaml", point)
    assert (point / "kill_worker.json").exists() == killed


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (OSError(28, "No space left on device", "/tmp/x"), ExitCode.STORAGE),
        (OSError(24, "Too many open files"), ExitCode.CLUSTER),
    ],
)
def test_what_the_system_refuses_is_told_to_panda_by_name(problem, code):
    from raythena.cli.harvest import _work

    def refused():
        raise problem

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)}
    try:
        ending, raised = _work(refused)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert ending.exit_code == code == raised.exit_code
    assert problem.strerror in str(raised)
