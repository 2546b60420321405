"""The agent's line insists on an answer, waits longer each time, and gives up when the coordinator stays away."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest

from raythena.domain.errors import ClusterError
from raythena.engine.node_messages import CoordinatorReply, NodeMessage, RunningRanges
from raythena.runtime.link import NoAnswer, PatientLink
from raythena.testing.clocks import ManualClock

NOTHING = np.empty(0, dtype=np.int64)
MESSAGE = NodeMessage(
    node="n.1",
    sequence=1,
    groups=(),
    failures=(),
    returned=NOTHING,
    queued=0,
    running=RunningRanges(NOTHING, np.empty(0)),
    waiting=(),
    unreported=0,
)


class MadeUpCarrier:
    """Fails so often, then answers."""

    def __init__(self, failures: int, clock: ManualClock) -> None:
        self.failures = failures
        self.clock = clock
        self.tried_at: list[float] = []
        self.said: list[object] = []

    async def register(self, node, cores, held):
        return await self._call((node, cores, held.tolist()))

    async def exchange(self, message):
        return await self._call(message)

    async def _call(self, said):
        self.tried_at.append(self.clock.monotonic_s())
        self.said.append(said)
        if len(self.tried_at) <= self.failures:
            raise NoAnswer("the line ended")
        return CoordinatorReply(recall=len(self.tried_at))


def asked(failures: int, patience_s: float, lasts_s: float, call=lambda link: link.exchange(MESSAGE)):
    """The carrier, and what came of the call."""

    async def go():
        clock = ManualClock()
        carrier = MadeUpCarrier(failures, clock)
        call_task = asyncio.create_task(call(PatientLink(carrier, patience_s, clock)))
        await clock.advance(lasts_s)
        assert call_task.done(), "still trying"
        return carrier, call_task

    return asyncio.run(go())


def test_an_answer_is_handed_on():
    carrier, call = asked(0, 10.0, 0.0)
    assert call.result().recall == 1
    assert carrier.said == [MESSAGE]


def test_a_node_is_introduced():
    carrier, _ = asked(1, 10.0, 1.0, lambda link: link.register("n.1", 4, np.array([3, 5])))
    assert carrier.said == [("n.1", 4, [3, 5])] * 2


def test_it_is_asked_again_the_later_the_longer_it_was_silent():
    carrier, call = asked(7, 100.0, 20.0)
    assert call.result().recall == 8
    pauses = np.diff(carrier.tried_at)
    assert pauses.tolist() == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


def test_a_coordinator_that_stays_away_is_given_up(caplog):
    with caplog.at_level(logging.WARNING, logger="raythena.runtime.link"):
        carrier, call = asked(1000, 5.0, 20.0)
    with pytest.raises(ClusterError, match=r"has not answered for \d+ s: the line ended"):
        call.result()
    assert 5.0 < carrier.tried_at[-1] < 8.0
    assert all("no answer from the coordinator (the line ended)" in record.getMessage() for record in caplog.records)
