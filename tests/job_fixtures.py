"""Fixtures of all directories with whole jobs: imported by their `conftest.py`."""

import subprocess
import uuid
from pathlib import Path

import pytest

from job_kit import raythena_processes
from needed_programs import compiler


@pytest.fixture
def mark():
    """A word in the environment of everything a test starts, by which its processes are found again; none may be left."""
    word = uuid.uuid4().hex
    yield word
    left = raythena_processes(word)
    for process in left:
        process.kill()
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def event_loop_program(tmp_path_factory):
    """The C++ example, compiled."""
    root = Path(__file__).parents[1]
    program = tmp_path_factory.mktemp("cpp") / "event_loop"
    include = root / "src/raythena/payloads/include"
    arguments = ["-std=c++17", "-O1", f"-I{include}", "-o", program, root / "examples/cpp/event_loop.cpp", "-pthread"]
    subprocess.run([*compiler("c++"), *arguments], check=True)
    return program
