"""Events as columns, in and out of ROOT trees.

A `Table` holds some events of one tree: plain columns with a value per event, and groups of columns with any number of rows per
event (particles, measurements, tracks). It is the only form in which the demo hands events around; ROOT itself is known to nobody
else.

Rules: everything is a NumPy array; the columns of a group share one array of offsets and, in the file, one counter branch
(`ntrack` counts `track_pt`, `track_eta`, …), which is made on writing and dropped on reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

from raythena.domain.errors import InvalidInput
from raythena.storage.root.contents import RNTUPLES, NoEventTree, RootFileError, event_tree, opened

Column = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Schema:
    """What a tree holds: `scalars` maps branch to dtype, `groups` maps group to field to dtype."""

    tree: str
    scalars: Mapping[str, str]
    groups: Mapping[str, Mapping[str, str]]

    def branch_types(self) -> dict[str, Any]:
        """What uproot wants to know to make the tree. Types as objects: parsing type strings costs 60 ms for every file."""
        types: dict[str, Any] = {name: np.dtype(code) for name, code in self.scalars.items()}
        for group, fields in self.groups.items():
            contents = [ak.types.NumpyType(np.dtype(code).name) for code in fields.values()]
            types[group] = ak.types.ListType(ak.types.RecordType(contents, list(fields)))
        return types


@dataclass(frozen=True)
class Group:
    """Rows of which event `i` has `offsets[i] .. offsets[i + 1] - 1`. `offsets` has one element more than there are events."""

    offsets: Offsets
    fields: dict[str, Column]

    def rows(self, event: int) -> dict[str, Column]:
        """The rows of one event."""
        span = slice(int(self.offsets[event]), int(self.offsets[event + 1]))
        return {name: column[span] for name, column in self.fields.items()}

    @property
    def counts(self) -> Offsets:
        """Rows of each event."""
        return np.diff(self.offsets)

    def taken(self, events: npt.NDArray[np.int64]) -> Group:
        """The rows of some events, in the order given."""
        counts = self.counts[events]
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][events] - offsets[:-1], counts)
        return Group(offsets, {name: column[rows] for name, column in self.fields.items()})

    def as_awkward(self) -> ak.Array:
        """The group as one array of records per event, without copying."""
        records = ak.contents.RecordArray(
            [ak.contents.NumpyArray(column) for column in self.fields.values()], list(self.fields), length=int(self.offsets[-1])
        )
        return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(self.offsets), records))


@dataclass(frozen=True)
class Event:
    """One event: a value for each of the plain columns, its rows for each group."""

    scalars: dict[str, Any]
    groups: dict[str, dict[str, Column]]

    @property
    def number(self) -> tuple[int, int]:
        """(run number, event number)."""
        return int(self.scalars["RunNumber"]), int(self.scalars["EventNumber"])


@dataclass(frozen=True)
class Table:
    """Consecutive events of one tree."""

    scalars: dict[str, Column]
    groups: dict[str, Group] = field(default_factory=dict)

    @property
    def n_events(self) -> int:
        """How many events there are."""
        return len(next(iter(self.scalars.values())))

    def event(self, index: int) -> Event:
        """One event, counted from 0."""
        scalars = {name: column[index] for name, column in self.scalars.items()}
        return Event(scalars, {name: group.rows(index) for name, group in self.groups.items()})

    def taken(self, events: npt.NDArray[np.int64]) -> Table:
        """Some events, in the order given."""
        scalars = {name: column[events] for name, column in self.scalars.items()}
        return Table(scalars, {name: group.taken(events) for name, group in self.groups.items()})


def group_of(per_event: Sequence[Mapping[str, Column]], fields: Mapping[str, str]) -> Group:
    """Put the rows of several events one behind the other."""
    first = next(iter(fields))
    counts = [len(rows[first]) for rows in per_event]
    offsets = np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64)
    empty: list[Column] = [np.empty(0)]
    columns = {
        name: np.concatenate([rows[name] for rows in per_event] or empty).astype(code, copy=False)
        for name, code in fields.items()
    }
    return Group(offsets, columns)


def table_of(schema: Schema, events: Sequence[Event]) -> Table:
    """Put single events one behind the other."""
    scalars = {name: np.array([event.scalars[name] for event in events], dtype=code) for name, code in schema.scalars.items()}
    groups = {name: group_of([event.groups[name] for event in events], fields) for name, fields in schema.groups.items()}
    return Table(scalars, groups)


def write_table(path: Path, schema: Schema, table: Table, *, compressed: bool = True, guid: str = "") -> None:
    """Write `table` as the only tree of the new file `path`, which appears complete or not at all.

    `guid` becomes the identifier inside the ROOT file; a random one when left out.
    """
    identifier = UUID(guid) if guid else uuid4()
    with (
        _appearing_whole(path) as scratch,
        uproot.recreate(scratch, compression=uproot.ZSTD(1) if compressed else None, uuid_function=lambda: identifier) as file,
    ):
        tree = file.mktree(schema.tree, schema.branch_types(), initial_basket_capacity=1)
        columns: dict[str, Any] = {name: table.scalars[name].astype(code, copy=False) for name, code in schema.scalars.items()}
        tree.extend(columns | {name: table.groups[name].as_awkward() for name in schema.groups})


@contextmanager
def _appearing_whole(path: Path) -> Iterator[Path]:
    scratch = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def read_table(path: Path, tree: str, start: int | None = None, stop: int | None = None) -> Table:
    """Events `start` to `stop` (exclusive) of a tree; all of them when left out. Raises InvalidInput."""
    with _opened(path, tree) as opened:
        return _columns_of(opened, start, stop)


def read_scalars(path: Path, tree: str, names: Sequence[str]) -> dict[str, Column]:
    """Some columns with one value per event, for all events of a tree. Raises InvalidInput."""
    with _opened(path, tree) as opened:
        return {name: np.asarray(opened[name].array(library="np")) for name in names}


@contextmanager
def _opened(path: Path, tree: str) -> Iterator[Any]:
    try:
        with opened(path) as file:
            yield file[event_tree(file, tree)]
    except NoEventTree as error:
        raise InvalidInput(str(path), tree, "is not in the file", expected="a ROOT file written by the demo") from error
    except RootFileError as error:
        raise InvalidInput(str(path), "", f"cannot be read: {error}", expected="a ROOT file written by the demo") from error


def _columns_of(tree: Any, start: int | None, stop: int | None) -> Table:
    return (_ntuple_columns if tree.classname in RNTUPLES else _tree_columns)(tree, start, stop)


def _ntuple_columns(ntuple: Any, start: int | None, stop: int | None) -> Table:
    """Of an RNTuple, which knows lists of records: a group is one field."""
    arrays = ak.to_packed(ntuple.arrays(entry_start=start, entry_stop=stop))
    scalars: dict[str, Column] = {}
    groups: dict[str, Group] = {}
    for name in arrays.fields:
        layout = arrays[name].layout
        if layout.is_list:
            rows = layout.to_ListOffsetArray64(True)
            fields = {each: np.asarray(rows.content[each].data) for each in rows.content.fields}
            groups[name] = Group(np.asarray(rows.offsets.data), fields)
        else:
            scalars[name] = np.asarray(arrays[name])
    return Table(scalars, groups)


def _tree_columns(tree: Any, start: int | None, stop: int | None) -> Table:
    counters = {
        branch.count_branch.name: branch.count_branch.name[1:] for branch in tree.branches if branch.count_branch is not None
    }
    scalars: dict[str, Column] = {}
    groups: dict[str, Group] = {}
    arrays = tree.arrays(entry_start=start, entry_stop=stop, library="ak", how=dict)
    for branch in tree.branches:
        if branch.count_branch is not None:
            _add_rows(groups, counters[branch.count_branch.name], branch.name, arrays[branch.name])
        elif branch.name not in counters:
            scalars[branch.name] = np.asarray(arrays[branch.name])
    return Table(scalars, groups)


def _add_rows(groups: dict[str, Group], group: str, branch: str, values: ak.Array) -> None:
    layout = ak.to_packed(values).layout.to_ListOffsetArray64(True)
    known = groups.setdefault(group, Group(np.asarray(layout.offsets.data), {}))
    known.fields[branch.removeprefix(f"{group}_")] = np.asarray(layout.content.data)
