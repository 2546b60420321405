"""Directories of ours on a node's own disk: private, with short paths, and gone when whoever made them is.

Two, because sockets need short paths and scratch files need room: one below `/tmp`, and one for `$TMPDIR` of everything that runs
there, on the disk that was asked for. The process guard removes both when its owner is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from raythena.runtime.process_guard import ProcessGuard
from raythena.storage.owned import owned_directory, short_directory

BASE = Path("/tmp")  # noqa: S108 (what is made there is private, and has a name that cannot be foreseen)
"""Not `$TMPDIR`: paths of sockets must be short."""
_PREFIX = "rt-"


@contextlib.contextmanager
def private_directory(process_guard: ProcessGuard, base: Path | None = None, *, short: str = "") -> Iterator[Path]:
    """A new private directory, gone afterwards, and when this process is killed: in `base`, or with a short path.

    `short` says where that is; empty: below `/tmp`, or where temporary files go. Raises OSError for `base`, else StorageError.
    """
    directory = owned_directory(base, _PREFIX) if base else short_directory(_PREFIX, short)
    process_guard.remove_at_end(directory)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def temporary_directory(process_guard: ProcessGuard, private: Path, scratch: str) -> Iterator[Path]:
    """A directory for `$TMPDIR`: below `scratch`, or the `$TMPDIR` of this process, or in `private`. Raises OSError."""
    places = [Path(place) for place in (scratch, os.environ.get("TMPDIR", "")) if place]
    base = next((place for place in places if place.is_dir()), BASE)
    if base != BASE:
        with private_directory(process_guard, base) as directory:
            yield directory
    else:
        directory = private / "t"
        directory.mkdir(mode=0o700)
        yield directory
