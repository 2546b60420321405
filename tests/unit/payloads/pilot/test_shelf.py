"""A range is in one place, tokens are unambiguous, and only the guilty are charged."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raythena.domain.ranges import EventRange
from raythena.payloads.pilot.shelf import ALONE_UP_TO_CORES, Shelf, make_token
from raythena.runtime.payload import Assignment


def ranges(*indices):
    return [Assignment(index, EventRange(f"lfn-{index}", "lfn", "/lfn", "guid", index, index)) for index in indices]


def indices(loans):
    return [loan.index for loan in loans]


def test_ranges_are_given_in_order_and_the_first_ones_are_being_computed():
    shelf = Shelf(2)
    shelf.add(ranges(1, 2, 3, 4, 5))
    assert indices(shelf.give(4, 0.0)) == [1, 2, 3, 4]
    assert (indices(shelf.begin(0.0)), shelf.begin(0.0)) == ([1, 2], [])
    shelf.settle(next(shelf.loans).token)
    assert indices(shelf.begin(5.0)) == [3]
    assert (shelf.waiting, shelf.out, shelf.held) == (1, 3, {2, 3, 4, 5})


def test_only_what_waits_can_be_taken_back():
    shelf = Shelf(2)
    shelf.add(ranges(*range(6)))
    shelf.give(2, 0.0)
    assert shelf.take_back([0, 1, 2, 99]) == [2]
    assert shelf.take_back() == [3, 4, 5]
    assert shelf.held == {0, 1}


def test_a_token_settles_once_and_is_remembered():
    shelf = Shelf(1)
    shelf.add(ranges(7))
    (loan,) = shelf.give(9, 0.0)
    assert shelf.settle("nonsense") is None
    assert shelf.settle(loan.token) is loan
    assert shelf.settle(loan.token) is None
    assert shelf.was_settled(loan.token)


def test_what_was_known_before_its_report_is_confirmed_once():
    shelf = Shelf(1)
    shelf.add(ranges(7))
    (loan,) = shelf.give(1, 0.0)
    assert not shelf.confirm(loan.token)
    shelf.settle(loan.token, early=True)
    assert shelf.confirm(loan.token)
    assert not shelf.confirm(loan.token)
    assert shelf.was_settled(loan.token)


def test_no_token_is_part_of_another():
    tokens = [make_token(index, serial) for index in (1, 11, 111, 4_000_000_000) for serial in (1, 11, 10_000_000)]
    assert not [(one, other) for one in tokens for other in tokens if one != other and one in other]


def test_without_a_crash_everything_goes_back_to_the_front():
    shelf = Shelf(2)
    shelf.add(ranges(1, 2, 3, 4, 5))
    shelf.give(3, 0.0)
    shelf.begin(0.0)
    assert shelf.reclaim(crashed=False) == []
    assert indices(shelf.give(9, 1.0)) == [1, 2, 3, 4, 5]


def test_suspects_of_a_small_node_are_computed_alone():
    shelf = Shelf(2)
    shelf.add(ranges(1, 2, 3, 4))
    shelf.give(3, 0.0)
    shelf.begin(0.0)
    assert shelf.reclaim(crashed=True) == []
    assert shelf.alone
    assert indices(shelf.give(9, 1.0)) == [1]
    assert shelf.give(9, 1.0) == []
    shelf.begin(1.0)
    assert indices(shelf.reclaim(crashed=True)) == [1]
    (second,) = shelf.give(9, 2.0)
    assert second.index == 2
    shelf.settle(second.token)
    assert not shelf.alone
    assert indices(shelf.give(9, 3.0)) == [3, 4]


def test_suspects_of_a_large_node_are_few_at_a_time_and_charged_together():
    cores = 16
    assert cores > ALONE_UP_TO_CORES
    shelf = Shelf(cores)
    shelf.add(ranges(*range(40)))
    shelf.give(20, 0.0)
    shelf.begin(0.0)
    assert shelf.reclaim(crashed=True) == []
    loans = shelf.give(20, 1.0)
    assert [loan.index for loan in loans if loan.suspect] == [0, 1, 2, 3]
    assert len(loans) == 20
    shelf.begin(1.0)
    assert indices(shelf.reclaim(crashed=True)) == [0, 1, 2, 3]


def test_one_core_needs_no_suspicion():
    shelf = Shelf(1)
    shelf.add(ranges(1, 2))
    shelf.give(2, 0.0)
    shelf.begin(0.0)
    assert indices(shelf.reclaim(crashed=True)) == [1]


class ShelfMachine(RuleBasedStateMachine):
    """Whatever happens, no range is lost, doubled, or in the hands of a pilot twice."""

    def __init__(self):
        super().__init__()
        self.shelf = Shelf(3)
        self.fed = self.gone = 0
        self.tokens = set()

    @rule(count=st.integers(1, 8))
    def feed(self, count):
        self.shelf.add(ranges(*range(self.fed, self.fed + count)))
        self.fed += count

    @rule(count=st.integers(1, 9))
    def give(self, count):
        loans = self.shelf.give(count, 0.0)
        assert not self.tokens.intersection(loan.token for loan in loans)
        self.tokens.update(loan.token for loan in loans)

    @rule(place=st.integers(0, 5), early=st.booleans())
    def settle(self, place, early):
        for loan in list(self.shelf.loans)[place : place + 1]:
            assert self.shelf.settle(loan.token, early=early) is loan
            self.gone += 1

    @rule(chosen=st.sets(st.integers(0, 60)))
    def take_back(self, chosen):
        taken = self.shelf.take_back(chosen)
        assert set(taken) <= chosen
        self.gone += len(taken)

    @rule(crashed=st.booleans())
    def pilot_ends(self, crashed):
        self.shelf.begin(0.0)
        running = [loan.index for loan in self.shelf.loans][:3]
        charged = self.shelf.reclaim(crashed=crashed)
        assert set(indices(charged)) <= set(running)
        assert crashed or not charged
        assert self.shelf.out == 0
        self.gone += len(charged)

    @invariant()
    def everything_is_somewhere(self):
        assert len(self.shelf.held) == self.shelf.waiting + self.shelf.out == self.fed - self.gone


TestShelf = ShelfMachine.TestCase
TestShelf.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_a_poison_range_is_found_and_the_others_are_computed(cores):
    """The rules together: whatever else is on the cores, range 5 alone is charged, and everything else gets done."""
    shelf = Shelf(cores)
    shelf.add(ranges(*range(20)))
    done, charged = set(), []
    for _ in range(200):
        if not shelf.held:
            break
        shelf.give(cores, 0.0)
        shelf.begin(0.0)
        if 5 in indices(shelf.loans):
            charged += indices(shelf.reclaim(crashed=True))
        else:
            for loan in list(shelf.loans):
                done.add(shelf.settle(loan.token).index)
    innocents = set(charged) - {5}
    assert 5 in charged
    assert len(innocents) < max(2, cores // 3)
    assert done | set(charged) == set(range(20))
