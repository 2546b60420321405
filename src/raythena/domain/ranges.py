"""The table that holds the state of millions of event ranges.

The `RangeTable` is what the engine keeps: one row of NumPy columns per range, 6 bytes each, never a Python object. Everything
else about a range (its file, its event numbers, its id) follows from its index: by arithmetic when ranges are cut from the
inputs, from the packed chunks when somebody else hands them out.

Rules: a range index is a row number, counted from 0, and stays the same for all the life of the task; events are counted within
their file, from 1; inputs are laid out one after the other in the order of the job, chunks in the order in which they came. Only
`RangeTable.move` changes a state, along the arrows of `TRANSITIONS`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InternalError
from raythena.domain.event_range import EventRange as EventRange  # noqa: PLC0414 (named here for all who deal with ranges)
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.ids import NodeNumber
from raythena.domain.job import InputFile, Job
from raythena.domain.seeds import event_seed
from raythena.domain.upstream import TakenFiles, taken_path

_T = TypeVar("_T", bound=np.generic)

Indices = npt.NDArray[np.int64]
"""Range indices, one dimension."""

NO_NODE = NodeNumber(-1)


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
    """Committed as part of a merged output; of a given range: reported, and the report was taken."""
    GIVEN = 7
    """Handed out by somebody else; the ledger has been told but has not committed yet."""
    AWAITED = 8
    """The upstream task has not made its input yet, or the ledger has not committed that it has."""


TRANSITIONS: dict[RangeState, frozenset[RangeState]] = {
    RangeState.READY: frozenset({RangeState.LEASED, RangeState.ACCEPTED, RangeState.FAILING}),
    RangeState.LEASED: frozenset({RangeState.READY, RangeState.ACCEPTED, RangeState.FAILING}),
    RangeState.ACCEPTED: frozenset({RangeState.STORED}),
    RangeState.STORED: frozenset({RangeState.MERGED, RangeState.READY, RangeState.FAILING}),
    RangeState.FAILING: frozenset({RangeState.FAILED}),
    RangeState.FAILED: frozenset(),
    RangeState.MERGED: frozenset(),
    RangeState.GIVEN: frozenset({RangeState.READY}),
    RangeState.AWAITED: frozenset({RangeState.READY, RangeState.FAILING}),
}
"""READY → ACCEPTED is a result of a node that had been given up; STORED → READY is a stored output that could not be
read back."""

_ALLOWED = np.zeros((len(RangeState), len(RangeState)), dtype=bool)
for _source, _targets in TRANSITIONS.items():
    for _target in _targets:
        _ALLOWED[_source, _target] = True


def extended(column: npt.NDArray[_T], size: int, fill: int) -> npt.NDArray[_T]:
    """The column with rows of `fill` added up to `size`: a view of a buffer that is twice as large whenever it must be a new one.

    The buffer is shared with `column`, which must not be extended a second time.
    """
    before = len(column)
    buffer = column.base if isinstance(column.base, np.ndarray) and len(column.base) >= size else None
    if buffer is None:
        buffer = np.empty(max(size, 2 * before), dtype=column.dtype)
        buffer[:before] = column
    buffer[before:size] = fill
    return buffer[:size]


class RangeLayout:
    """Which events of which file a range index stands for.

    Ranges lie in *segments*, each of consecutive indices and of one input file: `offsets` are their bounds (int64, one more than
    there are segments). When ranges are cut from the inputs, segments are the inputs and everything else is arithmetic. When they
    are given from outside there is nothing at first, and `append` adds a chunk's stretches as segments.
    """

    def __init__(self, inputs: Sequence[InputFile], *, given: bool = False, awaited: bool = False) -> None:
        self.inputs = tuple(inputs)
        self.given = given
        self.taken = TakenFiles() if awaited else None
        """Files made by an upstream task; None: there is no such task."""
        self._first_events = np.fromiter((file.first_event for file in inputs), dtype=np.int64, count=len(inputs))
        counts = np.fromiter((0 if given else file.n_events for file in inputs), dtype=np.int64, count=len(inputs))
        bounds: list[int] = [0] if given else np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts))).tolist()
        self._offsets = bounds  # a binary search for one index is ten times faster in a list
        self._files: list[int] = [] if given else list(range(len(inputs)))
        self._chunks: list[GivenRanges] = []
        self._chunk_starts: list[int] = []
        self._array: Indices | None = None

    @classmethod
    def of(cls, job: Job, chunks: Iterable[GivenRanges] = ()) -> RangeLayout:
        """The layout of a job as far as its ranges are known: `chunks` are those given so far."""
        layout = cls(job.inputs, given=job.ranges_given, awaited=job.upstream is not None)
        for chunk in chunks:
            layout.append(chunk)
        return layout

    def __len__(self) -> int:
        return self._offsets[-1]

    @property
    def is_told(self) -> bool:
        """Whether a node must be told what a range is: it cannot be known before the job runs."""
        return self.given or self.taken is not None

    @property
    def offsets(self) -> Indices:
        """Bounds of the segments."""
        if self._array is None or len(self._array) != len(self._offsets):
            self._array = np.asarray(self._offsets, dtype=np.int64)
        return self._array

    @property
    def n_segments(self) -> int:
        """How many segments there are."""
        return len(self._files)

    def segment(self, number: int) -> tuple[int, int]:
        """Ranges [start, stop) of one segment."""
        return self._offsets[number], self._offsets[number + 1]

    def append(self, chunk: GivenRanges) -> None:
        """Add ranges at the end."""
        self._chunks.append(chunk)
        self._chunk_starts.append(len(self))
        for file, count in chunk.stretches():
            self._files.append(file)
            self._offsets.append(self._offsets[-1] + count)

    def file_of(self, index: int) -> int:
        """Index of the input file a range belongs to."""
        return self._files[bisect_right(self._offsets, index) - 1]

    def files_of(self, indices: Indices) -> Indices:
        """`file_of` for many ranges at once."""
        segments = np.searchsorted(self.offsets, indices, side="right") - 1
        return np.asarray(self._files, dtype=np.int64)[segments]

    def event_of(self, index: int) -> tuple[int, int]:
        """(input file index, number of the first event of the range in it)."""
        segment = bisect_right(self._offsets, index) - 1
        if self.given:
            chunk, position = self._chunk_of(index)
            return self._files[segment], chunk.events(position)[0]
        return segment, int(index) - self._offsets[segment] + self.inputs[segment].first_event

    def places_of(self, indices: Indices) -> tuple[Indices, Indices]:
        """(input file index, first event in it) of many ranges at once."""
        if self.given:
            places = [self.event_of(index) for index in indices.tolist()]
            files, events = np.asarray(places, dtype=np.int64).reshape(len(places), 2).T
            return files, events
        files = np.searchsorted(self.offsets, indices, side="right") - 1
        return files, indices - self.offsets[files] + self._first_events[files]

    def range_id(self, index: int) -> str:
        """The id a range was given, or `<lfn>-<n>`, the id of a range that a site cuts itself."""
        if self.given:
            chunk, position = self._chunk_of(index)
            return chunk.range_id(position)
        file, event = self.event_of(index)
        return f"{self.inputs[file].lfn}-{event}"

    def event_range(self, index: int) -> EventRange:
        """The range as a payload needs it."""
        if self.given:
            return self.event_ranges(np.asarray([index], dtype=np.int64))[0]
        file_index, event = self.event_of(index)
        file = self.inputs[file_index]
        if self.taken is not None:
            return self._event_taken(index, file_index, self.taken)
        seeds = () if file.seed is None else (event_seed(file.seed, event),)
        return EventRange(f"{file.lfn}-{event}", file.lfn, file.pfn, file.guid, event, event, file.scope, seeds)

    def _event_taken(self, index: int, number: int, taken: TakenFiles) -> EventRange:
        """The range in the file that the upstream task made; without path and GUID as long as there is none."""
        range_id, file = self.range_id(index), self.inputs[number]
        found = taken.holding(number, int(index), self._offsets[number])
        if found is None:
            event = int(index) - self._offsets[number] + 1
            return EventRange(range_id, file.lfn, "", "", event, event)
        made, event = found
        return EventRange(range_id, file.lfn, taken_path(file.pfn, made.guid), made.guid, event, event)

    def event_ranges(self, indices: Indices) -> list[EventRange]:
        """`event_range` for many ranges, in the order of `indices`."""
        if not self.given:
            return [self.event_range(index) for index in indices.tolist()]
        ranges: dict[int, EventRange] = {}
        numbers = np.asarray([bisect_right(self._chunk_starts, index) - 1 for index in indices.tolist()], dtype=np.int64)
        for number in np.unique(numbers).tolist():
            mine = indices[numbers == number]
            found = self._chunks[number].event_ranges(mine - self._chunk_starts[number], self.inputs)
            ranges.update(zip(mine.tolist(), found, strict=True))
        return [ranges[index] for index in indices.tolist()]

    def _chunk_of(self, index: int) -> tuple[GivenRanges, int]:
        number = bisect_right(self._chunk_starts, index) - 1
        return self._chunks[number], index - self._chunk_starts[number]


class RangeTable(RangeLayout):
    """State, attempts and holder of every range of a job.

    Columns, one row per range: `state` uint8, `attempt` uint8 (attempts charged so far), `node` int32 (index of the
    holder, `NO_NODE` for nobody). `counts` is the number of ranges in each state, kept up to date by `move`.
    """

    def __init__(self, inputs: Sequence[InputFile], *, given: bool = False, awaited: bool = False) -> None:
        super().__init__(inputs, given=given, awaited=awaited)
        size = len(self)
        begins = RangeState.AWAITED if awaited else RangeState.READY
        self.state: npt.NDArray[np.uint8] = np.full(size, begins, dtype=np.uint8)
        self.attempt: npt.NDArray[np.uint8] = np.zeros(size, dtype=np.uint8)
        self.node: npt.NDArray[np.int32] = np.full(size, NO_NODE, dtype=np.int32)
        self.counts = np.zeros(len(RangeState), dtype=np.int64)
        self.counts[begins] = size

    def append(self, chunk: GivenRanges) -> None:
        """Add ranges at the end, in state GIVEN. Rows are added by doubling: a range costs the same however many there are."""
        super().append(chunk)
        self.state = extended(self.state, len(self), RangeState.GIVEN)
        self.attempt = extended(self.attempt, len(self), 0)
        self.node = extended(self.node, len(self), NO_NODE)
        self.counts[RangeState.GIVEN] += len(chunk)

    def move(self, indices: Indices, target: RangeState, node: int = NO_NODE) -> None:
        """Move ranges to `target`, held by `node`. `indices` must not repeat.

        Raises InternalError with the story of the first offending range if any of the moves is not in `TRANSITIONS`.
        """
        states = self.state[indices]
        allowed = _ALLOWED[states, target]
        if not allowed.all():
            offender = int(indices[int(np.argmin(allowed))])
            raise InternalError(f"illegal move to {target.name}: {self.story(offender)}", offender)
        self.counts -= np.bincount(states, minlength=len(RangeState))
        self.counts[target] += len(indices)
        self.state[indices] = target
        self.node[indices] = node

    def charge(self, index: int) -> int:
        """An attempt at a range is used up; how many are now."""
        return self.restore_attempts(index, int(self.attempt[index]) + 1)

    def restore_attempts(self, index: int, attempts: int) -> int:
        """So many attempts at a range are used up, or as many as can be counted."""
        counted = min(attempts, 255)
        self.attempt[index] = counted
        return counted

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
