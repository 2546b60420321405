"""Who holds which range, where more than the range table is needed to say so.

The first holder of a range is in the table. At the end of a job a range may be computed on a second node as well; the second
holder is known here, and takes the first one's place when that one gives up or vanishes.
"""

from __future__ import annotations

import numpy as np

from raythena.domain.ids import NodeNumber, RangeIndex
from raythena.domain.ranges import NO_NODE, Indices, RangeState, RangeTable
from raythena.engine import commands as do
from raythena.engine.fleet import Fleet, Node
from raythena.engine.journal import Journal
from raythena.engine.ready_queue import ReadyQueue


class Holders:
    """Moves ranges between nodes, and back to the pool."""

    def __init__(self, table: RangeTable, fleet: Fleet, pool: ReadyQueue, journal: Journal) -> None:
        self._table = table
        self._fleet = fleet
        self._pool = pool
        self._journal = journal
        self.duplicates: dict[RangeIndex, NodeNumber] = {}
        """Range → number of the second node computing it."""

    def is_held(self, index: RangeIndex, node: Node) -> bool:
        """Whether the node is the range's first holder."""
        table = self._table
        return 0 <= index < len(table) and table.state[index] == RangeState.LEASED and int(table.node[index]) == node.number

    def make_ready(self, indices: Indices, *, to_pool: bool = True) -> None:
        """Nobody holds these ranges any more. `to_pool`: anybody may have them at once."""
        if len(indices):
            self._table.move(indices, RangeState.READY)
            if to_pool:
                self._pool.put_back(indices)

    # ---- second holders

    def duplicate(self, index: RangeIndex, node: Node) -> None:
        """A range is given to a second node."""
        self.duplicates[index] = node.number
        self._fleet.lease_duplicate(node, index)
        self._journal.do(do.Lease(node=node.name, ranges=np.asarray([index], dtype=np.int64)))

    def promote_all(self, held: Indices) -> Indices:
        """Let second holders become first ones; returns the ranges that have none."""
        if not self.duplicates:
            return held
        orphans = [index for index in held.tolist() if not self.promote(index)]
        return np.asarray(orphans, dtype=np.int64)

    def promote(self, index: RangeIndex) -> bool:
        """Let the second holder of a range become the first; False: there is none."""
        second = self.duplicates.pop(index, None)
        if second is None:
            return False
        node = self._fleet.number(second)
        self._fleet.drop_duplicate(node, index)
        one = np.asarray([index], dtype=np.int64)
        self.make_ready(one, to_pool=False)
        self._table.move(one, RangeState.LEASED, node.number)
        node.leases.add(one)
        return True

    def drop_duplicate(self, index: RangeIndex) -> None:
        """The second holder, if there is one, is one no more."""
        second = self.duplicates.pop(index, None)
        if second is not None:
            self._fleet.drop_duplicate(self._fleet.number(second), index)

    # ---- too late

    def revoke(self, node: Node, ranges: Indices) -> None:
        """Tell a node that ranges are settled elsewhere."""
        if len(ranges):
            self._journal.do(do.Revoke(node=node.name, ranges=ranges))

    def tell_others(self, indices: Indices, reporter: Node | None) -> None:
        """Tell whoever holds these ranges, but for the reporter, that it is too late."""
        number = NO_NODE if reporter is None else reporter.number
        holders = self._table.node[indices]
        others = (holders != number) & (holders != NO_NODE)
        if others.any():
            for holder in np.unique(holders[others]).tolist():
                self.revoke(self._fleet.number(holder), indices[holders == holder])
        for index in self.duplicates.keys() & set(indices.tolist()) if self.duplicates else ():
            second = self._fleet.number(self.duplicates[index])
            self.drop_duplicate(index)
            if second is not reporter:
                self.revoke(second, np.asarray([index], dtype=np.int64))
