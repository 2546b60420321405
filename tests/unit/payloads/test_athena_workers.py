"""Which worker has a range, which processes are its own, and what they take: from real logs and real processes."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from raythena.payloads import athena_workers
from raythena.payloads.athena_workers import AthenaWorkers, WorkerLog, processes_in
from raythena.runtime.node_memory import NodeMemory

MB = 1 << 20
TAKING = """
import subprocess, sys
block = bytearray(int(sys.argv[1]) << 20)
child = subprocess.Popen([sys.executable, "-c", sys.argv[2]], cwd="/") if sys.argv[2:] else None
print("taken", flush=True)
sys.stdin.read()
if child:
    child.kill()
    child.wait()
"""
CHILD = "block = bytearray(60 << 20); import time; time.sleep(3600)"


@pytest.fixture
def place(tmp_path):
    worker = tmp_path / "athenaMP-workers-EVNTtoHITS-sim" / "worker_0"
    worker.mkdir(parents=True)
    return worker


def received(place, *tokens):
    with (place / "AthenaMP.log").open("a") as log:
        log.writelines(f"INFO Received RangeID={token}\n" for token in tokens)


def test_the_worker_that_has_a_range_is_the_one_that_received_it_last(place, tmp_path):
    other = place.parent / "worker_1"
    other.mkdir()
    received(place, "a", "b")
    received(other, "c", "a")
    workers = AthenaWorkers(tmp_path)
    assert workers.worker_of("a") == other
    assert workers.worker_of("b") == place
    assert workers.worker_of("c") is None
    received(place, "d")
    assert workers.by_range() == {"d": place, "a": other}


def test_a_range_is_known_however_much_the_worker_says_about_it(place, tmp_path):
    received(place, "a")
    with (place / "AthenaMP.log").open("a") as log:
        log.write("verbose\n" * 100_000)
    assert AthenaWorkers(tmp_path).worker_of("a") == place


def test_a_log_is_read_once_however_often_it_is_asked(place, monkeypatch):
    """Counted in bytes: reading all of it anew for each range would make a job's cost grow with its square."""
    log, scanned = WorkerLog(place / "AthenaMP.log"), []
    pattern = athena_workers._RECEIVED

    class Counting:
        def finditer(self, text):
            scanned.append(len(text))
            return pattern.finditer(text)

    monkeypatch.setattr(athena_workers, "_RECEIVED", Counting())
    for number in range(200):
        received(place, f"range-{number}")
        log.read()
        log.read()
        assert log.token == f"range-{number}"
    assert sum(scanned) == (place / "AthenaMP.log").stat().st_size


def test_a_line_that_never_ends_is_not_kept(place):
    path, log = place / "AthenaMP.log", WorkerLog(place / "AthenaMP.log")
    path.write_bytes(b"x" * (3 * MB) + b" Received Ran")
    log.read()
    assert log.token == ""
    assert len(log._rest) <= 4096
    with path.open("ab") as stream:
        stream.write(b"geID=a")
    log.read()
    with path.open("ab") as stream:
        stream.write(b"bc\n")
    log.read()
    assert log.token == "abc"


def test_the_processes_of_a_worker_are_those_in_its_directory(place):
    link = place.parent / "the-same"
    link.symlink_to(place)
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=link, stdin=subprocess.PIPE) as process:
        assert processes_in(place, os.getpid()) == [process.pid]
        assert processes_in(place.parent, os.getpid()) == []
        assert processes_in(place, process.pid) == [], "below the process, not the process itself"
        process.communicate(b"\n")
    assert processes_in(place / "gone", os.getpid()) == []


def take(stack, place, *words):
    command = [sys.executable, "-c", TAKING, *words]
    process = stack.enter_context(subprocess.Popen(command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    assert process.stdout.readline() == b"taken\n"
    return process


def test_memory_is_that_of_the_worker_with_all_it_has_started(place, tmp_path):
    other = place.parent / "worker_1"
    other.mkdir()
    received(place, "a")
    received(other, "b")
    workers = AthenaWorkers(tmp_path)
    with ExitStack() as stack:
        take(stack, place, "50", CHILD)
        take(stack, other, "20")
        take(stack, tmp_path, "30")
        own = NodeMemory().of_process(os.getpid())
        while (taken := workers.memory(os.getpid(), NodeMemory())).of_ranges["a"] < 110 * MB:
            pass  # the child is still starting
        assert set(taken.of_ranges) == {"a", "b"}
        assert 20 * MB < taken.of_ranges["b"] < 50 * MB
        assert taken.rest > 30 * MB + own // 2


def test_a_worker_is_killed_by_the_range_it_has(place, tmp_path):
    received(place, "a")
    workers = AthenaWorkers(tmp_path)
    with ExitStack() as stack:
        process = take(stack, place, "1")
        assert not workers.kill("unknown", os.getpid())
        assert process.poll() is None
        assert workers.kill("a", os.getpid())
        assert process.wait(60) == -9
    assert not workers.kill("a", os.getpid()), "nobody is there any more"
    assert Path(place).exists()
