"""What nodes tell about ranges: results in groups, failures one by one.

A *group* is one file in the task directory holding the outputs of several ranges, all of one node and all destined for one
output file. It is a plain ZIP archive without compression; the member for range index 17 is called `0000000017`. A group is
written once, made durable, then reported as a whole; each of its ranges is accepted or refused on its own.

`ENTRY_DTYPE` is the packed form of what is known of each range in a group: 33 bytes an event, on the wire, in memory and in
the ledger alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from raythena.domain.ids import OutputNumber, RangeIndex

ENTRY_DTYPE = np.dtype(
    [
        ("range", "<u4"),  # index into the job's range table
        ("size", "<u8"),  # bytes of the event's output
        ("adler32", "<u4"),  # of the event's output
        ("attempt", "u1"),  # 1 for the first attempt
        ("cpu_s", "<f4"),  # CPU seconds spent on the event, 0 when unknown
        ("wall_s", "<f4"),  # wall seconds the event kept its core
        ("start", "<f8"),  # wall-clock start, seconds since the epoch
    ]
)

Entries = npt.NDArray[np.void]
"""A structured array of `ENTRY_DTYPE`."""


class FailureKind(StrEnum):
    """Why one attempt at one range failed."""

    REPORTED = "reported"
    """The payload itself said the event failed."""
    CRASH = "crash"
    """The process computing the event died."""
    HANG = "hang"
    """The event exceeded its time limit and was killed."""
    OUT_OF_MEMORY = "out-of-memory"
    """The event took more memory than it may, or than the node had."""
    MEMORY_SHORT = "memory-short"
    """The node had too little memory for all its workers, and this event was one of them."""
    BAD_OUTPUT = "bad-output"
    """The output is missing, unreadable, truncated or outside the scratch directory."""
    PROTOCOL = "protocol"
    """The payload broke the protocol while working on the event."""
    SCRATCH_REFUSED = "scratch-refused"
    """The node's own disk took no more output, or not this one's: no space, or broken."""
    NODE_LOST = "node-lost"
    """The node vanished while the event was on a core."""
    STORED_OUTPUT_LOST = "stored-output-lost"
    """The output was committed, but could not be read back when it was merged."""
    UPSTREAM = "upstream"
    """The task that makes the inputs has given the event up."""


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One durable group file, as its node reports it."""

    name: str
    """Unique for all time: session, node incarnation and a counter."""
    node: str
    output: OutputNumber
    """Index of the output file all ranges of the group belong to."""
    path: str
    """Relative to the task directory."""
    size_bytes: int
    adler32: int
    entries: Entries


@dataclass(frozen=True, slots=True)
class RangeFailure:
    """One failed attempt at one range."""

    range_index: RangeIndex
    kind: FailureKind
    message: str
    node: str = ""
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MergedOutput:
    """One merged output file, in its final place."""

    output: OutputNumber
    lfn: str
    path: str
    """Relative to the task directory."""
    guid: str
    size_bytes: int
    adler32: int
    n_events: int
    missing: tuple[int, ...] = ()
    """Range indices that belong here but are recorded as failed."""
    wall_s: float = 0.0
    stream: int = 0
    """Of which stream of the job, counted from 0."""
    others: tuple[MergedOutput, ...] = ()
    """The files of the other streams, which the same merge made of the same events; what the ledger tells is file by file."""

    @property
    def files(self) -> tuple[MergedOutput, ...]:
        """The file of each stream."""
        return (replace(self, others=()), *self.others) if self.others else (self,)


def member_name(range_index: int) -> str:
    """Name of a range's member inside its group archive."""
    return f"{range_index:010d}"
