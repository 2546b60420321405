"""Where the checkpoints of trials lie in a task directory, and until when: the result is recorded. That of the best stays."""

from __future__ import annotations

import contextlib
from pathlib import Path


def checkpoint_path(task_directory: Path, number: int) -> Path:
    """Where the checkpoint of a trial lies."""
    return task_directory / "trials" / f"{number:08d}.zip"


class KeptCheckpoints:
    """Which checkpoints of settled trials are kept: that of the best one so far. `task_directory` is that of the scan."""

    def __init__(self, task_directory: Path) -> None:
        self._task_directory = task_directory
        self._best: tuple[float, int] | None = None

    def settled(self, number: int, value: float | None) -> None:
        """A trial is recorded, with a value of which less is better, or None when it has none that counts."""
        best = self._best
        if best is not None and best[1] == number:
            return
        if value is not None and (best is None or (value, number) < best):
            self._best = (value, number)
            if best is not None:
                self._remove(best[1])
        else:
            self._remove(number)

    def _remove(self, number: int) -> None:
        with contextlib.suppress(OSError):  # a file that stays is no harm, and the next session tries again
            checkpoint_path(self._task_directory, number).unlink(missing_ok=True)
