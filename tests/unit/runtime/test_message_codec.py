"""Messages between processes are read back as they were, and nothing is taken that is not what was expected."""

import numpy as np
import pytest

from raythena.domain.core_time import Idle
from raythena.domain.ids import OutputNumber, RangeIndex
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport, RangeFailure
from raythena.engine.node_messages import CoordinatorReply, NodeMessage, RunningRange, RunningRanges
from raythena.runtime.cluster import Machine
from raythena.runtime.fork_requests import MergeEnd, MergeFailure, SessionPlan
from raythena.runtime.message_codec import BadMessage, decoder, encode, from_text, to_text
from raythena.runtime.session_config import SessionConfig
from raythena.testing.simulation.samples import small_job


def entries():
    found = np.zeros(2, ENTRY_DTYPE)
    found["range"], found["size"], found["wall_s"] = (4, 7), (10, 1 << 40), (0.25, 2.0)
    return found


def message(running):
    group = GroupReport("s/n.1/1", "n.1", OutputNumber(0), "staging/1.zip", 20, 5, entries())
    return NodeMessage(
        node="n.1",
        sequence=3,
        groups=(group,),
        failures=(RangeFailure(RangeIndex(np.int64(9)), FailureKind.HANG, "too long"),),
        returned=np.array([1, 2], dtype=np.int64),
        queued=4,
        running=running,
        waiting=(RangeIndex(3),),
        unreported=0,
    )


@pytest.mark.parametrize(
    "running",
    [RunningRanges(np.array([5, 6]), np.array([0.5, 1.5])), (RunningRange(RangeIndex(5), 0.5), RunningRange(RangeIndex(6), 1.5))],
    ids=["arrays", "pairs"],
)
def test_a_message_of_a_node(running):
    read = decoder(NodeMessage)(encode(message(running)))
    assert type(read.running) is type(running)
    assert list(read.running) == [(5, 0.5), (6, 1.5)]
    (group,) = read.groups
    assert group.entries.dtype == ENTRY_DTYPE
    assert np.array_equal(group.entries, entries())
    group.entries["size"][0] = 1  # it can be written to
    assert read.returned.tolist() == [1, 2]
    assert read.returned.dtype == np.int64
    assert read.failures == (RangeFailure(RangeIndex(9), FailureKind.HANG, "too long"),)


def test_an_answer():
    reply = CoordinatorReply(leases=(np.arange(3),), acknowledged=("g",), next_exchange_s=float("inf"), idle_means=Idle.TAIL)
    read = decoder(CoordinatorReply)(encode(reply))
    assert [lease.tolist() for lease in read.leases] == [[0, 1, 2]]
    assert (read.acknowledged, read.next_exchange_s, read.idle_means) == (("g",), float("inf"), Idle.TAIL)


def test_the_plan_of_a_session_with_whatever_a_user_s_options_hold():
    job = small_job()
    job.payload.options.update({"seed": 1 << 80, "nested": [{"a": None, "b": [1.5, "x"]}], "flag": True})
    plan = SessionPlan(SessionConfig("s", "/task", job), (Machine("1", "n", 2, alive=True),))
    assert from_text(to_text(plan), SessionPlan) == plan


def test_several_values_in_one_message():
    read = decoder(tuple[str, int, MergeEnd])(encode(("a", 1, MergeEnd(failure=MergeFailure("no", bad_ranges=(3,))))))
    assert read == ("a", 1, MergeEnd(failure=MergeFailure("no", bad_ranges=(3,))))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        encode("text"),
        encode({"leases": 5}),
        encode({"leases": [["O", b"12345678"]]}),
        encode({"leases": [["<i8", b"123"]]}),
        encode({"acknowledged": [1]}),
    ],
    ids=["nothing", "no msgpack", "another type", "no arrays", "objects", "half a number", "another field"],
)
def test_what_is_no_answer_is_refused(content):
    with pytest.raises(BadMessage):
        decoder(CoordinatorReply)(content)


def test_what_cannot_be_told_is_not_sent():
    with pytest.raises(TypeError, match="cannot be put into a message"):
        encode(object())
