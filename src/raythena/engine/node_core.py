"""A node's own decisions: what to begin next, what to group, when to talk to the coordinator. No I/O.

The agent on a node (or a simulated one) owns one `NodeCore`. It tells it what happened (`leased`, `started`, `done`, …)
and asks what to do (`to_feed`, `groups_due`, `message`). Everything a node owes the coordinator is in here: ranges it
holds, results not yet in a group, groups not yet acknowledged. Rules:

- nothing is forgotten before the coordinator acknowledged it: a group stays in `unacknowledged` until then, and is told
  again after every registration;
- a range is in exactly one place: queued, in the payload, finished but ungrouped, in a group, or gone from the node;
- one message is under way at a time, and it is repeated unchanged until it is answered;
- while the node is in trouble it begins nothing, gives back what it has not begun, and writes its results into groups at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raythena.domain.errors import InternalError
from raythena.domain.ids import OutputNumber, RangeIndex
from raythena.domain.ranges import Indices
from raythena.domain.results import GroupReport, RangeFailure
from raythena.engine.core_times import CoreTimes
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.engine.payload_ranges import AskedBack, PayloadRanges
from raythena.engine.result_groups import FinishedRange, GroupLimits, GroupToWrite, ResultGroups

_MEAN_OVER = 16
"""Events the mean event time remembers, roughly."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """When groups are closed and how often a node reports."""

    group_events: int = 256
    group_bytes: int = 64 * 1024 * 1024
    group_age_s: float = 2.0
    exchange_interval_s: float = 0.5
    min_exchange_interval_s: float = 0.02
    """Pause between two messages even when the queue runs low."""


class Destinations(Protocol):
    """Which results may lie in one group (`OutputMap` is one)."""

    def output_of(self, range_index: RangeIndex) -> OutputNumber:
        """Number of the output, or of the input file in a job whose ranges are given, that a range belongs to."""


class NodeCore:
    """The state of one node incarnation."""

    def __init__(self, node: str, outputs: Destinations, config: NodeConfig) -> None:
        self.node = node
        self.config = config
        self._outputs = outputs
        self.queue: deque[int] = deque()
        """Ranges not yet handed to the payload."""
        self._in_payload = PayloadRanges()
        self.times = CoreTimes()
        """What the cores do with their time. Whoever owns the node says when they are there."""
        self._groups = ResultGroups(GroupLimits(config.group_events, config.group_bytes, config.group_age_s))
        self.unacknowledged: dict[str, GroupReport] = {}
        self._news_groups: list[GroupReport] = []
        self._news_failures: list[RangeFailure] = []
        self._news_returned: list[int] = []
        self._recall_open = False
        self._pending: NodeMessage | None = None
        self._computed = 0
        self._computed_s = 0.0
        self.mean_event_s = 0.0
        """How long an event takes, lately."""
        self._sequence = 0
        self._low_water = 0
        self._last_exchange = float("-inf")
        self._interval_s = config.exchange_interval_s
        self._min_interval_s = config.min_exchange_interval_s
        self.flushing = False
        self.draining = False
        self.trouble = ""
        """Why nothing can be begun now; see `hold`."""
        self.remarks: list[str] = []
        """What the payload wants people to know, since the last message."""

    # ---- what happened

    def leased(self, ranges: Iterable[int]) -> None:
        """New ranges to compute. One that is here already is not begun twice; while nothing may begin they go straight back."""
        if self._begins_nothing:
            self._news_returned.extend(ranges)
            return
        here = self._under_way()
        for index in ranges:
            self._in_payload.keep(index)
            if index not in here:
                self.queue.append(index)

    def _under_way(self) -> set[int]:
        """Ranges of which a result or a failure is still to be told."""
        return {*self.queue, *self._in_payload, *self._groups.indices()}

    def started(self, index: int, at: float) -> None:
        """A core began working on a range at wall-clock time `at`."""
        self._in_payload.started(index, at)
        self.times.started(index, at)

    def done(self, result: FinishedRange, now: float) -> bool:
        """A range is finished. False: the node does not hold it, the result must be thrown away."""
        is_wanted = self._in_payload.remove(result.index)
        self.times.done(result.index, result.started_at, result.wall_s, is_wanted=is_wanted)
        if not is_wanted:
            return False
        self._computed += 1
        self._computed_s += result.wall_s
        self.mean_event_s += (result.wall_s - self.mean_event_s) / _MEAN_OVER
        self._groups.add(self._outputs.output_of(RangeIndex(result.index)), result, now)
        return True

    def failed(self, failure: RangeFailure) -> None:
        """An attempt failed in the payload or while its output was grouped."""
        self._in_payload.remove(failure.range_index)
        self.times.failed(failure.range_index, str(failure.kind), failure.wall_s)
        self._news_failures.append(failure)

    def released(self, index: int) -> None:
        """The payload hands a range back: it goes home if it is wanted there, to the front of the queue, or nowhere."""
        why = self._in_payload.why_asked_back(index)
        if not self._in_payload.remove(index) or why is AskedBack.REVOKED:
            return
        if self._begins_nothing or why is AskedBack.RECALLED:
            self._news_returned.append(index)
        else:
            self.queue.appendleft(index)

    def payload_lost(self) -> list[int]:
        """The payload is gone with everything in it; its ranges go back to the queue. Returns those that were on a core."""
        on_core = self._in_payload.begun()
        for index in on_core:
            self._in_payload.remove(index)
        for index in reversed(self._in_payload.unbegun()):
            self.released(index)
        return on_core

    # ---- what to do

    @property
    def unbegun(self) -> int:
        """Ranges that no core has begun, in the payload or not."""
        return len(self.queue) + self._in_payload.n_unbegun

    @property
    def computing(self) -> int:
        """Ranges in the payload."""
        return len(self._in_payload)

    @property
    def _begins_nothing(self) -> bool:
        return self.draining or bool(self.trouble)

    @property
    def has_results(self) -> bool:
        """Something is being computed, or finished and not in a durable group."""
        return bool(self._in_payload or self._groups)

    def to_feed(self, appetite: int) -> list[int]:
        """Ranges for the payload, which takes `appetite` more."""
        count = min(appetite, len(self.queue))
        taken = [self.queue.popleft() for _ in range(count)]
        self._in_payload.feed(taken)
        return taken

    def groups_due(self, now: float) -> list[GroupToWrite]:
        """Groups to write now: full, old enough, or all of them at the end of the job."""
        return self._groups.due(now, all_of_them=self.flushing or self._begins_nothing)

    def group_written(self, number: int, report: GroupReport | None) -> None:
        """A group is durable; None: every member of it turned out bad and was reported failed."""
        self._groups.written(number)
        if report is not None:
            self.unacknowledged[report.name] = report
            self._news_groups.append(report)

    # ---- talking to the coordinator

    def held(self) -> Indices:
        """Everything the node has, for a registration."""
        parts = [np.asarray(sorted(self._under_way()), dtype=np.int64)]
        parts += [report.entries["range"].astype(np.int64) for report in self.unacknowledged.values()]
        return np.concatenate(parts)

    def registered(self) -> None:
        """The coordinator has taken `held`: what is not acknowledged is news again, what was news besides is known already.

        It may be another coordinator, which knows nothing of an earlier order to drain; it will repeat it if it must.
        """
        self.draining = False
        self._news_groups = list(self.unacknowledged.values())
        self._pending = None
        self._recall_open = False

    def exchange_due(self, now: float) -> bool:
        """Whether to send a message now."""
        since_s = now - self._last_exchange
        if since_s >= self._interval_s:
            return True
        starving = self.unbegun == 0 and self._computed > 0
        hungry = starving or self.unbegun < self._low_water
        news = bool(self._news_groups or self._news_returned)
        urgent = self._recall_open or ((self.flushing or self._begins_nothing) and news)
        return (hungry or urgent) and since_s >= self._min_interval_s

    def message(self, now: float, wall_now: float) -> NodeMessage:
        """The message to send; the same one again until `answered`."""
        if self._pending is None:
            self._sequence += 1
            self.times.look(wall_now, self)
            self._pending = NodeMessage(
                node=self.node,
                sequence=self._sequence,
                groups=tuple(self._news_groups),
                failures=tuple(self._news_failures),
                returned=np.asarray(self._news_returned, dtype=np.int64),
                queued=self.unbegun,
                running=self._in_payload.running(wall_now),
                waiting=tuple(map(RangeIndex, self._in_payload.unbegun())) if self.flushing else (),
                unreported=self._groups.n_unreported,
                answers_recall=self._recall_open,
                computed=self._computed,
                computed_s=self._computed_s,
                trouble=self.trouble,
                remarks=tuple(self.remarks),
                times=self.times.read(self.node),
            )
            self.remarks = []
            self._computed, self._computed_s = 0, 0.0
            self._news_groups, self._news_failures, self._news_returned = [], [], []
            self._recall_open = False
        self._last_exchange = now
        return self._pending

    def answered(self, reply: CoordinatorReply) -> list[int]:
        """Take the coordinator's answer to the pending message, then `apply` it."""
        if self._pending is None:
            raise InternalError("an answer came to a message that was never sent")
        self._pending = None
        return self.apply(reply)

    def apply(self, reply: CoordinatorReply) -> list[int]:
        """Do what the coordinator says, to a message or to a registration. Returns ranges the payload should release."""
        self._interval_s = reply.next_exchange_s or self.config.exchange_interval_s
        self._min_interval_s = max(reply.min_exchange_s, self.config.min_exchange_interval_s)
        self.flushing = reply.flush
        self.times.told(reply.idle_means)
        for name in reply.acknowledged:
            self.unacknowledged.pop(name, None)
        settled = {index for ranges in reply.revoked for index in ranges.tolist()}
        if settled:
            self.queue = deque(index for index in self.queue if index not in settled)
        wanted_back = self._in_payload.ask_back(settled, AskedBack.REVOKED)
        if reply.recall:
            wanted_back += self._recall(reply.recall)
        if reply.drain:
            wanted_back += self.drain()
        for ranges in reply.leases:
            self.leased(ranges.tolist())
        self._low_water = self.unbegun // 2  # where nothing is to be had: wait for the interval, do not ask in a loop
        return wanted_back

    def drain(self) -> list[int]:
        """Begin nothing more. Returns ranges the payload should release."""
        self.draining = True
        return self._give_back()

    def hold(self, trouble: str) -> list[int]:
        """Begin nothing while there is `trouble`; "" ends that. Returns ranges the payload should release."""
        self.trouble = trouble
        return self._give_back() if trouble else []

    def _give_back(self) -> list[int]:
        self._news_returned.extend(self.queue)
        self.queue.clear()
        return self._in_payload.unbegun()

    def _recall(self, count: int) -> list[int]:
        """Give back from the end of the queue first: those would be begun last."""
        self._recall_open = True
        from_queue = min(count, len(self.queue))
        self._news_returned.extend(self.queue.pop() for _ in range(from_queue))
        return self._in_payload.ask_back_last(count - from_queue)
