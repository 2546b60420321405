"""What several tests of payloads need."""

import subprocess
import sys
from pathlib import Path

import pytest

from needed_programs import compiler

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "stand_ins" / "python")]


@pytest.fixture(scope="session")
def event_loop(tmp_path_factory):
    """The C++ example, compiled with warnings as errors."""
    program = tmp_path_factory.mktemp("cpp") / "event_loop"
    include = ROOT / "src" / "raythena" / "payloads" / "include"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", f"-I{include}"]
    source = ROOT / "examples" / "cpp" / "event_loop.cpp"
    subprocess.run([*compiler("c++"), *flags, "-o", str(program), str(source), "-pthread"], check=True)
    return program
