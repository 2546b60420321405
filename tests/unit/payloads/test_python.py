"""Payload `python`: what is particular to it, with real processes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raythena.domain.bundle import bundled
from raythena.domain.errors import InvalidInput, PayloadError
from raythena.domain.job import InputFile, Job, MergeSpec, OutputStream, PayloadSpec
from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.payloads.workers.python import check_options
from raythena.runtime.payload_interface import (
    Done,
    Failed,
    LeasedRange,
    PayloadContext,
    Released,
    Remark,
    Started,
    payload_plugin,
)
from raythena.runtime.process_guard_main import descendants
from raythena.testing.payload_conformance import processes_of

HERE = Path(__file__).parent
MODULE = """
import json, os, random, sys, time
from pathlib import Path
import numpy as np

def setup(options):
    print("setting up", flush=True)
    if options.get("broken"): raise RuntimeError("no geometry")
    if options.get("dies"): os._exit(3)
    if options.get("slow"): time.sleep(1000)
    return {"geometry": os.getpid(), "counts": []}

def facts(event_range, context):
    context.state["counts"].append(event_range.first_event)
    r = event_range
    facts = {"range": [r.range_id, r.lfn, r.pfn, r.guid, r.first_event, r.last_event]}
    facts |= {"geometry": context.state["geometry"], "seen": len(context.state["counts"]), "options": context.options}
    facts |= {"pid": os.getpid(), "worker": context.worker, "threads": os.environ["OMP_NUM_THREADS"]}
    facts |= {"random": [random.random(), float(np.random.random())]}
    facts |= {"names": [str(context.new_output(".a")) for _ in range(2)]}
    return json.dumps(facts).encode()

def ways(event_range, context):
    way = context.options["ways"][event_range.first_event]
    if way == "none": return None
    if way == "number": return 3
    if way == "text path": return str(_file(context))
    if way == "path": return _file(context)
    if way == "bytearray": return bytearray(b"data")
    if way == "empty": return b""
    if way == "raise": raise ValueError("seven is right out")
    if way == "sys.exit": sys.exit(4)
    if way == "exit text": sys.exit("goodbye")
    if way == "os._exit": os._exit(0)
    if way == "abort": os.abort()
    if way == "interrupt": raise KeyboardInterrupt
    if way == "print": print("the last words", flush=True); os.abort()
    if way == "elsewhere": return Path("/etc/passwd")

def _file(context):
    path = context.new_output(".txt"); path.write_text("data"); return path

def many(event_range, context):
    way = context.options.get("way")
    numbers = range(event_range.first_event, event_range.last_event + 1)
    if way == "short" and len(numbers) > 1: return [b"x"]
    if way == "numbers": return [number for number in numbers]
    if context.options.get("bad") in numbers: raise ValueError("seven is right out")
    return [f"{number} of {len(numbers)} {os.environ['OMP_NUM_THREADS']}".encode() for number in numbers]

def streams(event_range, context):
    way = context.options.get(str(event_range.first_event))
    if event_range.first_event != event_range.last_event:
        return [{"HITS": b"h%d" % n, "LOG": b"l"} for n in range(event_range.first_event, event_range.last_event + 1)]
    path = _file(context)
    both = {"HITS": path, "LOG": b"log of %d" % event_range.first_event}
    if way == "no log": del both["LOG"]
    if way == "more": both["EXTRA"] = b"x"
    if way == "empty": both["LOG"] = b""
    if way == "number": both["LOG"] = 3
    if way == "one": return b"data"
    if way == "gone": path.unlink()
    return both

def endless(event_range, context):
    os.fork() or time.sleep(1000)
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("modules")
    (directory / "physics_of_test.py").write_text(MODULE)
    (directory / "does_not_import.py").write_text("import no_such_library")
    return str(directory)


@contextlib.asynccontextmanager
async def running(directory, options, cores=1, **limits):
    payload = payload_plugin("python").factory()
    await payload.start(PayloadContext("n", cores, directory / "scratch", options, "job", directory / "logs", **limits))
    try:
        yield payload
    finally:
        await payload.stop()


async def outcomes_of(payload, events):
    payload.feed([LeasedRange(n, EventRange(f"id-{n}", "lfn", "/pfn", "guid", n, n)) for n in range(events)])
    found = {}
    while len(found) < events:
        for outcome in await payload.poll(5.0):
            if not isinstance(outcome, Started | Released | Remark):
                found[outcome.index] = outcome
    return found


def compute(directory, options, events, cores=1, **limits):
    async def run():
        async with running(directory, options, cores, **limits) as payload:
            found = await outcomes_of(payload, events)
            return found, [content(found[n]) for n in sorted(found)]

    return asyncio.run(run())


def content(outcome):
    if not isinstance(outcome, Done):
        return None
    return outcome.path.read_bytes()[outcome.offset : outcome.offset + outcome.size_bytes]


def test_function_gets_range_context_and_state(tmp_path, place):
    options = {"function": "physics_of_test:facts", "setup": "physics_of_test:setup", "options": {"a": [1]}, "path": [place]}
    _, contents = compute(tmp_path, options, 40, cores=2)
    facts = [json.loads(text) for text in contents]
    assert facts[7]["range"] == ["id-7", "lfn", "/pfn", "guid", 7, 7]
    assert all(fact["options"] == {"a": [1]} and fact["threads"] == "1" for fact in facts)
    assert len({fact["geometry"] for fact in facts}) == 1, "set up once, for all workers"
    assert {fact["geometry"] for fact in facts}.isdisjoint({fact["pid"] for fact in facts})
    assert {fact["worker"] for fact in facts} <= {0, 1}
    for pid in {fact["pid"] for fact in facts}:
        mine = [fact for fact in facts if fact["pid"] == pid]
        assert sorted(fact["seen"] for fact in mine) == list(range(1, len(mine) + 1)), "state is kept between events"
    assert len({tuple(fact["random"]) for fact in facts}) == 40, "workers do not share random numbers"
    names = [name for fact in facts for name in fact["names"]]
    assert len(set(names)) == len(names)
    assert (tmp_path / "logs" / "zygote.log").read_text().count("setting up") == 1


WAYS = {
    "path": None,
    "text path": None,
    "bytearray": None,
    "none": (FailureKind.REPORTED, "returned NoneType"),
    "number": (FailureKind.REPORTED, "returned int"),
    "raise": (FailureKind.REPORTED, "ValueError: seven is right out"),
    "empty": (FailureKind.BAD_OUTPUT, "0 bytes"),
    "elsewhere": (FailureKind.BAD_OUTPUT, "outside"),
    "sys.exit": (FailureKind.CRASH, "exited with status 4"),
    "exit text": (FailureKind.CRASH, "exited with status 1"),
    "os._exit": (FailureKind.CRASH, "exited with status 0"),
    "interrupt": (FailureKind.CRASH, "KeyboardInterrupt"),
    "abort": (FailureKind.CRASH, "SIGABRT"),
    "print": (FailureKind.CRASH, "the last words"),
}


def test_every_way_to_end(tmp_path, place):
    options = {"function": "physics_of_test:ways", "path": [place], "options": {"ways": list(WAYS)}}
    outcomes, contents = compute(tmp_path, options, len(WAYS))
    for number, (way, failure) in enumerate(WAYS.items()):
        if failure is None:
            assert contents[number] == b"data", way
        else:
            assert isinstance(outcomes[number], Failed), (way, outcomes[number])
            assert outcomes[number].kind is failure[0], way
            assert failure[1] in outcomes[number].message, way


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"function": "no_module_of_this_name:f"}, "No module named 'no_module_of_this_name'"),
        ({"function": "does_not_import:f"}, "No module named 'no_such_library'"),
        ({"function": "physics_of_test:nothing"}, "has no attribute 'nothing'"),
        ({"function": "physics_of_test:os"}, "is not a function"),
        ({"function": "physics_of_test:facts", "setup": "physics_of_test:setup", "options": {"broken": 1}}, "no geometry"),
        ({"function": "physics_of_test:facts", "setup": "physics_of_test:setup", "options": {"dies": 1}}, "exited with status 3"),
        (
            {"function": "physics_of_test:facts", "setup": "physics_of_test:setup", "options": {"slow": 1}},
            "not loaded and set up",
        ),
    ],
)
def test_a_function_that_cannot_be_loaded_is_a_payload_error(tmp_path, place, options, complaint):
    limit_s = 1.0 if "slow" in str(options) else 60.0
    with pytest.raises(PayloadError) as refusal:
        compute(tmp_path, {"path": [place]} | options, 1, first_time_limit_s=limit_s)
    assert complaint in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "function"),
        ({"function": "module"}, "function"),
        ({"function": "a:b c"}, "function"),
        ({"function": ["a:b"]}, "function"),
        ({"function": "a:b", "setup": "c"}, "setup"),
        ({"function": "a:b", "path": "/here"}, "path"),
        ({"function": "a:b", "path": [1]}, "path"),
        ({"function": "a:b", "options": [1]}, "options"),
        ({"function": "a:b", "func": "a:b"}, "func"),
    ],
)
def test_options_that_cannot_work_are_refused(options, field):
    with pytest.raises(InvalidInput) as refusal:
        check_options(options, "job.yaml")
    assert refusal.value.source == "job.yaml"
    assert refusal.value.field == f"payload.options.{field}"


AGENT = """
import asyncio, sys
from pathlib import Path
from test_python import *
async def main():
    async with running(Path(sys.argv[1]), {"function": "physics_of_test:endless", "path": [sys.argv[2]]}, 2) as payload:
        payload.feed([LeasedRange(n, EventRange("id", "lfn", "/pfn", "guid", n, n)) for n in range(2)])
        while not [o for o in await payload.poll(5.0) if isinstance(o, Started)]: pass
        print("going", flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
"""


def test_no_orphans_when_the_agent_is_killed(tmp_path, place):
    command = [sys.executable, "-c", AGENT, str(tmp_path), place]
    before = set(descendants(os.getpid()))  # helpers that earlier tests left with this process
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE)}, stdout=subprocess.PIPE) as agent:
        assert agent.stdout.readline() == b"going\n"
        assert len(processes_of(tmp_path / "scratch", before)) >= 2
        agent.send_signal(signal.SIGKILL)
        agent.wait(10)
    deadline = time.monotonic() + 30  # of a busy machine
    while processes_of(tmp_path / "scratch", before):
        assert time.monotonic() < deadline, "processes outlived their agent"
        time.sleep(0.02)


# ---- ranges of several events


def many(tmp_path, place, events, cores=1, **options):
    shape = {"events_per_range": 4, "cores_per_worker": options.pop("cores_per_worker", 1)}
    return compute(tmp_path, {"function": "physics_of_test:many", "path": [place], "options": options, **shape}, events, cores)


def test_a_function_is_called_once_for_several_events(tmp_path, place):
    _, contents = many(tmp_path, place, 12, cores=2, cores_per_worker=2)
    texts = [contents[n].decode().split() for n in range(12)]
    assert [int(words[0]) for words in texts] == list(range(12))
    assert {words[2] for words in texts} == {"4"}
    assert {words[3] for words in texts} == {"2"}, "threads"


def test_of_several_events_only_the_one_that_fails_is_charged(tmp_path, place):
    outcomes, contents = many(tmp_path, place, 12, bad=7)
    assert [n for n in outcomes if isinstance(outcomes[n], Failed)] == [7]
    assert "seven is right out" in outcomes[7].message
    assert contents[6].decode().startswith("6 of 1")


def of_two_streams(options):
    file = InputFile("lfn", "/pfn", 100)
    streams = tuple(OutputStream(name, (name,), MergeSpec()) for name in ("HITS", "LOG"))
    return Job("job", (file,), ("HITS",), PayloadSpec("python", options), MergeSpec(), 100, streams=streams)


def test_an_event_has_all_its_streams_or_has_failed(tmp_path, place):
    ways = {"1": "no log", "2": "more", "3": "empty", "4": "number", "5": "one", "6": "gone"}
    options = {"function": "physics_of_test:streams", "path": [place], "options": ways}
    outcomes, contents = compute(tmp_path, options, 8, job=of_two_streams(options))
    for n, told in enumerate(("lacks the stream LOG", "unexpected, the stream EXTRA", "nothing in its stream LOG"), start=1):
        assert outcomes[n].kind is FailureKind.BAD_OUTPUT
        assert told in outcomes[n].message
    assert "a mapping to int; expected bytes or a path" in outcomes[4].message
    assert "is no bundle of streams" in outcomes[5].message
    assert "could not be put together" in outcomes[6].message
    assert [n for n, content in enumerate(contents) if content is not None] == [0, 7]
    assert contents[7] == bundled({"HITS": b"data", "LOG": b"log of 7"})
    left = [path.name for path in (tmp_path / "scratch").rglob("out-*")]
    assert len(left) <= 4, f"files that were bundled are still there: {left}"


def test_streams_of_several_events_at_once(tmp_path, place):
    options = {"function": "physics_of_test:streams", "path": [place], "events_per_range": 4}
    _, contents = compute(tmp_path, options, 12, job=of_two_streams(options))
    assert contents == [bundled({"HITS": b"h%d" % n, "LOG": b"l"}) for n in range(12)]


def test_too_few_outputs_are_no_answer_for_several_events(tmp_path, place):
    """They are computed one by one instead."""
    outcomes, contents = many(tmp_path, place, 4, way="short")
    assert all(isinstance(outcome, Done) for outcome in outcomes.values())
    assert contents[3].decode().startswith("3 of 1")


def test_a_list_of_something_else_is_refused(tmp_path, place):
    outcomes, _ = many(tmp_path, place, 1, way="numbers")
    assert "a list with int; expected bytes for each event" in outcomes[0].message
