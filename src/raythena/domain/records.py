"""What the ledger is asked to remember: one frozen record per fact.

The engine emits records, the ledger commits them, and only then does the engine act on them. Rule: a record describes something
that has already happened; committing it twice is an error of the engine, never silently accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from raythena.domain.given_ranges import GivenRanges
from raythena.domain.ids import RangeIndex
from raythena.domain.results import FailureKind, GroupReport, MergedOutput
from raythena.domain.upstream import InputTaken


@dataclass(frozen=True, slots=True)
class GroupStored:
    """A group is on the shared file system. `group.entries` holds only the ranges accepted from it, never empty."""

    group: GroupReport


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """One attempt at a range failed; `final` when the range is given up for good."""

    range_index: RangeIndex
    attempt: int
    node: str
    kind: FailureKind
    message: str
    final: bool
    at: float
    """Wall-clock seconds since the epoch."""
    fatal: bool = False
    """Final, and not to be tried by anybody else either."""


@dataclass(frozen=True, slots=True)
class OutputMerged:
    """An output is merged and in its final place. `groups` are the groups it was made from: no longer needed."""

    merged: MergedOutput
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RangesRetracted:
    """Stored outputs of these ranges of a group could not be read back: they do not count any more."""

    group: str
    ranges: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RangesReopened:
    """These ranges were given up, and get new attempts: their failures so far are history."""

    ranges: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RangesTaken:
    """Ranges handed out by somebody else are ours now. They are the task's next ones: indices are counted on."""

    chunk: GivenRanges


@dataclass(frozen=True, slots=True)
class ReportsTaken:
    """Whoever handed ranges out knows what became of these: ranges in groups, and ranges given up."""

    groups: tuple[str, ...]
    failed: tuple[int, ...]


Record = GroupStored | AttemptFailed | OutputMerged | RangesRetracted | RangesReopened | RangesTaken | ReportsTaken | InputTaken


@dataclass(frozen=True)
class Restored:
    """What a ledger remembers, in the form the engine starts from."""

    groups: tuple[GroupReport, ...] = ()
    """Groups of outputs not merged yet, or without some of their events; entries without the retracted ones, perhaps none."""
    merged: tuple[MergedOutput, ...] = ()
    """Of each output that was merged the latest file."""
    failed: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Range indices given up and not reopened since, sorted."""
    attempts: tuple[tuple[int, int], ...] = ()
    """(range index, attempts charged) of ranges that failed at least once and are not given up."""
    losses: tuple[tuple[int, int], ...] = ()
    """(range index, times it went down with its node, as far as recorded) of ranges that are not given up."""
    given: tuple[GivenRanges, ...] = ()
    """Chunks handed out by somebody else, in order; only in a job whose ranges are given, as are the next two."""
    reported: frozenset[str] = frozenset()
    """Names of groups whose report was taken."""
    unreported_failures: tuple[AttemptFailed, ...] = ()
    """Final failures whose report was not taken, in order."""
    inputs: tuple[InputTaken, ...] = ()
    """Files of the upstream task that were taken on, in order; only in a job that has one."""
