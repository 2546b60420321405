"""Directories in places shared by many, which name their owner and so can be removed when it is dead.

A process killed by `kill -9` removes nothing: the files of a cluster, or the sockets of a payload, stay in `/tmp`. The next one
that makes a directory of the same kind there removes what dead ones have left. Rules: only directories of this user that name
their owner, and only when that process is provably gone; whatever cannot be read, or belongs to another machine or container
that shares the place, is left alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from raythena.storage.task_lease import Holder

_OWNER = "owner"


def owned_directory(base: Path, prefix: str) -> Path:
    """A new private directory `base/prefix…` that belongs to this process; those of dead owners are removed. Raises OSError."""
    for path in base.glob(f"{prefix}*"):
        if _is_leftover(path):
            shutil.rmtree(path, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    (directory / _OWNER).write_bytes(Holder.here("", "").packed())
    return directory


def _is_leftover(path: Path) -> bool:
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            owner = Holder.read(path / _OWNER)
            return owner is not None and owner.is_dead()
    return False
