"""Scratch directories on a node's own disk, and what to do with those whose owner was killed.

The name says whose a directory is: of which task, session and node. An agent that begins removes what it can know to be dead:
that of earlier agents of its own node in this session, and that of other sessions of the same task, because the task has one
session at a time. A merge does the same with what earlier attempts at its output left. Directories of other tasks, and of other
logical nodes on the same machine, are left alone.

Rules: names stay short, because sockets lie below, and their paths may not be long.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_DIGITS = 6


@contextlib.contextmanager
def scratch_directory(base: str, task_directory: str, session: str, place: str) -> Iterator[Path]:
    """A new directory below `base` (empty: the system's temporary one), gone when the block ends. Raises OSError.

    `place` is the node without its incarnation, or the merge.
    """
    root = Path(base or tempfile.gettempdir())
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
