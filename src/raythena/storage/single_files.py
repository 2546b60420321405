"""Outputs of events left as files of their own, for whoever stages them out one by one.

The files of a group lie in a directory of their own, which is a group's file in all other respects: written whole and durable,
then reported, and removed as a whole when nobody needs it. Rule: one bad output costs itself, never its neighbours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable
from pathlib import Path

from raythena.storage.atomic import disk_errors, fsync_directory, make_directory
from raythena.storage.groups import Member, SourceError, Sources, WrittenGroup, columns_of, pieces


def write_files(directory: Path, members: Iterable[Member]) -> WrittenGroup:
    """Write each output to `directory` under its member's name, then make all of them durable together.

    Outputs that are missing, empty or too short are left out and named in `bad`; if none is left, there is no directory. Raises
    StorageError, after which nothing is left at `directory`.
    """
    make_directory(directory.parent)
    part = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.part")
    bad: dict[int, str] = {}
    written: list[tuple[int, int, int]] = []
    try:
        with disk_errors("write", directory), Sources() as sources:
            part.mkdir()
            for member in members:
                try:
                    written.append((member.index, *_copy(sources, member, part / member.name)))
                except SourceError as problem:
                    bad[member.index] = str(problem)
            if written:
                fsync_directory(part)
                part.rename(directory)
                fsync_directory(directory.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(part, ignore_errors=True)
    indices, sizes, adlers = ([row[column] for row in written] for column in range(3))
    return WrittenGroup(sum(sizes), 1, *columns_of(indices, sizes, adlers), bad)


def _copy(sources: Sources, member: Member, target: Path) -> tuple[int, int]:
    """(size in bytes, Adler-32) of the copy, which is durable. Raises SourceError, OSError."""
    descriptor, size_bytes = sources.locate(member)
    adler32 = 1
    try:
        with target.open("xb") as stream:
            for piece in pieces(descriptor, member.offset, size_bytes):
                adler32 = zlib.adler32(piece, adler32)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except SourceError:
        with contextlib.suppress(OSError):  # the rest of the group is more important
            target.unlink(missing_ok=True)
        raise
    return size_bytes, adler32
