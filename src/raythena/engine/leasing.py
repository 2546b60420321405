"""Which node gets how much of what: leases, and what is asked back because there will be no time for it.

A lease is sized by time: `buffer_s` of computing ahead of the cores, and enough for two intervals between reports, less towards
the end of the job, nothing that would not finish. Which ranges they are is the pool's choice, but for the few that have failed or
got lost before: those pause, are tried elsewhere if anybody else is free, and suspects are given out one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from raythena.domain.ids import RangeIndex
from raythena.domain.ranges import Indices, RangeState
from raythena.engine import commands as do
from raythena.engine.fleet import Node
from raythena.engine.state import JobState

_SIFTINGS = 4
"""How often a lease is filled up when ranges had to be left for others."""
_REPORTS_AHEAD = 2.0
"""A node holds work for so many intervals between its reports, so that no core waits for one."""
_SPARE_SHARE = 16
"""For each so many cores a node holds one range that is not begun, at least one, however long events are."""
_SHORTEST_LEASE_S = 0.05
"""Leases shrink towards the end of a job, but not below this much work: a message costs time too."""


@dataclass(slots=True)
class _Sifted:
    """Ranges taken out of the pool for a node, sorted."""

    kept: list[RangeIndex] = field(default_factory=list)
    for_others: list[RangeIndex] = field(default_factory=list)
    failed_here: list[RangeIndex] = field(default_factory=list)
    """Better tried elsewhere, if there is anything else for the node."""


class Leasing:
    """Hands ranges out."""

    def __init__(self, state: JobState) -> None:
        self._state = state
        self._retries = state.retries

    def lease(self, node: Node, now: float) -> None:
        """Give a node what it should have, if there is anything."""
        state = self._state
        ready = state.table.count(RangeState.READY) - self._retries.waiting
        if ready <= 0:
            return
        count = self._lease_size(node, ready, now)
        if count <= 0:
            return
        ranges = state.pool.take(node.number, count)
        if self._retries.any_on_record:
            ranges = self._suitable(node, ranges)
        if len(ranges):
            state.table.move(ranges, RangeState.LEASED, node.number)
            state.fleet.lease(node, ranges)
            state.deadline.leased(now)
            state.journal.do(do.Lease(node=node.name, ranges=ranges))

    def recall_late(self, node: Node, now: float) -> None:
        """Ask back what a node will not begin in time; another one might, or the next session."""
        beginnable = self.beginnable(node, now)
        if beginnable is not None and node.queued > beginnable and not node.is_asked_back(now):
            self._state.fleet.recall(node, node.queued - beginnable, now)
            self._state.journal.do(do.Recall(node=node.name, count=node.recalling))

    def beginnable(self, node: Node, now: float) -> int | None:
        """How many events the node can begin before the end of the allocation is too near; None: any number."""
        deadline, fleet = self._state.deadline, self._state.fleet
        if deadline.at is None:
            return None
        mean_s = node.mean_event_s or fleet.mean_event_s or 0.0
        return deadline.beginnable(now, node.cores, mean_s, fleet.slowness(node))

    def _lease_size(self, node: Node, ready: int, now: float) -> int:
        """Enough until the report after next, no more than a fair share of what is left, never fewer than the idle cores,
        never what cannot be finished."""
        config, fleet = self._state.config, self._state.fleet
        in_hand = node.queued + len(node.running)
        mean_s = node.mean_event_s or fleet.mean_event_s
        if mean_s is None:
            target = node.cores * config.first_lease_per_core
        else:
            ahead_s = max(config.buffer_s, _REPORTS_AHEAD * node.next_report_s)
            target = node.cores + max(1, node.cores // _SPARE_SHARE, int(node.cores * ahead_s / mean_s))
        wanted = min(target - in_hand, config.max_lease)
        if fleet.total_speed > 0.0 and node.speed > 0.0:
            share = node.speed / fleet.total_speed
            worth_a_message = int(node.speed * _SHORTEST_LEASE_S)
            wanted = min(wanted, max(1, worth_a_message, int(0.5 * ready * share)))
        beginnable = self.beginnable(node, now)
        late = len(self._state.table) if beginnable is None else max(beginnable - node.queued, 0)
        return min(max(wanted, node.idle_cores), ready, late)

    # ---- ranges with a past

    def _suitable(self, node: Node, ranges: Indices) -> Indices:
        """Without ranges that pause, suspects (but for one), and ranges that failed on this very node while another node is idle.

        Others are taken instead, within reason.
        """
        pool = self._state.pool
        wanted = len(ranges)
        sifted = _Sifted()
        for _ in range(_SIFTINGS):
            self._sift(node, ranges, sifted)
            if len(sifted.kept) == wanted or len(ranges) == 0:
                break
            ranges = pool.take(node.number, wanted - len(sifted.kept))
        else:
            sifted.for_others.extend(ranges.tolist())
        if not sifted.kept:  # nothing better is to be had, and others may be as badly off
            sifted.kept, sifted.failed_here = sifted.failed_here[:wanted], sifted.failed_here[wanted:]
        pool.put_back(np.asarray(sifted.for_others + sifted.failed_here, dtype=np.int64))
        return np.asarray(sifted.kept, dtype=np.int64)

    def _sift(self, node: Node, ranges: Indices, sifted: _Sifted) -> None:
        """Sort ranges for the node from ranges for other nodes. What pauses is in neither: it is put back when it is due."""
        state, holders = self._state, self._state.holders
        others_are_idle = len(state.fleet.idle) > (
            node.number in state.fleet.idle
        )  # if none is, a range is better tried again here
        is_shaky = state.budget.is_shaky(node.number) and state.fleet.n_usable > 1
        for index in ranges.tolist():
            if self._retries.is_pausing(index):
                continue
            if self._retries.is_suspect(index):
                suspect = node.suspect
                if suspect is not None and suspect != index and (suspect in sifted.kept or holders.is_held(suspect, node)):
                    sifted.for_others.append(index)
                    continue
                state.fleet.give_suspect(node, index)
            elif (others_are_idle or is_shaky) and self._retries.failed_last_on(index, node.number):
                (sifted.for_others if others_are_idle else sifted.failed_here).append(index)
                continue
            sifted.kept.append(index)
