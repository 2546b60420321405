"""Groups of finished ranges: what of them is accepted, committed, acknowledged, and what is refused.

Exactly once is decided here. Of a group those ranges are accepted that belong to it and are not settled yet; the rest is left
out. A group of which nothing is accepted is refused: it is acknowledged, and its file removed, once what made it superfluous is
in the ledger, not before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from raythena.domain.ranges import NO_NODE, Indices, RangeState
from raythena.domain.records import GroupStored
from raythena.domain.results import GroupReport
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.completion import Completion
from raythena.engine.fleet import Node
from raythena.engine.state import JobState

_NO_RANGES: Indices = np.empty(0, dtype=np.int64)


class Results:
    """Groups from their first report to their commit."""

    def __init__(self, state: JobState, completion: Completion) -> None:
        self._state = state
        self._completion = completion
        self._table = state.table
        self._journal = state.journal
        self.waiting: dict[str, GroupReport] = {}
        """Groups whose record is on its way to the ledger, by name."""
        self.stored: set[str] = set()
        """Names of groups in the ledger whose output is not merged yet, or lacks events."""
        self._refused: dict[str, tuple[int, str]] = {}
        """Groups nobody needs, by name: (ticket all earlier ones of which must be committed first, node)."""

    def reported(self, event: ev.GroupReported, now: float) -> None:
        """A node tells of a durable group, perhaps not for the first time."""
        group = event.group
        if group.name in self.stored:
            self._journal.do(do.Acknowledge(node=group.node, group=group.name))
            return
        if group.name in self.waiting or group.name in self._refused:
            return
        accepted = self._acceptable(group)
        if len(accepted) == 0:
            self._refused[group.name] = (self._journal.next_ticket, group.node)
            self.release_refused()
        else:
            self._accept(group, accepted, now)

    def _acceptable(self, group: GroupReport) -> Indices:
        """Positions in `group.entries` of ranges that belong to the group's output and are not settled yet."""
        interval = self._completion.interval(group.output)
        if interval is None:
            return _NO_RANGES
        start, stop = interval
        indices = group.entries["range"].astype(np.int64)
        inside = (indices >= start) & (indices < stop)
        if not inside.all():
            indices = np.where(inside, indices, start)
        states = self._table.state[indices]
        good = inside & ((states == RangeState.LEASED) | (states == RangeState.READY))
        positions = np.flatnonzero(good)
        if len(positions) > 1 and not (np.diff(indices[positions]) > 0).all():
            _, first = np.unique(indices[positions], return_index=True)
            positions = np.sort(positions[first])
        return positions

    def _accept(self, group: GroupReport, accepted: Indices, now: float) -> None:
        state = self._state
        entries = group.entries[accepted]  # a copy: what arrived may be shared and read-only
        indices = entries["range"].astype(np.int64)
        entries["attempt"] = np.minimum(self._table.attempt[indices].astype(np.int64) + 1, 255)
        group = replace(group, entries=entries)
        node = state.fleet.get(group.node)
        state.holders.tell_others(indices, node)
        self._table.move(indices, RangeState.ACCEPTED)
        if state.retries.any_on_record:
            for index in indices.tolist():
                state.retries.settled(index)
        self._credit(node, group, now)
        self.waiting[group.name] = group
        self._journal.commit(GroupStored(group), now)

    def _credit(self, node: Node | None, group: GroupReport, now: float) -> None:
        """Learn from accepted events: whose they are, how long they took."""
        state, entries = self._state, group.entries
        if node is not None:
            state.fleet.credit(node, entries)
            state.deadline.group_took(now + state.wall_clock_offset - node.last_end)
        state.deadline.times.add(entries["wall_s"].copy())
        if state.end_meter is not None:
            state.end_meter.finished(entries)
        number = NO_NODE if node is None else node.number
        state.budget.attempts_succeeded(number, len(entries), self._table.file_of(int(entries["range"][0])))

    def release_refused(self) -> None:
        """Acknowledge refused groups once what made them superfluous is in the ledger; the ledger commits in order."""
        oldest = self._journal.oldest_open
        for name, (ticket, node) in list(self._refused.items()):
            if ticket > oldest:
                break
            del self._refused[name]
            self._journal.do(do.Acknowledge(node=node, group=name))
            self._journal.do(do.DiscardGroups((name,)))

    def committed(self, group: GroupReport) -> None:
        """A group is in the ledger: its node may forget it."""
        del self.waiting[group.name]
        self.stored.add(group.name)
        self._table.move(group.entries["range"].astype(np.int64), RangeState.STORED)
        self._completion.stored(group)
        self._journal.do(do.Acknowledge(node=group.node, group=group.name))

    def restore(self, group: GroupReport) -> None:
        """An earlier coordinator stored a group."""
        indices = group.entries["range"].astype(np.int64)
        self._table.move(indices, RangeState.ACCEPTED)
        self._table.move(indices, RangeState.STORED)
        self.stored.add(group.name)
