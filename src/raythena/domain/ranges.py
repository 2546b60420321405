"""Event ranges, and the table that holds the state of millions of them.

An `EventRange` is what a payload is told: which events of which file. The `RangeTable` is what the engine keeps: one row of
NumPy columns per range, 6 bytes each, never a Python object. Everything else about a range (its file, its event number, its
id) is derived from its index.

Rules: a range index is a row number, counted from 0; inputs are laid out one after the other in the order of the job; events
are counted from 1 within their file. Only `RangeTable.move` changes a state, along the arrows of `TRANSITIONS`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InternalError
from raythena.domain.job import InputFile

Indices = npt.NDArray[np.int64]
"""Range indices, one dimension."""

NO_NODE = -1


class RangeState(IntEnum):
    """Where a range stands. Only STORED, FAILED and MERGED survive a restart: those are in the ledger."""

    READY = 0
    """Nobody has it."""
    LEASED = 1
    """A node holds it: queued, computing, or finished and not yet reported."""
    ACCEPTED = 2
    """Its output is durable; the ledger has been told but has not committed yet."""
    STORED = 3
    """Committed: output on the shared file system, known to the ledger."""
    FAILING = 4
    """Given up; the ledger has been told but has not committed yet."""
    FAILED = 5
    """Committed as failed, with a reason."""
    MERGED = 6
    """Committed as part of a merged output."""


TRANSITIONS: dict[RangeState, frozenset[RangeState]] = {
    RangeState.READY: frozenset({RangeState.LEASED, RangeState.ACCEPTED, RangeState.FAILING}),
    RangeState.LEASED: frozenset({RangeState.READY, RangeState.ACCEPTED, RangeState.FAILING}),
    RangeState.ACCEPTED: frozenset({RangeState.STORED}),
    RangeState.STORED: frozenset({RangeState.MERGED, RangeState.READY, RangeState.FAILING}),
    RangeState.FAILING: frozenset({RangeState.FAILED}),
    RangeState.FAILED: frozenset(),
    RangeState.MERGED: frozenset(),
}
"""READY → ACCEPTED is a result of a node that had been given up; STORED → READY is a stored output that could not be
read back."""

_ALLOWED = np.zeros((len(RangeState), len(RangeState)), dtype=bool)
for _source, _targets in TRANSITIONS.items():
    for _target in _targets:
        _ALLOWED[_source, _target] = True


@dataclass(frozen=True, slots=True)
class EventRange:
    """Consecutive events of one input file: what a payload computes in one go."""

    range_id: str
    lfn: str
    pfn: str
    guid: str
    first_event: int
    last_event: int
    scope: str = ""

    def to_panda(self) -> dict[str, Any]:
        """PanDA's wire form (event service documentation: eventRangeID, startEvent, lastEvent, LFN, GUID, scope)."""
        return {
            "eventRangeID": self.range_id,
            "startEvent": self.first_event,
            "lastEvent": self.last_event,
            "LFN": self.lfn,
            "GUID": self.guid,
            "scope": self.scope,
        }


class RangeLayout:
    """What follows from the inputs alone: which event of which file a range index stands for. `offsets` is int64,
    length F + 1."""

    def __init__(self, inputs: Sequence[InputFile]) -> None:
        self.inputs = tuple(inputs)
        counts = np.fromiter((file.n_events for file in inputs), dtype=np.int64, count=len(inputs))
        self.offsets: Indices = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts)))
        self._offsets: list[int] = self.offsets.tolist()  # a binary search for one index is ten times faster in a list

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def file_of(self, index: int) -> int:
        """Index of the input file a range belongs to."""
        return bisect_right(self._offsets, index) - 1

    def event_of(self, index: int) -> tuple[int, int]:
        """(input file index, event number within the file counted from 1)."""
        file = self.file_of(index)
        return file, int(index) - self._offsets[file] + 1

    def range_id(self, index: int) -> str:
        """`<lfn>-<n>`, the id of a range that a site cuts itself."""
        file, event = self.event_of(index)
        return f"{self.inputs[file].lfn}-{event}"

    def event_range(self, index: int) -> EventRange:
        """The range as a payload needs it."""
        file_index, event = self.event_of(index)
        file = self.inputs[file_index]
        return EventRange(f"{file.lfn}-{event}", file.lfn, file.pfn, file.guid, event, event, file.scope)


class RangeTable(RangeLayout):
    """State, attempts and holder of every range of a job.

    Columns, one row per range: `state` uint8, `attempt` uint8 (attempts charged so far), `node` int32 (index of the
    holder, `NO_NODE` for nobody). `counts` is the number of ranges in each state, kept up to date by `move`.
    """

    def __init__(self, inputs: Sequence[InputFile]) -> None:
        super().__init__(inputs)
        size = len(self)
        self.state = np.zeros(size, dtype=np.uint8)
        self.attempt = np.zeros(size, dtype=np.uint8)
        self.node = np.full(size, NO_NODE, dtype=np.int32)
        self.counts = np.zeros(len(RangeState), dtype=np.int64)
        self.counts[RangeState.READY] = size

    def move(self, indices: Indices, target: RangeState, node: int = NO_NODE) -> None:
        """Move ranges to `target`, held by `node`. `indices` must not repeat.

        Raises InternalError with the story of the first offending range if any of the moves is not in `TRANSITIONS`.
        """
        states = self.state[indices]
        allowed = _ALLOWED[states, target]
        if not allowed.all():
            offender = int(indices[int(np.argmin(allowed))])
            raise InternalError(f"illegal move to {target.name}: {self.story(offender)}")
        self.counts -= np.bincount(states, minlength=len(RangeState))
        self.counts[target] += len(indices)
        self.state[indices] = target
        self.node[indices] = node

    def count(self, state: RangeState) -> int:
        """How many ranges are in `state`."""
        return int(self.counts[state])

    def story(self, index: int) -> str:
        """Everything known about one range, for error messages."""
        state = RangeState(int(self.state[index])).name
        return (
            f"range {index} ({self.range_id(index)}) is {state}, attempts {int(self.attempt[index])}, "
            f"node {int(self.node[index])}"
        )
