"""The ranges one node leases, as the arrays in which they were handed out.

An array is never searched. When ranges must be taken back from the node, the arrays are filtered by the range table, which knows
the holder of every range. Arrays that have become mostly history are filtered early, so that memory stays within a small multiple
of what is really held.
"""

from __future__ import annotations

import numpy as np

from raythena.domain.ids import NodeNumber
from raythena.domain.ranges import Indices, RangeState, RangeTable

_COMPACT_ABOVE = 4096


class LeaseList:
    """Of the node with this number. `table` is only read."""

    def __init__(self, table: RangeTable, number: NodeNumber) -> None:
        self._table = table
        self._number = number
        self.arrays: list[Indices] = []
        self.listed = 0
        """Sum of the lengths of `arrays`."""
        self._compact_above = _COMPACT_ABOVE
        """Filter above this; twice what was held at the last time, so that the cost per range stays constant."""

    def add(self, ranges: Indices) -> None:
        """Note a lease. The range table must say the same."""
        self.arrays.append(ranges)
        self.listed += len(ranges)
        if self.listed > self._compact_above:
            self.replace(self.held())
            self._compact_above = 2 * self.listed + _COMPACT_ABOVE

    def replace(self, ranges: Indices) -> None:
        """The node leases these, and nothing else."""
        self.arrays = [ranges] if len(ranges) else []
        self.listed = len(ranges)

    def held(self) -> Indices:
        """Every range the node is the first holder of, sorted. Costs the length of its leases."""
        if not self.arrays:
            return np.empty(0, dtype=np.int64)
        # leases are ascending runs, which a merging sort puts together a hundred times faster than numpy.unique hashes them
        listed = np.sort(np.concatenate(self.arrays), kind="stable")
        table = self._table
        is_first = np.diff(listed, prepend=-1) > 0
        mine = np.flatnonzero(is_first & (table.state[listed] == RangeState.LEASED) & (table.node[listed] == self._number))
        return np.take(listed, mine)
