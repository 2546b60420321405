"""What the engine wants done: the only way its decisions leave it.

Frozen values; those with more than one field are made by keyword.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from raythena.domain.ids import OutputNumber, RangeIndex
from raythena.domain.ranges import Indices
from raythena.domain.records import AttemptFailed, Record
from raythena.domain.results import GroupReport, MergedOutput
from raythena.domain.taxonomy import EndCause


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Give these ranges to a node."""

    node: str
    ranges: Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Ask a node to give back up to `count` ranges it has not begun."""

    node: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """Tell a node that these ranges are settled elsewhere: drop them unless they are finished."""

    node: str
    ranges: Indices


@dataclass(frozen=True, slots=True)
class Flush:
    """Ask a node to report everything it has finished without waiting for full groups, and what waits in its payload."""

    node: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell a node to begin nothing more and to give everything unbegun back."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Tell a node that it may forget this group: every range in it is committed or settled elsewhere."""

    node: str
    group: str


@dataclass(frozen=True, slots=True)
class DiscardGroups:
    """Remove the files of groups nobody needs any more: refused, or merged."""

    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Make this record durable, then answer with its ticket in `Committed`."""

    ticket: int
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMerge:
    """Merge one output from its groups; `expected` ranges must come out of it."""

    merge: int
    output: OutputNumber
    groups: tuple[str, ...]
    expected: int
    missing: tuple[RangeIndex, ...]
    """Ranges of the output recorded as failed."""
    delay_s: float = 0.0
    attempt: int = 1
    """How often it is tried with this one."""
    beside: bool = False
    """A file of this output is in place already, with fewer events: the new one stays beside it until it is to be placed."""


@dataclass(frozen=True, slots=True)
class PlaceOutput:
    """The ledger knows a new file of an output, which lies beside the one in place: put it there."""

    merged: MergedOutput


@dataclass(frozen=True, slots=True)
class RequestRanges:
    """Ask whoever hands ranges out for about `count` more. There is no other request before this one is answered."""

    count: int


@dataclass(frozen=True, slots=True)
class AcceptRanges:
    """Tell whoever handed ranges out how many of the last ones were new; the others are known already."""

    n_new: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """Tell whoever handed ranges out what became of these: those of a group, which are finished, or some that were given up."""

    number: int
    group: GroupReport | None
    failures: tuple[AttemptFailed, ...]


class Outcome(StrEnum):
    """How a job ends."""

    COMPLETE = "complete"
    """Every event is in an output."""
    INCOMPLETE = "incomplete"
    """Every event is in an output or recorded as failed."""
    UNMERGED = "unmerged"
    """At least one output could not be merged; its events are kept."""
    STOPPED = "stopped"
    """Stopped before the end; can be resumed."""
    ABORTED = "aborted"
    """Given up; can be resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainLoss:
    """Core time thrown away between an early stop and the end of the session."""

    drain_s: float = 0.0
    """Seconds from the stop to the end."""
    core_s: float = 0.0
    """Core-seconds idle in that time, or spent on events that did not finish, whenever those began."""
    events_cut_off: int = 0
    """Events that were running at the end."""
    left_s: float | None = None
    """Seconds from the end of the session to the end of the allocation; None when that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The job is over. Everything committed before this command stands."""

    outcome: Outcome
    reason: str
    loss: DrainLoss = DrainLoss()
    cause: EndCause = EndCause.NONE


Command = (
    Lease
    | Recall
    | Revoke
    | Flush
    | Drain
    | Acknowledge
    | DiscardGroups
    | Commit
    | StartMerge
    | PlaceOutput
    | RequestRanges
    | AcceptRanges
    | PublishReport
    | Finish
)
