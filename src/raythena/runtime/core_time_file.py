"""Where the core-seconds of a session went, on disk: one file beside its logs, replaced now and then while it runs.

Every node tells its whole account with each message, so a file that is some seconds old lacks only those seconds, and a
coordinator that replaces another one needs nothing of it but the nodes that are gone. Rules: the ledger is never touched; a disk
that refuses costs the account and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from pathlib import Path

import msgspec

from raythena.domain.core_time import NodeTimes, SessionTimes
from raythena.domain.errors import StorageError
from raythena.runtime.clock import Clock
from raythena.storage.atomic import write_atomically
from raythena.storage.ledger import LedgerSummary
from raythena.storage.taskdir import CORE_TIMES, TaskDirectory

logger = logging.getLogger(__name__)

INTERVAL_S = 5.0
"""How often the file is replaced."""


class CoreTimeFile:
    """What the nodes of one session have told of their cores; `write` puts it on disk."""

    def __init__(self, task: TaskDirectory, session: str, began_at: float | None, clock: Clock) -> None:
        self._path = task.core_times(session)
        self._session = session
        self._clock = clock
        self._began_at = clock.wall_s() if began_at is None else began_at
        self._lives: dict[str, NodeTimes] = {}
        self._lost: set[str] = set()
        self._due_at = float("-inf")

    def restore(self) -> None:
        """Take over what an earlier coordinator of the session wrote."""
        earlier = read_session(self._path)
        if earlier is not None:
            self._began_at = min(self._began_at, earlier.began_at)
            self._lives = {life.node: life for life in earlier.lives}
            self._lost = set(earlier.lost)

    def note(self, times: NodeTimes | None) -> None:
        """A node tells of its cores."""
        if times is not None:
            self._lives[times.node] = times
            self._lost.discard(times.node)

    def lose(self, node: str) -> None:
        """A node is gone."""
        self._lost.add(node)

    def is_due(self) -> bool:
        """It is time to write again."""
        return self._clock.monotonic_s() >= self._due_at

    def write(self, *, ended: bool = False) -> None:
        """Put on disk what is known."""
        self._due_at = self._clock.monotonic_s() + INTERVAL_S
        now = self._clock.wall_s()
        content = SessionTimes(
            session=self._session,
            began_at=self._began_at,
            written_at=now,
            ended_at=now if ended else None,
            lives=tuple(self._lives.values()),
            lost=frozenset(self._lost),
        )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, msgspec.json.encode(content))
        except (StorageError, OSError) as problem:
            logger.error("cannot write where the core time went: %s", problem)


def extend_session(task: TaskDirectory, session: str, now: float) -> None:
    """The session's nodes were ours until now, although it ended before. A session that left no account has none to extend."""
    path = task.core_times(session)
    with contextlib.suppress(StorageError, OSError, ValueError):  # it ends a few seconds earlier on paper than in truth
        written = msgspec.json.decode(path.read_bytes(), type=SessionTimes)
        write_atomically(path, msgspec.json.encode(replace(written, ended_at=now)))


def read_session(path: Path) -> SessionTimes | None:
    """What `CoreTimeFile` wrote; None when it is not there or cannot be used, of which the log is told."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=SessionTimes)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:  # of the latter, what is no JSON and what is no account
        logger.warning("%s is left out of the account of core time: %s", path, problem)
        return None


def read_sessions(task: TaskDirectory) -> list[SessionTimes]:
    """Every session of a task that left an account, oldest first."""
    found = (read_session(path) for path in task.logs.glob(f"*/{CORE_TIMES}"))
    return sorted((session for session in found if session is not None), key=lambda session: session.began_at)


def kept_by_life(summary: LedgerSummary) -> dict[tuple[str, str], float]:
    """Core-seconds of the ledger's events by (session, life of a node)."""
    names = {session.number: session.name for session in summary.sessions}
    kept: dict[tuple[str, str], float] = {}
    for node in summary.nodes:
        key = names[node.session], node.node
        kept[key] = kept.get(key, 0.0) + node.wall_s
    return kept
