"""The ledger of a site, watched.

Beside whatever ledger is used there is a shadow, the naive one in memory, which is told of every commit that succeeded. Whoever
starts from the ledger must find in it what the shadow knows, no more and no less; after a death in the middle of a commit, all of
the commit or nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from raythena.domain.errors import InternalError, StorageError
from raythena.domain.records import RangesReopened, Record, Restored
from raythena.domain.results import GroupReport
from raythena.testing.simulation.memory_ledger import MemoryLedger


class SimulatedLedger(Protocol):
    """A ledger to which anything can happen. `MemoryLedger` and `LedgerOnDisk` are such."""

    def begin_session(self, reopened: RangesReopened | None) -> None:
        """A coordinator begins to live; with it ranges are given new attempts."""

    def commit(self, records: Sequence[Record]) -> None:
        """Remember all of them or none."""

    def groups_named(self, names: Iterable[str]) -> list[GroupReport]:
        """Committed groups, with the entries that count."""

    def restore(self) -> Restored:
        """What a new engine starts from."""

    def commit_on_full_disk(self, records: Sequence[Record]) -> None:
        """The disk is full: remember nothing. Raises StorageError, unless there is room all the same."""

    def commit_torn(self, records: Sequence[Record], dice: random.Random) -> None:
        """Die within the commit."""

    def crash(self) -> None:
        """The coordinator is dead; the next call is its successor's."""

    def close(self) -> None:
        """The simulation is over."""


class WatchedLedger:
    """`committed` is called with what became durable, `dice` decides how a commit is torn."""

    def __init__(
        self, ledger: SimulatedLedger | None, committed: Callable[[Sequence[Record]], None], dice: random.Random
    ) -> None:
        self.shadow = MemoryLedger()
        """What must be in the ledger."""
        self._ledger: SimulatedLedger = self.shadow if ledger is None else ledger
        self._committed = committed
        self._dice = dice

    def begin_session(self, reopened: RangesReopened | None) -> None:
        """A coordinator begins to live; with it ranges are given new attempts."""
        self._ledger.begin_session(reopened)
        if reopened is not None:
            if self._ledger is not self.shadow:
                self.shadow.begin_session(reopened)
            self._committed([reopened])

    def commit(self, records: Sequence[Record]) -> None:
        """Make records durable."""
        self._ledger.commit(records)
        self._note(records)

    def refuse(self, records: Sequence[Record]) -> None:
        """Try to, on a full disk. Raises StorageError, unless there is room for them all the same."""
        try:
            self._ledger.commit_on_full_disk(records)
        except StorageError:
            if self._ledger is not self.shadow and self._holds_more():
                raise InternalError("a commit was refused, but the ledger holds something of it") from None
            raise
        self._note(records)

    def tear(self, records: Sequence[Record]) -> None:
        """The coordinator dies while they are committed."""
        if self._ledger is self.shadow:
            n_before = len(self.shadow.records)
            self.shadow.commit_torn(records, self._dice)
            self._committed(self.shadow.records[n_before:])
            return
        self._ledger.commit_torn(records, self._dice)
        if self._holds_more():
            self._note(records)

    def crash(self) -> None:
        """The coordinator is dead."""
        self._ledger.crash()

    def close(self) -> None:
        """The simulation is over."""
        self._ledger.close()

    def groups_named(self, names: Iterable[str]) -> list[GroupReport]:
        """See `Ledger.groups_named`."""
        return self._ledger.groups_named(names)

    def restore(self) -> Restored:
        """What a new engine starts from. Raises InternalError if it is not what was committed."""
        restored = self._ledger.restore()
        if self._ledger is not self.shadow:
            differs = _difference(_essence(restored), _essence(self.shadow.restore()))
            if differs:
                raise InternalError(f"acknowledged means durable: the ledger does not hold what was committed: {differs}")
        return restored

    def _note(self, records: Sequence[Record]) -> None:
        if self._ledger is not self.shadow:
            self.shadow.commit(records)
        self._committed(records)

    def _holds_more(self) -> bool:
        """Whether the ledger holds something that the shadow does not know yet."""
        return _essence(self._ledger.restore()) != _essence(self.shadow.restore())


def _essence(restored: Restored) -> dict[str, dict[Any, Any]]:
    return {
        "groups": {group.name: group.entries["range"].tolist() for group in restored.groups},
        "merged outputs": {merged.output: (merged.path, merged.n_events) for merged in restored.merged},
        "failed ranges": dict.fromkeys(restored.failed.tolist(), True),
        "attempts": dict(restored.attempts),
        "losses": dict(restored.losses),
        "given ranges": dict(enumerate([chunk.range_id(at) for at in range(len(chunk))] for chunk in restored.given)),
        "reported groups": dict.fromkeys(restored.reported, True),
        "unreported failures": {failure.range_index: failure.message for failure in restored.unreported_failures},
    }


def _difference(found: dict[str, dict[Any, Any]], expected: dict[str, dict[Any, Any]]) -> str:
    """The first thing that differs, in words; empty if nothing does."""
    for kind, wanted in expected.items():
        for key in sorted({*wanted, *found[kind]}):
            if wanted.get(key) != found[kind].get(key):
                return f"{kind}: {key} is {found[kind].get(key)}, was committed as {wanted.get(key)}"
    return ""
