"""Nodes that come, report, give back, and vanish: what happens to the ranges they hold.

A node that joins says what it holds; what it does not hold any more is given to others, what somebody else has settled it is told
to drop. A node that vanishes has its ranges taken back, and charged: one of them may have taken it down.
"""

from __future__ import annotations

import numpy as np

from raythena.domain.ids import RangeIndex
from raythena.domain.ranges import Indices, RangeState
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import events as ev
from raythena.engine.failures import Failures, witness
from raythena.engine.fleet import Node
from raythena.engine.leasing import Leasing
from raythena.engine.state import JobState
from raythena.engine.tail import Tail

_REMARKS_TOLD = 5
_NO_RANGES: Indices = np.empty(0, dtype=np.int64)
_FEW_PER_CORE = 4
"""A lost node that held no more than this has them all noted: any of them may have been on a core when it died."""


class Membership:
    """Who is there, and what that means for the ranges."""

    def __init__(self, state: JobState, failures: Failures, leasing: Leasing, tail: Tail) -> None:
        self._state = state
        self._table = state.table
        self._fleet = state.fleet
        self._holders = state.holders
        self._budget = state.budget
        self._failures = failures
        self._leasing = leasing
        self._tail = tail
        self._troubled: set[str] = set()
        """Hosts that were in trouble."""
        self._remarks: dict[str, int] = {}
        """How many remarks of payloads each host has made."""

    # ---- coming and going

    def joined(self, event: ev.NodeJoined, now: float) -> None:
        """A node says what it holds; everything else is not with it."""
        known = self._fleet.get(event.node)
        expected = known.leases.held() if known is not None and known.up else _NO_RANGES
        node = self._fleet.join(event.node, event.cores, now)
        self._budget.node_up(node.host, node.name)
        held = np.unique(event.held[(event.held >= 0) & (event.held < len(self._table))])
        firsts = self._adopt(node, held)
        self._holders.make_ready(self._holders.promote_all(np.setdiff1d(expected, held, assume_unique=True)))
        self._settle_the_rest(node, np.setdiff1d(held, firsts, assume_unique=True))
        if node.host in self._budget.aside:
            self._set_aside(node)
        self._fleet.note_presence(now)

    def _adopt(self, node: Node, held: Indices) -> Indices:
        """Make a node the first holder of what nobody has, of all it says it holds; returns everything it is first holder of."""
        states = self._table.state[held]
        adopted = held[states == RangeState.READY]
        self._table.move(adopted, RangeState.LEASED, node.number)
        self._state.retries.resume(adopted.tolist())
        kept = held[(states == RangeState.LEASED) & (self._table.node[held] == node.number)]
        firsts = np.union1d(adopted, kept)
        node.leases.replace(firsts)
        return firsts

    def _settle_the_rest(self, node: Node, others: Indices) -> None:
        """What a node holds and somebody else has, or had: it is the second holder, or comes too late."""
        duplicates = self._holders.duplicates
        second = [index for index in others.tolist() if duplicates.get(index) == node.number]
        for index in node.duplicates.difference(second):
            duplicates.pop(index, None)
        self._fleet.keep_duplicates(node, second)
        self._holders.revoke(node, np.setdiff1d(others, np.asarray(second, dtype=np.int64), assume_unique=True))

    def lost(self, event: ev.NodeLost, now: float) -> None:
        """A node is given up, with everything on it."""
        node = self._fleet.get(event.node)
        if node is None or not node.up:
            return
        held = node.leases.held()
        seconds = list(node.duplicates)
        few = len(held) + len(seconds) <= _FEW_PER_CORE * node.cores
        noted = {*held.tolist(), *seconds} if few else {index for index, _ in node.running}
        self._state.pool.forget(node.number)
        self._fleet.leave(node)
        self._budget.node_down(node.host, node.name, now)
        self._fleet.note_presence(now)
        for index in seconds:
            self._holders.duplicates.pop(index, None)
        lost = RangeFailure(RangeIndex(-1), FailureKind.NODE_LOST, event.reason, event.node)
        survivors = [
            index
            for index in [*held.tolist(), *seconds]
            if not self._failures.charge_loss(index, lost, noted=index in noted, now=now)
        ]
        mine = np.intersect1d(held, np.asarray(survivors, dtype=np.int64), assume_unique=True)
        self._holders.make_ready(self._holders.promote_all(mine))

    # ---- reports

    def reported(self, event: ev.NodeReport, now: float) -> None:
        """A node says how it is doing, and is given work."""
        node = self._fleet.get(event.node)
        if node is None or not node.up:
            return
        if event.trouble != node.trouble:
            self._note_trouble(node, event.trouble)
        for remark in event.remarks:
            self._note_remark(node, remark)
        self._fleet.report(node, event, now)
        if node.has_nothing:
            self._reclaim(node)
        if self._budget.failed_attempts:
            self._judge(node, now)
        if self._state.stopping is not None or node.aside:
            self._state.drain(node)
        elif self._state.stalled is None and not node.trouble and now >= node.held_until:
            self._leasing.lease(node, now)
            self._tail.look(now)
            self._leasing.recall_late(node, now)

    def _note_trouble(self, node: Node, trouble: str) -> None:
        """A node can take no work, or can again. People are told of its first trouble; its state shows the others."""
        self._fleet.set_trouble(node, trouble)
        if trouble and node.host not in self._troubled:
            self._troubled.add(node.host)
            self._budget.warn(f"node {node.host} takes no work: {trouble}")

    def _note_remark(self, node: Node, remark: str) -> None:
        """A payload has something to say: a few of its remarks are told to people, of each host."""
        told = self._remarks.get(node.host, 0)
        self._remarks[node.host] = told + 1
        if told < _REMARKS_TOLD:
            self._budget.warn(f"node {node.host}: {remark}")

    def _reclaim(self, node: Node) -> None:
        """A node that says it has nothing has nothing: leases that got lost on their way to it are given to others."""
        if node.leases.listed:
            self._holders.make_ready(self._holders.promote_all(node.leases.held()))
            node.leases.replace(_NO_RANGES)

    def _judge(self, node: Node, now: float) -> None:
        """Whether failures have an explanation beyond single events: a broken release, a bad node."""
        budget = self._budget
        if budget.has_unjudged:
            budget.judge_repetition(self._fleet.n_usable, sum(other.unreported for other in self._fleet.up()))
        if budget.is_shaky(node.number) and self._fleet.n_usable > 1:
            accused = witness(node)
            if budget.is_suspected(accused, node.unreported) and budget.is_bad(accused):
                budget.set_aside(accused)
                self._set_aside(node)
                self._fleet.note_presence(now)

    def _set_aside(self, node: Node) -> None:
        self._fleet.set_aside(node)
        self._state.pool.forget(node.number)
        self._state.drain(node)

    def returned(self, event: ev.RangesReturned, now: float) -> None:
        """A node gives back what it has not begun."""
        node = self._fleet.get(event.node)
        if node is None:
            return
        ranges = np.unique(event.ranges[(event.ranges >= 0) & (event.ranges < len(self._table))])
        mine = ranges[(self._table.state[ranges] == RangeState.LEASED) & (self._table.node[ranges] == node.number)]
        self._holders.make_ready(self._holders.promote_all(mine))
        for index in node.duplicates.intersection(ranges.tolist()):
            self._holders.drop_duplicate(index)
        self._fleet.gave_back(node, len(ranges), now)
