"""Which ids are known already: an open-addressing hash table in two NumPy columns, some twenty bytes per id.

A Python set of a million ids takes a hundred bytes and more for each. Here an id is no more than a 32-bit hash and its index;
when hashes agree, the ids themselves are compared, so nothing is ever taken for something else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from raythena.domain.ranges import extended

_FREE = -1
_SMALLEST = 1024

Hashes = npt.NDArray[np.uint32]


class IdIndex:
    """Ids in the order in which they were added, counted from 0. `id_of` gives the id of an index that was added."""

    def __init__(self, id_of: Callable[[int], str]) -> None:
        self._id_of = id_of
        self._hashes: Hashes = np.empty(0, dtype=np.uint32)
        self._slots: npt.NDArray[np.int32] = np.full(_SMALLEST, _FREE, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._hashes)

    def is_known(self, hashes: Hashes, id_at: Callable[[int], str]) -> npt.NDArray[np.bool_]:
        """For each of several ids, `id_at(position)` with the hash `hashes[position]`, whether it was added before."""
        known = np.zeros(len(hashes), dtype=bool)
        mask = np.uint32(len(self._slots) - 1)
        asked = np.arange(len(hashes))
        slots = hashes & mask
        while len(asked):
            found = self._slots[slots]
            asked, slots, found = (column[found != _FREE] for column in (asked, slots, found))
            for candidate in np.flatnonzero(self._hashes[found] == hashes[asked]).tolist():
                position = int(asked[candidate])
                known[position] = known[position] or self._id_of(int(found[candidate])) == id_at(position)
            open_ones = ~known[asked]
            asked, slots = asked[open_ones], (slots[open_ones] + np.uint32(1)) & mask
        return known

    def add(self, hashes: Hashes) -> None:
        """Add ids that are not known, and differ from each other."""
        before = len(self._hashes)
        self._hashes = extended(self._hashes, before + len(hashes), 0)
        self._hashes[before:] = hashes
        if 2 * len(self._hashes) > len(self._slots):
            self._rebuild()
        else:
            self._place(np.arange(before, len(self._hashes), dtype=np.int32))

    def _rebuild(self) -> None:
        size = len(self._slots)
        while 2 * len(self._hashes) > size:
            size *= 2
        self._slots = np.full(size, _FREE, dtype=np.int32)
        self._place(np.arange(len(self._hashes), dtype=np.int32))

    def _place(self, indices: npt.NDArray[np.int32]) -> None:
        """Put indices into free slots, each as near to its own as possible. Of several that want a slot at once, one gets it."""
        mask = np.uint32(len(self._slots) - 1)
        slots = self._hashes[indices] & mask
        while len(indices):
            is_free = self._slots[slots] == _FREE
            self._slots[slots[is_free]] = indices[is_free]
            left = self._slots[slots] != indices
            indices, slots = indices[left], (slots[left] + np.uint32(1)) & mask
