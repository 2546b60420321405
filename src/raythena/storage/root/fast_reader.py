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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import uproot

from raythena.storage.root.columns import Branch, Chunk, Rows
from raythena.storage.root.contents import GUID_NAME, Source, readable
from raythena.storage.root.key_list import Unsuitable, keys_of

_TREE_NUMBERS = struct.Struct(">qqqqq")
_BRANCH_NUMBERS = struct.Struct(">iIIqqqq")
_LEAF_NUMBERS = struct.Struct(">iii??I")
_KEY = np.dtype([("bytes", ">i4"), ("version", ">i2"), ("object", ">i4"), ("date", ">u4"), ("header", ">i2")])
_LAST_FROM_KEY_END = 5
"""A basket's key ends with fLast, four bytes, and a flag."""
_LEAF_LIMIT_BYTES = {"TLeafB": 1, "TLeafO": 1, "TLeafS": 2, "TLeafI": 4, "TLeafF": 4, "TLeafL": 8, "TLeafG": 8, "TLeafD": 8}


@dataclass(frozen=True)
class BranchOffsets:
    """Where in the record a branch's numbers are: sizes of its data, limits of its values, size and position of its basket."""

    totals_at: int
    limits_at: int
    size_at: int
    seek_at: int


@dataclass(frozen=True)
class BasketPointers:
    """Where in the record the size and the position of each branch's basket are: of all branches at once."""

    names: tuple[str, ...]
    sizes_at: npt.NDArray[np.int64]
    seeks_at: npt.NDArray[np.int64]

    @classmethod
    def of(cls, places: Mapping[str, BranchOffsets]) -> BasketPointers:
        """Those of branches by their name."""
        sizes, seeks = ([getattr(place, name) for place in places.values()] for name in ("size_at", "seek_at"))
        return cls(tuple(places), np.asarray(sizes, dtype=np.int64), np.asarray(seeks, dtype=np.int64))

    def stretches(self, record: npt.NDArray[np.uint8], content: npt.NDArray[np.uint8]) -> tuple[dict[str, int], dict[str, int]]:
        """Branch → where its data begin and end in the file. Raises Unsuitable, IndexError."""
        sizes, seeks = _numbers(record, self.sizes_at, ">i4"), _numbers(record, self.seeks_at, ">i8")
        if (seeks < 0).any() or (sizes < _KEY.itemsize).any() or (seeks + sizes > len(content)).any():
            raise Unsuitable
        keys = _numbers(content, seeks, _KEY)
        headers, objects = keys["header"].astype(np.int64), keys["object"].astype(np.int64)
        if (headers < _KEY.itemsize + _LAST_FROM_KEY_END).any() or (headers > sizes).any():
            raise Unsuitable
        last = _numbers(content, seeks + headers - _LAST_FROM_KEY_END, ">i4").astype(np.int64)
        compressed = sizes - headers != objects
        if compressed.any() or (keys["bytes"] != sizes).any() or (last < headers).any() or (last > sizes).any():
            raise Unsuitable
        starts, stops = (seeks + headers).tolist(), (seeks + last).tolist()
        return dict(zip(self.names, starts, strict=True)), dict(zip(self.names, stops, strict=True))


def _numbers(content: npt.NDArray[np.uint8], at: npt.NDArray[np.int64], dtype: Any) -> npt.NDArray[Any]:
    """A number, or a record of them, from each of these places."""
    width = np.dtype(dtype).itemsize
    numbers: npt.NDArray[Any] = content[at[:, None] + np.arange(width)].view(dtype)[:, 0]
    return numbers


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
    pointers: BasketPointers = field(repr=False)

    def read(self, content: bytes) -> Chunk | None:
        """All entries of a file with nothing in it but the tree, and a GUID perhaps; None when it is not a twin for certain."""
        try:
            (key,) = [key for key in keys_of(content) if key.name != GUID_NAME or key.class_name != "TObjString"]
            if key.name != self.tree or key.class_name != "TTree" or not key.is_plain:
                return None
            record = np.frombuffer(content, np.uint8, key.stop - key.start, key.start)
            return self._columns(record, content) if self._is_twin(record) else None
        except (Unsuitable, struct.error, ValueError, IndexError):
            return None

    def read_opened(self, content: bytes, file: Any) -> Chunk | None:
        """The same for a file that is open as `file` and known to have the tree and no other, beside other objects perhaps."""
        record = _tree_record(file, self.tree)
        try:
            return self._columns(record, content) if self._is_twin(record) else None
        except (Unsuitable, struct.error, ValueError, IndexError):
            return None

    def _is_twin(self, record: npt.NDArray[np.uint8]) -> bool:
        return len(record) == len(self.record) and bool(np.array_equal(record[self.fixed], self.record[self.fixed]))

    def _columns(self, record: npt.NDArray[np.uint8], content: bytes) -> Chunk:
        starts, stops = self.pointers.stretches(record, np.frombuffer(content, np.uint8))
        counts = {}
        for counter in {branch.counter for branch in self.branches} - {""}:
            counts[counter] = _values(content, np.dtype("i4"), starts[counter], stops[counter]).astype(np.int64)
        columns = []
        for branch in self.branches:
            values = _values(content, branch.dtype, starts[branch.name], stops[branch.name])
            expected = counts[branch.counter].sum() if branch.counter else self.n_entries
            if len(values) != expected:
                raise Unsuitable
            columns.append(Rows(values, counts.get(branch.counter)))
        return tuple(columns)


def _values(content: bytes, dtype: np.dtype[Any], start: int, stop: int) -> npt.NDArray[Any]:
    """The data of a branch's basket in the byte order of this machine."""
    count, rest = divmod(stop - start, dtype.itemsize)
    if rest:
        raise Unsuitable
    values = np.frombuffer(content, dtype.base.newbyteorder(">"), count * (dtype.itemsize // dtype.base.itemsize), start)
    return values.astype(dtype.base).reshape(-1, *dtype.shape)


def learn(source: Source, branches: tuple[Branch, ...]) -> RootLayout | None:
    """Learn from a file that has been read without complaint and whose only tree has `branches`; None when it is unsuitable."""
    with uproot.open(readable(source)) as file:
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
    return RootLayout(name, branches, tree.num_entries, array.copy(), ~changing, totals_at, places, BasketPointers.of(places))


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
