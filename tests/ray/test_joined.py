"""A job in a Ray cluster of somebody else's: agents of ours work there, and afterwards it is as it was."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from job_kit import RAYTHENA, make_job
from raythena.runtime.process_guard_main import living_processes

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
LIMIT_S = 120.0


def eventually(condition, what):
    deadline = time.monotonic() + LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return value


class ForeignRay:
    """One node with two processors, started by somebody who does not know us."""

    def __init__(self, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environ["RAY_AUTH_MODE"] = "disabled"
        port = self.address.rpartition(":")[2]
        words = ["start", "--head", "--block", "--include-dashboard=false", "--disable-usage-stats", "--num-cpus=2"]
        argv = [sys.executable, "-m", "ray.scripts.scripts", *words, "--node-ip-address=127.0.0.1", f"--port={port}"]
        self.process = subprocess.Popen(
            [*argv, f"--temp-dir={directory}"],
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(lambda: self.said("print(len(ray.nodes()))") == "1", "the foreign Ray")

    def said(self, code):
        """What one of its own users gets to see."""
        text = f"import ray; ray.init({self.address!r}, log_to_driver=False, logging_level='ERROR'); {code}"
        done = subprocess.run(
            [sys.executable, "-c", text], env=self.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        return done.stdout.strip().rpartition("\n")[2]

    def is_as_before(self):
        """Its processors are free, and nobody is left in it."""
        seen = self.said("print(ray.available_resources().get('CPU'), ray.util.list_named_actors(all_namespaces=True))")
        return seen == "2.0 []" and self.process.poll() is None

    def end(self):
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def foreign():
    with tempfile.TemporaryDirectory(prefix="fr-", dir="/tmp") as directory:
        ray = ForeignRay(directory)
        yield ray
        ray.end()


def run(toy, foreign):
    argv = [*RAYTHENA, "run", str(toy.path), "--taskdir", str(toy.task), "--on", "ray", "--display", "lines"]
    address = ["--set", f"launch.ray_address={foreign.address}"]
    return subprocess.Popen([*argv, *address], env=foreign.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ours(toy):
    """Processes that work on the task, whoever started them."""
    return [pid for pid, _ in living_processes() if str(toy.task).encode() in _words(pid)]


def _words(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_a_job_runs_there_and_leaves_it_alone(foreign, tmp_path):
    toy = make_job(tmp_path, [40], 20)
    output, _ = run(toy, foreign).communicate(timeout=300)
    assert "complete: every event is in an output" in output
    toy.assert_complete()
    assert "core-seconds on 2 cores" in output
    eventually(foreign.is_as_before, "the cluster as it was")


def test_whoever_kills_the_command_leaves_nothing_of_it_there(foreign, tmp_path):
    toy = make_job(tmp_path, [4000], 2000, {"wall_s": 0.1})
    command = run(toy, foreign)
    eventually(lambda: "2.0" not in foreign.said("print(ray.available_resources().get('CPU'))"), "an agent with cores of its own")
    command.kill()
    command.communicate()
    eventually(foreign.is_as_before, "the cluster as it was")
    eventually(lambda: not ours(toy), "the end of all processes of ours")
