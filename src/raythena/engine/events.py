"""What can happen to a job: the stimuli of the engine.

Frozen values, nothing else; those with more than one field are made by keyword. Node names are the names of node incarnations:
a node that is given up and comes back has a new one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from raythena.domain.given_ranges import GivenRanges
from raythena.domain.ids import RangeIndex
from raythena.domain.ranges import Indices
from raythena.domain.results import GroupReport, MergedOutput, RangeFailure
from raythena.domain.taxonomy import EndCause
from raythena.domain.upstream import InputTaken
from raythena.engine.node_messages import RunningRange


def _nothing() -> Indices:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeJoined:
    """A node asks for work, for the first time or after the coordinator or the link was gone.

    `held` are the ranges it has: queued, computing, or finished and not acknowledged.
    """

    node: str
    cores: int
    held: Indices = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost:
    """A node is given up: dead, silent for too long, or leaving."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """How a node stands. `running` are the ranges on its cores; `waiting` are ranges handed to the payload and not begun (told at
    the end of a job only)."""

    node: str
    queued: int
    """Ranges the node holds and has not begun."""
    running: Collection[RunningRange]
    waiting: tuple[RangeIndex, ...] = ()
    unreported: int = 0
    """Ranges finished on the node whose group is not written yet."""
    computed: int = 0
    """Events finished since the last report."""
    computed_s: float = 0.0
    """Core-seconds those events took together."""
    next_report_s: float = 0.0
    """When it will report again, at the latest."""
    trouble: str = ""
    """Why the node can take no work now."""
    remarks: tuple[str, ...] = ()
    """What its payload wants people to know."""


@dataclass(frozen=True, slots=True)
class GroupReported:
    """A node has made a group of results durable."""

    group: GroupReport


@dataclass(frozen=True, slots=True)
class AttemptReported:
    """An attempt at a range failed on a node."""

    failure: RangeFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class RangesReturned:
    """A node gives back ranges it has not begun."""

    node: str
    ranges: Indices


@dataclass(frozen=True, slots=True)
class Committed:
    """The ledger has made these records durable."""

    tickets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StorageStalled:
    """The ledger could not commit; it will be tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class StorageRecovered:
    """The ledger commits again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSucceeded:
    """A merge has written its output and moved it into place."""

    merge: int
    merged: MergedOutput


class BadMembers(NamedTuple):
    """Stored outputs that a merge could not use: these ranges of a group."""

    group: str
    ranges: tuple[RangeIndex, ...]


class BadOutput(NamedTuple):
    """What is wrong with the output of a range, where the payload is to blame, not a disk."""

    range_index: RangeIndex
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeFailed:
    """A merge failed; `bad` are stored outputs at fault, for some of which there are `reasons`."""

    merge: int
    message: str
    bad: tuple[BadMembers, ...] = ()
    reasons: tuple[BadOutput, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeStalled:
    """The disk refuses a merge; it will be tried again, and no chance of it is lost."""

    merge: int
    reason: str


@dataclass(frozen=True, slots=True)
class RangesGiven:
    """Somebody handed ranges out, asked or not. Those known already do not count."""

    chunk: GivenRanges


@dataclass(frozen=True, slots=True)
class RangesEnded:
    """There are no more ranges to be had."""


@dataclass(frozen=True, slots=True)
class InputMade:
    """The upstream task has made a file, and it lies where inputs are kept. Safe to repeat."""

    file: InputTaken


@dataclass(frozen=True, slots=True)
class InputWithheld:
    """The upstream task has given up every event of an output, and makes no file of it. Safe to repeat."""

    number: int


@dataclass(frozen=True, slots=True)
class UpstreamSeen:
    """How the upstream task was found: at work, or, for `reason`, not. Safe to repeat."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReportsAcknowledged:
    """Reports of these numbers were taken by whoever they are for."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """The job is to end now and may be resumed later: a person, a signal or the batch system wants it, or it cannot go on."""

    reason: str
    abort: bool = False
    """It cannot go on: something is wrong that a resumption alone will not mend."""
    within_s: float | None = None
    """Everything must be over by then, the report included. None: running events get the engine's `drain_limit_s`."""
    cause: EndCause = EndCause.ASKED


@dataclass(frozen=True, slots=True)
class DeadlineSet:
    """The allocation ends at `at` (the engine's monotonic seconds); None: nobody knows when."""

    at: float | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    NodeJoined
    | NodeLost
    | NodeReport
    | GroupReported
    | AttemptReported
    | RangesReturned
    | Committed
    | StorageStalled
    | StorageRecovered
    | MergeSucceeded
    | MergeFailed
    | MergeStalled
    | RangesGiven
    | RangesEnded
    | ReportsAcknowledged
    | InputMade
    | InputWithheld
    | UpstreamSeen
    | StopRequested
    | DeadlineSet
    | Tick
)
