"""Reading a ledger: what it remembers, row by row, each row checked before it is believed.

A view never changes a byte of the ledger. When a journal lies beside it (a coordinator is at work, or died) the view reads a
private copy of both, taken without any lock; otherwise it reads the file in place, declared immutable to SQLite.

A view refuses to judge: it does not know whether a job went well, only what was committed.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InternalError, LedgerBusy, LedgerCorrupt
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.records import AttemptFailed, Restored
from raythena.domain.results import ENTRY_DTYPE, Entries, FailureKind, GroupReport, MergedOutput
from raythena.domain.upstream import InputTaken
from raythena.storage.atomic import disk_errors
from raythena.storage.ledger_format import (
    FATAL,
    META_KEYS,
    NUMBERED_TABLES,
    OPEN_ROWS,
    SCHEMA,
    STREAM_SHIFT,
    examine,
    journal_of,
    row_checksum,
    selection,
    selection_after,
    selection_of_one,
    translated,
)

_ENTRY_FIELDS = ENTRY_DTYPE.names or ()
EVENT_DTYPE = np.dtype(
    [*((name, ENTRY_DTYPE[name]) for name in _ENTRY_FIELDS), ("output", "<u4"), ("node", "<u4"), ("session", "<u4")]
)
"""A committed event: its entry, the index of its output, of its node (in `EventChunk.nodes`) and its session, from 1."""

Row = tuple[Any, ...]
"""A row of a table without its checksum; its fields are those of `ledger_format.COLUMNS`."""

_MAX_NODES = 1 << 32
_COPY_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class EventChunk:
    """Some of the committed events, in the order of their commits. `events` is of `EVENT_DTYPE`."""

    nodes: tuple[str, ...]
    events: npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One life of a coordinator on this task."""

    number: int
    name: str
    host: str
    pid: int
    batch_job: str
    version: str
    gateway: str
    """Kind of the gateway it served; empty: nobody was told anything."""
    began_at: float
    ended_at: float | None
    """None: still running, or died."""
    verdict: str


@dataclass(frozen=True, slots=True)
class NodeTotals:
    """What one node contributed during one session. Times are wall-clock seconds since the epoch."""

    session: int
    node: str
    events: int
    cpu_s: float
    wall_s: float
    first_start: float
    last_end: float


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """The whole task in numbers."""

    job_name: str
    fingerprint: str
    n_ranges: int
    events: int
    """Events whose output is committed, merged or not."""
    failed: int
    """Events given up for good."""
    outputs_merged: int
    """Files; in a job with streams those of all streams."""
    events_merged: int
    groups: int
    event_bytes: int
    cpu_s: float
    wall_s: float
    attempts_failed: dict[str, int]
    """By kind of failure, retried attempts included."""
    sessions: tuple[SessionRecord, ...]
    nodes: tuple[NodeTotals, ...]


class LedgerView:
    """Read-only queries on a ledger. One thread at a time. `read` opens one."""

    def __init__(self, path: Path, connection: sqlite3.Connection, resources: contextlib.ExitStack) -> None:
        self.path = path
        self._connection = connection
        self._resources = resources
        self._meta: dict[str, str] = {}

    @staticmethod
    def read(path: Path, *, whole: bool = True) -> LedgerView:
        """Look at a ledger as it is now, whoever may be writing it.

        `whole`: read every row first, so that a lost one is noticed. Those who look again and again leave it out: each row is
        checked when it is read.

        Raises LedgerForeign, LedgerCorrupt, StorageError; LedgerBusy if it changes too fast to be copied.
        """
        view, hot = _opened(path)
        try:
            if whole:
                view.verify(hot=hot)
            else:
                view._meta = view._read_meta()
        except BaseException:
            view.close()
            raise
        return view

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back. Safe to call twice."""
        self._resources.close()

    @property
    def job_name(self) -> str:
        """Name of the job the ledger belongs to."""
        return self._meta["job"]

    @property
    def fingerprint(self) -> str:
        """`Job.fingerprint` of the job the ledger belongs to."""
        return self._meta["fingerprint"]

    @property
    def n_ranges(self) -> int:
        """Ranges of the job; where they are given, those given so far."""
        with self._reading():
            ((given,),) = self._connection.execute("SELECT coalesce(sum(n_ranges), 0) FROM chunks")
        return int(self._meta["n_ranges"]) + int(given)

    def verify(self, *, hot: bool) -> None:
        """Check the structure of the file and every row in it.

        `hot`: its journal was there when it was opened. Raises LedgerCorrupt, StorageError.
        """
        with self._reading():
            problems = [text for (text,) in self._connection.execute("PRAGMA integrity_check(3)")]
            tables = dict(self._connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        if problems != ["ok"]:
            raise LedgerCorrupt(f"{self.path} is damaged: {'; '.join(problems)}. Restore it from a copy")
        if tables != SCHEMA:
            raise LedgerCorrupt(f"{self.path} is damaged: its tables are not those of a ledger")
        self._meta = self._read_meta()
        if self._meta["rows"] == OPEN_ROWS and not hot:
            raise LedgerCorrupt(
                f"{self.path} is damaged: its journal {journal_of(self.path).name} is gone, and with it the last commits. "
                "Put the journal back beside it"
            )
        lengths = [sum(1 for _ in self._rows(table)) for table in NUMBERED_TABLES]
        if self._meta["rows"] not in (OPEN_ROWS, str(lengths)):
            raise LedgerCorrupt(f"{self.path} is damaged: its tables have {lengths} rows instead of {self._meta['rows']}")

    def restore(self) -> Restored:
        """What the engine must know to go on. Raises LedgerCorrupt, StorageError."""
        merged = self.outputs()
        done = {output.output for output in merged if not output.missing}
        retracted = _retracted(self._rows("retractions"))
        groups = []
        for row in self._rows("groups"):
            if row[4] not in done:
                # also those with nothing left: their nodes may report them again, and must be told that they are known
                groups.append(_group_of(row, retracted.get(row[2])))
        failed = sorted(failure.range_index for failure in self.given_up())
        attempts, losses = _charges(_counting(self._rows("failures"), self._rows("reopenings")))
        given = tuple(self.chunks())
        reported, taken = _reported(self._places(), self._rows("reported")) if given else (frozenset[str](), set[int]())
        unreported = (each for each in self.failures() if each.final and each.range_index not in taken) if given else ()
        return Restored(
            groups=tuple(groups),
            merged=merged,
            failed=np.asarray(failed, dtype=np.int64),
            attempts=attempts,
            losses=losses,
            given=given,
            reported=reported,
            unreported_failures=tuple(unreported),
            inputs=inputs_taken(self),
        )

    def outputs(self) -> tuple[MergedOutput, ...]:
        """Of each merged output, and each of its streams, the latest file: in order of the streams, then of the outputs."""
        latest = {(merged.stream, merged.output): merged for merged in map(merged_of, self._rows("outputs"))}
        return tuple(latest[place] for place in sorted(latest))

    def chunks(self) -> Iterator[GivenRanges]:
        """Every chunk of ranges handed out by somebody else, in order."""
        for _, _, _, content in self._rows("chunks"):
            yield GivenRanges.from_bytes(content)

    def rows_after(self, table: str, seq: int) -> Iterator[Row]:
        """The rows of a numbered table after row `seq`, in order, without their checksums, which are checked."""
        with self._reading():
            for row in self._connection.execute(selection_after(table), (seq,)):
                yield self._checked(table, row)

    def groups(self) -> Iterator[GroupReport]:
        """Every group ever committed, in order, without its retracted entries (perhaps none are left)."""
        retracted = _retracted(self._rows("retractions"))
        for row in self._rows("groups"):
            yield _group_of(row, retracted.get(row[2]))

    def groups_named(self, names: Iterable[str]) -> list[GroupReport]:
        """The groups of these names, in the order asked for, without their retracted entries.

        Raises InternalError for a name that was never committed.
        """
        retracted = _retracted(self._rows("retractions"))
        places = self._places()
        groups = []
        for name in names:
            if name not in places:
                raise InternalError(f"the ledger knows no group {name}")
            with self._reading():
                row = self._connection.execute(selection_of_one("groups"), (places[name],)).fetchone()
            groups.append(_group_of(self._checked("groups", row), retracted.get(name)))
        return groups

    def failures(self) -> Iterator[AttemptFailed]:
        """Every failed attempt, in order."""
        return map(failure_of, self._rows("failures"))

    def given_up(self) -> Iterator[AttemptFailed]:
        """The final failures of ranges that are given up now, in order. Those that were given new attempts are history."""
        return (failure for failure in _counting(self._rows("failures"), self._rows("reopenings")) if failure.final)

    def sessions(self) -> tuple[SessionRecord, ...]:
        """Every life of a coordinator, in order."""
        return tuple(_session_of(row) for row in self._rows("sessions"))

    def iter_events(self, chunk_events: int = 65536) -> Iterator[EventChunk]:
        """Every committed event, in chunks of about `chunk_events`."""
        nodes: dict[str, int] = {}
        retracted = _retracted(self._rows("retractions"))
        pending: list[Row] = []
        n_pending = 0
        for row in self._rows("groups"):
            entries = _without(row[8], retracted.get(row[2]))
            pending.append((entries, row[4], nodes.setdefault(row[3], len(nodes)), row[1]))
            n_pending += len(entries)
            if n_pending >= chunk_events:
                yield EventChunk(tuple(nodes), _events_of(pending))
                pending, n_pending = [], 0
        if n_pending:
            yield EventChunk(tuple(nodes), _events_of(pending))

    def summary(self) -> LedgerSummary:
        """The task in numbers; reads every event once."""
        totals = _Totals()
        for chunk in self.iter_events():
            totals.add(chunk)
        merged = self.outputs()
        failed = sum(1 for _ in self.given_up())
        with self._reading():
            kinds = dict(self._connection.execute("SELECT kind, count(*) FROM failures GROUP BY kind ORDER BY kind"))
            ((groups,),) = self._connection.execute("SELECT count(*) FROM groups")
        nodes = totals.by_node()
        return LedgerSummary(
            job_name=self.job_name,
            fingerprint=self.fingerprint,
            n_ranges=self.n_ranges,
            events=sum(node.events for node in nodes),
            failed=failed,
            outputs_merged=len(merged),
            events_merged=sum(output.n_events for output in merged if output.stream == 0),
            groups=groups,
            event_bytes=totals.event_bytes,
            cpu_s=sum(node.cpu_s for node in nodes),
            wall_s=sum(node.wall_s for node in nodes),
            attempts_failed=kinds,
            sessions=self.sessions(),
            nodes=nodes,
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _rows(self, table: str) -> Iterator[Row]:
        """The rows of a table without their checksums, which are checked, as is that none is missing."""
        expected = 0
        with self._reading():
            for row in self._connection.execute(selection(table)):
                expected += 1
                if row[0] != expected:
                    raise LedgerCorrupt(f"{self.path} is damaged: row {expected} of its table {table} is lost")
                yield self._checked(table, row)

    def _checked(self, table: str, row: Row) -> Row:
        fields = row[:-1]
        if row[-1] != row_checksum(fields):
            raise LedgerCorrupt(f"{self.path} is damaged: row {row[0]} of its table {table} was altered")
        return fields

    def _read_meta(self) -> dict[str, str]:
        with self._reading():
            rows = self._connection.execute("SELECT key, value, crc FROM meta").fetchall()
        if {key for key, _, _ in rows} != META_KEYS or any(row_checksum((key, value)) != crc for key, value, crc in rows):
            raise LedgerCorrupt(f"{self.path} is damaged: what it says about itself was altered")
        return {key: value for key, value, _ in rows}

    def _places(self) -> dict[str, int]:
        """Row number of every group by its name. A writer knows them by heart."""
        with self._reading():
            return dict(self._connection.execute("SELECT name, seq FROM groups"))


def output_files(view: LedgerView) -> Iterator[MergedOutput]:
    """Every file ever merged, in order, those that were replaced since included."""
    return map(merged_of, view.rows_after("outputs", 0))


def inputs_taken(view: LedgerView) -> tuple[InputTaken, ...]:
    """Every file of the upstream task that was taken on, in order."""
    return tuple(map(_input_of, view.rows_after("inputs", 0)))


class _Totals:
    """Sums over events by (session, node), chunk by chunk."""

    def __init__(self) -> None:
        self.event_bytes = 0
        self._nodes: tuple[str, ...] = ()
        self._sums: dict[tuple[int, int], tuple[int, float, float, float, float]] = {}

    def add(self, chunk: EventChunk) -> None:
        self._nodes = chunk.nodes
        self.event_bytes += int(chunk.events["size"].sum(dtype=np.uint64))
        keys = chunk.events["session"].astype(np.int64) * _MAX_NODES + chunk.events["node"]
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        for mine in np.split(chunk.events[order], starts[1:]):
            self._merge((int(mine["session"][0]), int(mine["node"][0])), mine)

    def _merge(self, key: tuple[int, int], events: npt.NDArray[np.void]) -> None:
        first = float(events["start"].min())
        last = float((events["start"] + events["wall_s"]).max())
        old = self._sums.get(key, (0, 0.0, 0.0, first, last))
        cpu_s, wall_s = (float(events[name].sum(dtype=np.float64)) for name in ("cpu_s", "wall_s"))
        self._sums[key] = (old[0] + len(events), old[1] + cpu_s, old[2] + wall_s, min(old[3], first), max(old[4], last))

    def by_node(self) -> tuple[NodeTotals, ...]:
        return tuple(NodeTotals(session, self._nodes[node], *sums) for (session, node), sums in sorted(self._sums.items()))


def first_outputs(view: LedgerView) -> tuple[MergedOutput, ...]:
    """Of each merged output the latest file, in a task with streams that of the first stream."""
    return tuple(file for file in view.outputs() if file.stream == 0)


def _opened(path: Path) -> tuple[LedgerView, bool]:
    """A view of the ledger, not looked at yet, and whether its journal was there."""
    with contextlib.ExitStack() as resources:
        hot = examine(path).hot
        source = resources.enter_context(_private_copy(path)) if hot else path
        connection = resources.enter_context(contextlib.closing(_connect_copy(source) if hot else _connect_in_place(source)))
        return LedgerView(path, connection, resources.pop_all()), hot


def _retracted(rows: Iterable[Row]) -> dict[str, npt.NDArray[np.uint32]]:
    """Retracted ranges by the name of the group."""
    retracted: dict[str, npt.NDArray[np.uint32]] = {}
    for _, _, name, ranges in rows:
        new = np.frombuffer(ranges, dtype="<u4")
        retracted[name] = np.concatenate((retracted[name], new)) if name in retracted else new
    return retracted


def _reopened(rows: Iterable[Row]) -> dict[int, int]:
    """The session in which a range was last given new attempts. That was its first commit: what failed in it failed later."""
    sessions: dict[int, int] = {}
    for _, session, ranges in rows:
        sessions.update(dict.fromkeys(np.frombuffer(ranges, dtype="<u4").tolist(), session))
    return sessions


def _counting(failures: Iterable[Row], reopenings: Iterable[Row]) -> Iterator[AttemptFailed]:
    """Failed attempts but for those that are history."""
    reopened = _reopened(reopenings)
    return (failure_of(row) for row in failures if row[1] >= reopened.get(row[2], 0))


def _charges(failures: Iterable[AttemptFailed]) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """(range, attempts charged) and (range, losses) of ranges that failed and are not given up, sorted."""
    attempts: dict[int, int] = {}
    losses: Counter[int] = Counter()
    final = set()
    for failure in failures:
        index = failure.range_index
        attempts[index] = max(attempts.get(index, 0), failure.attempt)
        losses[index] += failure.kind is FailureKind.NODE_LOST
        if failure.final:
            final.add(index)
    charged = sorted((index, count) for index, count in attempts.items() if index not in final)
    lost = sorted((index, count) for index, count in losses.items() if count and index not in final)
    return tuple(charged), tuple(lost)


def _reported(places: Mapping[str, int], rows: Iterable[Row]) -> tuple[frozenset[str], set[int]]:
    """(names of groups, indices of ranges given up) whose reports were taken."""
    names = {seq: name for name, seq in places.items()}
    groups: set[str] = set()
    failed: set[int] = set()
    for _, _, numbers, ranges in rows:
        groups.update(names[number] for number in np.frombuffer(numbers, dtype="<u4").tolist())
        failed.update(np.frombuffer(ranges, dtype="<u4").tolist())
    return frozenset(groups), failed


def _without(blob: bytes, retracted: npt.NDArray[np.uint32] | None) -> Entries:
    entries: Entries = np.frombuffer(blob, dtype=ENTRY_DTYPE)
    return entries if retracted is None else entries[~np.isin(entries["range"], retracted)]


def failure_of(row: Row) -> AttemptFailed:
    """The failed attempt in a row of the ledger."""
    _, _, index, attempt, node, kind, message, final, at = row
    return AttemptFailed(index, attempt, node, FailureKind(kind), message, bool(final), at, final == FATAL)


def _session_of(row: Row) -> SessionRecord:
    number, name, host, pid, batch_job, version, gateway, began_at, ended_at, verdict = row
    return SessionRecord(number, name, host, pid, batch_job, version, gateway, began_at, ended_at, verdict or "")


def _group_of(row: Row, retracted: npt.NDArray[np.uint32] | None) -> GroupReport:
    _, _, name, node, output, path, size_bytes, adler32, blob = row
    return GroupReport(name, node, output, path, size_bytes, adler32, _without(blob, retracted))


def merged_of(row: Row) -> MergedOutput:
    """The merged output in a row of the ledger."""
    _, _, output, lfn, path, guid, size_bytes, adler32, n_events, missing, wall_s = row
    indices = tuple(np.frombuffer(missing, dtype="<u4").tolist())
    stream, output = divmod(output, 1 << STREAM_SHIFT)
    return MergedOutput(output, lfn, path, guid, size_bytes, adler32, n_events, indices, wall_s, stream)


def _input_of(row: Row) -> InputTaken:
    _, _, number, lfn, guid, size_bytes, adler32, n_events, missing = row
    return InputTaken(number, lfn, guid, size_bytes, adler32, n_events, tuple(np.frombuffer(missing, dtype="<u4").tolist()))


def _events_of(pending: list[Row]) -> npt.NDArray[np.void]:
    lengths = [len(entries) for entries, _, _, _ in pending]
    packed = np.concatenate([entries for entries, _, _, _ in pending])
    events = np.empty(len(packed), dtype=EVENT_DTYPE)
    for name in _ENTRY_FIELDS:
        events[name] = packed[name]
    for position, name in enumerate(("output", "node", "session"), start=1):
        events[name] = np.repeat([part[position] for part in pending], lengths)
    return events


@contextlib.contextmanager
def _private_copy(path: Path) -> Iterator[Path]:
    """A copy of the ledger and its journal that belong together.

    The ledger itself changes only when its journal is folded into it; if neither its time stamp nor the head of the journal
    changed while both were copied, the copies are one moment of its life. A commit caught half-copied is cut off by
    SQLite's own checksums.
    """
    with tempfile.TemporaryDirectory(prefix="raythena-ledger-") as directory:
        for _ in range(_COPY_ATTEMPTS):
            with disk_errors("copy the ledger", path):
                before = _stamp(path)
                target = _copy_into(path, Path(directory))
                if _stamp(path) == before:
                    break
        else:
            raise LedgerBusy(f"{path} is being written faster than it can be copied; try again in a moment")
        yield target


def _copy_into(path: Path, directory: Path) -> Path:
    target = directory / path.name
    shutil.copyfile(path, target)
    for suffix in ("-wal", "-journal"):
        beside = target.with_name(target.name + suffix)
        beside.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(path.name + suffix), beside)
    return target


def _stamp(path: Path) -> tuple[int, int, int, bytes]:
    status = path.stat()
    try:
        with journal_of(path).open("rb") as stream:
            head = stream.read(32)
    except FileNotFoundError:
        head = b""
    return status.st_mtime_ns, status.st_size, status.st_ino, head


def _connect_copy(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _connect_in_place(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )
