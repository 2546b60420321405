"""A task whose outputs are the inputs of a job: a chain of two, or of more, for it may have an upstream task itself.

The second job is planned from what the first one promised: its inputs are the other's outputs, in their order, each with as many
events as belong in it. So an event has the same range index in both tasks, whatever became of it. Which file an event is read
from, and where in it, is known once the file is made: a file lacks the events that the first task has given up.

Rules: a file that was taken on is known by its GUID and lies in a directory of that name, so that it stays what it was when the
first task replaces it; of several files of one output an event is read from the first that has it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Upstream:
    """The task that makes a job's inputs."""

    task: str
    """Its directory, absolute. It may move."""
    fingerprint: str
    """Of its job, see `Job.fingerprint`."""
    name: str

    @classmethod
    def from_dict(cls, document: dict[str, Any] | None) -> Upstream | None:
        """What `dataclasses.asdict` made of it, or of none."""
        return None if document is None else cls(**document)


@dataclass(frozen=True, slots=True)
class UpstreamTask:
    """What is known of such a task before anything of it is made: its outputs in order, (LFN, events)."""

    upstream: Upstream
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class InputTaken:
    """A file of the upstream task is an input now: of these measures, without the events of some ranges."""

    number: int
    """Index of the input, and of the output it is there."""
    lfn: str
    guid: str
    size_bytes: int
    adler32: int
    n_events: int
    missing: tuple[int, ...] = ()
    """Range indices, ascending, whose events it lacks."""


def taken_path(pfn: str, guid: str) -> str:
    """Where a file lies that was taken on. `pfn` is the path of the input it is a file of."""
    directory, _, lfn = pfn.rpartition("/")
    return f"{directory}/{guid}/{lfn}"


class TakenFiles:
    """Which file holds the event of a range, and where."""

    def __init__(self, files: Iterable[InputTaken] = ()) -> None:
        self._files: dict[int, list[InputTaken]] = {}
        for file in files:
            self.add(file)

    def add(self, file: InputTaken) -> None:
        """A file was taken on, after all others."""
        self._files.setdefault(file.number, []).append(file)

    def holding(self, number: int, index: int, start: int) -> tuple[InputTaken, int] | None:
        """(file, event in it, counted from 1) of a range of an input whose ranges begin at `start`; None: there is none yet."""
        for file in self._files.get(number, ()):
            before = bisect_left(file.missing, index)
            if before == len(file.missing) or file.missing[before] != index:
                return file, index - start - before + 1
        return None
