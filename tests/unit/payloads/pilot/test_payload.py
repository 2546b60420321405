"""The life of pilots, with a double: those that never work, ask for another job, meet a slow server, lose their agent."""

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from raythena.domain.errors import InternalError, InvalidInput, NumbersExhausted, PayloadError, PayloadUnusable
from raythena.domain.job_number import AGENTS, STARTS, JobNumbers
from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.domain.transform import CommandLine
from raythena.engine.memory_policy import MemoryLimits
from raythena.payloads.pilot import pilot_job as job_module
from raythena.payloads.pilot.pilot_payload import PilotPayload, check_options
from raythena.payloads.pilot.server import PilotServer
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext, Released, Remark, Started
from raythena.runtime.process_guard_main import living_processes

MB = 1 << 20
DOUBLE = Path(__file__).with_name("pilot_double.py")
TROUBLE = ["sh", "-c", "echo trouble >&2; exit 3"]
JOB = {"PandaID": 7, "jobsetID": 6, "taskID": 5}


def ranges(*numbers):
    return [LeasedRange(n, EventRange(f"EVNT-{n}", "EVNT", "/in/EVNT", "GUID", n, n)) for n in numbers]


def options(plan=None, **changes):
    environment = {"PILOT_DOUBLE": json.dumps(plan or {})}
    command = [sys.executable, "-I", "-S", str(DOUBLE)]
    return {
        "command": command,
        "version": "3.7.0.36",
        "job": JOB,
        "environment": environment,
        "busy_hold_s": 0.3,
        **changes,
    }


def context(place, told, **more):
    scratch = place / "payload"
    scratch.mkdir(parents=True)
    return PayloadContext("node.1", 2, scratch, told, "job", place / "logs", **more)


async def outcomes(payload, count, kind=Done):
    """The first `count` outcomes of a kind, by index."""
    found = {}
    while len(found) < count:
        found.update({one.index: one for one in await payload.poll(1.0) if isinstance(one, kind)})
    return found


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario(), 200))


async def problem_of(payload, remarks=None):
    """What the payload gives up with, and what it handed back before; what it remarked goes to `remarks`."""
    handed, remarks = [], [] if remarks is None else remarks
    while True:
        try:
            for one in await payload.poll(1.0):
                remarks.append(one.text) if isinstance(one, Remark) else handed.append(one)
        except PayloadError as problem:
            return str(problem), handed


def test_pilots_that_never_ask_for_ranges_end_the_payload(tmp_path):
    async def scenario():
        payload = PilotPayload()
        await payload.start(
            context(
                tmp_path,
                options(command=["sh", "-c", "echo trouble >&2; exit 3"], max_starts=2, version="3.11.5.1", patched=True),
            )
        )
        payload.feed(ranges(1, 2))
        text, handed = await problem_of(payload)
        await payload.stop()
        assert {type(one) for one in handed} == {Released}
        assert all(words in text for words in ("2 pilots in a row", "exit code 3", "trouble", "error 1310", "pilot-2")), text
        assert (tmp_path / "logs" / "pilot-1" / "pilot.err").read_text() == "trouble\n"

    run(scenario)


def test_a_payload_that_dies_before_it_asks_is_noticed_at_once_and_quoted(tmp_path):
    """The double would sleep two minutes before it ends."""

    async def scenario():
        payload = PilotPayload()
        began = time.monotonic()
        await payload.start(context(tmp_path, options({"dead_payload": 3}, max_starts=2)))
        payload.feed(ranges(1, 2))
        text, handed = await problem_of(payload)
        assert time.monotonic() - began < 20
        await payload.stop()
        assert {type(one) for one in handed} == {Released}
        assert "2 pilots in a row never asked for ranges" in text
        assert "its payload exited with status 3: ImportError: no uproot" in text

    run(scenario)


def test_a_pilot_with_another_job_gets_nothing(tmp_path):
    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, options({"panda_id": 99}, max_starts=1)))
        payload.feed(ranges(1))
        text, handed = await problem_of(payload)
        await payload.stop()
        assert "never asked for ranges" in text
        assert [type(one) for one in handed] == [Released]

    run(scenario)


def test_a_slow_server_loses_nothing(tmp_path, monkeypatch):
    serve = PilotServer._serve

    async def slowly(self, request):
        await asyncio.sleep(0.5)
        return await serve(self, request)

    monkeypatch.setattr(PilotServer, "_serve", slowly)

    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, options()))
        payload.feed(ranges(*range(8)))
        assert set(await outcomes(payload, 8)) == set(range(8))
        await payload.stop()

    run(scenario)


def test_another_pilot_is_started_when_ranges_come_after_the_end_of_the_first(tmp_path):
    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, options(idle_hold_s=0.3)))
        for first in (1, 11):
            payload.feed(ranges(first, first + 1))
            assert set(await outcomes(payload, 2)) == {first, first + 1}
            while payload._pilot is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await payload.stop()
        stories = [json.loads(path.read_text()) for path in sorted((tmp_path / "logs").glob("pilot-*/pilot.json"))]
        assert [story["job"]["state"] for story in stories] == ["finished", "finished"]
        assert [(story["job"]["n_events"], story["job"]["n_reported"]) for story in stories] == [(2, 2), (2, 2)]

    run(scenario)


def test_a_range_is_not_taken_twice(tmp_path):
    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, options({"event_s": 0.5})))
        payload.feed(ranges(1))
        with pytest.raises(InternalError):
            payload.feed(ranges(1))
        await payload.stop()

    run(scenario)


def test_outputs_are_deleted_when_they_are_stored(tmp_path):
    async def scenario():
        payload = PilotPayload()
        place = context(tmp_path, options())
        await payload.start(place)
        payload.feed(ranges(1, 2, 3))
        done = (await outcomes(payload, 3)).values()
        assert all(one.path.is_relative_to(place.scratch) and one.path.stat().st_nlink == 2 for one in done)
        payload.collected([one.path for one in done])
        assert not [path for path in place.scratch.rglob("range*") if "run-" not in str(path)]
        await payload.stop()

    run(scenario)


def test_a_job_is_needed(tmp_path):
    told = options()
    del told["job"]
    with pytest.raises(InvalidInput, match=r"options\.job"):
        run(lambda: PilotPayload().start(context(tmp_path, told)))


def test_a_pilot_for_which_no_number_is_left_is_not_started(tmp_path, monkeypatch):
    given, node_job = [], SimpleNamespace(document=JOB, command=CommandLine.parse("--maxEvents=9"))
    monkeypatch.setattr(job_module, "derive_node_job", lambda *words: given.append(words[2]) or node_job)
    monkeypatch.setattr(job_module, "parse_panda_job", lambda place: None)
    monkeypatch.setattr(job_module, "is_panda", lambda source: True)
    told = options(max_events=9)
    del told["job"]
    place = dataclasses.replace(context(tmp_path, told), job=SimpleNamespace(source={}, inputs=()), numbers=JobNumbers(3, 1))
    for _ in range(STARTS - 1):
        place.numbers.take()

    async def scenario():
        payload = PilotPayload()
        await payload.start(place)
        payload.feed(ranges(1))
        assert set(await outcomes(payload, 1)) == {1}
        payload._pilot.status = 1
        payload.feed(ranges(2))
        text, _ = await problem_of(payload)
        assert isinstance(payload._outcomes.fatal, NumbersExhausted)
        assert "attempt may be 0 to 255" in text
        await payload.stop()

    run(scenario)
    assert [(facts.job_number, facts.max_events) for facts in given[1:]] == [((2 * AGENTS + 2) * STARTS, 9)]


KILLED = """
import asyncio, json, sys
sys.path.insert(0, {here!r})
from test_payload import *

async def scenario():
    payload = PilotPayload()
    await payload.start(context(Path({place!r}), json.loads({told!r})))
    payload.feed(ranges(1, 2, 3, 4))
    done = set()
    while True:
        for one in await payload.poll(1.0):
            if isinstance(one, Done):
                print(one.index, flush=True)

asyncio.run(scenario())
"""


def test_an_agent_that_is_killed_leaves_its_outputs_and_no_process(tmp_path):
    """Event 4 never ends; the others are done when the agent is killed, and need no pilot the second time."""
    place = tmp_path / "raythena-task01-sess01-node01-a"
    text = KILLED.format(here=str(Path(__file__).parent), place=str(place), told=json.dumps(options({"hang": [4]})))
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as agent:
        assert sorted(int(agent.stdout.readline()) for _ in range(3)) == [1, 2, 3]
        agent.send_signal(signal.SIGKILL)
    assert eventually(lambda: not processes_below(tmp_path))

    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path / "raythena-task01-sess01-node01-b", options(command=["false"])))
        payload.feed(ranges(1, 2, 3))
        done = await outcomes(payload, 3)
        assert {index: json.loads(one.path.read_bytes())["startEvent"] for index, one in done.items()} == {1: 1, 2: 2, 3: 3}
        await payload.stop()

    run(scenario)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["a", "b"]


def processes_below(place):
    found = []
    for pid, _ in living_processes():
        try:
            if os.fsencode(place) in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def eventually(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_started_is_told_of_those_on_the_cores_only(tmp_path):
    async def scenario():
        payload = PilotPayload()
        await payload.start(context(tmp_path, options({"hang": [1, 2, 3, 4]})))
        payload.feed(ranges(1, 2, 3, 4))
        assert set(await outcomes(payload, 2, Started)) == {1, 2}
        await payload.stop()

    run(scenario)


def test_a_pilot_that_says_why_it_will_never_ask_is_ended_at_once_and_quoted_and_people_are_told(tmp_path):
    said = "2026-11-28 10:49:46,167 | WARNING  | voms proxy certificate check failure: 127, "

    async def scenario():
        payload = PilotPayload()
        began = time.monotonic()
        command = ["sh", "-c", f"echo '{said}' > pilotlog.txt; exec sleep 300"]
        await payload.start(context(tmp_path, options(command=command, max_starts=2)))
        payload.feed(ranges(1))
        remarks = []
        text, _ = await problem_of(payload, remarks)
        await payload.stop()
        assert time.monotonic() - began < 60
        assert "the last one: it says: voms proxy certificate check failure: 127" in text
        assert isinstance(payload._outcomes.fatal, PayloadUnusable)
        assert ["1 of 2" in remarks[0], "2 of 2" in remarks[1]] == [True, True]

    run(scenario)


def test_attempts_keep_their_directories(tmp_path):
    async def scenario():
        place = context(tmp_path, options(command=["false"], max_starts=1))
        for _ in range(2):
            payload = PilotPayload()
            await payload.start(place)
            await problem_of(payload)
            await payload.stop()
        assert sorted(path.name for path in (tmp_path / "logs").glob("pilot-*")) == ["pilot-1", "pilot-2"]

    run(scenario)


def test_a_release_that_cannot_do_it_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(PayloadUnusable, match=r"use 3\.10\.2\.2 or older"):
        run(lambda: PilotPayload().start(context(tmp_path, options(version="3.11.5.1"))))
    assert not (tmp_path / "logs" / "pilot-1").exists()


def test_and_when_the_job_is_submitted():
    with pytest.raises(InvalidInput, match=r"payload\.options\.version: pilot 3\.10\.3\.82 cannot run"):
        check_options(options(version="3.10.3.82"), "job.yaml")
    check_options(options(version="3.10.3.82", patched=True), "job.yaml")
    check_options(options(version="3.10.2.2"), "job.yaml")


# ---- memory


async def compute(directory, plan, count, **limits):
    """Everything that became of `count` ranges, by index, and how many pilots there were."""
    payload = PilotPayload()
    surroundings = context(directory, options(plan), memory=MemoryLimits(**limits, memory_reserve=0.0))
    await payload.start(surroundings)
    try:
        payload.feed(ranges(*range(1, count + 1)))
        found = {}
        while len(found) < count:
            found.update({one.index: one for one in await payload.poll(1.0) if isinstance(one, Done | Failed)})
        return found, payload
    finally:
        await payload.stop()


def test_an_event_that_takes_too_much_costs_its_worker_and_not_the_pilot(tmp_path):
    async def scenario():
        found, payload = await compute(tmp_path, {"greedy": [2], "greedy_mb": 300}, 6, worker_memory_bytes=200 * MB)
        failed = found.pop(2)
        assert failed.kind is FailureKind.OUT_OF_MEMORY
        assert "payload.worker_memory_bytes allows 210 MB" in failed.message
        assert "Failed to process event range" in failed.message
        assert {type(one) for one in found.values()} == {Done}
        assert payload._account.starts == 1

    run(scenario)


def test_where_there_is_too_little_for_all_workers_the_next_pilot_has_fewer(tmp_path):
    """Neither of two events of one size ends by itself: one fails because there are two, then the other goes for its own size."""

    async def scenario():
        payload = PilotPayload()
        limits = MemoryLimits(node_memory_bytes=330 * MB, memory_reserve=0.0)
        plan = {"greedy": [1, 2], "greedy_mb": 200}
        await payload.start(context(tmp_path, options(plan), memory=limits))
        try:
            payload.feed(ranges(1, 2))
            failed = []
            while not failed:
                failed = [one for one in await payload.poll(1.0) if isinstance(one, Failed)]
            assert [one.kind for one in failed] == [FailureKind.MEMORY_SHORT]
            payload.feed(ranges(11, 12))
            while payload._pilot is None or not payload._pilot.panda.draining:
                await payload.poll(0.1)
            assert payload.appetite >= 0
            payload._memory.condemn(payload._pilot, token_out(payload), FailureKind.OUT_OF_MEMORY, "enough of it")
            done = {}
            while len(done) < 2:
                done.update({one.index: one for one in await payload.poll(1.0) if isinstance(one, Done)})
            assert set(done) == {11, 12}
            assert (payload._account.starts, payload._range_queue.cores) == (2, 1)
        finally:
            await payload.stop()

    run(scenario)


def token_out(payload):
    (only,) = [one.token for one in payload._range_queue.in_flight_ranges if one.index < 10]
    return only
