"""What several tests of payloads need."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from needed_programs import compiler

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "stand_ins" / "python")]


@pytest.fixture(scope="session")
def event_loop(tmp_path_factory, worker_id):
    """The C++ example, compiled with warnings as errors; once for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    directory = (base if worker_id == "master" else base.parent) / "cpp"
    directory.mkdir(exist_ok=True)
    program = directory / "event_loop"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            compile_event_loop(program.with_suffix(".new"))
            program.with_suffix(".new").rename(program)
    return program


def compile_event_loop(program):
    include = ROOT / "src" / "raythena" / "payloads" / "include"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", f"-I{include}"]
    source = ROOT / "examples" / "cpp" / "event_loop.cpp"
    subprocess.run([*compiler("c++"), *flags, "-o", str(program), str(source), "-pthread"], check=True)
