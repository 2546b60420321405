"""The agent's loop against a real engine and desk, with a payload that lives in this process. Left out: Ray, worker processes."""

from __future__ import annotations

import asyncio
import math
import zipfile
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from raythena.domain.errors import NumbersExhausted, PayloadError, PayloadUnusable, StorageError
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.ranges import RangeState
from raythena.domain.results import FailureKind, member_name
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.engine.exchange import NodeExchange
from raythena.engine.invariants import check
from raythena.engine.node_core import NodeConfig
from raythena.runtime import agent as agent_module
from raythena.runtime import group_writer
from raythena.runtime import scratch as scratch_module
from raythena.runtime.agent import Agent
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadPlugin, Released, Remark
from raythena.runtime.session_config import AgentOrder, SessionConfig
from raythena.testing.clocks import HurriedClock

EVENTS = 40


class InProcessPayload:
    """Computes an event at each poll. Events in `poison` fail; `lost` ones leave no file; `break_after` ends it all."""

    poison: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    break_after = 10**9
    started = 0
    attempts: ClassVar[dict[int, list[int]]] = {}

    def __init__(self) -> None:
        self._waiting: deque[LeasedRange] = deque()
        self._released: list[int] = []
        self.collected_paths: list[Path] = []
        self.stopped = False

    async def start(self, context):
        type(self).started += 1
        self._scratch = context.scratch
        self._computed = 0

    @property
    def appetite(self):
        return max(0, 4 - len(self._waiting))

    def feed(self, leases):
        self._waiting.extend(leases)

    def release(self, indices):
        wanted = set(indices)
        self._released += [waiting.index for waiting in self._waiting if waiting.index in wanted]
        self._waiting = deque(waiting for waiting in self._waiting if waiting.index not in wanted)

    def collected(self, stretches):
        self.collected_paths += stretches

    async def poll(self, timeout_s):
        await asyncio.sleep(0.001)
        outcomes = [Released(index) for index in self._released]
        self._released = []
        if self._waiting:
            if self._computed >= self.break_after:
                raise PayloadError("out of order")
            outcomes.append(self._compute(self._waiting.popleft()))
        return outcomes

    def _compute(self, lease):
        self._computed += 1
        index = lease.index
        self.attempts.setdefault(index, []).append(lease.attempt)
        if lease.event_range.first_event in self.poison:
            return Failed(index, FailureKind.REPORTED, "poison")
        path = self._scratch / f"{index}.out"
        content = lease.event_range.range_id.encode()
        if index not in self.lost:
            path.write_bytes(content)
        return Done(index, path, len(content), 1000.0 + index, 0.01, 0.01)

    async def drain(self, deadline_s):
        self.release([waiting.index for waiting in self._waiting])

    async def stop(self):
        self.stopped = True


class DeskLink:
    """A coordinator in this process whose ledger is a list, and whose merges all fail."""

    def __init__(self, job, config=None):
        self.node_exchange = NodeExchange(Engine(job, None, config or EngineConfig(retry_delay_s=0.01)))
        self.records = []
        self.exchanges = 0
        self.outcome = None

    async def register(self, node, cores, held):
        reply = self.node_exchange.register(node, cores, held, self._now())
        self._carry_out()
        return reply

    async def exchange(self, message):
        self.exchanges += 1
        self.node_exchange.step(ev.Tick(), self._now())
        reply = self.node_exchange.exchange(message, self._now())
        self._carry_out()
        return reply

    def _now(self):
        return asyncio.get_running_loop().time()

    def _carry_out(self):
        while commands := self.node_exchange.take_effects():
            for command in commands:
                if isinstance(command, do.Commit):
                    self.records.append(command.record)
                    self.node_exchange.step(ev.Committed((command.ticket,)), self._now())
                elif isinstance(command, do.StartMerge):
                    self.node_exchange.step(ev.MergeFailed(merge=command.merge, message="nobody merges here"), self._now())
                elif isinstance(command, do.Finish):
                    self.outcome = command.outcome
        check(self.node_exchange.engine)


def job_of(events=EVENTS, per_output=EVENTS):
    inputs = (InputFile("f.evnt", "/in/f.evnt", events),)
    outputs = tuple(f"out{n}" for n in range(-(-events // per_output)))
    return Job("test", inputs, outputs, PayloadSpec("here"), MergeSpec("concat"), per_output)


@pytest.fixture
def run_agent(tmp_path, monkeypatch):
    """Runs an agent to its end; gives the link and the payload class it used."""

    def run(job=None, node=None, link=None, patience_s=300.0, **behaviour):
        payload = type("Payload", (InProcessPayload,), {**behaviour, "started": 0})
        monkeypatch.setattr(agent_module, "payload_plugin", lambda kind: PayloadPlugin(kind, payload))
        (tmp_path / "scratch").mkdir(exist_ok=True)
        job = job or job_of()
        config = SessionConfig(
            "s1",
            str(tmp_path / "task"),
            job,
            node=node or NodeConfig(group_age_s=0.05, exchange_interval_s=0.02),
            scratch_directory=str(tmp_path / "scratch"),
            storage_patience_s=patience_s,
        )
        link = link or DeskLink(job)
        asyncio.run(asyncio.wait_for(Agent(AgentOrder("n.1", 2, config), link, HurriedClock()).run(), 120))
        return link, payload

    return run


def stored(link):
    return np.flatnonzero(link.node_exchange.engine.table.state == RangeState.STORED)


def archives(tmp_path):
    return sorted((tmp_path / "task" / "staging").rglob("*.zip"))


def test_every_range_ends_in_one_durable_group(run_agent, tmp_path):
    link, _ = run_agent()
    assert len(stored(link)) == EVENTS
    members = {}
    for path in archives(tmp_path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                assert name not in members
                members[name] = archive.read(name)
    assert members == {member_name(index): f"f.evnt-{index + 1}".encode() for index in range(EVENTS)}


def test_nothing_stays_on_scratch(run_agent, tmp_path):
    run_agent()
    left = [path for path in (tmp_path / "scratch").rglob("*") if path.is_file() and path.suffix == ".out"]
    assert left == []


class PatientLink(DeskLink):
    """A coordinator that asks for unfilled groups only when every event is computed, however slow the machine is."""

    def __init__(self, job):
        super().__init__(job)
        self.computed = 0

    async def exchange(self, message):
        self.computed += message.computed
        reply = await super().exchange(message)
        return reply if self.computed >= EVENTS else replace(reply, flush=False)


def test_files_grow_with_groups_not_with_events(run_agent, tmp_path):
    run_agent(node=NodeConfig(group_age_s=60.0, group_events=16, exchange_interval_s=0.02), link=PatientLink(job_of()))
    assert len(archives(tmp_path)) == math.ceil(EVENTS / 16)


def test_a_group_holds_ranges_of_one_output(run_agent, tmp_path):
    run_agent(job_of(EVENTS, per_output=7))
    for path in archives(tmp_path):
        with zipfile.ZipFile(path) as archive:
            assert len({int(name) // 7 for name in archive.namelist()}) == 1


def test_a_poison_event_is_given_up_alone(run_agent):
    link, _ = run_agent(poison=frozenset({5}))
    assert len(stored(link)) == EVENTS - 1
    assert link.node_exchange.engine.table.state[4] == RangeState.FAILED


def test_an_output_that_vanished_costs_its_own_range_only(run_agent):
    link, _ = run_agent(lost=frozenset({3}))
    assert len(stored(link)) == EVENTS - 1
    kinds = {record.kind for record in link.records if hasattr(record, "kind")}
    assert kinds == {FailureKind.BAD_OUTPUT}


def test_a_payload_that_breaks_is_started_again_and_loses_nothing(run_agent):
    link, payload = run_agent(break_after=25)
    assert payload.started == 2
    assert len(stored(link)) == EVENTS


def test_a_payload_that_always_breaks_is_given_up(run_agent):
    with pytest.raises(PayloadError, match="out of order"):
        run_agent(break_after=0)


def test_a_payload_that_is_started_again_goes_on_counting_job_numbers(run_agent):
    taken = []

    async def start(self, context):
        await InProcessPayload.start(self, context)
        taken.append(context.numbers.take())

    run_agent(break_after=25, start=start)
    assert taken == [1, 2]


def test_an_agent_without_numbers_leaves_at_once_for_another(run_agent):
    tries = []

    async def exhausted(self, timeout_s):
        tries.append(timeout_s)
        raise NumbersExhausted("none is left")

    with pytest.raises(NumbersExhausted):
        run_agent(poll=exhausted)
    assert len(tries) == 1


def test_a_coordinator_that_forgot_the_node_gets_everything_again(run_agent):
    class Forgetful(DeskLink):
        async def exchange(self, message):
            if self.exchanges == 5:
                self.exchanges += 1
                self.node_exchange.lose("n.1", "made up", self._now())
            return await super().exchange(message)

    link, _ = run_agent(link=Forgetful(job_of()))
    assert len(stored(link)) == EVENTS
    accepted = [int(index) for record in link.records if hasattr(record, "group") for index in record.group.entries["range"]]
    assert sorted(accepted) == list(range(EVENTS))


def test_the_agent_leaves_when_told_to_stop(run_agent):
    link = DeskLink(job_of())

    async def exchange(message):
        link.node_exchange.step(ev.StopRequested(reason="enough"), link._now())
        return await DeskLink.exchange(link, message)

    link.exchange = exchange
    run_agent(link=link)
    assert link.outcome is do.Outcome.STOPPED
    assert link.node_exchange.engine.table.count(RangeState.LEASED) == 0


class FullForAWhile:
    """A scratch disk that refuses a number of looks, after so many good ones."""

    def __init__(self, good, bad):
        self._good, self._bad = good, bad

    def __call__(self, directory, wanted_bytes):
        if self._good:
            self._good -= 1
            return ""
        self._bad -= 1
        return "no space left in the test" if self._bad >= 0 else ""


def test_a_payload_that_says_it_is_unusable_is_not_started_again(run_agent, monkeypatch):
    polled = []

    async def poll(self, timeout_s):
        polled.append(self)
        raise PayloadUnusable("five pilots in a row never asked")

    monkeypatch.setattr(InProcessPayload, "poll", poll)
    with pytest.raises(PayloadUnusable):
        run_agent()
    assert len(polled) == 1


def test_what_a_payload_remarks_is_a_warning(run_agent, monkeypatch):
    compute = InProcessPayload.poll

    async def poll(self, timeout_s):
        return [Remark("a pilot never asked"), *await compute(self, timeout_s)]

    monkeypatch.setattr(InProcessPayload, "poll", poll)
    link, _ = run_agent()
    told = [warning for warning in link.node_exchange.engine.warnings if "a pilot never asked" in warning]
    assert 1 <= len(told) <= 5
    assert len(stored(link)) == EVENTS


def test_a_payload_is_told_which_attempt_at_an_event_it_makes(run_agent, monkeypatch):
    monkeypatch.setattr(InProcessPayload, "attempts", {})
    run_agent(poison=frozenset({39}), link=DeskLink(job_of(), EngineConfig(retry_delay_s=0.01, max_attempts=3)))
    attempts = InProcessPayload.attempts
    assert attempts.pop(38) == [1, 2, 3]
    assert set(map(tuple, attempts.values())) == {(1,)}


@pytest.mark.parametrize("good", [0, 1, 3], ids=["before it starts", "before its first event", "in the middle"])
def test_a_full_scratch_disk_costs_no_event_an_attempt(run_agent, monkeypatch, good):
    monkeypatch.setattr(scratch_module, "refusal", FullForAWhile(good, 4))
    monkeypatch.setattr(scratch_module, "_LOOK_S", 0.0)
    link, _ = run_agent(poison=frozenset({39}), link=DeskLink(job_of(), EngineConfig(retry_delay_s=0.01, max_attempts=1)))
    assert len(stored(link)) == EVENTS - 1


def test_a_full_scratch_disk_is_told(run_agent, monkeypatch):
    """The disk is full until the coordinator has heard of it."""
    link = DeskLink(job_of())
    looks = iter([""] * 3)

    def refuse_until_heard(directory, wanted_bytes):
        heard = any("takes no work" in warning for warning in link.node_exchange.engine.warnings)
        return "" if heard else next(looks, "no space left in the test")

    monkeypatch.setattr(scratch_module, "refusal", refuse_until_heard)
    monkeypatch.setattr(scratch_module, "_LOOK_S", 0.0)
    run_agent(link=link)
    assert len(stored(link)) == EVENTS
    assert link.node_exchange.engine.warnings == ["node n takes no work: no space left in the test"]


def test_a_payload_that_finds_no_room_is_cleared_away_and_started_again(run_agent, monkeypatch):
    link = DeskLink(job_of())
    started_twice = []

    def refuse_until_cleared(directory, wanted_bytes):
        homes = [path.name for path in directory.glob("payload-*")]
        if len(stored(link)) >= 5 and homes and not started_twice:
            return "no space left in the test"
        started_twice.extend([True] if len(stored(link)) >= 5 else [])
        return ""

    monkeypatch.setattr(scratch_module, "refusal", refuse_until_cleared)
    monkeypatch.setattr(scratch_module, "_LOOK_S", 0.0)
    monkeypatch.setattr(agent_module, "_CLEAR_AFTER_S", 0.0)
    link, payload = run_agent(link=link)
    assert payload.started == 2
    assert len(stored(link)) == EVENTS


def test_a_scratch_disk_that_stays_full_ends_the_agent(run_agent, monkeypatch):
    monkeypatch.setattr(scratch_module, "refusal", FullForAWhile(3, 10**9))
    monkeypatch.setattr(scratch_module, "_LOOK_S", 0.0)
    with pytest.raises(StorageError, match="has refused"):
        run_agent(patience_s=0.05)


def test_a_group_that_cannot_be_written_ends_the_agent_in_time(run_agent, monkeypatch):
    def refuse(target, members):
        raise StorageError("no space left")

    monkeypatch.setattr(group_writer, "write_group", refuse)
    with pytest.raises(StorageError, match="no space left"):
        run_agent(patience_s=0.05)
