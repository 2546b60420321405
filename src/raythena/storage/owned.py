"""Directories in places shared by many, which name their owner and so can be removed when it is dead.

A process killed by `kill -9` removes nothing: the files of a cluster, or the sockets of a payload, stay in `/tmp`. The next one
that makes a directory of the same kind there removes what dead ones have left. Rules: only directories of this user that name
their owner, and only when that process is provably gone, if need be with its machine: on a disk of this machine's own, what
dates from before it was started last has no owner any more. Whatever cannot be read, or belongs to another machine or container
that shares the place, is left alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from raythena.domain.errors import StorageError
from raythena.storage.mounts import LOCAL, mounted_at
from raythena.storage.task_lease import Holder

_OWNER = "owner"
_PROBE_BYTES = 1 << 20
LONGEST_BASE = 40
"""Of the 107 characters that a socket's path may have, the others are for Ray's own names."""


def owned_directory(base: Path, prefix: str) -> Path:
    """A new private directory `base/prefix…` that belongs to this process; those of dead owners are removed. Raises OSError."""
    for path in base.glob(f"{prefix}*"):
        if _is_leftover(path):
            shutil.rmtree(path, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        (directory / _OWNER).write_bytes(Holder.here("", "").packed())
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _is_leftover(path: Path) -> bool:
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            owner = Holder.read(path / _OWNER)
            return owner is not None and (owner.is_dead() or (owner.is_from_earlier_boot() and _is_local(path)))
    return False


def _is_local(path: Path) -> bool:
    """Whether no other machine sees it. Raises OSError."""
    return mounted_at(str(path))[0] in LOCAL


def short_directory(prefix: str, chosen: str = "") -> Path:
    """A new private directory whose path is short enough for sockets below it: in `chosen`, or where temporary files go.

    Without a choice `/tmp`, `$TMPDIR` and `/dev/shm` are tried in this order. Raises StorageError telling what each refused.
    """
    places = [chosen] if chosen else list(dict.fromkeys(("/tmp", os.environ.get("TMPDIR", ""), "/dev/shm")))  # noqa: S108
    refusals = []
    for place in filter(None, places):
        if len(os.fsencode(place)) > LONGEST_BASE:
            refusals.append(f"{place}: longer than {LONGEST_BASE} characters, and paths of sockets must be short")
            continue
        try:
            return _tried(owned_directory(Path(place), prefix))
        except OSError as problem:
            refusals.append(f"{place}: {problem.strerror or problem}")
    raise StorageError(f"no directory for Ray and its sockets: {'; '.join(refusals)}. Name one with the setting runtime.ray_dir")


def _tried(directory: Path) -> Path:
    """The directory, if it takes a little. Raises OSError; then nothing is left of it."""
    probe = directory / "probe"
    try:
        with probe.open("wb", buffering=0) as stream:
            stream.write(bytes(_PROBE_BYTES))
        probe.unlink()
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory
