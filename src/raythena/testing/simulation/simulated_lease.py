"""Who may write the task: the lease, in virtual time or as it is.

`LeaseInMemory` follows the rules of `raythena.storage.task_lease` on a virtual clock; `LeaseOnDisk` is the real one, for sites
that keep their ledger in files. Both can be told that their holder died without a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raythena.domain.errors import LedgerBusy
from raythena.storage.task_lease import SILENCE_S, TaskLease


class Lease(Protocol):
    """At most one coordinator holds it."""

    def acquire(self, session: str, host: str) -> None:
        """A coordinator of `session` on `host` wants the task. Raises LedgerBusy."""

    def beat(self) -> None:
        """The holder is alive."""

    def die(self) -> None:
        """The holder is gone without a word."""

    def release(self) -> None:
        """The holder gives the task back."""


@dataclass
class _Holder:
    session: str
    host: str
    heard_at: float
    is_dead: bool = False


class LeaseInMemory:
    """A coordinator of the same session takes over at once; after a death that is seen, so does anyone on the same host; others
    wait until the holder has been silent for long."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._holder: _Holder | None = None

    def acquire(self, session: str, host: str) -> None:
        """See `Lease`."""
        found = self._holder
        if found is not None and found.session != session and not self._is_free(found, host):
            raise LedgerBusy(f"the task is held by {found.session} on {found.host}")
        self._holder = _Holder(session, host, self._clock())

    @property
    def record(self) -> tuple[str, float]:
        """What is to be read in it: session and last heartbeat; an empty session when nobody holds it."""
        return ("", 0.0) if self._holder is None else (self._holder.session, self._holder.heard_at)

    def _is_free(self, found: _Holder, host: str) -> bool:
        silent_s = self._clock() - found.heard_at
        return found.is_dead if found.host == host else silent_s >= SILENCE_S

    def beat(self) -> None:
        """See `Lease`."""
        if self._holder is not None:
            self._holder.heard_at = self._clock()

    def die(self) -> None:
        """See `Lease`."""
        if self._holder is not None:
            self._holder.is_dead = True

    def release(self) -> None:
        """See `Lease`."""
        self._holder = None


class LeaseOnDisk:
    """The lease file at `path`. Everybody is this very process, so a death is written into the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: TaskLease | None = None

    def acquire(self, session: str, host: str) -> None:
        """See `Lease`."""
        lease = TaskLease(self._path)
        lease.acquire(session)
        self._held = lease

    def beat(self) -> None:
        """See `Lease`."""
        if self._held is not None:
            self._held.heartbeat()

    def die(self) -> None:
        """See `Lease`. The process in the file becomes one that is not there any more."""
        if self._held is not None:
            record = json.loads(self._path.read_bytes())
            self.release()  # closes the file
            self._path.write_text(json.dumps({**record, "process_started": "never"}))

    def release(self) -> None:
        """See `Lease`."""
        if self._held is not None:
            self._held.release()
            self._held = None
