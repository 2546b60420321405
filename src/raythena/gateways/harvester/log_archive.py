"""The log archive: what a person needs who was not there, in one file of bounded size.

Harvester makes an archive of its own when a worker makes none, but not from the nodes' logs, and not from the batch job's output.
Ours has both, and is made whatever Harvester does. Of a file that is too long the beginning and the end are kept; when the
archive is full, what remains is listed in it by name.
"""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raythena.domain.errors import StorageError
from raythena.storage.atomic import adler32_of, replacing

logger = logging.getLogger(__name__)

_PATTERNS = ("*.log", "*.txt", "*.xml", "*.json", "*.out", "*.err", "stdout*", "stderr*", "slurm-*")
_TASK_FILES = ("job.json", "jobReport.json", "status.json")
LEVEL = 6
"""Of compression: logs shrink tenfold, and more costs a minute for a percent."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """In bytes, before compression."""

    file_bytes: int = 8 << 20
    total_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class LogArchive:
    """A finished archive."""

    path: Path
    size_bytes: int
    adler32: int


def make_log_archive(target: Path, access_point: Path, task: Path | None, limits: LogLimits | None = None) -> LogArchive:
    """Collect the logs of a worker in `target` (gzipped tar), replacing an older one. Raises StorageError.

    From the access point: what looks like a log, without directories. From the task directory: everything below `logs`, and how
    the job ended.
    """
    limits = limits or LogLimits()
    left_out: list[str] = []
    room = limits.total_bytes
    with replacing(target) as stream, tarfile.open(fileobj=stream, mode="w:gz", compresslevel=LEVEL) as archive:
        for name, path in _sources(target, access_point, task):
            try:
                data = _shortened(path, limits.file_bytes) if room > 0 else None
            except OSError as problem:
                left_out.append(f"{name}: {problem.strerror}")
                continue
            if data is None:
                left_out.append(f"{name}: the archive is full")
                continue
            room -= len(data)
            _add(archive, name, data, path)
        if left_out:
            _add(archive, "LEFT_OUT.txt", "\n".join(left_out).encode(), None)
    return LogArchive(target, _size(target), adler32_of(target))


def _sources(target: Path, access_point: Path, task: Path | None) -> Iterator[tuple[str, Path]]:
    """(name in the archive, path): how the job ended first, then the access point, then the nodes."""
    if task is not None:
        yield from ((f"task/{name}", task / name) for name in _TASK_FILES if (task / name).is_file())
    mine = {path for pattern in _PATTERNS for path in access_point.glob(pattern)} if access_point.is_dir() else set()
    for path in sorted(mine):
        if path.is_file() and not path.is_symlink() and path != target:
            yield path.name, path
    if task is not None and (task / "logs").is_dir():
        for path in sorted((task / "logs").rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield f"task/{path.relative_to(task)}", path


def _shortened(path: Path, limit: int) -> bytes:
    """The contents, or the first and the last part of them. Raises OSError."""
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        if size <= limit:
            return stream.read(limit)
        first = stream.read(limit // 4)
        stream.seek(size - limit // 2)
        note = f"\n... {size - len(first) - limit // 2} bytes left out ...\n".encode()
        return first + note + stream.read(limit // 2)


def _add(archive: tarfile.TarFile, name: str, data: bytes, path: Path | None) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    if path is not None:
        try:
            member.mtime = path.stat().st_mtime
        except OSError:
            member.mtime = 0
    archive.addfile(member, io.BytesIO(data))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as problem:
        raise StorageError(f"cannot look at {path}: {problem.strerror}") from problem
