"""The real ledger in a simulation, on a real disk, with coordinators that die and disks that are full.

A process cannot kill itself to see what it left behind. So a crash copies the files as they are at that instant, as another
machine would find them, and goes on with the copy. In the middle of a commit, "as they are" means that some of the sectors being
written are new and some are old, in no order: a disk promises none before it is told to synchronise.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from raythena.domain.job import Job
from raythena.domain.records import RangesReopened, Record, Restored
from raythena.domain.results import GroupReport
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.ledger_format import journal_of

_SECTOR_BYTES = 512
_JOURNAL_HEADER_BYTES = 32


class LedgerOnDisk:
    """Lives below `directory`, which must be empty."""

    def __init__(self, directory: Path, job: Job) -> None:
        self._directory = directory
        self._job = job
        self._life = 0
        self._ledger = Ledger.create(self._path, job)

    @property
    def _path(self) -> Path:
        return self._directory / f"ledger-{self._life}.sqlite"

    def begin_session(self, reopened: RangesReopened | None) -> None:
        """See `Ledger.begin_session`."""
        self._ledger.begin_session(SessionInfo(f"life {self._life}", "host", 1, 0.0), reopened)

    def commit(self, records: Sequence[Record]) -> None:
        """See `Ledger.commit`."""
        self._ledger.commit(records)

    def groups_named(self, names: Iterable[str]) -> list[GroupReport]:
        """See `Ledger.groups_named`."""
        return self._ledger.groups_named(names)

    def restore(self) -> Restored:
        """See `Ledger.restore`."""
        return self._ledger.restore()

    def commit_on_full_disk(self, records: Sequence[Record]) -> None:
        """Commit while the ledger must not grow: SQLite runs out of space somewhere within the transaction, if it needs any.

        Raises StorageError if it does.
        """
        connection = self._ledger._connection
        connection.execute("PRAGMA max_page_count = 1")  # what it has is the least it can be limited to
        try:
            self._ledger.commit(records)
        finally:
            connection.execute("PRAGMA max_page_count = 1073741823")

    def commit_torn(self, records: Sequence[Record], dice: random.Random) -> None:
        """Die while the journal is written: any sectors of the commit may be on disk."""
        journal = journal_of(self._path)
        ledger_before = self._path.read_bytes()
        before = journal.read_bytes() if journal.exists() else b""
        self._ledger.commit(records)
        folded_in = self._path.read_bytes() != ledger_before  # then the journal was synchronised long before
        after = journal.read_bytes()
        torn = after if folded_in else _torn(before, after, dice)
        self._succeed(torn)

    def crash(self) -> None:
        """Leave the files as they are, and open what was left."""
        journal = journal_of(self._path)
        self._succeed(journal.read_bytes() if journal.exists() else None)

    def _succeed(self, journal: bytes | None) -> None:
        before = self._path
        self._life += 1
        shutil.copyfile(before, self._path)
        if journal is not None:
            journal_of(self._path).write_bytes(journal)
        self._ledger.close()
        before.unlink()
        self._ledger = Ledger.open(self._path, self._job)

    def close(self) -> None:
        """Let go of the files."""
        self._ledger.close()


def _torn(before: bytes, after: bytes, dice: random.Random) -> bytes:
    """Some sectors of `after`, the others as they were before. SQLite synchronises the header before what follows it."""
    reached = dice.choice((0.0, 0.5, 0.9, 1.0))
    old = before.ljust(len(after), b"\0")
    torn = bytearray(after[:_JOURNAL_HEADER_BYTES])
    for start in range(_JOURNAL_HEADER_BYTES, len(after), _SECTOR_BYTES):
        stop = min(start + _SECTOR_BYTES, len(after))
        torn += (after if dice.random() < reached else old)[start:stop]
    return bytes(torn)
