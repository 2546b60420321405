"""The ledger: what of a task is finished, written so that it survives anything.

One SQLite database in the task directory, one writer. `commit` takes what has happened and returns when the disk has it: all
of it or, after an error, nothing. Only then may anyone be told that a range is safe.

Rules:
- one writer: the file is locked while it is open, on file systems that can lock; the lease (see `lease`) guards the others;
- rows are added, never changed: the cost of a commit does not depend on what the ledger already holds;
- a fact is committed once: a range stored twice, an output merged twice, is a defect of the caller and refused as such;
- a file that is damaged or somebody else's is refused before a byte of it, or beside it, is changed.

It refuses to know what a record means for the job: retries, merges and verdicts are the engine's.

How it sits on the disk, and why so: `docs/adr/0002-ledger.md`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import sqlite3
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InternalError, LedgerBusy, LedgerError, LedgerForeign
from raythena.domain.job import Job
from raythena.domain.ranges import extended
from raythena.domain.records import (
    AttemptFailed,
    GroupStored,
    OutputMerged,
    RangesReopened,
    RangesRetracted,
    RangesTaken,
    Record,
    ReportsTaken,
)
from raythena.domain.results import ENTRY_DTYPE, Entries
from raythena.domain.short_reason import storable_reason
from raythena.domain.upstream import InputTaken
from raythena.storage.atomic import disk_errors, durable_rename
from raythena.storage.ledger_format import (
    APPLICATION_ID,
    FATAL,
    GIVEN_UP,
    NUMBERED_TABLES,
    OPEN_ROWS,
    PAGE_BYTES,
    RETRIED,
    SCHEMA,
    SCHEMA_VERSION,
    STREAM_SHIFT,
    Field,
    check_present,
    insertion,
    journal_of,
    sealed,
    translated,
)
from raythena.storage.ledger_view import EventChunk, LedgerSummary, LedgerView, NodeTotals, SessionRecord

__all__ = ["EventChunk", "Ledger", "LedgerSummary", "LedgerView", "NodeTotals", "SessionInfo", "SessionRecord"]

MAX_MESSAGE_CHARACTERS = 4000
"""Longer reasons of failures are cut: a million tracebacks must not fill the disk."""

OPEN, STORED, FAILED = 0, 1, 2
"""What the ledger says of a range: nothing yet, its output is stored, it is given up."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """Who opens the ledger: one life of a coordinator."""

    name: str
    host: str
    pid: int
    began_at: float
    """Wall-clock seconds since the epoch."""
    batch_job: str = ""
    version: str = ""
    gateway: str = ""
    """Kind of the gateway through which somebody is told what becomes of the ranges; empty: nobody is."""


class Ledger(LedgerView):
    """The one writer of a task's ledger; everything a `LedgerView` answers, it answers too.

    Not thread-safe: one thread at a time. After a StorageError it is as before the call and may be used on.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection, contextlib.ExitStack())
        self._outcome: npt.NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self._next = dict.fromkeys(NUMBERED_TABLES, 1)
        self._group_places: dict[str, int] = {}
        self._session = 0
        self._missing: dict[int, frozenset[int]] = {}
        """Of each merged output the ranges its latest file lacks."""
        # Closing must not be left to the connection: see `_end_in_peace`. This also runs when a ledger is forgotten, or at exit.
        self._ending = weakref.finalize(self, _end_in_peace, path, connection, self._next, os.getpid())

    @classmethod
    def create(cls, path: Path, job: Job) -> Ledger:
        """Begin the ledger of a new task. Raises LedgerError if there is one already, StorageError."""
        for existing in (path, journal_of(path)):
            if os.path.lexists(existing):
                raise LedgerError(
                    f"cannot create the ledger {path}: {existing.name} exists. Resume that task or use an empty directory"
                )
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            _write_empty(part, job)
            durable_rename(part, path)
        finally:
            for leftover in (part, journal_of(part)):
                leftover.unlink(missing_ok=True)
        return cls.open(path, job)

    @classmethod
    def open(cls, path: Path, job: Job | str) -> Ledger:
        """Go on with a task; `job` is the job or its fingerprint.

        Raises LedgerForeign, LedgerCorrupt (the file is then untouched), LedgerBusy, StorageError; LedgerError if there is none.
        """
        check_present(path)
        locks = _locks_for(path)
        with LedgerView.read(path) as view:
            _check_owner(view, job if isinstance(job, str) else job.fingerprint())
        ledger = cls(path, _connect(path, locks))
        try:
            ledger._take_over()
        except BaseException:
            ledger._ending.detach()
            ledger._connection.close()
            raise
        return ledger

    def close(self) -> None:
        """Fold the journal into the ledger and let go of it. Safe to call twice. Raises StorageError, having let go."""
        self._ending()

    def begin_session(self, info: SessionInfo, reopened: RangesReopened | None = None) -> int:
        """Record the life of a coordinator; what is committed from now on belongs to it. Returns its number, from 1.

        `reopened` is committed with it, or nothing is: a session that is there has reopened what it was to reopen. Raises as
        `commit`.
        """
        number = self._next["sessions"]
        who = (info.name, info.host, info.pid, info.batch_job, info.version, info.gateway)
        row = sealed((number, *who, float(info.began_at), None, None))
        batch = _Batch(self._outcome, self._group_places, self._missing, {**self._next, "sessions": number + 1}, number)
        self._commit(batch, [reopened] if reopened is not None else [], {"sessions": [row]})
        self._session = number
        return number

    @property
    def session(self) -> int:
        """Number of the session that was begun last; 0 before the first."""
        return self._session

    def end_session(self, verdict: str, ended_at: float) -> None:
        """Record that the session ended in peace, and how. `ended_at` is wall-clock seconds since the epoch."""
        with self._reading():
            row = self._connection.execute("SELECT * FROM sessions WHERE seq = ?", (self._session,)).fetchone()
        if row is None:
            raise InternalError("no session was begun")
        fields = sealed((*row[:8], float(ended_at), verdict))
        with self._transaction():
            self._connection.execute(
                "UPDATE sessions SET ended_at = ?, verdict = ?, crc = ? WHERE seq = ?", (*fields[8:], self._session)
            )

    def commit(self, records: Sequence[Record]) -> None:
        """Remember all of `records`, durably, or none of them.

        Raises StorageError (nothing was committed; the same records may be tried again), LedgerCorrupt, and InternalError for a
        record that contradicts what is committed: a group, output or final failure committed before, a range that already has an
        outcome, a range out of bounds, a retraction of what is not stored, a report of what is not finished, new attempts at what
        is not given up.
        """
        if not records:
            return
        self._commit(_Batch(self._outcome, self._group_places, self._missing, dict(self._next), self._session), records, {})

    def _commit(self, batch: _Batch, records: Sequence[Record], more: Mapping[str, list[tuple[Field, ...]]]) -> None:
        try:
            for record in records:
                batch.add(record)
            with self._transaction():
                for table, rows in {**batch.rows, **more}.items():
                    self._connection.executemany(insertion(table), rows)
        except BaseException:
            batch.undo()
            raise
        self._next.update(batch.next)
        self._group_places.update(batch.group_places)
        self._missing.update(batch.missing)
        self._outcome = extended(self._outcome, len(self._outcome) + batch.n_new, OPEN)

    def _places(self) -> dict[str, int]:
        return self._group_places

    def _take_over(self) -> None:
        """Lock the file, learn what is in it, and mark it as open in the ledger proper: so a lost journal is noticed."""
        self._meta = self._read_meta()
        with self._reading():
            for table in NUMBERED_TABLES:
                ((last,),) = self._connection.execute(f"SELECT coalesce(max(seq), 0) FROM {table}")  # noqa: S608 (our own constants)
                self._next[table] = last + 1
        self._session = self._next["sessions"] - 1
        self._group_places = super()._places()
        self._outcome = np.zeros(self.n_ranges, dtype=np.uint8)
        for group in self.groups():
            self._outcome[group.entries["range"]] = STORED
        self._outcome[[failure.range_index for failure in self.given_up()]] = FAILED
        self._missing = {output.output: frozenset(output.missing) for output in self.outputs()}
        with self._transaction():
            _write_rows(self._connection, OPEN_ROWS)
        with contextlib.suppress(sqlite3.Error):  # the mark is durable; folding it in is tried again with the commits
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything in the block, durably, or nothing."""
        with self._reading(), _atomically(self._connection):
            yield


def _write_rows(connection: sqlite3.Connection, rows: str) -> None:
    key, value, crc = sealed(("rows", rows))
    connection.execute("UPDATE meta SET value = ?, crc = ? WHERE key = ?", (value, crc, key))


@contextlib.contextmanager
def _atomically(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction. Raises sqlite3.Error, having rolled back."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Whatever went wrong, also an interrupt, the transaction must not stay half done; the error goes on to the caller.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # after some errors SQLite has rolled back by itself and says so
                connection.execute("ROLLBACK")
        raise


def _end_in_peace(path: Path, connection: sqlite3.Connection, next_rows: dict[str, int], opened_by: int) -> None:
    """Write down how much the ledger holds, then close it, which folds the journal in and removes it.

    In this order: a ledger marked as open without its journal is taken for damaged. Raises StorageError.
    """
    if os.getpid() != opened_by:
        return  # a fork: the ledger is its parent's
    try:
        with _atomically(connection):
            _write_rows(connection, str([next_rows[table] - 1 for table in NUMBERED_TABLES]))
    except sqlite3.Error as error:
        # Closed now, SQLite would remove the journal and leave the mark. Never closed, both stay, as after a kill; the system
        # takes the file back when the process ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        raise translated(error, path) from error
    connection.close()


class _Batch:
    """The rows of one commit, checked against the outcomes so far. Marks outcomes as it goes; `undo` takes the marks back."""

    def __init__(
        self,
        outcome: npt.NDArray[np.uint8],
        known_groups: Mapping[str, int],
        known_missing: Mapping[int, frozenset[int]],
        next_rows: dict[str, int],
        session: int,
    ) -> None:
        self.rows: dict[str, list[tuple[Field, ...]]] = {table: [] for table in NUMBERED_TABLES}
        self.next = next_rows
        self.group_places: dict[str, int] = {}
        """Row numbers of the groups of this batch, by name."""
        self.n_new = 0
        """Ranges this batch adds. They have no outcome before it is committed."""
        self.missing: dict[int, frozenset[int]] = {}
        """What the outputs of this batch lack."""
        self._known_groups = known_groups
        self._known_missing = known_missing
        self._outcome = outcome
        self._session = session
        self._marks: list[tuple[npt.NDArray[np.integer] | int, int]] = []

    def add(self, record: Record) -> None:
        """Take one record up. Raises InternalError when it contradicts what is committed."""
        match record:
            case GroupStored():
                self._add_group(record)
            case AttemptFailed():
                self._add_failure(record)
            case OutputMerged():
                self._add_output(record)
            case RangesRetracted():
                self._add_retraction(record)
            case RangesReopened():
                self._add_reopening(record)
            case RangesTaken():
                self._add_chunk(record)
            case ReportsTaken():
                self._add_reports(record)
            case InputTaken():
                self._add_input(record)
            case _:
                raise InternalError(f"the ledger knows no record of type {type(record).__name__}")

    def undo(self) -> None:
        """Take back every mark, latest first."""
        for indices, before in reversed(self._marks):
            self._outcome[indices] = before

    def _add_chunk(self, record: RangesTaken) -> None:
        self.n_new += len(record.chunk)
        self._append("chunks", len(record.chunk), record.chunk.to_bytes())

    def _add_reports(self, record: ReportsTaken) -> None:
        places = [self._place_of(name) for name in record.groups]
        for index in record.failed:
            self._check_bounds(index)
            if self._outcome[index] != FAILED:
                raise InternalError(f"range {index} was reported as failed, but is not")
        self._append("reported", np.asarray(places, dtype="<u4").tobytes(), np.asarray(record.failed, dtype="<u4").tobytes())

    def _add_input(self, record: InputTaken) -> None:
        measures = (int(record.size_bytes), int(record.adler32), int(record.n_events))
        missing = np.asarray(record.missing, dtype="<u4").tobytes()
        self._append("inputs", int(record.number), record.lfn, record.guid, *measures, missing)

    def _place_of(self, group: str) -> int:
        place = self.group_places.get(group) or self._known_groups.get(group)
        if place is None:
            raise InternalError(f"the group {group} was reported, but never stored")
        return place

    def _append(self, table: str, *fields: Field) -> None:
        self.rows[table].append(sealed((self.next[table], self._session, *fields)))
        self.next[table] += 1

    def _mark(self, indices: npt.NDArray[np.integer] | int, before: int, after: int) -> None:
        self._marks.append((indices, before))
        self._outcome[indices] = after

    def _add_group(self, record: GroupStored) -> None:
        group = record.group
        if self._knows(group.name):
            raise InternalError(f"the group {group.name} was committed before")
        _check_entries(group.name, group.entries, len(self._outcome))
        indices = group.entries["range"]
        taken = self._outcome[indices] != OPEN
        if taken.any():
            raise InternalError(f"range {int(indices[taken][0])} of the group {group.name} already has an outcome in the ledger")
        self._mark(indices, OPEN, STORED)
        sizes = (int(group.size_bytes), int(group.adler32))
        self.group_places[group.name] = self.next["groups"]
        self._append("groups", group.name, group.node, int(group.output), group.path, *sizes, group.entries.tobytes())

    def _add_failure(self, record: AttemptFailed) -> None:
        index = int(record.range_index)
        self._check_bounds(index)
        if record.final:
            if self._outcome[index] != OPEN:
                raise InternalError(f"range {index} is given up, but already has an outcome in the ledger")
            self._mark(index, OPEN, FAILED)
        reason = (str(record.kind), _storable(record.message))
        final = FATAL if record.fatal else GIVEN_UP if record.final else RETRIED
        self._append("failures", index, int(record.attempt), record.node, *reason, final, float(record.at))

    def _add_output(self, record: OutputMerged) -> None:
        merged = record.merged
        number, lacks = int(merged.output), frozenset(map(int, merged.missing))
        before = self.missing.get(number, self._known_missing.get(number))
        if before is not None and not lacks < before:
            raise InternalError(f"output {number} was merged before, and the new file does not hold more events than that one")
        self.missing[number] = lacks
        missing = np.asarray(merged.missing, dtype="<u4").tobytes()
        for file in merged.files:
            sizes = (int(file.size_bytes), int(file.adler32), int(file.n_events))
            place = number | file.stream << STREAM_SHIFT
            self._append("outputs", place, file.lfn, file.path, file.guid, *sizes, missing, float(file.wall_s))

    def _add_retraction(self, record: RangesRetracted) -> None:
        if not self._knows(record.group):
            raise InternalError(f"ranges of the group {record.group} are retracted, but it was never stored")
        for index in map(int, record.ranges):
            self._check_bounds(index)
            if self._outcome[index] != STORED:
                raise InternalError(f"range {index} of the group {record.group} is retracted, but is not stored")
            self._mark(index, STORED, OPEN)
        self._append("retractions", record.group, np.asarray(record.ranges, dtype="<u4").tobytes())

    def _add_reopening(self, record: RangesReopened) -> None:
        for index in map(int, record.ranges):
            self._check_bounds(index)
            if self._outcome[index] != FAILED:
                raise InternalError(f"range {index} is to be tried anew, but is not given up")
            self._mark(index, FAILED, OPEN)
        self._append("reopenings", np.asarray(record.ranges, dtype="<u4").tobytes())

    def _knows(self, group_name: str) -> bool:
        return group_name in self._known_groups or group_name in self.group_places

    def _check_bounds(self, index: int) -> None:
        if not 0 <= index < len(self._outcome):
            raise InternalError(f"range {index} is outside the job's {len(self._outcome)} ranges")


def _check_entries(name: str, entries: Entries, n_ranges: int) -> None:
    if entries.dtype != ENTRY_DTYPE or entries.ndim != 1 or not len(entries):
        raise InternalError(f"the group {name} does not come with a list of packed entries")
    ordered = np.sort(entries["range"])
    if int(ordered[-1]) >= n_ranges:
        raise InternalError(f"range {int(ordered[-1])} of the group {name} is outside the job's {n_ranges} ranges")
    if (ordered[1:] == ordered[:-1]).any():
        raise InternalError(f"the group {name} holds a range twice")


def _storable(message: str) -> str:
    """The message as valid, bounded text: it may come from a payload and hold anything."""
    return storable_reason(message, MAX_MESSAGE_CHARACTERS)


def _check_owner(view: LedgerView, fingerprint: str) -> None:
    if view.fingerprint != fingerprint:
        raise LedgerForeign(
            f"{view.path} belongs to another job: {view.job_name!r}, fingerprint {view.fingerprint[:12]}…, where "
            f"{fingerprint[:12]}… was expected. Inputs, outputs or events per output differ; use another task directory, or the "
            "job file the task began with"
        )


def _write_empty(path: Path, job: Job) -> None:
    """A ledger without a record, not synchronised yet."""
    meta = {
        "job": job.name,
        "fingerprint": job.fingerprint(),
        "n_ranges": str(job.n_ranges),
        "rows": str([0] * len(NUMBERED_TABLES)),
    }
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            for pragma in ("journal_mode = MEMORY", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            for statement in SCHEMA.values():
                connection.execute(statement)
            connection.executemany("INSERT INTO meta VALUES (?, ?, ?)", [sealed(pair) for pair in meta.items()])
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise translated(error, path) from error


_NO_LOCKS_HERE = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
_LOCK_OFFSET, _LOCK_BYTES = 0x40000000, 512
"""The bytes SQLite locks: https://www.sqlite.org/src/file/src/os.h (PENDING_BYTE)."""


def _locks_for(path: Path) -> str:
    """SQLite's name for the file layer to use: with locks where the file system has them, without elsewhere (some Lustre mounts).

    Raises LedgerBusy if another process holds the lock, StorageError.
    """
    with disk_errors("open the ledger", path):
        descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_OFFSET)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise LedgerBusy(f"{path} is held by another coordinator. Stop that one first, or wait for its end") from error
        if error.errno in _NO_LOCKS_HERE:
            return "unix-none"
        raise
    finally:
        os.close(descriptor)
    return "unix"


def _connect(path: Path, locks: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw&vfs={locks}"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        for pragma in ("locking_mode = EXCLUSIVE", "synchronous = FULL", "temp_store = MEMORY", "cache_size = -8192"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error as error:
        raise translated(error, path) from error
    return connection
