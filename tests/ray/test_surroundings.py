"""Where a command is started and what is in the environment there reach neither Ray nor us."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from job_kit import RAYTHENA, eventually, make_job
from raythena.domain.errors import ExitCode

MODULES = ("numpy", "secrets", "msgspec", "aiohttp", "uproot", "ray", "psutil")
VARIABLES = {
    "RAY_REDIS_ADDRESS": "192.0.2.1:6379",
    "RAY_ADDRESS": "192.0.2.1:6379",
    "RAY_memory_usage_threshold": "0.01",
    "RAY_NAMESPACE": "somebody",
    "RAY_BACKEND_LOG_LEVEL": "debug",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONPATH": ":.",
    "GRPC_DNS_RESOLVER": "no such",
}


def test_a_job_runs_among_modules_and_variables_of_the_user(tmp_path):
    """The job file lies elsewhere: its own directory is where functions it names are looked for."""
    toy = make_job(tmp_path / "job", [12], 12, {"cpu_s": 0.02, "as_file": False})
    here = tmp_path / "here"
    here.mkdir()
    for name in MODULES:
        (here / f"{name}.py").write_text(f"raise SystemExit('{name} of the user was imported')\n")
    program = [str(Path(sys.executable).parent / "raythena"), "run", str(toy.path), "--taskdir", str(toy.task), "--nodes", "2"]
    found = subprocess.run(
        program, cwd=here, env={**os.environ, **VARIABLES}, capture_output=True, text=True, timeout=250, check=False
    )
    assert found.returncode == ExitCode.OK, found.stderr
    toy.assert_complete()
    logs = "\n".join(path.read_text(errors="replace") for path in (toy.task / "logs").rglob("*.log"))
    assert "of the user" not in logs


@pytest.mark.parametrize("output", ["> /dev/full 2> /dev/full", ">&- 2>&- <&-"])
def test_a_job_that_is_complete_says_so_by_its_exit_code_even_if_nobody_can_be_told(tmp_path, output):
    toy = make_job(tmp_path, [12], 12, {"cpu_s": 0.02, "as_file": False})
    options = f"--taskdir {toy.task} --nodes 1 --set runtime.scratch_dir={toy.scratch}"
    line = f"{' '.join(map(shlex.quote, RAYTHENA))} run {toy.path} {options} {output}"
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, timeout=200, check=False).returncode == ExitCode.OK
    toy.assert_complete()


def test_a_place_for_ray_can_be_chosen(tmp_path):
    toy = make_job(tmp_path, [12], 12, {"cpu_s": 0.02, "as_file": False})
    with tempfile.TemporaryDirectory(prefix="r", dir="/dev/shm") as place:
        options = ["--taskdir", str(toy.task), "--nodes", "1", "--set", f"runtime.ray_dir={place}", "--display", "quiet"]
        with subprocess.Popen([*RAYTHENA, "run", str(toy.path), *options], cwd=tmp_path) as command:
            eventually(lambda: any(Path(place).glob("rt-*/*")), "files of Ray in the place chosen", 60)
            assert command.wait(200) == ExitCode.OK
        assert not any(Path(place).glob("rt-*"))
    toy.assert_complete()
