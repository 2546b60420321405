"""Group commit: many records, one transaction, one wait for the disk.

Records wait in a list; a task commits all of them at once in the ledger's own thread, then tells which tickets are durable.
While one commit is under way the next batch collects, so the rate of commits follows the disk and the size of a batch follows
the load. When the disk refuses, the same batch is tried again, with pauses, and the engine is told that storage is stalled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from raythena.domain.errors import LedgerCorrupt, StorageError
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.runtime.clock import SYSTEM_CLOCK, Clock
from raythena.storage.ledger import Ledger

logger = logging.getLogger(__name__)

_RETRY_PAUSE_S = 1.0
_T = TypeVar("_T")


class LedgerWriter:
    """Commits records in the background. `tell` receives `Committed`, `StorageStalled` and `StorageRecovered`."""

    def __init__(
        self,
        ledger: Ledger,
        interval_s: float,
        patience_s: float,
        tell: Callable[[ev.Event], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._tell = tell
        self._waiting: list[do.Commit] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._n_added = 0
        self._settling: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits for how many records to be durable."""
        self.commits = 0
        self.records = 0

    def add(self, commit: do.Commit) -> None:
        """Have a record committed soon."""
        self._waiting.append(commit)
        self._n_added += 1
        self._wake.set()

    async def settled(self) -> None:
        """Wait until everything added so far is durable."""
        if self.records < self._n_added:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settling.append((self._n_added, future))
            await future

    async def run(self) -> None:
        """Commit until cancelled. Raises StorageError when the disk has refused for too long, LedgerCorrupt."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(self._interval_s)
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            await self._commit(batch)

    async def _commit(self, batch: list[do.Commit]) -> None:
        records = [commit.record for commit in batch]
        stalled_since: float | None = None
        first: StorageError | None = None
        while True:
            try:
                await self.in_thread(lambda: self._ledger.commit(records))
                break
            except (StorageError, LedgerCorrupt) as problem:
                if isinstance(problem, StorageError):
                    first = first or problem
                if first is None:
                    raise
                # After an I/O error SQLite takes for damage what it cannot read: the disk is still the one to blame.
                stalled_since = stalled_since or self._clock.monotonic_s()
                logger.error("the ledger cannot be written: %s", problem)
                if self._clock.monotonic_s() - stalled_since > self._patience_s:
                    raise first from problem
                self._tell(ev.StorageStalled(str(first)))
                await self._clock.sleep(_RETRY_PAUSE_S)
        if stalled_since is not None:
            self._tell(ev.StorageRecovered())
        self.commits += 1
        self.records += len(records)
        self._tell(ev.Committed(tuple(commit.ticket for commit in batch)))
        self._wake_settled()

    def _wake_settled(self) -> None:
        while self._settling and self._settling[0][0] <= self.records:
            _, future = self._settling.pop(0)
            if not future.done():
                future.set_result(None)

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Do something with the ledger in the one thread that may touch it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
