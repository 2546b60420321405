"""One TTree of a merged file: the entries of all inputs, one behind the other, under the same branches.

Branches of numbers, of arrays of numbers and of lists of numbers are kept as they are: type, sign, the branch that counts the
rows of a list, titles. Everything else, `std::vector` first of all, would come out as something else, and is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

from raythena.storage.root import parts
from raythena.storage.root.columns import Branch, Chunk, Rows
from raythena.storage.root.contents import RootFileError, in_one_line
from raythena.storage.root.fast_reader import record_of
from raythena.storage.root.parts import Unsupported, writing

_IN_THIS_THREAD = {
    "decompression_executor": uproot.source.futures.TrivialExecutor(),
    "interpretation_executor": uproot.source.futures.TrivialExecutor(),
}
_BESIDES_BYTES = 28
"""The record of a tree ends with what it may carry besides its branches: aliases, index, friends, user's objects, references. If
there is nothing of it, that is three empty arrays and four null pointers."""

_COUNTER_BYTES = 4
_LIST = "*"
"""Marks what uproot must not take for the counter's own branch."""


class TreePart:
    """One tree of the output, and the chunks waiting to be written to it."""

    def __init__(self, merged: Any, path: str, first: Any) -> None:
        """Make the tree in the file `merged`, like the tree `first`. Raises Unsupported."""
        self._path = path
        self.branches = branches_of(path, first)
        self._waiting: list[Chunk] = []
        self._waiting_bytes = 0
        with writing(f"tree {path!r}"):
            self._writable = _new_tree(merged, path, self.branches, first)

    def add(self, file: Any) -> None:
        """Take all entries of the tree in one more file. Raises RootFileError naming the branch that cannot be read."""
        for chunk in chunks_of(self._path, file[self._path], self.branches):
            self.take(chunk)

    def take(self, chunk: Chunk) -> None:
        """Take some entries that were read already; write when there are enough."""
        self._waiting.append(chunk)
        self._waiting_bytes += sum(rows.size_bytes for rows in chunk)
        if self._waiting_bytes >= parts.CHUNK_BYTES:
            self.finish()

    def finish(self) -> None:
        """Write what is waiting."""
        if not self._waiting:
            return
        columns = [_column([chunk[number] for chunk in self._waiting]) for number in range(len(self.branches))]
        with writing(f"tree {self._path!r}"):
            self._writable.extend(_by_counter(self.branches, columns, _zipped))
        self._waiting, self._waiting_bytes = [], 0


def branches_of(path: str, tree: Any) -> tuple[Branch, ...]:
    """The columns to copy: all branches but the counters, which are made again. Raises Unsupported for what can't be kept."""
    if tree.classname != "TTree":
        raise Unsupported(f"tree {path!r} is a {tree.classname}, of which merger 'root' would make a TTree")
    if any(record_of(tree.parent)[-_BESIDES_BYTES:]):
        raise Unsupported(f"tree {path!r} carries aliases, an index, friends or other objects, which merger 'root' cannot keep")
    counters = {branch.count_branch.name for branch in tree.branches if branch.count_branch is not None}
    return tuple(_described(path, branch) for branch in tree.branches if branch.name not in counters)


def _described(path: str, branch: Any) -> Branch:
    shape = branch.interpretation
    jagged = isinstance(shape, uproot.AsJagged)
    values = shape.content if jagged else shape
    counter = branch.count_branch
    plain = isinstance(values, uproot.AsDtype) and values.to_dtype.names is None and not len(branch.branches)
    if not plain or (jagged and (counter is None or shape.header_bytes or values.to_dtype.shape)):
        raise Unsupported(
            f"branch {branch.name!r} of tree {path!r}, of type {branch.typename}, cannot be merged by merger 'root', which "
            "copies numbers, arrays and lists of numbers that a branch counts"
        )
    if jagged and counter.interpretation.to_dtype.itemsize != _COUNTER_BYTES:
        raise Unsupported(
            f"branch {branch.name!r} of tree {path!r} is counted by {counter.name!r} of type {counter.typename}, of which "
            "merger 'root' would make an int32_t"
        )
    return Branch(branch.name, values.to_dtype, counter.name if jagged else "")


def chunks_of(path: str, tree: Any, branches: tuple[Branch, ...]) -> Iterator[Chunk]:
    """All entries of the tree: at once if it is small, else in steps of about `CHUNK_BYTES`. Raises RootFileError."""
    _check_entries(path, tree)
    step = max(1, int(tree.num_entries * min(1.0, parts.CHUNK_BYTES / max(1, tree.uncompressed_bytes))))
    for start in range(0, tree.num_entries, step):
        yield _chunk(path, tree, branches, start, start + step)


def all_rows(path: str, tree: Any, branches: tuple[Branch, ...]) -> Chunk:
    """All entries of a tree that is known to be small. Raises RootFileError."""
    _check_entries(path, tree)
    return _chunk(path, tree, branches, 0, tree.num_entries)


def _chunk(path: str, tree: Any, branches: tuple[Branch, ...], start: int, stop: int) -> Chunk:
    arrays = _arrays(path, tree, [branch.name for branch in branches], start, stop)
    chunk = tuple(_rows(arrays[branch.name], branch) for branch in branches)
    _check_counters(path, branches, chunk)
    return chunk


def _check_entries(path: str, tree: Any) -> None:
    """Every branch has as many entries as the tree says."""
    for branch in tree.branches:
        if branch.num_entries != tree.num_entries:
            found = f"branch {branch.name!r} of tree {path!r} has {branch.num_entries:,} entries"
            raise RootFileError(f"{found}, the tree {tree.num_entries:,}")


def _arrays(path: str, tree: Any, names: list[str], start: int, stop: int) -> dict[str, ak.Array]:
    """Some entries of the branches. Raises RootFileError naming the one that cannot be read."""
    try:
        arrays: dict[str, ak.Array] = tree.arrays(
            names, entry_start=start, entry_stop=stop, library="ak", how=dict, **_IN_THIS_THREAD
        )
    except Exception as error:  # uproot meets damage with errors of any class: which branch has it is found one by one
        if len(names) == 1:
            raise RootFileError(f"branch {names[0]!r} of tree {path!r} cannot be read: {in_one_line(error)}") from error
        for name in names:
            _arrays(path, tree, [name], start, stop)
        raise
    return arrays


def _rows(array: ak.Array, branch: Branch) -> Rows:
    """A copy of the values: what was read must not keep the input mapped into memory."""
    if not branch.counter:
        return Rows(np.array(array), None)
    layout = ak.to_packed(array).layout.to_ListOffsetArray64(True)
    return Rows(np.array(ak.Array(layout.content)), np.diff(np.asarray(layout.offsets.data)))


def _check_counters(path: str, branches: tuple[Branch, ...], chunk: Chunk) -> None:
    """Lists that share a counter have as many rows as one another."""
    first: dict[str, tuple[str, npt.NDArray[np.int64]]] = {}
    for branch, rows in zip(branches, chunk, strict=True):
        if rows.counts is not None:
            name, counts = first.setdefault(branch.counter, (branch.name, rows.counts))
            if not np.array_equal(counts, rows.counts):
                pair = f"branches {name!r} and {branch.name!r} of tree {path!r}"
                raise RootFileError(f"{pair} share the counter {branch.counter!r}, but not the number of rows")


def _column(rows: Sequence[Rows]) -> Any:
    """The parts behind each other, in the form uproot writes."""
    values = np.concatenate([part.values for part in rows])
    counts = [part.counts for part in rows if part.counts is not None]
    if not counts:
        return values
    offsets = np.concatenate(([0], np.cumsum(np.concatenate(counts)))).astype(np.int64)
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets), ak.Array(values).layout)


def _by_counter(branches: tuple[Branch, ...], items: Sequence[Any], zipped: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Items of branches without counter as they are, those that share a counter `zipped` into one."""
    together: dict[str, dict[str, Any]] = {}
    result: dict[str, Any] = {}
    for branch, item in zip(branches, items, strict=True):
        if branch.counter:
            key = _LIST + branch.counter
            together.setdefault(key, {})[branch.name] = item
            result[key] = None
        else:
            result[branch.name] = item
    return result | {key: zipped(members) for key, members in together.items()}


def _zipped(members: dict[str, Any]) -> ak.Array:
    """Lists of the same lengths as one list of records."""
    first = next(iter(members.values()))
    records = ak.contents.RecordArray([list_.content for list_ in members.values()], list(members))
    return ak.Array(ak.contents.ListOffsetArray(first.offsets, records))


def _zipped_types(members: dict[str, Any]) -> Any:
    return ak.types.ListType(ak.types.RecordType([_awkward_type(dtype) for dtype in members.values()], list(members)))


def _awkward_type(dtype: np.dtype[Any]) -> Any:
    """A type object: uproot would take 60 ms to understand the same as text."""
    plain = ak.types.NumpyType(dtype.base.name)
    for length in reversed(dtype.shape):
        plain = ak.types.RegularType(plain, length)
    return plain


def _new_tree(merged: Any, path: str, branches: tuple[Branch, ...], first: Any) -> Any:
    """An empty tree whose branches are called as in the inputs."""
    types = _by_counter(branches, [branch.dtype for branch in branches], _zipped_types)
    writable = merged.mktree(
        path,
        types,
        title=first.title,
        counter_name=lambda key: key.removeprefix(_LIST),
        field_name=lambda outer, inner: inner,
    )
    _describe_as(writable, first)
    return writable


def _describe_as(writable: Any, first: Any) -> None:
    """Give the branches the titles, the counters the signs of the tree `first`.

    uproot has no way to ask for them, so this reaches inside of it, and has the description written again as it does itself
    when a tree outgrows its own. Should that ever fail or change nothing, the merger notices when it compares what it wrote.
    """
    cascading, changed = writable._cascading, False
    for datum in cascading._branch_data:
        if datum["kind"] == "record":
            continue
        branch = first[datum["fName"]]
        if datum["kind"] == "counter":
            dtype = branch.interpretation.to_dtype.newbyteorder(">")
            changed, datum["dtype"] = changed or dtype != datum["dtype"], dtype
        changed, datum["fTitle"] = changed or branch.title != datum["fTitle"], branch.title
    if changed:
        cascading._relocate(writable._file, writable._file.sink)
