"""The real ledger in a simulation, on a real disk, with coordinators that die.

A process cannot kill itself to see what it left behind. So a crash copies the files as they are at that instant, as another
machine would find them, and goes on with the copy.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from raythena.domain.job import Job
from raythena.domain.records import Record, Restored
from raythena.domain.results import GroupReport
from raythena.storage.ledger import Ledger
from raythena.storage.ledger_format import journal_of


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

    def commit(self, records: Sequence[Record]) -> None:
        """See `Ledger.commit`."""
        self._ledger.commit(records)

    def groups_named(self, names: Iterable[str]) -> list[GroupReport]:
        """See `Ledger.groups_named`."""
        return self._ledger.groups_named(names)

    def restore(self) -> Restored:
        """See `Ledger.restore`."""
        return self._ledger.restore()

    def crash(self) -> None:
        """Leave the files as they are, and open what was left."""
        before = self._path
        self._life += 1
        for found, copy in ((before, self._path), (journal_of(before), journal_of(self._path))):
            if found.exists():
                shutil.copyfile(found, copy)
        self._ledger.close()
        before.unlink()
        self._ledger = Ledger.open(self._path, self._job)

    def close(self) -> None:
        """Let go of the files."""
        self._ledger.close()
