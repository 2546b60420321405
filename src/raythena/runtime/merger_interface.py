"""The plug-in point for merging: what turns the outputs of many events into one file.

A merger is a callable. It is handed the outputs of single events as files, in the order the events have in the input, and
writes one file. It runs in a Ray task of its own and may take its time; it must not look at anything but its arguments. What it
learns of the merged file on the way (the GUID inside it, its number of events) it may return.

A merger with a method `check_options(options, source)` is asked before the job begins whether it can work with its options; it
raises InvalidInput if not. One with a method `check_sample(sample, context)` is handed the output of an event as soon as the
first is there, and raises MergeError if outputs like it cannot be merged: the job ends before more is computed in vain.

A merger with a method `merge_stored(outputs, output, context)` is handed the outputs where they are stored, as `StoredEvent`s,
unless one of them is too large to be held in memory: files of single small events are most of what a merge of them costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from raythena.domain.errors import InvalidInput, MergeError
from raythena.domain.job import MergeSpec

ENTRY_POINT_GROUP = "raythena.mergers"


@dataclass(frozen=True, slots=True)
class MergeContext:
    """What a merger is told besides its files."""

    lfn: str
    guid: str
    """GUID the merged file will be known by; a merger may record it inside."""
    options: dict[str, Any]
    expected: int | None = None
    """Events that must be in the merged file."""
    directory: Path | None = None
    """An empty directory of its own, on the disk where the inputs are; gone when the merge is over."""
    log: Path | None = None
    """Where to keep logs: names may be made from this one by adding to its end. The directory exists."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merger learned of the file it wrote; empty or None where it did not."""

    guid: str = ""
    """The GUID inside the file, which then counts instead of that of the context."""
    n_events: int | None = None
    is_countable: bool = True
    """False: no tree in it has one entry for each event, and nobody should count them."""


class BadInputs(MergeError):
    """Some of the files handed to a merger are at fault: their events are to be charged, not the merge.

    `faults`: position in `inputs` → what is wrong with the file, without its path.
    """

    def __init__(self, lfn: str, inputs: Sequence[Path | StoredEvent], faults: Mapping[int, str]) -> None:
        first = min(faults)
        super().__init__(
            f"{lfn}: {len(faults):,} of {len(inputs):,} files cannot be merged, the first is {inputs[first]}: {faults[first]}"
        )
        self.faults = dict(faults)


class StoredEvent(Protocol):
    """The output of one event where it is stored. Its text says which it is and where."""

    def read(self) -> bytes:
        """All of it. Its errors are to leave the merger as they are: the output is lost, its event is computed again."""


@runtime_checkable
class StoredMerger(Protocol):
    """A merger that needs no files for its inputs. Raises what a `Merger` raises."""

    def merge_stored(self, outputs: Sequence[StoredEvent], output: Path, context: MergeContext) -> Merged | None:
        """Merge `outputs` (at least one, in event order) into the new file `output`."""


class Merger(Protocol):
    """Merge `inputs` (at least one, in event order) into the new file `output`. Raises MergeError."""

    def __call__(self, inputs: Sequence[Path], output: Path, context: MergeContext) -> Merged | None:
        """Do it."""


def merger_named(kind: str) -> Merger:
    """The merger registered under `kind`. Raises InvalidInput naming those that exist."""
    known = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if kind not in known:
        raise InvalidInput("job", "merge.kind", f"no merger called {kind!r}", expected="one of " + ", ".join(sorted(known)))
    merger: Merger = known[kind].load()
    return merger


def check_merge(spec: MergeSpec, source: str = "job") -> None:
    """Have the merger look at its options before anything is started. Raises InvalidInput."""
    if spec.kind != "none":
        check = getattr(merger_named(spec.kind), "check_options", None)
        if check is not None:
            check(spec.options, source)
