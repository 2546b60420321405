"""Scratch directories on a node's own disk, and what to do with those whose owner was killed.

The name says whose a directory is: of which task, session and node. An agent that begins removes what it can know to be dead:
that of earlier agents of its own node in this session, and that of other sessions of the same task, because the task has one
session at a time. A merge does the same with what earlier attempts at its output left. Directories of other tasks, and of other
logical nodes on the same machine, are left alone.

Rules: names stay short, because sockets lie below, and their paths may not be long.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from raythena.domain.errors import StorageError
from raythena.storage.atomic import refusal

logger = logging.getLogger(__name__)

_DIGITS = 6
_LOOK_S = 1.0
_RESERVE_BYTES = 1 << 20
_LATELY_S = 10.0
_FULL = tuple(os.strerror(number).lower() for number in (errno.ENOSPC, errno.EDQUOT))


def scratch_root(base: str) -> Path:
    """Where scratch directories are made; `base` empty: the system's directory for temporary files."""
    return Path(base or tempfile.gettempdir())


class ScratchWatch:
    """Whether the scratch disk takes what workers write. There must be room for one more output, as large as the largest yet.

    `refusal` says why it does not, "" while it does. Times are monotonic seconds.
    """

    def __init__(self, directory: Path, patience_s: float) -> None:
        self.directory = directory
        self.refusal = ""
        self._patience_s = patience_s
        self._largest_bytes = 0
        self._looked_at = self._since = self._until = float("-inf")

    def produced(self, size_bytes: int) -> None:
        """A worker has written an output."""
        self._largest_bytes = max(self._largest_bytes, size_bytes)

    def is_due(self, now: float) -> bool:
        """Whether it is time to look again."""
        return now - self._looked_at >= _LOOK_S

    def refused_for_s(self, now: float) -> float:
        """How long the disk has been refusing."""
        return now - self._since if self.refusal else 0.0

    def is_to_blame(self, message: str, now: float) -> bool:
        """Whether an attempt that failed with this message failed because of the disk, which may accept again by now."""
        return bool(self.refusal) or (now - self._until <= _LATELY_S and any(text in message.lower() for text in _FULL))

    async def look(self, now: float) -> None:
        """Try the disk. Raises StorageError when it has refused for too long, or will never do otherwise."""
        self._looked_at = now
        before = self.refusal
        self.refusal = await asyncio.to_thread(refusal, self.directory, _RESERVE_BYTES + self._largest_bytes)
        if self.refusal and not before:
            self._since = now
            logger.error("the scratch disk refuses, nothing new is begun: %s", self.refusal)
        elif before and not self.refusal:
            self._until = now
            logger.warning("the scratch disk accepts again after %.1f s", now - self._since)
        if self.refusal and now - self._since > self._patience_s:
            raise StorageError(f"the scratch disk has refused for {now - self._since:.0f} s: {self.refusal}")


@contextlib.contextmanager
def scratch_directory(base: str, task_directory: str, session: str, place: str) -> Iterator[Path]:
    """A new directory below `base` (empty: the system's temporary one), gone when the block ends. Raises OSError.

    `place` is the node without its incarnation, or the merge.
    """
    root = scratch_root(base)
    task = f"raythena-{_short(task_directory)}-"
    mine = f"{task}{_short(session)}-"
    here = f"{mine}{_short(place)}-"
    for path in root.glob(f"{task}*"):
        if path.name.startswith(here) or not path.name.startswith(mine):
            logger.info("removing %s: its owner is dead", path)
            shutil.rmtree(path, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=here, dir=root))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
