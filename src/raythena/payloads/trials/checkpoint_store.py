"""The checkpoint of one trial: one archive in the task directory, replaced as a whole, from which any node can go on.

Rules: a checkpoint is written beside the old one and renamed, so that there always is a whole one or none; it is never larger
than allowed; nothing in it leads out of the directory it is unpacked in. Only the latest is kept. Two nodes may run the same
trial for a moment, when one of them was presumed dead: the later checkpoint replaces the earlier, and both are good.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from raythena.domain.errors import ExitCode, RaythenaError
from raythena.storage.atomic import make_directory, replacing
from raythena.storage.checkpoint_files import checkpoint_path

_MB = 1e6


class CheckpointTooLarge(RaythenaError):
    """More than a trial may keep."""

    exit_code = ExitCode.PAYLOAD


class CheckpointStore:
    """Of trial `number`, below the directory of the task; without a task directory nothing is kept."""

    def __init__(self, task_directory: Path | None, number: int, max_mb: float) -> None:
        self._path = None if task_directory is None else checkpoint_path(task_directory, number)
        self._max_mb = max_mb

    def save(self, files: Iterable[Path]) -> None:
        """Keep these files and directories. Raises CheckpointTooLarge, StorageError, OSError."""
        if self._path is None:
            return
        found = list(files)
        size_mb = sum(_size_of(path) for path in found) / _MB
        if size_mb > self._max_mb:
            raise CheckpointTooLarge(f"a checkpoint of {size_mb:.1f} MB: a trial may keep {self._max_mb:g} MB")
        make_directory(self._path.parent)
        with replacing(self._path) as stream, zipfile.ZipFile(stream, "w", strict_timestamps=False) as archive:
            for top in found:
                for path in [top, *sorted(top.rglob("*"))] if top.is_dir() else [top]:
                    archive.write(path, path.relative_to(top.parent))

    def restore(self, directory: Path) -> bool:
        """Unpack the checkpoint; False when there is none. Raises OSError, zipfile.BadZipFile."""
        if self._path is None or not self._path.exists():
            return False
        directory.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self._path) as archive:
            for member in archive.infolist():
                archive.extract(member, directory)
        return True


def _size_of(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size
