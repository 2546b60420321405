"""What became of every range of a task, as columns that can be searched: the event-range records.

Built from a ledger and brought up to date by the rows added since, so that whoever looks again and again pays for what is new. A
range is some forty bytes in NumPy columns, its row is its index: ten million of them are 400 MB, a filter over all takes
milliseconds, and nothing is ever cut off. Why a database of its own would be worse: `docs/adr/0012-the-page.md`.

Rules: a view is asked only in `update` and never kept; what a record means is not judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import RaythenaError
from raythena.domain.failure_causes import FailureCause, causes_of
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.job import Job
from raythena.domain.node_name import NodeName
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import Indices, RangeLayout, extended
from raythena.domain.records import AttemptFailed
from raythena.domain.results import ENTRY_DTYPE, Entries, FailureKind, MergedOutput
from raythena.storage.ledger_view import LedgerView, Row, failure_of, merged_of

_TABLES = ("groups", "retractions", "reopenings", "failures", "outputs", "chunks", "reported")
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("state", "u1"),
    ("attempt", "u1"),
    ("session", "u2"),
    ("node", "u4"),
    ("output", "u4"),
    ("group", "u4"),
    ("failure", "u4"),
    ("kind", "u1"),
    ("size", "u8"),
    ("adler32", "u4"),
    ("start", "f8"),
    ("wall_s", "f4"),
    ("cpu_s", "f4"),
)
_NO_OUTPUT = 0xFFFFFFFF

Column = npt.NDArray[Any]
Heard = Callable[[Sequence[str], npt.NDArray[np.int64], Entries], object]
"""Is told results that are new: names of nodes, for each result the place of its node among them, its entry."""
_AT_ONCE = 262_144
"""So many results are taken in together: what is done for each group of them would take most of the time."""


COLUMNS = (
    "range_id",
    "lfn",
    "first_event",
    "last_event",
    "output",
    "state",
    "node",
    "session",
    "attempt",
    "started_at",
    "wall_s",
    "cpu_s",
    "size_bytes",
    "adler32",
    "reason",
    "message",
)
"""Of a record as it is exported. `started_at` is in seconds since the epoch; events count from 1."""


class State(IntEnum):
    """What the ledger says of a range."""

    OPEN = 0
    STORED = 1
    MERGED = 2
    FAILED = 3


_STATES = [state.name.lower() for state in State]
_KINDS: list[FailureKind | None] = [None, *FailureKind]
"""By the number in the column `kind`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One range as people read it."""

    index: int
    range_id: str
    lfn: str
    first_event: int
    last_event: int
    state: str
    output: str
    node: str
    session: int
    attempt: int
    """The one that counts; of a range that is open, how many failed."""
    started_at: float | None
    wall_s: float | None
    cpu_s: float | None
    size_bytes: int | None
    failure: int
    """Row of the last failed attempt in the ledger; 0: none failed."""
    process: str
    """PanDA's number of the process, where the id of the range has one."""
    reason: str
    """Kind of the last failure, also where a later attempt succeeded; empty: none failed."""
    message: str
    """Why the range was given up."""


class RangeRecords:
    """All ranges of one task."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.layout = RangeLayout(job.inputs, given=job.ranges_given)
        events = [] if job.ranges_given else [file.n_events for file in job.inputs]
        self._outputs = OutputMap.plan(events, job.events_per_output)
        size = len(self.layout)
        self.columns: dict[str, Column] = {name: np.zeros(size, dtype=dtype) for name, dtype in _COLUMNS}
        self.columns["output"][:] = _NO_OUTPUT
        self.nodes: list[str] = [""]
        """Names by the number in the column `node`; 0 is nobody."""
        self._node_numbers = {"": 0}
        self._read_to = dict.fromkeys(_TABLES, 0)
        self._group_places: dict[str, int] = {}
        self._group_sizes: dict[int, int] = {}
        self.merged: list[MergedOutput] = []
        """Of each merged output, and each of its streams, the latest file."""
        self._merged_places: dict[tuple[int, int], int] = {}
        self.attempts_failed = 0
        self.given = 0
        """Ranges that were handed out from outside."""
        self.acknowledged = 0
        """Of those, how many whose end was told and acknowledged."""
        self._given_up: list[AttemptFailed] = []
        self._messages: dict[int, int] = {}
        """Where in `_given_up` the failure of a range is."""
        self._reopened: dict[int, int] = {}
        """Session in which a range was given new attempts: what failed before it is history."""
        self.causes: list[FailureCause] = []
        """Why ranges were given up."""

    def __len__(self) -> int:
        return len(self.layout)

    def update(self, view: LedgerView, heard: Heard | None = None) -> bool:
        """Take what the ledger has that is new; False: nothing. Raises LedgerCorrupt, StorageError."""
        before = dict(self._read_to)
        for row in self._new(view, "chunks"):
            self._add_chunk(GivenRanges.from_bytes(row[3]))
            self.given += row[2]
        for rows in _batches(self._new(view, "groups")):
            self._add_groups(rows, heard)
        for row in self._new(view, "retractions"):
            self._take_back(row)
        for row in self._new(view, "reopenings"):
            self._reopen(row)
        self._add_failures(view)
        for row in self._new(view, "outputs"):
            self._add_output(merged_of(row))
        for row in self._new(view, "reported"):
            self._acknowledge(row)
        return self._read_to != before

    def counts(self) -> dict[str, int]:
        """How many ranges are in each state."""
        counted = np.bincount(self.columns["state"], minlength=len(State)).tolist()
        return {state.name.lower(): counted[state] for state in State}

    def record(self, index: int) -> Record:
        """One range. Raises IndexError if there is no such range."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        cell = {name: column[index].item() for name, column in self.columns.items()}
        event_range = self.layout.event_range(index)
        stored = cell["state"] in (State.STORED, State.MERGED)
        return Record(
            index=index,
            range_id=event_range.range_id,
            lfn=event_range.lfn,
            first_event=event_range.first_event,
            last_event=event_range.last_event,
            state=State(cell["state"]).name.lower(),
            output=self._output_name(index),
            node=self.nodes[cell["node"]],
            session=cell["session"],
            attempt=cell["attempt"],
            started_at=cell["start"] if cell["start"] else None,
            wall_s=cell["wall_s"] if stored else None,
            cpu_s=cell["cpu_s"] if stored else None,
            size_bytes=cell["size"] if stored else None,
            failure=cell["failure"],
            process=_process_of(event_range.range_id) if self.layout.given else "",
            reason=str(_KINDS[cell["kind"]] or ""),
            message=self._message_of(index) if cell["state"] == State.FAILED else "",
        )

    def blocks(self, indices: Indices, size: int = 65536) -> Iterator[dict[str, list[object]]]:
        """The ranges of these indices as columns of Python values, named by `COLUMNS`, `size` of them at a time.

        What does not apply to a range, because it is open or failed, is None, or "" in text.
        """
        reasons = {int(failure.range_index): failure for failure in self._given_up}
        for start in range(0, len(indices), size):
            yield self._block(indices[start : start + size], reasons)

    def _block(self, indices: Indices, reasons: Mapping[int, AttemptFailed]) -> dict[str, list[object]]:
        cells = {name: column[indices] for name, column in self.columns.items()}
        stored = (cells["state"] == State.STORED) | (cells["state"] == State.MERGED)
        failed = [reasons.get(index) for index in indices[cells["state"] == State.FAILED].tolist()]
        told = iter(failed)
        why = [next(told) if state == State.FAILED else None for state in cells["state"].tolist()]

        def where_stored(values: Column) -> list[object]:
            cells = values.astype(object)
            cells[~stored] = None
            return list(cells.tolist())

        return {
            **self._names(indices),
            "state": [_STATES[state] for state in cells["state"].tolist()],
            "node": [self.nodes[node] for node in cells["node"].tolist()],
            "session": [session or None for session in cells["session"].tolist()],
            "attempt": cells["attempt"].tolist(),
            "started_at": where_stored(cells["start"]),
            "wall_s": where_stored(cells["wall_s"]),
            "cpu_s": where_stored(cells["cpu_s"]),
            "size_bytes": where_stored(cells["size"]),
            "adler32": [None if value is None else f"{value:08x}" for value in where_stored(cells["adler32"])],
            "reason": ["" if failure is None else str(failure.kind) for failure in why],
            "message": ["" if failure is None else failure.message for failure in why],
        }

    def _names(self, indices: Indices) -> dict[str, list[object]]:
        if self.layout.given:
            ranges = self.layout.event_ranges(indices)
            return {
                "range_id": [one.range_id for one in ranges],
                "lfn": [one.lfn for one in ranges],
                "first_event": [one.first_event for one in ranges],
                "last_event": [one.last_event for one in ranges],
                "output": [""] * len(ranges),
            }
        files, events = self.layout.places_of(indices)
        lfns = [self.job.inputs[file].lfn for file in files.tolist()]
        promised = self.job.outputs
        outputs = self._outputs.outputs_of(indices).tolist()
        return {
            "range_id": [f"{lfn}-{event}" for lfn, event in zip(lfns, events.tolist(), strict=True)],
            "lfn": lfns,
            "first_event": events.tolist(),
            "last_event": events.tolist(),
            "output": [promised[output] if output < len(promised) else str(output) for output in outputs],
        }

    def computed_on(self, host: str, begins: float, ends: float) -> Indices:
        """Ranges with a result from this host that were on a core between two times, in the order of their starts."""
        lives = np.array([NodeName.parse(name).host == host for name in self.nodes])
        columns = self.columns
        mine = np.flatnonzero(lives[columns["node"]] & ((columns["state"] == State.STORED) | (columns["state"] == State.MERGED)))
        start = columns["start"][mine]
        mine = mine[(start < ends) & (start + columns["wall_s"][mine] > begins)]
        return mine[np.argsort(columns["start"][mine], kind="stable")]

    def merge_inputs(self, output: int) -> tuple[int, int]:
        """How many groups went into a merged output, and the bytes of the results taken from them."""
        start, stop = self._outputs.interval(output)
        inside = self.columns["state"][start:stop] == State.MERGED
        groups = self.columns["group"][start:stop][inside]
        if not len(groups):
            return 0, 0
        lowest = groups.min()
        present = np.zeros(int(groups.max() - lowest) + 1, dtype=bool)
        present[groups - lowest] = True
        return int(present.sum()), int(self.columns["size"][start:stop][inside].sum())

    def find(self, range_id: str) -> int | None:
        """The index of the range that has this id; None: there is none."""
        lfn, _, event = range_id.rpartition("-")
        if not self.layout.given and event.isascii() and event.isdigit():
            for number, file in enumerate(self.job.inputs):
                if file.lfn == lfn and 1 <= int(event) <= file.n_events:
                    return self.layout.segment(number)[0] + int(event) - 1
            return None
        return next((index for index in range(len(self)) if self.layout.range_id(index) == range_id), None)

    def _new(self, view: LedgerView, table: str) -> Iterator[Row]:
        for row in view.rows_after(table, self._read_to[table]):
            self._read_to[table] = row[0]
            yield row

    def _output_name(self, index: int) -> str:
        if self.layout.given:
            return ""
        number = int(self._outputs.outputs_of(np.array([index]))[0])
        return self.job.outputs[number] if number < len(self.job.outputs) else str(number)

    def given_up_with(self, part: str) -> npt.NDArray[np.bool_]:
        """For each range whether it was given up with this in its message."""
        mask = np.zeros(len(self), dtype=bool)
        mask[[int(failure.range_index) for failure in self._given_up if part in failure.message]] = True
        return mask

    def _message_of(self, index: int) -> str:
        place = self._messages.get(index)
        return "" if place is None else self._given_up[place].message

    def _node(self, name: str) -> int:
        number = self._node_numbers.setdefault(name, len(self.nodes))
        if number == len(self.nodes):
            self.nodes.append(name)
        return number

    def _add_chunk(self, chunk: GivenRanges) -> None:
        self.layout.append(chunk)
        fill = {"output": _NO_OUTPUT}
        self.columns = {name: extended(column, len(self.layout), fill.get(name, 0)) for name, column in self.columns.items()}

    def _add_groups(self, rows: Sequence[Row], heard: Heard | None) -> None:
        """Groups in the order of their commits: of a range that is in several the last one counts."""
        entries: Entries = np.frombuffer(b"".join(row[8] for row in rows), dtype=ENTRY_DTYPE)
        lengths = [len(row[8]) // ENTRY_DTYPE.itemsize for row in rows]
        for row, length in zip(rows, lengths, strict=True):
            self._group_places[row[2]], self._group_sizes[row[0]] = row[0], length
        nodes = np.repeat(np.array([self._node(row[3]) for row in rows], dtype=np.int64), lengths)
        indices, columns = entries["range"].astype(np.int64), self.columns
        for column in ("attempt", "size", "adler32", "start", "wall_s", "cpu_s"):
            columns[column][indices] = entries[column]
        columns["state"][indices], columns["node"][indices] = State.STORED, nodes
        for column, place in (("session", 1), ("output", 4), ("group", 0)):
            columns[column][indices] = np.repeat(np.array([row[place] for row in rows]), lengths)
        if heard is not None:
            heard(self.nodes, nodes, entries)

    def _take_back(self, row: Row) -> None:
        """Stored outputs could not be read back; those that have been stored again since are not meant."""
        indices = np.frombuffer(row[3], dtype="<u4").astype(np.int64)
        mine = indices[self.columns["group"][indices] == self._group_places[row[2]]]
        self.columns["state"][mine] = State.OPEN

    def _reopen(self, row: Row) -> None:
        """Ranges that were given up get new attempts. Some may be stored by now."""
        indices = np.frombuffer(row[2], dtype="<u4").astype(np.int64)
        self._reopened.update(dict.fromkeys(indices.tolist(), row[1]))
        mine = indices[self.columns["state"][indices] == State.FAILED]
        for column in ("state", "attempt", "node", "session", "start"):
            self.columns[column][mine] = 0
        self._given_up = [failure for failure in self._given_up if failure.range_index not in self._reopened]
        self._messages = {int(failure.range_index): place for place, failure in enumerate(self._given_up)}
        self.causes = causes_of(self._given_up)

    def _acknowledge(self, row: Row) -> None:
        """Reports were taken: of whole groups, and of ranges that failed."""
        groups = np.frombuffer(row[2], dtype="<u4").tolist()
        self.acknowledged += sum(self._group_sizes.get(group, 0) for group in groups) + len(row[3]) // 4

    def _add_failures(self, view: LedgerView) -> None:
        given_up = len(self._given_up)
        for row in self._new(view, "failures"):
            failure, columns = failure_of(row), self.columns
            index = int(failure.range_index)
            columns["failure"][index], columns["kind"][index] = row[0], _KINDS.index(failure.kind)
            self.attempts_failed += 1
            if columns["state"][index] != State.OPEN or row[1] < self._reopened.get(index, 0):
                continue
            columns["attempt"][index] = min(failure.attempt, 255)
            if failure.final:
                columns["state"][index] = State.FAILED
                columns["node"][index], columns["session"][index] = self._node(failure.node), row[1]
                columns["start"][index] = failure.at
                self._given_up.append(failure)
                self._messages[index] = len(self._given_up) - 1
        if len(self._given_up) > given_up:
            self.causes = causes_of(self._given_up)

    def _add_output(self, merged: MergedOutput) -> None:
        place = self._merged_places.setdefault((merged.output, merged.stream), len(self.merged))
        self.merged[place : place + 1] = [merged]
        start, stop = self._outputs.interval(merged.output)
        state = self.columns["state"][start:stop]
        inside = state == State.STORED
        inside[np.asarray(merged.missing, dtype=np.int64) - start] = False
        state[inside] = State.MERGED


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Groups, so many that they have about `_AT_ONCE` results together. Those before one that is damaged are not kept back."""
    batch: list[Row] = []
    size = 0
    problem: RaythenaError | None = None
    try:
        for row in rows:
            batch.append(row)
            size += len(row[8]) // ENTRY_DTYPE.itemsize
            if size >= _AT_ONCE:
                yield batch
                batch, size = [], 0
    except RaythenaError as found:
        problem = found
    if batch:
        yield batch
    if problem is not None:
        raise problem


def _process_of(range_id: str) -> str:
    """PanDA's ids of ranges are `task-PandaID-file-process-attempt`."""
    parts = range_id.split("-")
    return parts[3] if len(parts) == 5 and all(part.isascii() and part.isdigit() for part in parts) else ""


@dataclass(frozen=True, slots=True)
class RangeQuery:
    """Which ranges, and in which order. A part that is empty asks for nothing."""

    states: frozenset[str] = frozenset()
    node: str = ""
    """Part of a node's name."""
    lfn: str = ""
    """Part of an input's LFN."""
    failed_before: bool = False
    """Only ranges of which an attempt failed."""
    message: str = ""
    """Part of the message with which a range was given up."""
    sort: str = ""
    """A name of `SORTABLE`; empty: in the order of events."""
    descending: bool = False


SORTABLE = ("start", "wall_s", "cpu_s", "size", "attempt", "node")
_FEW = 4096
"""So many first ranges of an order are found without sorting all."""
_SAMPLE = 65536


class RangeSearch:
    """Answers queries page by page; remembers the last order, so that the next page costs nothing."""

    def __init__(self, records: RangeRecords) -> None:
        self._records = records
        self._query: RangeQuery | None = None
        self._matching: Indices | None = None
        self._ordered: Indices | None = None

    def forget(self) -> None:
        """The records have changed."""
        self._query = None

    def page(self, query: RangeQuery, offset: int, limit: int) -> tuple[int, list[int]]:
        """How many ranges match, and the indices of `limit` of them from place `offset`."""
        if query != self._query:
            self._query, self._matching, self._ordered = query, self._filtered(query), None
        count = len(self._records) if self._matching is None else len(self._matching)
        offset = max(0, min(offset, count))
        stop = min(offset + limit, count)
        if not query.sort:
            return count, list(range(offset, stop)) if self._matching is None else self._matching[offset:stop].tolist()
        return count, self._sorted(query, offset, stop).tolist()

    def all_of(self, query: RangeQuery) -> Indices:
        """The indices of every range that matches, in the order of events."""
        matching = self._filtered(query)
        return np.arange(len(self._records), dtype=np.int64) if matching is None else matching

    def _filtered(self, query: RangeQuery) -> Indices | None:
        """Indices that match, in the order of events; None: all."""
        columns, masks = self._records.columns, []
        if query.states:
            wanted = np.array([state.name.lower() in query.states for state in State])
            masks.append(wanted[columns["state"]])
        if query.node:
            named = np.array([query.node in name for name in self._records.nodes])
            masks.append(named[columns["node"]])
        if query.failed_before:
            masks.append(columns["failure"] > 0)
        if query.message:
            masks.append(self._records.given_up_with(query.message))
        if query.lfn:
            masks.append(self._in_files(query.lfn))
        return np.flatnonzero(np.logical_and.reduce(masks)) if masks else None

    def _in_files(self, part: str) -> npt.NDArray[np.bool_]:
        layout = self._records.layout
        matches = np.array([part in file.lfn for file in layout.inputs], dtype=bool)
        mask = np.zeros(len(layout), dtype=bool)
        for segment in range(layout.n_segments):
            start, stop = layout.segment(segment)
            mask[start:stop] = matches[layout.file_of(start)] if stop > start else False
        return mask

    def _sorted(self, query: RangeQuery, offset: int, stop: int) -> Indices:
        """The indices from `offset` to `stop` in the order that is asked for; ties stand in the order of events."""
        if self._ordered is None or len(self._ordered) < stop:
            column = self._records.columns[query.sort]
            values = column if self._matching is None else column[self._matching]
            chosen = _first_of(values, stop, descending=query.descending)
            if chosen is None:
                return self._named(_page_of(values, offset, stop, descending=query.descending))
            self._ordered = self._named(chosen[_order(values[chosen], descending=query.descending)])
        return self._ordered[offset:stop]

    def _named(self, places: Indices) -> Indices:
        return places if self._matching is None else self._matching[places]


def _order(values: Column, *, descending: bool) -> Indices:
    keys = values.astype(np.float64)
    return np.argsort(-keys if descending else keys, kind="stable")


def _page_of(values: Column, offset: int, stop: int, *, descending: bool) -> Indices:
    """Places of some values of an order: those at its ends say between which values they lie, so that only these are sorted."""
    count = len(values)
    if stop <= offset:
        return np.zeros(0, dtype=np.int64)
    ends = (count - stop, count - 1 - offset) if descending else (offset, stop - 1)
    parted = np.partition(values, ends)
    low, high = parted[ends[0]], parted[ends[1]]
    near = np.flatnonzero((values >= low) & (values <= high))
    before = int(np.count_nonzero(values > high if descending else values < low))
    ordered = near if low == high else near[_order(values[near], descending=descending)]
    return ordered[offset - before : stop - before]


def _first_of(values: Column, stop: int, *, descending: bool) -> Indices | None:
    """Places of at least the first `stop` values of an order, all ties included; None: of so many that all may be sorted.

    A sample says where about to cut, which costs one look at each value.
    """
    step = len(values) // _SAMPLE
    if stop > _FEW or step < 2:
        return None
    sample = np.sort(values[::step])
    cut = 2 * _FEW // step + 16
    bound = sample[-1 - cut] if descending else sample[cut]
    chosen = np.flatnonzero(values >= bound) if descending else np.flatnonzero(values <= bound)
    return chosen if len(chosen) >= stop else None
