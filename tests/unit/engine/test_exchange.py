"""The exchange with nodes: one message, one effect, one answer, however often it arrives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeState
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.engine.exchange import ExchangeConfig, NodeExchange
from raythena.engine.node_core import NodeConfig, NodeCore
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.engine.result_groups import FinishedRange
from raythena.testing.simulation.samples import group_of, small_job

NOTHING = np.empty(0, dtype=np.int64)
OUTPUTS = OutputMap.plan((10, 10), 10)


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


@pytest.mark.parametrize(
    ("nodes", "event_s", "held"),
    [
        pytest.param(1, 2.0, 4 + 4, id="two seconds of computing"),
        pytest.param(1, 1000.0, 4 + 1, id="one to spare, however long events are"),
        pytest.param(10, 10.0, 4 + 8, id="until the report after next"),
    ],
)
def test_a_node_holds_what_it_computes_until_it_can_be_given_more(nodes, event_s, held):
    config = ExchangeConfig(exchange_interval_s=0.5, interval_per_node_s=1.0)
    it = NodeExchange(Engine(small_job((400,), 400), None, EngineConfig(buffer_s=2.0)), config)
    for number in range(nodes):
        it.register(f"n{number}", 4, NOTHING, 0.0)
    first = it.exchange(replace(message(1), node="n0", computed=400, computed_s=400 * event_s), 0.0)
    assert (len(leased(first)), first.min_exchange_s) == (held, 0.2 * nodes)


def test_a_hungry_node_lets_the_others_speak():
    core = NodeCore("n", OUTPUTS, NodeConfig(min_exchange_interval_s=0.02))
    core.message(0.0, 0.0)
    core.answered(CoordinatorReply(leases=(np.arange(8),), next_exchange_s=10.0, min_exchange_s=2.0))
    core.to_feed(8)
    for index in range(8):
        core.started(index, 0.0)
    assert [core.exchange_due(now) for now in (0.1, 1.9, 2.0)] == [False, False, True]


def test_a_node_with_work_ahead_in_its_payload_is_not_hungry():
    core = NodeCore("n", OUTPUTS, NodeConfig())
    core.message(0.0, 0.0)
    core.answered(CoordinatorReply(leases=(np.arange(8),), next_exchange_s=10.0))
    assert core.to_feed(8) == list(range(8))
    for index in range(4):
        core.started(index, 0.0)
        core.done(FinishedRange(index, "", 0, 10, True, 1, 1.0, 1.0, 0.0), 1.0)
    assert not core.exchange_due(5.0)
    core.started(4, 1.0)
    assert core.exchange_due(5.0), "less than half of what it was given is left"


@pytest.mark.parametrize(
    ("nodes", "event_s", "busy_s", "idle_s"),
    [
        pytest.param(1, 0.01, 0.5, 0.1, id="short events"),
        pytest.param(1, 100.0, 2.0, 0.2, id="long events"),
        pytest.param(20, 0.01, 20.0, 20.0, id="many nodes"),
    ],
)
def test_how_often_a_node_reports_follows_nodes_and_event_times(nodes, event_s, busy_s, idle_s):
    """Where nothing is ready any more: a node whose cores are all busy, and one that could compute."""
    it = NodeExchange(Engine(small_job((4 * nodes,), 400)), ExchangeConfig(interval_per_node_s=1.0 if nodes > 1 else 0.0))
    for number in range(nodes):
        it.register(f"n{number}", 4, NOTHING, 0.0)
        it.exchange(replace(message(1), node=f"n{number}"), 0.0)
    reports = {"computed": 4, "computed_s": 4 * event_s}
    busy = it.exchange(replace(message(2), node="n0", running=((0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0)), **reports), 0.0)
    idle = it.exchange(replace(message(3), node="n0", running=((3, 0.0),), **reports), 0.0)
    assert (busy.next_exchange_s, idle.next_exchange_s) == (busy_s, idle_s)
