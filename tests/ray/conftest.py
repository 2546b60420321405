"""One real Ray cluster for all tests that may share one; those that break clusters bring their own."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "stand_ins" / "python"))

from ray_kit import SharedCluster, raythena_processes

from needed_programs import compiler


@pytest.fixture(scope="session")
def cluster():
    """Two logical nodes with one core each, shared by all tests that leave it as they found it."""
    with SharedCluster(nodes=2, cores=1) as shared:
        yield shared


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
    root = Path(__file__).parents[2]
    program = tmp_path_factory.mktemp("cpp") / "event_loop"
    include = root / "src/raythena/payloads/include"
    arguments = ["-std=c++17", "-O1", f"-I{include}", "-o", program, root / "examples/cpp/event_loop.cpp", "-pthread"]
    subprocess.run([*compiler("c++"), *arguments], check=True)
    return program


GROUPS = {
    "test_athenamp": "commands",
    "test_command": "commands",
    "test_limits": "commands",
    "test_security": "commands",
    "test_pilot_alone": "pilots without Ray",
    "test_pilot_words": "pilots without Ray",
}
"""Modules whose tests do not share the cluster, by the process that runs them; the rest of those goes to `payloads`."""


@pytest.hookimpl(tryfirst=True)  # before the plug-in that reads the groups
def pytest_collection_modifyitems(items):
    """Tests that share the cluster run one after the other in one process, the others in two more: three clusters at a time."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            own = GROUPS.get(item.path.stem, "payloads")
            item.add_marker(pytest.mark.ray)
            item.add_marker(pytest.mark.xdist_group("shared cluster" if "cluster" in item.fixturenames else own))
