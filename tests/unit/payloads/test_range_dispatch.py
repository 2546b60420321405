"""Who gets which range, with slots that have no processes."""

import asyncio
import json
from pathlib import Path

import pytest
from hand_clock import HandClock

from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.range_dispatch import RangeDispatch
from raythena.payloads.workers.slot import SlotState, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Failed, LeasedRange, PayloadContext, Released


class Wire:
    """What was written to a worker."""

    def __init__(self):
        self.messages = []

    def write(self, data):
        self.messages += [json.loads(line) for line in data.splitlines()]

    def ranges(self):
        return [message["id"] for message in self.messages if message["type"] == "range"]


class Bench:
    def __init__(self, workers):
        self.clock = clock = HandClock()
        self.outcomes = OutcomeQueue()
        self.slots = [WorkerSlot(number, Path("/none")) for number in range(workers)]
        pace = Pace(PayloadContext("n", workers, Path("/none"), {}, "job", Path("/none")))
        self.dispatch = RangeDispatch(self.slots, pace, self.outcomes, clock)
        self.wires = [Wire() for _ in self.slots]
        for slot, wire in zip(self.slots, self.wires, strict=True):
            slot.transport = wire
            slot.lifecycle.enter(SlotState.STARTING, 0.0)
            slot.lifecycle.enter(SlotState.READY, 0.0)

    def feed(self, *indices, attempt=1):
        leases = [LeasedRange(i, EventRange(f"r-{i}", "lfn", "/pfn", "guid", i, i), attempt) for i in indices]
        self.outcomes.take_in(leases)
        self.dispatch.add(leases)

    def taken(self):
        return asyncio.run(self.outcomes.poll(0.0))


@pytest.fixture
def bench():
    return Bench(2)


def test_each_worker_gets_one_and_the_rest_waits(bench):
    bench.feed(1, 2, 3)
    assert [wire.ranges() for wire in bench.wires] == [["r-1"], ["r-2"]]
    assert bench.slots[0].current_since == 100.0
    assert bench.slots[0].current_at == 1e9 + 100.0


def test_a_worker_is_told_which_attempt_it_is(bench):
    bench.feed(1, attempt=3)
    assert bench.wires[0].messages[0]["attempt"] == 3


def test_what_a_lost_worker_had_goes_in_front(bench):
    bench.feed(1, 2, 3)
    bench.slots[0].lifecycle.enter(SlotState.ENDING, 1.0)
    bench.dispatch.reclaim(bench.slots[0])
    bench.slots[1].queue.clear()
    bench.dispatch.fill(bench.slots[1])
    assert bench.wires[1].ranges() == ["r-2", "r-1"]


def test_only_the_current_range_is_charged(bench):
    bench.feed(1, 2)
    bench.clock.now = 107.5
    assert bench.dispatch.charge_current(bench.slots[0], FailureKind.CRASH, "dead")
    assert not bench.dispatch.charge_current(bench.slots[0], FailureKind.CRASH, "dead")
    assert bench.taken() == [Failed(1, FailureKind.CRASH, "dead", 7.5)]


def test_ranges_asked_back_come_from_the_backlog_at_once_and_from_workers_when_they_say_so(bench):
    bench.feed(1, 2, 3, 4)
    (sent,) = bench.slots[0].queue.values()
    behind = bench.slots[0].queue["behind"] = type(sent)(LeasedRange(9, sent.lease.event_range), "behind", 0.0)
    bench.outcomes.take_in([behind.lease])
    bench.dispatch.take_back({1, 3, 9})
    assert bench.taken() == [Released(3)]
    assert bench.wires[0].messages[-1] == {"type": "cancel", "ranges": ["behind"]}
    bench.dispatch.handed_back(bench.slots[0].queue.pop("behind"))
    assert bench.taken() == [Released(9)]


def test_once_closed_everything_is_released_and_nothing_handed_out(bench):
    bench.feed(1, 2, 3)
    bench.dispatch.close()
    bench.feed(4)
    assert bench.taken() == [Released(3), Released(4)]
    bench.dispatch.reclaim(bench.slots[0])
    assert bench.taken() == [Released(1)]
    assert bench.wires[0].ranges() == ["r-1"]


@pytest.mark.parametrize(("token", "story"), [("1", "was reported before"), ("7", "never given out"), ("x", "never given out")])
def test_why_a_result_is_none(bench, token, story):
    bench.feed(1)
    assert story in bench.dispatch.why_unknown(token)
