"""A range is in one place, tokens are unambiguous, and only the guilty are charged."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raythena.domain.ranges import EventRange
from raythena.payloads.pilot.range_queue import ALONE_UP_TO_CORES, RangeQueue, make_token
from raythena.runtime.payload_interface import LeasedRange


def ranges(*indices):
    return [LeasedRange(index, EventRange(f"lfn-{index}", "lfn", "/lfn", "guid", index, index)) for index in indices]


def indices(in_flight_ranges):
    return [in_flight.index for in_flight in in_flight_ranges]


def test_ranges_are_given_in_order_and_the_first_ones_are_being_computed():
    range_queue = RangeQueue(2)
    range_queue.add(ranges(1, 2, 3, 4, 5))
    assert indices(range_queue.give(4, 0.0)) == [1, 2, 3, 4]
    assert (indices(range_queue.begin(0.0)), range_queue.begin(0.0)) == ([1, 2], [])
    range_queue.settle(next(range_queue.in_flight_ranges).token)
    assert indices(range_queue.begin(5.0)) == [3]
    assert (range_queue.waiting, range_queue.out, range_queue.held) == (1, 3, {2, 3, 4, 5})


def test_only_what_waits_can_be_taken_back():
    range_queue = RangeQueue(2)
    range_queue.add(ranges(*range(6)))
    range_queue.give(2, 0.0)
    assert range_queue.take_back([0, 1, 2, 99]) == [2]
    assert range_queue.take_back() == [3, 4, 5]
    assert range_queue.held == {0, 1}


def test_a_token_settles_once_and_is_remembered():
    range_queue = RangeQueue(1)
    range_queue.add(ranges(7))
    (in_flight,) = range_queue.give(9, 0.0)
    assert range_queue.settle("nonsense") is None
    assert range_queue.settle(in_flight.token) is in_flight
    assert range_queue.settle(in_flight.token) is None
    assert range_queue.was_settled(in_flight.token)


def test_what_was_known_before_its_report_is_confirmed_once():
    range_queue = RangeQueue(1)
    range_queue.add(ranges(7))
    (in_flight,) = range_queue.give(1, 0.0)
    assert not range_queue.confirm(in_flight.token)
    range_queue.settle(in_flight.token, early=True)
    assert range_queue.confirm(in_flight.token)
    assert not range_queue.confirm(in_flight.token)
    assert range_queue.was_settled(in_flight.token)


def test_no_token_is_part_of_another():
    tokens = [make_token(index, serial) for index in (1, 11, 111, 4_000_000_000) for serial in (1, 11, 10_000_000)]
    assert not [(one, other) for one in tokens for other in tokens if one != other and one in other]


def test_without_a_crash_everything_goes_back_to_the_front():
    range_queue = RangeQueue(2)
    range_queue.add(ranges(1, 2, 3, 4, 5))
    range_queue.give(3, 0.0)
    range_queue.begin(0.0)
    assert range_queue.reclaim(crashed=False) == []
    assert indices(range_queue.give(9, 1.0)) == [1, 2, 3, 4, 5]


def test_suspects_of_a_small_node_are_computed_alone():
    range_queue = RangeQueue(2)
    range_queue.add(ranges(1, 2, 3, 4))
    range_queue.give(3, 0.0)
    range_queue.begin(0.0)
    assert range_queue.reclaim(crashed=True) == []
    assert range_queue.alone
    assert indices(range_queue.give(9, 1.0)) == [1]
    assert range_queue.give(9, 1.0) == []
    range_queue.begin(1.0)
    assert indices(range_queue.reclaim(crashed=True)) == [1]
    (second,) = range_queue.give(9, 2.0)
    assert second.index == 2
    range_queue.settle(second.token)
    assert not range_queue.alone
    assert indices(range_queue.give(9, 3.0)) == [3, 4]


def test_suspects_of_a_large_node_are_few_at_a_time_and_charged_together():
    cores = 16
    assert cores > ALONE_UP_TO_CORES
    range_queue = RangeQueue(cores)
    range_queue.add(ranges(*range(40)))
    range_queue.give(20, 0.0)
    range_queue.begin(0.0)
    assert range_queue.reclaim(crashed=True) == []
    in_flight_ranges = range_queue.give(20, 1.0)
    assert [in_flight.index for in_flight in in_flight_ranges if in_flight.suspect] == [0, 1, 2, 3]
    assert len(in_flight_ranges) == 20
    range_queue.begin(1.0)
    assert indices(range_queue.reclaim(crashed=True)) == [0, 1, 2, 3]


def test_one_core_needs_no_suspicion():
    range_queue = RangeQueue(1)
    range_queue.add(ranges(1, 2))
    range_queue.give(2, 0.0)
    range_queue.begin(0.0)
    assert indices(range_queue.reclaim(crashed=True)) == [1]


class RangeQueueMachine(RuleBasedStateMachine):
    """Whatever happens, no range is lost, doubled, or in the hands of a pilot twice."""

    def __init__(self):
        super().__init__()
        self.range_queue = RangeQueue(3)
        self.fed = self.gone = 0
        self.tokens = set()

    @rule(count=st.integers(1, 8))
    def feed(self, count):
        self.range_queue.add(ranges(*range(self.fed, self.fed + count)))
        self.fed += count

    @rule(count=st.integers(1, 9))
    def give(self, count):
        in_flight_ranges = self.range_queue.give(count, 0.0)
        assert not self.tokens.intersection(in_flight.token for in_flight in in_flight_ranges)
        self.tokens.update(in_flight.token for in_flight in in_flight_ranges)

    @rule(place=st.integers(0, 5), early=st.booleans())
    def settle(self, place, early):
        for in_flight in list(self.range_queue.in_flight_ranges)[place : place + 1]:
            assert self.range_queue.settle(in_flight.token, early=early) is in_flight
            self.gone += 1

    @rule(chosen=st.sets(st.integers(0, 60)))
    def take_back(self, chosen):
        taken = self.range_queue.take_back(chosen)
        assert set(taken) <= chosen
        self.gone += len(taken)

    @rule(crashed=st.booleans())
    def pilot_ends(self, crashed):
        self.range_queue.begin(0.0)
        running = [in_flight.index for in_flight in self.range_queue.in_flight_ranges][:3]
        charged = self.range_queue.reclaim(crashed=crashed)
        assert set(indices(charged)) <= set(running)
        assert crashed or not charged
        assert self.range_queue.out == 0
        self.gone += len(charged)

    @invariant()
    def everything_is_somewhere(self):
        assert len(self.range_queue.held) == self.range_queue.waiting + self.range_queue.out == self.fed - self.gone


TestRangeQueue = RangeQueueMachine.TestCase
TestRangeQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_a_poison_range_is_found_and_the_others_are_computed(cores):
    """The rules together: whatever else is on the cores, range 5 alone is charged, and everything else gets done."""
    range_queue = RangeQueue(cores)
    range_queue.add(ranges(*range(20)))
    done, charged = set(), []
    for _ in range(200):
        if not range_queue.held:
            break
        range_queue.give(cores, 0.0)
        range_queue.begin(0.0)
        if 5 in indices(range_queue.in_flight_ranges):
            charged += indices(range_queue.reclaim(crashed=True))
        else:
            for in_flight in list(range_queue.in_flight_ranges):
                done.add(range_queue.settle(in_flight.token).index)
    innocents = set(charged) - {5}
    assert 5 in charged
    assert len(innocents) < max(2, cores // 3)
    assert done | set(charged) == set(range(20))
