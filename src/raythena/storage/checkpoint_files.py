"""Where the checkpoints of trials lie in a task directory, and until when: the result is recorded. That of the best stays.

In a population, trials start from the checkpoints of settled ones: there a checkpoint stays until no trial can need it any more,
tried again included.
"""

from __future__ import annotations

import contextlib
from pathlib import Path


def checkpoint_path(task_directory: Path, number: int) -> Path:
    """Where the checkpoint of a trial lies."""
    return task_directory / "trials" / f"{number:08d}.zip"


class KeptCheckpoints:
    """Which checkpoints of settled trials are kept: that of the best one so far, and those that others start from.

    `task_directory` is that of the scan; `needed_for`: the checkpoint of trial `n` is needed until every trial before
    `n + needed_for` is settled.
    """

    def __init__(self, task_directory: Path, needed_for: int = 0) -> None:
        self._task_directory = task_directory
        self._needed_for = needed_for
        self._best: tuple[float, int] | None = None
        self._unsettled_from = 1
        self._settled: set[int] = set()
        """Settled trials behind the first one that is not."""

    def settled(self, number: int, value: float | None) -> None:
        """A trial is recorded, with a value of which less is better, or None when it has none that counts."""
        self._compare(number, value)
        if self._needed_for and number >= self._unsettled_from:
            self._note(number)

    def _compare(self, number: int, value: float | None) -> None:
        best = self._best
        if best is not None and best[1] == number:
            return
        if value is not None and (best is None or (value, number) < best):
            self._best = (value, number)
            if best is not None:
                self._remove(best[1])
        else:
            self._remove(number)

    def _note(self, number: int) -> None:
        """Count it, and remove what nobody needs now that it is settled."""
        self._settled.add(number)
        while self._unsettled_from in self._settled:
            self._settled.discard(self._unsettled_from)
            self._unsettled_from += 1
            outlived = self._unsettled_from - self._needed_for
            if outlived > 0 and (self._best is None or self._best[1] != outlived):
                self._remove(outlived)

    def _remove(self, number: int) -> None:
        if self._needed_for and number + self._needed_for > self._unsettled_from:
            return
        with contextlib.suppress(OSError):  # a file that stays is no harm, and the next session tries again
            checkpoint_path(self._task_directory, number).unlink(missing_ok=True)
