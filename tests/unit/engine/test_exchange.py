"""The exchange with nodes: one message, one effect, one answer, however often it arrives."""

from __future__ import annotations

import numpy as np

from raythena.domain.ranges import RangeState
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.exchange import ExchangeConfig, NodeExchange
from raythena.engine.node_messages import NodeMessage
from raythena.testing.simulation.samples import group_of, small_job

NOTHING = np.empty(0, dtype=np.int64)


def node_exchange(**config):
    return NodeExchange(Engine(small_job((8,), 4)), ExchangeConfig(**config))


def message(sequence, node="a", groups=(), queued=0, returned=NOTHING):
    return NodeMessage(
        node=node,
        sequence=sequence,
        groups=groups,
        failures=(),
        returned=returned,
        queued=queued,
        running=(),
        waiting=(),
        unreported=0,
    )


def leased(reply):
    return [index for lease in reply.leases for index in lease.tolist()]


def test_a_stranger_is_told_to_register():
    assert node_exchange().exchange(message(1), 0.0).register


def test_a_repeated_message_gets_the_same_answer_and_has_no_second_effect():
    it = node_exchange()
    it.register("a", 1, NOTHING, 0.0)
    first = it.exchange(message(1), 0.0)
    assert leased(first) == [0, 1]
    assert it.exchange(message(1), 1.0) is first
    assert it.engine.table.count(RangeState.LEASED) == 2


def test_a_stray_copy_of_an_older_message_has_no_effect():
    it = node_exchange()
    it.register("a", 1, NOTHING, 0.0)
    it.exchange(message(1), 0.0)
    second = it.exchange(message(2, queued=2), 0.1)
    assert leased(it.exchange(message(1, returned=np.asarray([0])), 0.2)) == []
    assert it.engine.table.state[0] == RangeState.LEASED
    assert it.exchange(message(2, queued=2), 0.3) is second


def test_a_lease_says_of_which_ranges_it_is_not_the_first_attempt():
    it = NodeExchange(Engine(small_job((2,), 2)), ExchangeConfig())
    it.register("a", 1, NOTHING, 0.0)
    assert it.exchange(message(1), 0.0).attempts == ()
    failures = (RangeFailure(1, FailureKind.REPORTED, "no", "a", 1.0),)
    it.exchange(
        NodeMessage(
            node="a", sequence=2, groups=(), failures=failures, returned=NOTHING, queued=0, running=(), waiting=(), unreported=0
        ),
        1.0,
    )
    it.step(ev.Tick(), 100.0)
    reply = it.exchange(message(3), 100.0)
    assert sorted(leased(reply)) == [0, 1]
    assert reply.attempts == ((1, 2),)


def test_leases_that_never_arrived_are_given_out_again():
    it = node_exchange()
    it.register("a", 1, NOTHING, 0.0)
    assert leased(it.exchange(message(1), 0.0)) == [0, 1]
    assert leased(it.exchange(message(2), 0.0)) == [0, 1]


def test_a_silent_node_is_given_up_and_must_register():
    it = node_exchange(node_timeout_s=10.0)
    it.register("a", 1, NOTHING, 0.0)
    it.exchange(message(1), 0.0)
    assert it.lose_silent_nodes(9.0) == []
    assert it.lose_silent_nodes(10.5) == ["a"]
    assert it.engine.table.count(RangeState.READY) == 8
    assert it.exchange(message(2), 11.0).register


def test_time_in_which_nobody_listened_is_not_held_against_the_nodes():
    """A coordinator that was stopped for a minute hears of everybody at once, a moment after it looks at the clock."""
    it = node_exchange(node_timeout_s=10.0)
    it.register("a", 1, NOTHING, 0.0)
    it.register("b", 1, NOTHING, 0.0)
    assert it.lose_silent_nodes(1.0) == []
    assert it.lose_silent_nodes(61.0) == []
    it.exchange(message(1), 61.1)
    assert [name for tenths in range(611, 800) for name in it.lose_silent_nodes(tenths / 10)] == ["b", "a"]


def test_many_nodes_may_be_silent_for_longer_because_they_are_asked_to_report_less_often():
    it = node_exchange(node_timeout_s=1.0, interval_per_node_s=1.0)
    it.register("a", 1, NOTHING, 0.0)
    it.register("b", 1, NOTHING, 0.0)
    assert it.lose_silent_nodes(19.0) == []
    assert it.lose_silent_nodes(20.5) == ["a", "b"]


def test_how_long_a_node_has_been_silent_is_known_after_it_was_given_up_too():
    it = node_exchange(node_timeout_s=10.0)
    assert it.silence_s("a", 5.0) == float("inf")
    it.register("a", 1, NOTHING, 5.0)
    it.lose("a", "gone", 6.0)
    assert it.silence_s("a", 8.0) == 3.0
    assert it.exchange(message(1), 9.0).register
    assert it.silence_s("a", 9.5) == 0.5


def test_what_is_for_the_world_does_not_go_to_nodes():
    it = node_exchange()
    it.register("a", 1, NOTHING, 0.0)
    it.exchange(message(1, groups=(group_of("g", "a", 0, [0]),)), 0.0)
    (commit,) = it.take_effects()
    assert isinstance(commit, do.Commit)
    assert it.take_effects() == []
    assert it.exchange(message(2, queued=2), 0.1).acknowledged == ()
    it.step(ev.Committed((commit.ticket,)), 0.2)
    assert it.exchange(message(3, queued=2), 0.3).acknowledged == ("g",)


def test_after_the_end_everybody_is_told_to_stop():
    it = node_exchange()
    it.step(ev.StopRequested(reason="enough"), 0.0)
    assert it.register("a", 1, NOTHING, 0.0).stop
    assert it.exchange(message(1), 0.0).stop
