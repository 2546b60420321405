"""Payload `process`: programs that cannot run, what programs are told, and the C++ client."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from needed_programs import compiler
from raythena.domain.errors import InvalidInput, PayloadError
from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.payloads.workers.program import check_options, find_program
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext, Released, Started, payload_plugin

ROOT = Path(__file__).resolve().parents[3]
CLIENT = "import os, sys, json\nfrom raythena.payloads.workers.event_server import EventServer\n"
STRANGE = 'naïve "quote" \\ / 🚀 \t é\u2028\x7f'


def compute(directory, options, events=1, cores=1, lfn="lfn"):
    """Outcomes by range index, with the bytes of each output."""

    async def run():
        payload = payload_plugin("process").factory()
        context = PayloadContext("n", cores, directory / "scratch", options, "job", directory / "logs", first_time_limit_s=20.0)
        await payload.start(context)
        try:
            payload.feed([LeasedRange(n, EventRange(f"id-{n}", lfn, "/pfn", "guid", n, n + 1)) for n in range(events)])
            found = {}
            while len(found) < events:
                for outcome in await payload.poll(5.0):
                    if not isinstance(outcome, Started | Released):
                        found[outcome.index] = (outcome, content(outcome))
            return found
        finally:
            await payload.stop()

    return asyncio.run(run())


def content(outcome):
    if isinstance(outcome, Done):
        return outcome.path.read_bytes()[outcome.offset : outcome.offset + outcome.size_bytes]
    return None


def script(text, *arguments):
    return [sys.executable, "-c", CLIENT + text, *arguments]


def test_what_a_program_is_told(tmp_path):
    text = (
        "for e in EventServer():\n"
        "  facts = [e.id, e.lfn, e.pfn, e.guid, e.first, e.last, e.attempt, os.getcwd(), sys.stdin.read(), sys.argv[1:]]\n"
        "  facts += [os.environ[n] for n in ('COLOUR', 'SIZE', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'RAYTHENA_WORKER')]\n"
        "  e.done_bytes(json.dumps(facts).encode())\n"
    )
    environment = {"COLOUR": "blue", "SIZE": 3, "MKL_NUM_THREADS": "2"}
    options = {"command": script(text, "a b", "$HOME"), "environment": environment, "directory": str(tmp_path)}
    facts = json.loads(compute(tmp_path, options, lfn=STRANGE)[0][1])
    assert facts == ["id-0", STRANGE, "/pfn", "guid", 0, 1, 1, str(tmp_path), "", ["a b", "$HOME"], "blue", "3", "1", "2", "0"]


def test_what_a_program_prints_is_kept_and_quoted(tmp_path):
    text = "for e in EventServer():\n  print('cells: none', flush=True)\n  sys.exit('out of memory')"
    outcome, _ = compute(tmp_path, {"command": script(text)})[0]
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.CRASH
    assert "exited with status 1" in outcome.message
    assert "cells: none | out of memory" in outcome.message
    assert "cells: none" in (tmp_path / "logs" / "worker_0.log").read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("for e in EventServer(): pass", "answered with neither done nor failed"),
        ("for e in EventServer():\n  e.failed('x')\n  e.failed('y')", "is not the current one"),
    ],
)
def test_the_python_client_refuses_misuse(tmp_path, text, complaint):
    compute(tmp_path, {"command": script(text)}, 2)
    assert complaint in (tmp_path / "logs" / "worker_0.log").read_text()


def test_a_program_that_never_connects_ends_the_payload(tmp_path):
    with pytest.raises(PayloadError, match=r"3 workers in a row.*exited with status 3.*no licence"):
        compute(tmp_path, {"command": ["sh", "-c", "echo no licence; exit 3"]})


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("no-such-program-anywhere", "in PATH"),
        ("./missing", "no such program"),
        ("/etc", "is a directory"),
        ("/etc/passwd", "chmod"),
    ],
)
def test_programs_that_cannot_run_are_told_at_the_start(tmp_path, name, complaint):
    with pytest.raises(PayloadError, match=complaint):
        compute(tmp_path, {"command": [name]})


def test_a_file_that_is_no_program_ends_the_payload(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"\x00\x01")
    path.chmod(0o755)
    with pytest.raises(PayloadError, match="Exec format error"):
        compute(tmp_path, {"command": [str(path)]})


def test_a_relative_program_is_found_in_the_directory(tmp_path):
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    assert find_program("./run", tmp_path, None) == str(tmp_path / "./run")
    assert find_program("run", None, str(tmp_path)) == str(tmp_path / "run")
    assert Path(find_program("sh", None, os.environ["PATH"])).is_absolute()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "command"),
        ({"command": []}, "command"),
        ({"command": "./run --fast"}, "command"),
        ({"command": [""]}, "command"),
        ({"command": ["a", 1]}, "command"),
        ({"command": ["a\0"]}, "command"),
        ({"command": ["a"], "environment": ["X=1"]}, "environment"),
        ({"command": ["a"], "environment": {"X": [1]}}, "environment.X"),
        ({"command": ["a"], "environment": {"X=": "1"}}, "environment.X="),
        ({"command": ["a"], "environment": {"X": True}}, "environment.X"),
        ({"command": ["a"], "directory": "/no/such/place"}, "directory"),
        ({"command": ["a"], "comand": ["a"]}, "comand"),
    ],
)
def test_options_that_cannot_work_are_refused(options, field):
    with pytest.raises(InvalidInput) as refusal:
        check_options(options, "job.yaml")
    assert refusal.value.field == f"payload.options.{field}"


def test_the_cpp_header_reads_and_writes_json(tmp_path):
    program = tmp_path / "event_server_test"
    include = ROOT / "src/raythena/payloads/include"
    source = Path(__file__).with_name("event_server_test.cpp")
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{include}"]
    subprocess.run([*compiler("c++"), *flags, "-o", program, source], check=True)
    checks = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (checks.returncode, checks.stdout) == (0, "")


@pytest.mark.parametrize("mode", ["file", "spool"])
def test_the_cpp_example_computes_events(tmp_path, event_loop, mode):
    found = compute(tmp_path, {"command": [str(event_loop), "--mode", mode]}, 200, cores=2, lfn=STRANGE)
    assert [json.loads(text) for _, text in (found[n] for n in range(200))] == [
        {"lfn": STRANGE, "EventNumber": n} for n in range(200)
    ]
    assert {outcome.whole_file for outcome, _ in found.values()} == {mode == "file"}


def test_the_cpp_example_says_what_is_wrong_with_its_options(tmp_path, event_loop):
    with pytest.raises(PayloadError, match="event_loop: unknown option --colour blue"):
        compute(tmp_path, {"command": [str(event_loop), "--colour", "blue"]})


# ---- workers of several cores, ranges of several events


def compute_events(directory, options, events, cores):
    """As `compute`, of single events, with how often what failed and what people are told."""

    async def run():
        payload = payload_plugin("process").factory()
        context = PayloadContext("n", cores, directory / "scratch", options, "job", directory / "logs", first_time_limit_s=20.0)
        await payload.start(context)
        try:
            payload.feed([LeasedRange(n, EventRange(f"id-{n}", "lfn", "/pfn", "guid", n, n)) for n in range(1, events + 1)])
            found, others = {}, []
            while len(found) < events:
                for outcome in await payload.poll(5.0):
                    if isinstance(outcome, Done | Failed):
                        found[outcome.index] = (outcome, content(outcome))
                    else:
                        others.append(outcome)
            return found, others
        finally:
            await payload.stop()

    return asyncio.run(run())


THREADS = (
    "import threading, time\n"
    "server = EventServer()\n"
    "barrier = threading.Barrier(server.ranges_in_flight)\n"
    "def loop():\n"
    "  for e in server:\n"
    "    barrier.wait(10)\n"
    "    e.done_bytes(json.dumps([e.first, server.cores, os.environ['OMP_NUM_THREADS']]).encode())\n"
    "threads = [threading.Thread(target=loop) for _ in range(server.ranges_in_flight)]\n"
    "for t in threads: t.start()\n"
    "for t in threads: t.join()\n"
)


def test_threads_of_one_process_compute_side_by_side(tmp_path):
    """None gets past the barrier unless as many ranges are in work as are to be in flight."""
    options = {"command": script(THREADS), "cores_per_worker": 8, "ranges_in_flight": 4}
    found, _ = compute_events(tmp_path, options, 40, cores=8)
    assert [json.loads(found[n][1]) for n in range(1, 41)] == [[n, 8, "2"] for n in range(1, 41)]
    assert len(list((tmp_path / "logs").iterdir())) == 1, "one process"


def test_a_node_too_small_for_a_worker_is_told(tmp_path):
    options = {"command": ["cat"], "cores_per_worker": 4}
    with pytest.raises(PayloadError, match=r"a worker has 4 cores \(cores_per_worker\), the node only 2"):
        compute_events(tmp_path, options, 1, cores=2)


def test_python_answers_ranges_of_several_events(tmp_path):
    text = "for e in EventServer():\n  e.done_each([f'{e.id} {n}'.encode() for n in range(e.first, e.last + 1)])\n"
    found, _ = compute_events(tmp_path, {"command": script(text), "events_per_range": 3}, 10, cores=1)
    texts = [found[n][1].decode() for n in range(1, 11)]
    assert [int(text.split()[1]) for text in texts] == list(range(1, 11))
    assert any(text.startswith("id-1..3 ") for text in texts)


def test_one_output_for_several_events_is_no_answer(tmp_path):
    """It works nevertheless, event by event, and people are told why it is slow."""
    text = "for e in EventServer():\n  e.done_bytes(b'x')\n"
    found, others = compute_events(tmp_path, {"command": script(text), "events_per_range": 5}, 5, cores=1)
    assert all(isinstance(outcome, Done) for outcome, _ in found.values())
    assert any("one output for 5 events" in getattr(outcome, "text", "") for outcome in others)


@pytest.fixture(scope="module")
def threads(tmp_path_factory):
    """The example with threads."""
    program = tmp_path_factory.mktemp("threads") / "threads"
    include = ROOT / "src" / "raythena" / "payloads" / "include"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{include}", "-pthread"]
    subprocess.run([*compiler("c++"), *flags, ROOT / "examples" / "cpp" / "threads.cpp", "-o", program], check=True)
    return str(program)


@pytest.mark.parametrize("events_per_range", [1, 7])
def test_threads_in_cpp(tmp_path, threads, events_per_range):
    shape = {"cores_per_worker": 4, "ranges_in_flight": 4, "events_per_range": events_per_range}
    found, _ = compute_events(tmp_path, {"command": [threads, "--event-ms", "1"], **shape}, 200, cores=4)
    assert [json.loads(found[n][1])["EventNumber"] for n in range(1, 201)] == list(range(1, 201))


def test_of_many_threads_and_events_only_the_culprits_are_charged(tmp_path, threads):
    shape = {"cores_per_worker": 4, "ranges_in_flight": 4, "events_per_range": 5}
    command = [threads, "--event-ms", "1", "--crash", "33", "--fail", "71"]
    found, _ = compute_events(tmp_path, {"command": command, **shape}, 100, cores=4)
    failed = {n: outcome.kind for n, (outcome, _) in found.items() if isinstance(outcome, Failed)}
    assert failed == {33: FailureKind.CRASH, 71: FailureKind.REPORTED}
    assert all(json.loads(text)["EventNumber"] == n for n, (_, text) in found.items() if n not in failed)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("events_per_range", 0),
        ("events_per_range", 1001),
        ("events_per_range", True),
        ("cores_per_worker", "8"),
        ("cores_per_worker", -1),
        ("ranges_in_flight", 1.5),
        ("ranges_in_flight", 0),
    ],
)
def test_shapes_that_no_worker_can_have_are_refused(option, value):
    with pytest.raises(InvalidInput, match=f"job: payload.options.{option}: is {value!r}; expected a whole number from 1"):
        check_options({"command": ["cat"], option: value}, "job")
