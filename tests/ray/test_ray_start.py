"""A node of Ray's started by ours: which processes it is, and that it ends with any of them."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from job_kit import MARK, eventually, find, raythena_processes
from raythena.launch.addresses import free_port
from raythena.launch.ray_environment import ray_environment, start_head, without_ray, write_token

HELPERS = ("dashboard/dashboard.py", "dashboard/agent.py", "runtime_env/agent/main.py", "log_monitor.py", "monitor.py")


@pytest.mark.parametrize(("role", "program"), [("raylet", "raylet"), ("head", "gcs_server")])
def test_a_head_has_no_helpers_and_ends_with_any_process_of_its_own(tmp_path, mark, role, program):
    with tempfile.TemporaryDirectory(prefix="rt-", dir="/tmp") as place:
        token = Path(place) / "token"
        write_token(token)
        inherited = {name: value for name, value in os.environ.items() if name not in without_ray(os.environ)}
        environment = {**inherited, **ray_environment(token), "PYTHONUNBUFFERED": "1", MARK: mark}
        argv = start_head("127.0.0.1", free_port("127.0.0.1"), Path(place) / "ray", 1, "raythena_core")
        said = tmp_path / "said"
        with said.open("wb") as out:
            process = subprocess.Popen(argv, env=environment, stdout=out, stderr=out)
        eventually(lambda: "the node is up" in said.read_text(), "a node")
        running = [one.command for one in raythena_processes(mark)]
        assert sum(command == "cat" for command in running) == 2, "one in place of each agent"
        words = [word for command in running if "/raylet/raylet" not in command for word in command.split()]
        assert not [word for word in words if word.endswith(HELPERS)], running
        find(mark, role)[0].kill()
        assert process.wait(60) == 1
        eventually(lambda: not raythena_processes(mark), "nothing left")
        assert f"{program} ended with -9" in said.read_text()
