"""The pool: locality, order, and nothing handed out twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.ranges import RangeState, RangeTable
from raythena.engine.ready_queue import ReadyQueue
from raythena.testing.simulation.samples import small_job


def pool_of(*events):
    table = RangeTable(small_job(events, 100).inputs)
    return table, ReadyQueue(table)


def lease(table, pool, node, count):
    taken = pool.take(node, count)
    table.move(taken, RangeState.LEASED, node)
    return taken.tolist()


def hand_back(table, pool, indices):
    table.move(np.asarray(indices), RangeState.READY)
    pool.put_back(np.asarray(indices))


def test_fresh_ranges_come_in_order():
    table, pool = pool_of(6)
    assert lease(table, pool, 0, 4) == [0, 1, 2, 3]
    assert lease(table, pool, 0, 4) == [4, 5]
    assert lease(table, pool, 0, 4) == []


def test_each_node_has_a_file_of_its_own_while_there_are_enough():
    table, pool = pool_of(4, 4, 4)
    assert lease(table, pool, 0, 2) == [0, 1]
    assert lease(table, pool, 1, 2) == [4, 5]
    assert lease(table, pool, 0, 2) == [2, 3]
    assert lease(table, pool, 0, 2) == [8, 9]


def test_a_node_without_a_file_joins_the_one_with_the_fewest_nodes():
    table, pool = pool_of(10, 10)
    lease(table, pool, 0, 1), lease(table, pool, 1, 1)
    assert lease(table, pool, 2, 1) == [1]
    assert lease(table, pool, 3, 1) == [11]


def test_what_was_handed_back_comes_before_what_is_fresh():
    table, pool = pool_of(6)
    lease(table, pool, 0, 4)
    hand_back(table, pool, [2, 1])
    assert lease(table, pool, 0, 3) == [1, 2, 4]


def test_what_a_dead_node_leaves_in_its_file_goes_to_whoever_asks_next():
    """Also when that one has a file of its own, which it goes on with afterwards; but what was never begun can wait."""
    table, pool = pool_of(10, 10, 10)
    lease(table, pool, 0, 4), lease(table, pool, 1, 4)
    pool.forget(0)
    hand_back(table, pool, [0, 1, 2, 3])
    assert lease(table, pool, 1, 3) == [0, 1, 2]
    assert lease(table, pool, 1, 3) == [3, 14, 15]
    assert lease(table, pool, 2, 2) == [20, 21]
    assert lease(table, pool, 3, 2) == [4, 5]


def test_what_is_handed_back_in_a_file_that_has_nodes_is_left_to_them():
    table, pool = pool_of(10, 10)
    lease(table, pool, 0, 4), lease(table, pool, 1, 4), lease(table, pool, 2, 2)
    hand_back(table, pool, [1, 2])
    pool.forget(0)
    assert lease(table, pool, 1, 1) == [14]
    assert lease(table, pool, 2, 3) == [1, 2, 6]


def test_a_file_that_was_used_up_is_found_again():
    table, pool = pool_of(3, 3)
    lease(table, pool, 0, 6)
    hand_back(table, pool, [1])
    assert lease(table, pool, 7, 5) == [1]


def test_a_range_handed_back_ahead_of_the_cursor_is_not_handed_out_twice():
    """After a restart nodes bring ranges along that the pool has never given out."""
    table, pool = pool_of(5)
    table.move(np.asarray([1]), RangeState.LEASED, 0)
    hand_back(table, pool, [1])
    assert lease(table, pool, 0, 5) == [0, 1, 2, 3, 4]


def test_what_was_settled_while_it_waited_is_left_out():
    table, pool = pool_of(5)
    lease(table, pool, 0, 3)
    hand_back(table, pool, [0, 1])
    table.move(np.asarray([1, 4]), RangeState.ACCEPTED)
    assert lease(table, pool, 0, 5) == [0, 3]


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 7), st.booleans()), max_size=30),
)
def test_every_ready_range_is_found_exactly_once(events, steps):
    table, pool = pool_of(*events)
    for node, count, back in steps:
        ready = table.count(RangeState.READY)
        taken = lease(table, pool, node, count)
        assert len(set(taken)) == len(taken) == min(count, ready)
        if back and taken:
            hand_back(table, pool, taken[::2])
    while lease(table, pool, 9, 5):
        pass
    assert table.count(RangeState.READY) == 0
