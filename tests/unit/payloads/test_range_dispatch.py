"""Who gets which range, with slots that have no processes."""

import asyncio
import json
from pathlib import Path

import pytest
from hand_clock import HandClock
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.domain.worker_shape import WorkerShape
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.range_dispatch import RangeDispatch
from raythena.payloads.workers.slot import SlotState, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Failed, LeasedRange, PayloadContext, Released, Remark


class Wire:
    """What was written to a worker."""

    def __init__(self):
        self.messages = []

    def write(self, data):
        self.messages += [json.loads(line) for line in data.splitlines()]

    def ranges(self):
        return [message["id"] for message in self.messages if message["type"] == "range"]


class Bench:
    def __init__(self, workers, **shape):
        self.clock = clock = HandClock()
        self.outcomes = OutcomeQueue()
        self.slots = [WorkerSlot(number, Path("/none"), shape.get("ranges_in_flight", 1)) for number in range(workers)]
        pace = Pace(PayloadContext("n", workers, Path("/none"), {}, "job", Path("/none")))
        self.dispatch = RangeDispatch(self.slots, pace, self.outcomes, clock, WorkerShape(**shape))
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
    (current,) = bench.slots[0].current()
    assert (current.since, current.at) == (100.0, 1e9 + 100.0)


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
    behind = bench.slots[0].queue["behind"] = type(sent)((LeasedRange(9, sent.leases[0].event_range),), "behind", 0.0)
    bench.outcomes.take_in(behind.leases)
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


# ---- ranges of several events


def sent(wire):
    return [(message["first"], message["last"]) for message in wire.messages if message["type"] == "range"]


def crash(bench, number):
    slot = bench.slots[number]
    assert bench.dispatch.charge_current(slot, FailureKind.CRASH, "dead")
    bench.dispatch.reclaim(slot)


def answer(bench, number):
    """The worker has computed the oldest of its ranges."""
    slot = bench.slots[number]
    in_flight = slot.queue.pop(next(iter(slot.queue)))
    slot.go_on(bench.clock.now, 0.0)
    bench.dispatch.fill(slot)
    return [lease.index for lease in in_flight.leases]


def test_consecutive_events_go_out_as_one_range():
    bench = Bench(1, events_per_range=4)
    bench.feed(*range(1, 11))
    assert sent(bench.wires[0]) == [(1, 4)]
    assert bench.wires[0].ranges() == ["r-1..4"]
    assert [answer(bench, 0) for _ in range(3)] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


def test_a_range_ends_where_events_do_not_go_on():
    bench = Bench(1, events_per_range=10)
    bench.feed(1, 2, 4, 5)
    bench.feed(6, attempt=2)
    bench.feed(7)
    assert [answer(bench, 0) for _ in range(4)] == [[1, 2], [4, 5], [6], [7]]


def test_a_range_has_events_of_one_file():
    bench = Bench(1, events_per_range=10)
    leases = [LeasedRange(i, EventRange(f"r-{i}", f"file{i // 3}", "/pfn", "guid", i, i)) for i in range(1, 6)]
    bench.outcomes.take_in(leases)
    bench.dispatch.add(leases)
    assert [answer(bench, 0) for _ in range(2)] == [[1, 2], [3, 4, 5]]


def test_no_worker_goes_without_because_another_has_a_long_range():
    bench = Bench(3, events_per_range=50)
    bench.feed(*range(1, 10))
    assert [sent(wire) for wire in bench.wires] == [[(1, 3)], [(4, 6)], [(7, 9)]]


def test_the_seeds_of_a_range_go_with_it():
    bench = Bench(1, events_per_range=2)
    leases = [LeasedRange(i, EventRange(f"r-{i}", "toy", "", "", i, i, seeds=(10 * i,))) for i in (1, 2)]
    bench.outcomes.take_in(leases)
    bench.dispatch.add(leases)
    assert bench.wires[0].messages[0]["seeds"] == [10, 20]


def test_the_events_of_a_range_that_fails_are_tried_one_by_one_and_only_the_culprit_is_charged():
    bench = Bench(1, events_per_range=3)
    bench.feed(*range(1, 7))
    crash(bench, 0)
    (remark,) = bench.taken()
    assert isinstance(remark, Remark)
    assert "3 events are tried one by one, from r-1 on" in remark.text
    assert "dead" in remark.text
    assert answer(bench, 0) == [1]
    assert [len(in_flight.leases) for in_flight in bench.slots[0].current()] == [1]
    crash(bench, 0)
    assert bench.taken() == [Failed(2, FailureKind.CRASH, "dead", 0.0)]
    assert [answer(bench, 0), answer(bench, 0)] == [[3], [4, 5, 6]]


def test_a_range_that_is_reported_failed_is_tried_one_by_one_as_well():
    bench = Bench(1, events_per_range=2)
    bench.feed(1, 2)
    in_flight = bench.slots[0].queue.pop("1")
    bench.dispatch.failed(in_flight, FailureKind.REPORTED, "no convergence", 1.0)
    assert isinstance(bench.taken()[0], Remark)
    assert [answer(bench, 0), answer(bench, 0)] == [[1], [2]]


def test_of_a_range_asked_back_only_the_wanted_events_are_released():
    bench = Bench(1, events_per_range=2)
    bench.feed(1, 2, 3, 4)
    (current,) = bench.slots[0].queue.values()
    behind = bench.slots[0].queue["behind"] = type(current)((), "behind", 0.0)
    behind.leases = bench.dispatch._next_range()
    bench.dispatch.take_back({1, 4})
    assert bench.wires[0].messages[-1] == {"type": "cancel", "ranges": ["behind"]}
    bench.dispatch.handed_back(bench.slots[0].queue.pop("behind"))
    assert bench.taken() == [Released(4)]
    assert [answer(bench, 0), answer(bench, 0)] == [[1, 2], [3]]


def test_suspects_are_released_when_nothing_more_is_begun():
    bench = Bench(1, events_per_range=3)
    bench.feed(1, 2, 3)
    crash(bench, 0)
    bench.taken()
    bench.dispatch.close()
    assert bench.taken() == [Released(2), Released(3)]


# ---- several ranges in flight


def test_a_worker_gets_as_many_ranges_as_it_computes_at_a_time():
    bench = Bench(2, ranges_in_flight=3)
    bench.feed(*range(1, 9))
    assert [sent(wire) for wire in bench.wires] == [[(1, 1), (2, 2), (3, 3)], [(4, 4), (5, 5), (6, 6)]]
    assert all(in_flight.since == 100.0 for in_flight in bench.slots[0].current())
    bench.clock.now = 103.0
    assert answer(bench, 0) == [1]
    assert [in_flight.since for in_flight in bench.slots[0].current()] == [100.0, 100.0, 103.0]


def test_who_killed_a_worker_with_several_events_is_found_by_trying_each_alone():
    bench = Bench(2, ranges_in_flight=2)
    bench.feed(*range(1, 7))
    crash(bench, 0)
    (remark,) = bench.taken()
    assert "2 events are tried one by one" in remark.text
    assert sent(bench.wires[0])[2:] == [(1, 1)], "alone, though two have room"
    crash(bench, 0)
    assert bench.taken() == [Failed(1, FailureKind.CRASH, "dead", 0.0)]
    assert answer(bench, 0) == [2]
    assert sent(bench.wires[0])[4:] == [(5, 5), (6, 6)]


def test_what_failed_before_is_tried_alone():
    bench = Bench(1, ranges_in_flight=2)
    bench.feed(1, attempt=2)
    bench.feed(2, 3)
    assert [answer(bench, 0) for _ in range(3)] == [[1], [2], [3]]
    assert len(bench.wires[0].messages) == 3


def test_a_worker_that_must_take_a_suspect_gets_nothing_else_until_it_has():
    bench = Bench(1, ranges_in_flight=2)
    bench.feed(1, 2, 3, 4)
    bench.feed(9, attempt=2)
    assert [answer(bench, 0), answer(bench, 0)] == [[1], [2]]
    assert answer(bench, 0) == [9]
    assert answer(bench, 0) == [3]


# ---- any history


@given(st.data())
def test_whatever_dies_each_event_comes_back_once_and_only_culprits_are_charged(data):
    """Workers finish or die in any order; an event among `culprits` kills its worker whenever it is in work."""
    shape = {"events_per_range": data.draw(st.integers(1, 7)), "ranges_in_flight": data.draw(st.integers(1, 4))}
    bench = Bench(data.draw(st.integers(1, 3)), **shape)
    events = range(1, data.draw(st.integers(1, 40)) + 1)
    culprits = data.draw(st.sets(st.sampled_from(events), max_size=4))
    bench.feed(*events, attempt=data.draw(st.sampled_from([1, 1, 2])))
    done, steps = [], 0
    while len(bench.outcomes):
        steps += 1
        assert steps < 500, "somebody waits for ever"
        busy = [slot for slot in bench.slots if slot.queue]
        assert busy, "there is work, and nobody has any"
        slot = data.draw(st.sampled_from(busy))
        assert len(slot.current()) == 1 or not any(in_flight.alone for in_flight in slot.current())
        if any(lease.index in culprits for in_flight in slot.current() for lease in in_flight.leases):
            crash(bench, slot.number)
        else:
            answered = answer(bench, slot.number)
            bench.outcomes.release(answered)
            done += answered
    failed = [outcome.index for outcome in bench.taken() if isinstance(outcome, Failed)]
    assert sorted(failed) == sorted(culprits)
    assert sorted([*done, *failed]) == list(events)
