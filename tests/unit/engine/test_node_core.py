"""The node's own decisions: nothing forgotten, nothing done twice, nothing asked in a loop."""

from __future__ import annotations

import numpy as np
import pytest

from raythena.domain.errors import InternalError
from raythena.domain.outputs import OutputMap
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine.node_core import NodeConfig, NodeCore
from raythena.engine.node_messages import CoordinatorReply
from raythena.engine.result_groups import FinishedRange
from raythena.testing.simulation.samples import group_of

OUTPUTS = OutputMap.plan((10, 10), 10)


def node(**config):
    return NodeCore("n", OUTPUTS, NodeConfig(**config))


def finish(core, *indices, now=0.0):
    for index in indices:
        core.done(FinishedRange(index, "", 0, 10, True, 1, 1.0, 1.0, 0.0), now)


def write(core, now=100.0):
    names = []
    for group in core.groups_due(now):
        name = f"g{group.number}"
        core.group_written(group.number, group_of(name, "n", group.output, [member.index for member in group.members]))
        names.append(name)
    return names


def leases(*ranges, **more):
    return CoordinatorReply(leases=(np.asarray(ranges, dtype=np.int64),), **more)


def exchange(core, reply, now=0.0):
    message = core.message(now, now)
    return message, core.answered(reply)


def test_a_range_on_its_way_through():
    core = node()
    exchange(core, leases(3, 4))
    assert core.to_feed(1) == [3]
    finish(core, 3)
    assert core.groups_due(1.0) == []
    assert write(core) == ["g1"]
    message, _ = exchange(core, CoordinatorReply(acknowledged=("g1",)))
    assert [group.name for group in message.groups] == ["g1"]
    assert (message.queued, message.computed) == (1, 1)
    assert core.unacknowledged == {}
    assert core.held().tolist() == [4]


def test_a_message_is_the_same_until_it_is_answered():
    core = node()
    first = core.message(0.0, 0.0)
    core.leased([1])
    assert core.message(5.0, 5.0) is first
    core.answered(CoordinatorReply())
    assert core.message(6.0, 6.0).sequence == first.sequence + 1
    core.answered(CoordinatorReply())
    with pytest.raises(InternalError, match="never sent"):
        core.answered(CoordinatorReply())


def test_groups_of_different_outputs_are_kept_apart_and_closed_when_full_or_old():
    core = node(group_events=2, group_age_s=5.0)
    core.leased([1, 12, 2])
    core.to_feed(3)
    finish(core, 12, 2)
    assert core.groups_due(1.0) == []
    finish(core, 1, now=1.0)
    (full,) = core.groups_due(1.0)
    assert [member.index for member in full.members] == [1, 2]
    (old,) = core.groups_due(5.0)
    assert old.output == 1


def test_everything_is_told_again_after_a_registration():
    core = node()
    core.leased([0, 1, 2, 3])
    core.to_feed(3)
    finish(core, 0, 1)
    write(core)
    core.message(0.0, 0.0)
    assert sorted(core.held().tolist()) == [0, 1, 2, 3]
    core.registered()
    message, _ = exchange(core, CoordinatorReply())
    assert [group.name for group in message.groups] == ["g1"]


def test_an_order_to_drain_ends_with_the_coordinator_that_gave_it():
    core = node()
    core.leased([1, 2])
    exchange(core, CoordinatorReply(drain=True))
    message, _ = exchange(core, leases(5))
    assert message.returned.tolist() == [1, 2]
    message, _ = exchange(core, CoordinatorReply())
    assert message.returned.tolist() == [5]
    core.registered()
    exchange(core, leases(6))
    assert core.to_feed(9) == [6]


def test_what_would_be_begun_last_is_given_back_first():
    core = node()
    core.leased([1, 2, 3, 4])
    core.to_feed(2)
    _, wanted_back = exchange(core, CoordinatorReply(recall=3))
    assert wanted_back == [2]
    core.released(2)
    message = core.message(0.0, 0.0)
    assert message.answers_recall
    assert sorted(message.returned.tolist()) == [2, 3, 4]


def test_a_range_released_late_still_goes_home():
    core = node()
    core.leased([1])
    core.to_feed(1)
    exchange(core, CoordinatorReply(recall=1))
    assert exchange(core, CoordinatorReply())[0].returned.tolist() == []
    core.released(1)
    assert exchange(core, CoordinatorReply())[0].returned.tolist() == [1]
    assert (len(core.queue), core.has_results, core.unacknowledged) == (0, False, {})


def test_revoked_ranges_are_dropped_wherever_they_wait_but_not_on_a_core():
    core = node()
    core.leased([1, 2, 3])
    core.to_feed(2)
    core.started(1, 0.0)
    _, wanted_back = exchange(core, CoordinatorReply(revoked=(np.asarray([1, 2, 3]),)))
    assert wanted_back == [2]
    core.released(2)
    assert core.held().tolist() == [1]
    assert core.to_feed(9) == []


def test_a_range_leased_again_while_it_is_here_is_begun_once():
    core = node()
    core.leased([1, 2])
    core.to_feed(1)
    exchange(core, CoordinatorReply(revoked=(np.asarray([1]),)))
    exchange(core, leases(1, 2, 3))
    assert core.to_feed(9) == [2, 3]
    core.released(1)
    assert core.to_feed(9) == [1]


def test_a_result_that_nobody_asked_for_is_thrown_away():
    core = node()
    assert not core.done(FinishedRange(4, "", 0, 10, True, 1, 1.0, 1.0, 0.0), 0.0)
    assert core.groups_due(100.0) == []


def test_a_lost_payload_fails_what_was_on_a_core_and_keeps_the_rest():
    core = node()
    core.leased([1, 2, 3])
    core.to_feed(2)
    core.started(1, 0.0)
    assert core.payload_lost() == [1]
    core.failed(RangeFailure(1, FailureKind.CRASH, "", "n"))
    assert core.to_feed(9) == [2, 3]
    assert [failure.range_index for failure in core.message(0.0, 0.0).failures] == [1]


def test_a_node_in_trouble_begins_nothing_and_keeps_its_results():
    core = node(group_age_s=100.0)
    core.leased([1, 2, 3, 4])
    core.to_feed(2)
    core.started(1, 0.0)
    assert core.hold("no space left") == [2]
    core.released(2)
    core.leased([5])
    assert core.to_feed(10) == []
    finish(core, 1)
    assert write(core) == ["g1"]
    message, _ = exchange(core, CoordinatorReply())
    assert message.trouble == "no space left"
    assert sorted(message.returned.tolist()) == [2, 3, 4, 5]
    assert [group.name for group in message.groups] == ["g1"]
    assert not core.has_results


def test_a_node_goes_on_when_its_trouble_is_over():
    core = node()
    core.hold("no space left")
    assert core.hold("") == []
    core.leased([1])
    assert core.to_feed(1) == [1]
    message, _ = exchange(core, CoordinatorReply())
    assert message.trouble == ""
