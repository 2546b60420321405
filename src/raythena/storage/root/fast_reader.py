"""Reading files that look like one already read, without taking them apart again.

The description of a tree in a ROOT file (its `TTree` record with all branches) is the same, byte for byte, in every file
written by the same program with the same number of entries, except for a few numbers: where the data of each branch lie and how
large they are. To decode it costs milliseconds; to see that it is the same costs microseconds. So a `RootLayout` is learnt from
one file that uproot has decoded: the record, and which of its bytes are those numbers. A file whose record agrees in all other
bytes is read by going straight to its data.

Rules: what is not certain is not guessed: a record that differs elsewhere, data that are compressed, sizes that don't add up,
and the answer is None: ask uproot. Layouts are those of ROOT's documented format (TTree version 20, TBranch 13, TKey).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uproot

from raythena.storage.root.columns import Branch, Chunk, Rows

LARGEST_BYTES = 4 << 20
"""Of a larger file, taking its description apart is a small part of reading it."""
_TREE_NUMBERS = struct.Struct(">qqqqq")
_BRANCH_NUMBERS = struct.Struct(">iIIqqqq")
_LEAF_NUMBERS = struct.Struct(">iii??I")
_KEY = struct.Struct(">ihiIh")
_LAST_FROM_KEY_END = 5
"""A basket's key ends with fLast, four bytes, and a flag."""
_LEAF_LIMIT_BYTES = {"TLeafB": 1, "TLeafO": 1, "TLeafS": 2, "TLeafI": 4, "TLeafF": 4, "TLeafL": 8, "TLeafG": 8, "TLeafD": 8}


class Unsuitable(Exception):
    """This file cannot be learnt from, or is no twin."""


@dataclass(frozen=True)
class BranchOffsets:
    """Where in the record a branch's numbers are: sizes of its data, limits of its values, size and position of its basket."""

    totals_at: int
    limits_at: int
    size_at: int
    seek_at: int


@dataclass(frozen=True)
class RootLayout:
    """What is known of the files that look like one another."""

    tree: str
    branches: tuple[Branch, ...]
    n_entries: int
    record: npt.NDArray[np.uint8] = field(repr=False)
    fixed: npt.NDArray[np.bool_] = field(repr=False)
    """Which bytes of the record must be the same."""
    totals_at: int
    """Where in the record the sizes of the whole tree are."""
    places: dict[str, BranchOffsets]
    """Of every branch, counters included."""

    def read(self, path: Path) -> Chunk | None:
        """All entries of a file, None when it is not a twin for certain. Raises whatever uproot raises for a broken file."""
        with uproot.open(path) as file:
            if file.keys(cycle=False, filter_classname="TTree") != [self.tree]:
                return None
            return self.read_opened(path, file)

    def read_opened(self, path: Path, file: Any) -> Chunk | None:
        """The same for a file that is open as `file` and known to have the tree and no other."""
        if path.stat().st_size > LARGEST_BYTES:
            return None
        record = _tree_record(file, self.tree)
        if len(record) != len(self.record) or not np.array_equal(record[self.fixed], self.record[self.fixed]):
            return None
        try:
            return self._columns(record.tobytes(), path.read_bytes())
        except (Unsuitable, struct.error, ValueError):
            return None

    def _columns(self, record: bytes, content: bytes) -> Chunk:
        counts = {}
        for counter in {branch.counter for branch in self.branches} - {""}:
            counts[counter] = self._values(record, content, counter, np.dtype("i4")).astype(np.int64)
        columns = []
        for branch in self.branches:
            values = self._values(record, content, branch.name, branch.dtype)
            expected = counts[branch.counter].sum() if branch.counter else self.n_entries
            if len(values) != expected:
                raise Unsuitable
            columns.append(Rows(values, counts.get(branch.counter)))
        return tuple(columns)

    def _values(self, record: bytes, content: bytes, branch: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """The data of a branch's basket in the byte order of this machine."""
        place = self.places[branch]
        (size,) = struct.unpack_from(">i", record, place.size_at)
        (seek,) = struct.unpack_from(">q", record, place.seek_at)
        key_size, _, object_size, _, header_size = _KEY.unpack_from(content, seek)
        (last,) = struct.unpack_from(">i", content, seek + header_size - _LAST_FROM_KEY_END)
        compressed = key_size - header_size != object_size
        if compressed or key_size != size or not header_size <= last <= size or (last - header_size) % dtype.itemsize:
            raise Unsuitable
        count = (last - header_size) // dtype.base.itemsize
        values = np.frombuffer(content, dtype.base.newbyteorder(">"), count, seek + header_size)
        return values.astype(dtype.base).reshape(-1, *dtype.shape)


def learn(path: Path, branches: tuple[Branch, ...]) -> RootLayout | None:
    """Learn from a file that has been read without complaint and whose only tree has `branches`; None when it is unsuitable."""
    if path.stat().st_size > LARGEST_BYTES:
        return None
    with uproot.open(path) as file:
        names = file.keys(cycle=False, filter_classname="TTree")
        if len(names) != 1:
            return None
        try:
            return _learnt(file, names[0], branches)
        except Unsuitable:
            return None


def _tree_record(file: Any, tree: str) -> npt.NDArray[np.uint8]:
    """The serialised tree, without its key."""
    return record_of(file.key(tree))


def record_of(key: Any) -> npt.NDArray[np.uint8]:
    """The serialised object of a key, without the key itself."""
    chunk, cursor = key.get_uncompressed_chunk_cursor()
    return np.asarray(chunk.get(cursor.index, cursor.index + key.fObjlen, cursor, {}), dtype=np.uint8)


def _learnt(file: Any, name: str, branches: tuple[Branch, ...]) -> RootLayout:
    tree, array = file[name], _tree_record(file, name)
    places: dict[str, BranchOffsets] = {}
    record, changing = array.tobytes(), np.zeros(len(array), dtype=bool)
    numbers = [tree.member(member) for member in ("fEntries", "fTotBytes", "fZipBytes", "fSavedBytes", "fFlushedBytes")]
    at = _found(record, _TREE_NUMBERS.pack(*numbers), 0)
    totals_at = at + 8
    changing[totals_at : at + _TREE_NUMBERS.size] = True
    for branch in tree.branches:
        at = _learn_branch(branch, record, at, changing, places)
    if not all(branch.name in places and (not branch.counter or branch.counter in places) for branch in branches):
        raise Unsuitable
    return RootLayout(name, branches, tree.num_entries, array.copy(), ~changing, totals_at, places)


def _learn_branch(
    branch: Any, record: bytes, start: int, changing: npt.NDArray[np.bool_], places: dict[str, BranchOffsets]
) -> int:
    """Find the numbers of a branch that may change in the record from `start` on; returns where the branch ends."""
    if branch.member("fWriteBasket") != 1 or len(branch.branches) or len(branch.member("fLeaves")) != 1:
        raise Unsuitable
    members = ("fOffset", "fMaxBaskets", "fSplitLevel", "fEntries", "fFirstEntry", "fTotBytes", "fZipBytes")
    at = _found(record, _text(branch.name), start)
    at = _found(record, _BRANCH_NUMBERS.pack(*(branch.member(member) for member in members)), at) + _BRANCH_NUMBERS.size
    totals_at = at - 16
    changing[totals_at:at] = True
    limits_at, at = _learn_leaf(branch.member("fLeaves")[0], record, at, changing)
    sizes, entries, seeks = (branch.member(member) for member in ("fBasketBytes", "fBasketEntry", "fBasketSeek"))
    at = 1 + _found(record, b"\1" + sizes.tobytes() + b"\1" + entries.tobytes() + b"\1" + seeks.tobytes(), at)
    seek_at = at + sizes.nbytes + 1 + entries.nbytes + 1
    changing[at : at + sizes.nbytes] = True
    changing[seek_at : seek_at + seeks.nbytes] = True
    places[branch.name] = BranchOffsets(totals_at, limits_at, at, seek_at)
    return int(seek_at + seeks.nbytes)


def _learn_leaf(leaf: Any, record: bytes, start: int, changing: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Where the smallest and largest value of a leaf are, from and to: ROOT sizes its buffers by the largest count."""
    if leaf.classname not in _LEAF_LIMIT_BYTES:
        raise Unsuitable
    title = _text(leaf.member("fTitle"))
    at = _found(record, _text(leaf.member("fName")) + title, start) + len(_text(leaf.member("fName")) + title)
    at += _LEAF_NUMBERS.size
    end = at + 2 * _LEAF_LIMIT_BYTES[leaf.classname]
    changing[at:end] = True
    return at, end


def _text(text: str) -> bytes:
    """A short string as ROOT writes it."""
    encoded = text.encode()
    if len(encoded) > 254:
        raise Unsuitable
    return bytes([len(encoded)]) + encoded


def _found(record: bytes, wanted: bytes, start: int) -> int:
    at = record.find(wanted, start)
    if at < 0:
        raise Unsuitable
    return at
