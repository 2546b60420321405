"""Merging ROOT files: the trees of many files, one behind the other, in one file.

Every TTree of the inputs is merged, event by event in the order of the inputs; lists of numbers keep the branches that count
them. Trees are told apart by name and must have the same branches in every input. What is not a tree stays behind.

Rules: memory is bounded by `CHUNK_BYTES` of uncompressed columns, whatever the number of files; an input that cannot be read,
or does not look like the others, is named in the error; the output is written as it goes and is nobody's before we return.

Two ways lead to the columns of an input. uproot reads anything, but spends 10 ms on a file before the first number, which is
most of the time when each file holds one event. `fast_reader` reads in a tenth of that what looks like the file before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import awkward as ak
import numpy as np
import uproot

from raythena.domain.errors import InvalidInput, MergeError
from raythena.runtime.merger_interface import MergeContext
from raythena.storage.root import fast_reader
from raythena.storage.root.columns import Branch, Chunk, Rows

CHUNK_BYTES = 32 << 20
"""Columns are written once this much has been collected: about the size of a cluster in ROOT's own files."""
COMPRESSIONS = {"zstd": uproot.ZSTD, "zlib": uproot.ZLIB, "lz4": uproot.LZ4, "lzma": uproot.LZMA}
_IN_THIS_THREAD = {
    "decompression_executor": uproot.source.futures.TrivialExecutor(),
    "interpretation_executor": uproot.source.futures.TrivialExecutor(),
}

_LIST = "*"
"""Marks what uproot must not take for the counter's own branch."""


class TreeInMaking:
    """One tree of the output, and the chunks waiting to be written to it."""

    def __init__(self, branches: tuple[Branch, ...], writable: Any) -> None:
        self.branches = branches
        self._writable = writable
        self._waiting: list[Chunk] = []
        self._waiting_bytes = 0

    def add(self, chunk: Chunk) -> None:
        """Take some more events; write when there are enough."""
        self._waiting.append(chunk)
        self._waiting_bytes += sum(rows.size_bytes for rows in chunk)
        if self._waiting_bytes >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        if not self._waiting:
            return
        columns = [_column([chunk[number] for chunk in self._waiting]) for number in range(len(self.branches))]
        self._writable.extend(_by_counter(self.branches, columns, _zipped))
        self._waiting, self._waiting_bytes = [], 0


def merge_root(inputs: Sequence[Path], output: Path, context: MergeContext) -> None:
    """Merge the trees of `inputs` into the new file `output`. Raises MergeError.

    Options: `compression` (`zstd`, `zlib`, `lz4`, `lzma` or `none`; default zstd) and `level` (default 1). The GUID becomes the
    UUID of the ROOT file and is written beside the trees as the string `GUID`.
    """
    identity = _identity(context)
    with uproot.recreate(output, compression=_compression(context.options), uuid_function=lambda: identity) as merged:
        trees: dict[str, TreeInMaking] = {}
        layout: fast_reader.RootLayout | None = None
        for number, path in enumerate(inputs):
            if layout is not None and (chunk := _read_layout(layout, path)) is not None:
                trees[layout.tree].add(chunk)
                continue
            _append(path, trees, merged, like=inputs[0] if number else None)
            layout = fast_reader.learn(path, trees[next(iter(trees))].branches)
        for tree in trees.values():
            tree.flush()
        merged["GUID"] = str(identity).upper()


def _read_layout(layout: fast_reader.RootLayout, path: Path) -> Chunk | None:
    with _blaming(path):
        return layout.read(path)


def _append(path: Path, trees: dict[str, TreeInMaking], merged: Any, *, like: Path | None) -> None:
    """Add all entries of all trees of one input. The first defines the trees; the others must have those of the first, `like`."""
    seen = set()
    for name, branches, chunks in _trees_of(path):
        if like is None:
            trees[name] = TreeInMaking(branches, _new_tree(merged, name, branches))
        elif name not in trees:
            raise MergeError(f"{path}: holds a tree {name!r} that {like} has not")
        elif branches != trees[name].branches:
            raise MergeError(f"{path}: tree {name!r} differs from that in {like}: {_difference(trees[name].branches, branches)}")
        for chunk in chunks:
            trees[name].add(chunk)
        seen.add(name)
    if missing := trees.keys() - seen:
        raise MergeError(f"{path}: has no tree {min(missing)!r}, which {like} has")
    if not seen:
        raise MergeError(f"{path}: holds no tree")


def _trees_of(path: Path) -> Iterator[tuple[str, tuple[Branch, ...], Iterator[Chunk]]]:
    """(name, branches, chunks) of every tree of an input."""
    with _blaming(path):
        file = uproot.open(path)
    with file:
        with _blaming(path):
            trees = [(name, file[name]) for name in file.keys(cycle=False, filter_classname="TTree")]
        for name, tree in trees:
            branches = _branches_of(path, tree)
            yield name, branches, _chunks_of(path, tree, branches)


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside is the fault of the file `path`."""
    try:
        yield
    # uproot meets a damaged file with whatever breaks first: struct.error, IndexError, AssertionError, its own and others'.
    except Exception as error:
        raise MergeError(f"{path}: cannot be read as a ROOT file: {type(error).__name__}: {error}") from error


def _branches_of(path: Path, tree: Any) -> tuple[Branch, ...]:
    """The columns to copy: all branches but the counters, which are made again. Raises MergeError for what can't be copied."""
    counters = {branch.count_branch.name for branch in tree.branches if branch.count_branch is not None}
    return tuple(_described(path, branch) for branch in tree.branches if branch.name not in counters)


def _described(path: Path, branch: Any) -> Branch:
    shape = branch.interpretation
    jagged = isinstance(shape, uproot.AsJagged)
    values = shape.content if jagged else shape
    if not isinstance(values, uproot.AsDtype) or values.to_dtype.names is not None:
        raise MergeError(
            f"{path}: branch {branch.name!r} of type {branch.typename!r} cannot be merged by merger 'root', "
            "which copies numbers, arrays and lists of numbers"
        )
    counter = "" if not jagged else branch.count_branch.name if branch.count_branch is not None else f"n{branch.name}"
    return Branch(branch.name, values.to_dtype, counter)


def _chunks_of(path: Path, tree: Any, branches: tuple[Branch, ...]) -> Iterator[Chunk]:
    """All entries of the tree: at once if it is small, else in steps of about `CHUNK_BYTES`."""
    names = [branch.name for branch in branches]
    step = max(1, int(tree.num_entries * min(1.0, CHUNK_BYTES / max(1, tree.uncompressed_bytes))))
    for start in range(0, tree.num_entries, step):
        with _blaming(path):
            arrays = tree.arrays(names, entry_start=start, entry_stop=start + step, library="ak", how=dict, **_IN_THIS_THREAD)
            chunk = tuple(_rows(arrays[branch.name], branch) for branch in branches)
        yield chunk


def _rows(array: ak.Array, branch: Branch) -> Rows:
    if not branch.counter:
        return Rows(np.asarray(array), None)
    layout = ak.to_packed(array).layout.to_ListOffsetArray64(True)
    return Rows(np.asarray(ak.Array(layout.content)), np.diff(np.asarray(layout.offsets.data)))


def _column(parts: Sequence[Rows]) -> Any:
    """The parts behind each other, in the form uproot writes."""
    values = np.concatenate([part.values for part in parts])
    counts = [part.counts for part in parts if part.counts is not None]
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
    if any(not np.array_equal(list_.offsets.data, first.offsets.data) for list_ in members.values()):
        raise MergeError(f"branches {', '.join(members)} share a counter, but not the number of rows")
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


def _new_tree(merged: Any, name: str, branches: tuple[Branch, ...]) -> Any:
    """An empty tree whose branches are called as in the inputs."""
    types = _by_counter(branches, [branch.dtype for branch in branches], _zipped_types)
    return merged.mktree(name, types, counter_name=lambda key: key.removeprefix(_LIST), field_name=lambda outer, inner: inner)


def _difference(expected: tuple[Branch, ...], found: tuple[Branch, ...]) -> str:
    """The first thing that is not the same, in words."""
    ours, theirs = {branch.name: branch for branch in expected}, {branch.name: branch for branch in found}
    for name in ours | theirs:
        if name not in theirs:
            return f"branch {name!r} is missing"
        if name not in ours:
            return f"branch {name!r} is new"
        if ours[name] != theirs[name]:
            return f"branch {name!r} is {_in_words(theirs[name])} instead of {_in_words(ours[name])}"
    return "the branches are in another order"


def _in_words(branch: Branch) -> str:
    return f"{branch.dtype} counted by {branch.counter}" if branch.counter else str(branch.dtype)


def _compression(options: dict[str, Any]) -> Any:
    name, level = options.get("compression", "zstd"), options.get("level", 1)
    if name == "none":
        return None
    if name not in COMPRESSIONS:
        raise InvalidInput("job", "merge.options.compression", f"is {name!r}", expected=f"none, {', '.join(COMPRESSIONS)}")
    if not isinstance(level, int) or isinstance(level, bool) or not 1 <= level <= 9:
        raise InvalidInput("job", "merge.options.level", f"is {level!r}", expected="a whole number from 1 to 9")
    return COMPRESSIONS[name](level)


def _identity(context: MergeContext) -> UUID:
    try:
        return UUID(context.guid)
    except ValueError as error:
        raise MergeError(f"{context.lfn}: {context.guid!r} is not a GUID") from error
