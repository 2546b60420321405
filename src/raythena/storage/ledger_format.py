"""The form of the ledger on disk: its tables, its checksums, and how to recognise one without touching it.

Every row carries a CRC-32 over all its other fields, so that a page that was altered but still looks like a page is noticed. Rows
are only ever added, numbered from 1 without gaps; the two exceptions are the end of a session and the `rows` of `meta`.

`examine` reads plain bytes, never through SQLite: opening a stranger's database, even for a look, may leave a journal beside it
or roll one back.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from raythena.domain.errors import (
    InternalError,
    LedgerBusy,
    LedgerCorrupt,
    LedgerError,
    LedgerForeign,
    RaythenaError,
    StorageError,
)
from raythena.storage.atomic import disk_errors

APPLICATION_ID = 0x52595448
"""`RYTH` in the database header: what makes a SQLite file a ledger of ours."""
SCHEMA_VERSION = 4
PAGE_BYTES = 16384
"""Seven groups of 64 events on a page; 4 KiB pages would be half empty."""

SCHEMA: dict[str, str] = {
    "meta": "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "sessions": (
        "CREATE TABLE sessions (seq INTEGER PRIMARY KEY, name TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, "
        "batch_job TEXT NOT NULL, version TEXT NOT NULL, gateway TEXT NOT NULL, began_at REAL NOT NULL, ended_at REAL, "
        "verdict TEXT, crc INTEGER NOT NULL)"
    ),
    "groups": (
        "CREATE TABLE groups (seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, name TEXT NOT NULL, node TEXT NOT NULL, "
        "output INTEGER NOT NULL, path TEXT NOT NULL, size_bytes INTEGER NOT NULL, adler32 INTEGER NOT NULL, "
        "entries BLOB NOT NULL, crc INTEGER NOT NULL)"
    ),
    "retractions": (
        "CREATE TABLE retractions (seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, group_name TEXT NOT NULL, "
        "ranges BLOB NOT NULL, crc INTEGER NOT NULL)"
    ),
    "failures": (
        "CREATE TABLE failures (seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, range INTEGER NOT NULL, "
        "attempt INTEGER NOT NULL, node TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL, final INTEGER NOT NULL, "
        "at REAL NOT NULL, crc INTEGER NOT NULL)"
    ),
    "outputs": (
        "CREATE TABLE outputs (seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, output INTEGER NOT NULL, "
        "lfn TEXT NOT NULL, path TEXT NOT NULL, guid TEXT NOT NULL, size_bytes INTEGER NOT NULL, adler32 INTEGER NOT NULL, "
        "n_events INTEGER NOT NULL, missing BLOB NOT NULL, wall_s REAL NOT NULL, crc INTEGER NOT NULL)"
    ),
    "reopenings": (
        "CREATE TABLE reopenings (seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, ranges BLOB NOT NULL, crc INTEGER NOT NULL)"
    ),
    "chunks": (
        "CREATE TABLE chunks (seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, n_ranges INTEGER NOT NULL, "
        "ranges BLOB NOT NULL, crc INTEGER NOT NULL)"
    ),
    "reported": (
        "CREATE TABLE reported (seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, groups BLOB NOT NULL, "
        "failed BLOB NOT NULL, crc INTEGER NOT NULL)"
    ),
    "inputs": (
        "CREATE TABLE inputs (seq INTEGER PRIMARY KEY, session INTEGER NOT NULL, number INTEGER NOT NULL, lfn TEXT NOT NULL, "
        "guid TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL, adler32 INTEGER NOT NULL, n_events INTEGER NOT NULL, "
        "missing BLOB NOT NULL, crc INTEGER NOT NULL)"
    ),
}
NUMBERED_TABLES = ("sessions", "groups", "retractions", "failures", "outputs", "reopenings", "chunks", "reported", "inputs")
META_KEYS = frozenset({"job", "fingerprint", "n_ranges", "rows"})
"""`rows` is `OPEN_ROWS` while a writer has the ledger open (a journal belongs to it), else the lengths of the numbered tables."""
OPEN_ROWS = "open"
RETRIED, GIVEN_UP, FATAL = 0, 1, 2
"""What `final` says of a failed attempt. Of a fatal one, that nobody else need try either."""
COLUMNS = {
    "sessions": ("seq", "name", "host", "pid", "batch_job", "version", "gateway", "began_at", "ended_at", "verdict"),
    "groups": ("seq", "session", "name", "node", "output", "path", "size_bytes", "adler32", "entries"),
    "retractions": ("seq", "session", "group_name", "ranges"),
    "failures": ("seq", "session", "range", "attempt", "node", "kind", "message", "final", "at"),
    "outputs": ("seq", "session", "output", "lfn", "path", "guid", "size_bytes", "adler32", "n_events", "missing", "wall_s"),
    "reopenings": ("seq", "session", "ranges"),
    "chunks": ("seq", "session", "n_ranges", "ranges"),
    "reported": ("seq", "session", "groups", "failed"),
    "inputs": ("seq", "session", "number", "lfn", "guid", "size_bytes", "adler32", "n_events", "missing"),
}
"""Columns a row's checksum covers, in this order; `crc` follows them."""

STREAM_SHIFT = 32
"""In the table of outputs the number of an output has the number of its stream, from 0, above this bit."""

Field = str | int | float | bytes | None


def row_checksum(fields: tuple[Field, ...]) -> int:
    """CRC-32 over the fields of a row: blobs as they are, everything else by its `repr`."""
    checksum = 0
    for field in fields:
        if type(field) is bytes:
            checksum = zlib.crc32(field, checksum)
    plain = [len(field) if type(field) is bytes else field for field in fields]
    return zlib.crc32(repr(plain).encode("utf-8", "surrogatepass"), checksum)


def sealed(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """The row with its checksum appended."""
    return (*fields, row_checksum(fields))


def insertion(table: str) -> str:
    """The statement that adds a sealed row to `table`."""
    names = (*COLUMNS[table], "crc")
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 (our own constants)


def selection(table: str) -> str:
    """The statement that reads all sealed rows of `table` in the order they were added."""
    return f"SELECT {', '.join((*COLUMNS[table], 'crc'))} FROM {table} ORDER BY seq"  # noqa: S608 (our own constants)


def selection_after(table: str) -> str:
    """The statement that reads the sealed rows of `table` after a given number, in order."""
    return f"SELECT {', '.join((*COLUMNS[table], 'crc'))} FROM {table} WHERE seq > ? ORDER BY seq"  # noqa: S608 (our own constants)


def selection_of_one(table: str) -> str:
    """The statement that reads the sealed row of `table` with a given number."""
    return f"SELECT {', '.join((*COLUMNS[table], 'crc'))} FROM {table} WHERE seq = ?"  # noqa: S608 (our own constants)


def journal_of(path: Path) -> Path:
    """The write-ahead log that belongs to a ledger."""
    return path.with_name(path.name + "-wal")


_HEADER = struct.Struct(">16sH10xI28xI4xI")
"""Magic, page size, pages, user version, application id: https://www.sqlite.org/fileformat2.html#the_database_header"""
_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Examined:
    """What the plain bytes of a ledger say."""

    hot: bool
    """A journal with content lies beside it: the last coordinator did not end in peace, or has not ended."""


def examine(path: Path) -> Examined:
    """Make sure that `path` looks like a ledger of ours, without changing a byte of it or of its directory.

    Raises LedgerError if there is nothing, LedgerForeign, LedgerCorrupt, StorageError.
    """
    check_present(path)
    with disk_errors("read the ledger", path), path.open("rb") as stream:
        header = stream.read(100)
        size_bytes = os.fstat(stream.fileno()).st_size
    _check_header(path, header)
    _, page_code, pages, _, _ = _HEADER.unpack(header[: _HEADER.size])
    page_bytes = 65536 if page_code == 1 else page_code
    hot = _size_of(journal_of(path)) > 0 or _size_of(path.with_name(path.name + "-journal")) > 0
    if page_bytes != PAGE_BYTES or (not hot and size_bytes != pages * page_bytes):
        raise LedgerCorrupt(
            f"{path} is damaged: it has {size_bytes} bytes where its header promises {pages} pages of {page_bytes} bytes. "
            "Restore it from a copy, or move it away to start the task anew"
        )
    return Examined(hot)


def check_present(path: Path) -> None:
    """Raises LedgerError if there is nothing at `path`, LedgerForeign if it is a directory."""
    if path.is_dir():
        raise LedgerForeign(f"{path} is a directory, not a ledger")
    if not os.path.lexists(path):
        left = " (its journal is still there: the ledger itself was removed)" if journal_of(path).exists() else ""
        raise LedgerError(f"there is no ledger {path}{left}")


def _check_header(path: Path, header: bytes) -> None:
    if not header:
        raise LedgerCorrupt(f"{path} is empty: its content was lost. Restore it from a copy, or remove it to start the task anew")
    if not header.startswith(_MAGIC):
        raise LedgerForeign(f"{path} is not a Raythena ledger: it does not begin as a SQLite database does")
    if len(header) < _HEADER.size:
        raise LedgerCorrupt(f"{path} is damaged: it ends after {len(header)} bytes, inside its header")
    _, _, _, schema, application = _HEADER.unpack(header[: _HEADER.size])
    if application != APPLICATION_ID:
        raise LedgerForeign(f"{path} is a SQLite database, but not a Raythena ledger (application id {application:#010x})")
    if schema > SCHEMA_VERSION:
        raise LedgerForeign(
            f"{path} was written by a newer Raythena (ledger schema {schema}; this one knows up to {SCHEMA_VERSION}). "
            "Use that version or a later one"
        )
    if schema < 1:
        raise LedgerCorrupt(f"{path} is damaged: its header names ledger schema {schema}")
    if schema < SCHEMA_VERSION:
        raise LedgerForeign(
            f"{path} was written by an older Raythena (ledger schema {schema}; this one writes {SCHEMA_VERSION}). "
            "Finish the task with that version"
        )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


_STORAGE_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
}
_CORRUPT_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_BUSY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def translated(error: sqlite3.Error, path: Path) -> RaythenaError:
    """SQLite's error as ours, by its result code (https://www.sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    name = getattr(error, "sqlite_errorname", "")
    text = f"{path}: {error}" + (f" ({name})" if name else "")
    if primary in _STORAGE_CODES:
        return StorageError(f"the disk refused the ledger: {text}")
    undecodable = code is None and isinstance(error, sqlite3.OperationalError)
    if primary in _CORRUPT_CODES or undecodable:
        return LedgerCorrupt(f"the ledger is damaged: {text}")
    if primary in _BUSY_CODES:
        return LedgerBusy(f"another coordinator has the ledger open: {text}")
    return InternalError(f"the ledger refused a statement: {text}")
