"""The ranges nobody has, and which of them a node gets next.

A *file* is here what the table calls a segment: ranges of one input file in a row.

Locality first: a node stays with an input file until the file is used up, then takes one nobody has begun, then joins
the file with the fewest nodes. Within a file, ranges handed back come before fresh ones, and fresh ones come in order. One
thing comes before locality: ranges handed back in a file where no node is any more, because it died. Whoever asks next gets
them, or they, and the output they belong to, would wait until some node has used up a whole other file.

The pool is lazy: it never looks a range up in anything; when it takes ranges out it keeps those whose state is READY. So a range
that is settled while it waits here need not be removed, and one that is put back twice is handed out once. A range is in one
of two places: before its file's cursor, where it is found only if it was put back, or at or after it, where it is found anyway.
Taking k ranges costs O(k) amortised: each file's cursor only moves forward.
"""

from __future__ import annotations

import heapq

import numpy as np

from raythena.domain.ids import NodeNumber
from raythena.domain.ranges import Indices, RangeState, RangeTable

_NO_FILE = -1
_SCAN = 4096


class ReadyQueue:
    """Ranges waiting for a node. `table` is only read."""

    def __init__(self, table: RangeTable) -> None:
        self._table = table
        self._offsets: list[int] = table.offsets.tolist()
        self._cursor = self._offsets[:-1]
        self._returned: dict[int, list[int]] = {}
        self._attached = [0] * table.n_segments
        self._file_of_node: dict[NodeNumber, int] = {}
        self._next_unopened = 0
        self._open: list[tuple[int, int]] = []
        self._listed: set[int] = set()
        self._orphaned: dict[int, None] = {}
        """Files, oldest first, that may have ranges handed back and no node."""

    def grow(self, stop: int) -> None:
        """Segments were added to the table; those that end at `stop` or before are ready."""
        while len(self._cursor) < self._table.n_segments:
            start, end = self._table.segment(len(self._cursor))
            if end > stop:
                break
            self._cursor.append(start)
            self._offsets.append(end)
            self._attached.append(0)

    def begin_anew(self, file: int) -> None:
        """Ranges of a file have become ready for the first time, and some may lie before its cursor: look at all of it again."""
        self._cursor[file] = self._offsets[file]
        self._returned.pop(file, None)
        self._orphaned.pop(file, None)
        self._list(file)

    def put_back(self, indices: Indices) -> None:
        """Ranges are ready again. Their state must be READY by the time they are taken."""
        if len(indices) == 0:
            return
        files = np.searchsorted(self._table.offsets, indices, side="right") - 1
        for file, index in zip(files.tolist(), indices.tolist(), strict=True):
            if index < self._cursor[file]:
                heapq.heappush(self._returned.setdefault(file, []), index)
                if self._attached[file] == 0:
                    self._orphaned[file] = None
            self._list(file)

    def take(self, node: NodeNumber, count: int) -> Indices:
        """Up to `count` ready ranges for a node, all ready ranges being equal but for their file."""
        parts = self._take_orphans(count) if self._orphaned else []
        missing = count - sum(len(part) for part in parts)
        while missing > 0:
            file = self._file_for(node)
            if file == _NO_FILE:
                break
            part = self._take_from(file, missing)
            if len(part):
                parts.append(part)
                missing -= len(part)
            else:
                self._detach(node)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _take_orphans(self, count: int) -> list[Indices]:
        parts: list[Indices] = []
        missing = count
        for file in list(self._orphaned):
            if self._attached[file] == 0:
                parts.append(self._take_returned(file, missing))
                missing -= len(parts[-1])
                if missing == 0 and file in self._returned:
                    break
            del self._orphaned[file]
        return [part for part in parts if len(part)]

    def forget(self, node: NodeNumber) -> None:
        """A node is gone."""
        self._detach(node)

    def move_on(self, node: NodeNumber) -> None:
        """A node leaves its file for another one, if there is another."""
        left = self._file_of_node.get(node, _NO_FILE)
        if left == _NO_FILE:
            return
        self._detach(node)
        file = self._choose(other_than=left)
        if file != _NO_FILE:
            self._attach(node, file)

    def _file_for(self, node: NodeNumber) -> int:
        file = self._file_of_node.get(node, _NO_FILE)
        if file == _NO_FILE:
            file = self._choose()
            if file != _NO_FILE:
                self._attach(node, file)
        return file

    def _attach(self, node: NodeNumber, file: int) -> None:
        self._file_of_node[node] = file
        self._attached[file] += 1
        self._list(file, again=True)

    def _choose(self, *, other_than: int = _NO_FILE) -> int:
        while self._next_unopened < len(self._cursor):
            file = self._next_unopened
            self._next_unopened += 1
            if self._has_any(file):
                return file
        if other_than in self._listed:
            return self._choose_among_others(other_than)
        while self._open:
            attached, file = self._open[0]
            if not self._has_any(file):
                heapq.heappop(self._open)
                self._listed.discard(file)
            elif attached != self._attached[file]:
                heapq.heapreplace(self._open, (self._attached[file], file))
            else:
                return file
        return _NO_FILE

    def _choose_among_others(self, hidden: int) -> int:
        """As `_choose`, with one listed file out of sight. Costs the number of listed files; nodes rarely need it."""
        self._open = [entry for entry in self._open if entry[1] != hidden]
        heapq.heapify(self._open)
        self._listed.discard(hidden)
        file = self._choose()
        self._list(hidden)
        return file

    def _has_any(self, file: int) -> bool:
        return self._cursor[file] < self._offsets[file + 1] or bool(self._returned.get(file))

    def _list(self, file: int, *, again: bool = False) -> None:
        """Make a file eligible for nodes that look for one."""
        if file not in self._listed:
            self._listed.add(file)
            heapq.heappush(self._open, (self._attached[file], file))
        elif again and self._open and self._open[0][1] == file:
            heapq.heapreplace(self._open, (self._attached[file], file))

    def _detach(self, node: NodeNumber) -> None:
        file = self._file_of_node.pop(node, _NO_FILE)
        if file != _NO_FILE:
            self._attached[file] -= 1
            if self._attached[file] == 0 and file in self._returned:
                self._orphaned[file] = None
            if self._has_any(file):
                self._listed.discard(file)
                self._list(file)

    def _take_from(self, file: int, count: int) -> Indices:
        returned = self._take_returned(file, count)
        return returned if len(returned) else self._take_fresh(file, count)

    def _take_returned(self, file: int, count: int) -> Indices:
        returned = self._returned.get(file, [])
        state = self._table.state
        taken: list[int] = []
        while returned and len(taken) < count:
            index = heapq.heappop(returned)
            if state[index] == RangeState.READY and (not taken or taken[-1] != index):
                taken.append(index)
        if not returned:
            self._returned.pop(file, None)
        return np.asarray(taken, dtype=np.int64)

    def _take_fresh(self, file: int, count: int) -> Indices:
        state = self._table.state
        end = self._offsets[file + 1]
        cursor = self._cursor[file]
        while cursor < end:
            stop = min(cursor + count, end)
            if not state[cursor:stop].any():  # READY is 0: the common case, a stretch nobody has touched
                self._cursor[file] = stop
                return np.arange(cursor, stop, dtype=np.int64)
            window = min(cursor + max(count, _SCAN), end)
            ready = np.flatnonzero(state[cursor:window] == RangeState.READY)[:count]
            if len(ready):
                indices: Indices = ready.astype(np.int64) + cursor
                self._cursor[file] = int(indices[-1]) + 1
                return indices
            cursor = window
            self._cursor[file] = cursor
        return np.empty(0, dtype=np.int64)
