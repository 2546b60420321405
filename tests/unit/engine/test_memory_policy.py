"""Who is ended when memory runs short, and what for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.results import FailureKind
from raythena.engine.memory_policy import QUIET_S, SETTLE_S, MemoryLimits, MemoryPolicy, MemorySight, WorkerMemory

MB = 1_000_000


def sight(*sizes_mb, available=10_000, node=20_000, shared=0):
    """Workers 0, 1, … of these sizes, the later ones younger."""
    workers = [WorkerMemory(number, size * MB, float(number)) for number, size in enumerate(sizes_mb)]
    return MemorySight(workers, shared * MB, None if available is None else available * MB, node * MB)


def policy(cores=4, **limits):
    return MemoryPolicy(MemoryLimits(**limits), cores)


def ended(verdicts):
    return [(verdict.number, verdict.kind) for verdict in verdicts]


def test_with_memory_enough_nobody_is_ended():
    assert policy().look(sight(1000, 2000, 9000), 0.0) == []


def test_a_worker_above_its_own_limit_is_ended_with_its_figure():
    (verdict,) = policy(worker_memory_bytes=500 * MB).look(sight(400, 1300), 0.0)
    assert (verdict.number, verdict.kind) == (1, FailureKind.OUT_OF_MEMORY)
    assert "1.30 GB" in verdict.text
    assert "payload.worker_memory_bytes allows 500 MB" in verdict.text


def test_all_above_their_own_limit_are_ended_at_once():
    verdicts = policy(worker_memory_bytes=500 * MB).look(sight(600, 100, 700), 0.0)
    assert ended(verdicts) == [(0, FailureKind.OUT_OF_MEMORY), (2, FailureKind.OUT_OF_MEMORY)]


@pytest.mark.parametrize(
    ("limits", "seen"),
    [
        ({"node_memory_bytes": 4000 * MB}, sight(500, 3500, 600)),
        ({}, sight(500, 3500, 600, available=100)),
        ({"memory_reserve": 0.5}, sight(500, 3500, 600, available=9000)),
    ],
    ids=["more than the node may give", "the node runs short", "a large reserve"],
)
def test_the_one_that_takes_far_more_than_the_others_is_to_blame(limits, seen):
    memory = policy(**limits)
    (verdict,) = memory.look(seen, 0.0)
    assert (verdict.number, verdict.kind) == (1, FailureKind.OUT_OF_MEMORY)
    assert "3.50 GB" in verdict.text
    assert memory.allowed == 4, "the others go on"


def test_where_all_take_the_same_the_youngest_ends_without_blame_and_there_is_one_worker_less():
    memory = policy()
    (verdict,) = memory.look(sight(1000, 1100, 1050, 100, available=10), 0.0)
    assert (verdict.number, verdict.kind) == (2, FailureKind.MEMORY_SHORT)
    assert "4 workers took 3.25 GB" in verdict.text
    assert "10 MB left of 20.00 GB" in verdict.text
    assert memory.allowed == 3


def test_the_last_worker_is_to_blame_whatever_it_takes():
    memory = policy()
    assert ended(memory.look(sight(900, available=0), 0.0)) == [(0, FailureKind.OUT_OF_MEMORY)]
    assert memory.allowed >= 1


def test_nobody_is_ended_in_vain():
    """Somebody else on the machine takes the memory."""
    assert policy().look(sight(50, 60, available=0), 0.0) == []


def test_what_nobody_can_see_is_no_shortage():
    assert policy().look(sight(9000, available=None, node=0), 0.0) == []


def test_memory_needs_a_moment_to_come_back():
    memory = policy()
    short = sight(1000, 1000, 1000, available=0)
    assert len(memory.look(short, 0.0)) == 1
    assert memory.look(short, 0.5 * SETTLE_S) == []
    assert len(memory.look(short, SETTLE_S)) == 1
    assert memory.allowed == 1


def test_a_worker_comes_back_after_a_quiet_while_with_room_for_it():
    memory = policy()
    memory.look(sight(1000, 1000, 1000, 1000, available=0), 0.0)
    assert memory.allowed == 3
    memory.look(sight(1000, 1000, 1000, available=1200), QUIET_S + 1)
    assert memory.allowed == 3, "there is no room for another one of that size"
    memory.look(sight(1000, 1000, 1000, available=5000), 0.5 * QUIET_S)
    assert memory.allowed == 3, "it is too early"
    memory.look(sight(1000, 1000, 1000, available=5000), QUIET_S + 2)
    assert memory.allowed == 4
    memory.look(sight(1000, 1000, 1000, available=5000), 9 * QUIET_S)
    assert memory.allowed == 4, "never more than there are cores"


def test_no_worker_comes_back_beyond_what_the_node_may_give():
    memory = policy(node_memory_bytes=3500 * MB)
    memory.look(sight(1000, 1000, 1000, 1000), 0.0)
    memory.look(sight(1000, 1000, 1000), 2 * QUIET_S)
    assert memory.allowed == 3


def test_what_the_workers_share_counts_for_the_node():
    assert ended(policy(node_memory_bytes=3000 * MB).look(sight(1000, 1000, shared=1500), 0.0)) == [(1, FailureKind.MEMORY_SHORT)]


@given(st.lists(st.integers(0, 10**11), max_size=20), st.integers(0, 10**11), st.integers(0, 10**11), st.integers(0, 10**10))
def test_whatever_is_seen_at_most_one_ends_for_the_node_and_one_worker_always_may(sizes, available, node, limit):
    memory = MemoryPolicy(MemoryLimits(node_memory_bytes=limit), 8)
    workers = [WorkerMemory(number, size, 0.0) for number, size in enumerate(sizes)]
    for turn in range(12):
        verdicts = memory.look(MemorySight(workers, 0, available, node), 10.0 * turn)
        assert len(verdicts) <= 1
        workers = [worker for worker in workers if worker.number not in {verdict.number for verdict in verdicts}]
        assert 1 <= memory.allowed <= 8
