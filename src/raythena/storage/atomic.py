"""Files that are either there, whole and durable, or not there at all.

A file is written under a temporary name in its own directory, synchronised, renamed, and the directory synchronised: after that
no crash and no power cut takes it away, and nobody ever sees half of it. Temporary names begin with a dot and end in `.part`.

Every refusal of the disk leaves here as StorageError with the path and the system's own words.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from raythena.domain.errors import StorageError

CHUNK_BYTES = 1 << 20
_PROBE_BYTES = 1 << 16
_MAY_PASS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ENOTCONN)
)
"""Errors of a disk, not of a path: the same may work later."""


@contextlib.contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn OSError into StorageError: "cannot <doing> <path>: <reason>"."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {doing} {path}: {error.strerror or error}") from error


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content` (text as UTF-8), durably. Raises StorageError; the old file is then still there, untouched."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as stream:
        stream.write(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes `path` when the block ends well; when it does not, nothing is left of it.

    Raises StorageError for the disk's refusals, inside the block as well.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with disk_errors("write", path):
            with part.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.rename(path)
            fsync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def durable_rename(source: Path, target: Path) -> None:
    """Make the content of `source` durable, then move it to `target` on the same file system. Raises StorageError."""
    sync_file(source)
    with disk_errors("move into place", target):
        source.rename(target)
        fsync_directory(target.parent)
        if source.parent != target.parent:
            fsync_directory(source.parent)


def sync_file(path: Path) -> None:
    """Make what a closed file holds durable; its name is the business of `fsync_directory`. Raises StorageError."""
    with disk_errors("synchronise", path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Create a directory with its parents, durably; it may exist. Raises StorageError."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    with disk_errors("create the directory", directory):
        directory.mkdir(parents=True, exist_ok=True)
        for place in missing:
            fsync_directory(place.parent)


def fsync_directory(directory: Path) -> None:
    """Make names created, renamed or removed in `directory` durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def adler32_of(path: Path) -> int:
    """Adler-32 of a whole file, 0 to 2**32 - 1. Raises StorageError."""
    checksum = 1
    with disk_errors("read", path), path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            checksum = zlib.adler32(chunk, checksum)
    return checksum


def overwrite_in_place(path: Path, content: bytes) -> None:
    """Replace a file's content within the blocks it has, padded with spaces to its old size: for news about a full disk.

    Neither durable nor whole for whoever reads at that moment. Raises StorageError, also when the content does not fit.
    """
    with disk_errors("write", path), path.open("r+b") as stream:
        facts = os.fstat(stream.fileno())
        if len(content) > max(facts.st_size, facts.st_blocks * 512):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.pwrite(stream.fileno(), content.ljust(facts.st_size), 0)


def free_bytes(directory: Path) -> int:
    """Bytes an ordinary user may still write on the file system of `directory`. Raises StorageError."""
    with disk_errors("examine", directory):
        status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def refusal(directory: Path, wanted_bytes: int = 0) -> str:
    """Why nothing can be written in `directory` now, though it may be later; "" if it can be, and `wanted_bytes` are free.

    Writes a small file to find out: quotas, and disks that are broken or read-only, show in nothing else. Raises StorageError for
    what no patience mends: no such directory, no permission.
    """
    probe = directory / f".probe.{uuid.uuid4().hex}.part"
    try:
        with probe.open("xb") as stream:
            stream.write(bytes(_PROBE_BYTES))
        free = free_bytes(directory)
    except OSError as problem:
        text = f"cannot write in {directory}: {problem.strerror or problem}"
        if problem.errno not in _MAY_PASS:
            raise StorageError(text) from problem
        return text
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    if free < wanted_bytes:
        return f"no space left in {directory}: {free / 1e6:.1f} MB are free, {wanted_bytes / 1e6:.1f} MB are needed"
    return ""


def is_disk_trouble(problem: BaseException) -> bool:
    """Whether an error, or what it came from, is a disk's refusal that may pass."""
    seen: BaseException | None = problem
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _MAY_PASS:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
