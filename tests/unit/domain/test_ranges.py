from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raythena.domain.errors import InternalError
from raythena.domain.job import InputFile
from raythena.domain.ranges import NO_NODE, TRANSITIONS, EventRange, RangeLayout, RangeState, RangeTable


def files(*events: int) -> list[InputFile]:
    return [InputFile(f"f{n}.root", f"/data/f{n}.root", count, f"GUID{n}", "mc23") for n, count in enumerate(events)]


def picture(table: RangeTable) -> tuple[bytes, ...]:
    return tuple(column.tobytes() for column in (table.state, table.attempt, table.node, table.counts))


event_counts = st.lists(st.integers(1, 50), min_size=1, max_size=12)


@given(event_counts)
def test_every_event_of_every_file_has_one_index_in_order(counts):
    table = RangeTable(files(*counts))
    listed = [table.event_of(index) for index in range(len(table))]
    assert listed == [(file, event) for file, count in enumerate(counts) for event in range(1, count + 1)]


@given(event_counts)
def test_ids_are_different_for_all_events(counts):
    layout = RangeLayout(files(*counts))
    assert len({layout.range_id(index) for index in range(len(layout))}) == sum(counts)


def test_a_range_says_all_a_payload_needs():
    layout = RangeLayout(files(3, 2))
    assert layout.event_range(4) == EventRange("f1.root-2", "f1.root", "/data/f1.root", "GUID1", 2, 2, "mc23")
    assert layout.event_range(4).to_panda() == {
        "eventRangeID": "f1.root-2",
        "startEvent": 2,
        "lastEvent": 2,
        "LFN": "f1.root",
        "GUID": "GUID1",
        "scope": "mc23",
    }


def test_a_new_table_is_all_ready():
    table = RangeTable(files(3, 2))
    assert [table.count(state) for state in RangeState] == [5, *[0] * (len(RangeState) - 1)]
    assert set(table.node.tolist()) == {NO_NODE}


@pytest.mark.parametrize("source", list(RangeState))
@pytest.mark.parametrize("target", list(RangeState))
def test_exactly_the_arrows_of_the_table_may_be_taken(source, target):
    table = RangeTable(files(4))
    table.state[:] = source
    table.counts[:] = 0
    table.counts[source] = 4
    before = picture(table)
    if target in TRANSITIONS[source]:
        table.move(np.array([1, 3]), target, node=7)
        assert (table.count(source), table.count(target)) == (2, 2)
        assert table.node.tolist() == [NO_NODE, 7, NO_NODE, 7]
        return
    with pytest.raises(InternalError, match=f"illegal move to {target.name}.*f0.root-2.*{source.name}"):
        table.move(np.array([1, 3]), target)
    assert picture(table) == before


def test_every_state_can_be_reached_and_the_end_is_the_end():
    reached = {RangeState.READY, RangeState.GIVEN, RangeState.AWAITED}
    for _ in RangeState:
        reached |= {target for state in reached for target in TRANSITIONS[state]}
    assert reached == set(RangeState)
    assert not TRANSITIONS[RangeState.MERGED]
    assert not TRANSITIONS[RangeState.FAILED]


def test_one_illegal_range_among_many_moves_none_and_is_the_one_told_about():
    table = RangeTable(files(100))
    table.move(np.array([42]), RangeState.LEASED, node=3)
    before = picture(table)
    with pytest.raises(InternalError, match=r"range 42 \(f0.root-43\) is LEASED, attempts 0, node 3"):
        table.move(np.arange(100), RangeState.LEASED)
    assert picture(table) == before


def test_moving_nothing_changes_nothing():
    table = RangeTable(files(3))
    before = picture(table)
    table.move(np.empty(0, dtype=np.int64), RangeState.LEASED)
    assert picture(table) == before


def test_an_index_outside_the_table_changes_nothing():
    table = RangeTable(files(3))
    before = picture(table)
    with pytest.raises(IndexError):
        table.move(np.array([0, 3]), RangeState.LEASED)
    assert picture(table) == before


def test_ten_million_ranges_fit_in_sixty_megabytes():
    table = RangeTable(files(*[100_000] * 100))
    assert sum(column.nbytes for column in (table.state, table.attempt, table.node)) <= 60_000_000
    assert table.event_of(9_999_999) == (99, 100_000)


class RangesMoved(RuleBasedStateMachine):
    """A table against a plain dictionary: moves, legal or not, leave both the same."""

    def __init__(self) -> None:
        super().__init__()
        self.table = RangeTable(files(7, 1, 12))
        self.states = dict.fromkeys(range(20), RangeState.READY)
        self.nodes = dict.fromkeys(range(20), NO_NODE)

    @rule(indices=st.sets(st.integers(0, 19), max_size=8).map(sorted), goal=st.sampled_from(RangeState), node=st.integers(-1, 3))
    def move_any(self, indices, goal, node):
        self.apply(indices, goal, node)

    @rule(source=st.sampled_from(RangeState), node=st.integers(-1, 3), data=st.data())
    def move_legally(self, source, node, data):
        indices = [index for index, state in self.states.items() if state is source]
        if indices and TRANSITIONS[source]:
            self.apply(indices[:4], data.draw(st.sampled_from(sorted(TRANSITIONS[source]))), node)

    def apply(self, indices: list[int], target: RangeState, node: int) -> None:
        legal = all(target in TRANSITIONS[self.states[index]] for index in indices)
        try:
            self.table.move(np.asarray(indices, dtype=np.int64), target, node)
        except InternalError:
            assert not legal
            return
        assert legal
        for index in indices:
            self.states[index], self.nodes[index] = target, node

    @invariant()
    def agree(self):
        assert self.table.state.tolist() == list(self.states.values())
        assert self.table.node.tolist() == list(self.nodes.values())
        assert self.table.counts.tolist() == [list(self.states.values()).count(state) for state in RangeState]


TestRangesMoved = RangesMoved.TestCase
TestRangesMoved.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
