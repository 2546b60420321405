"""Which outputs are complete, and what becomes of their merges.

An output is complete when each of its ranges is stored or given up; it is merged from the groups that hold its stored
ranges. A merge that fails is tried again after a pause; when stored outputs themselves are at fault, their ranges are
computed again and the output becomes incomplete until they are back. An output none of whose events succeeded is
`empty`: there is nothing to merge. In a job that merges nothing an output that is complete is final.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InternalError
from raythena.domain.ids import OutputNumber
from raythena.domain.outputs import OutputMap
from raythena.engine.engine_config import EngineConfig


class OutputState(StrEnum):
    """Where an output stands."""

    OPEN = "open"
    QUEUED = "queued"
    MERGING = "merging"
    COMMITTING = "committing"
    MERGED = "merged"
    EMPTY = "empty"
    KEPT = "kept"
    """Complete, in a job that merges nothing: its groups are what is left."""
    UNMERGEABLE = "unmergeable"


TRANSITIONS: dict[OutputState, frozenset[OutputState]] = {
    OutputState.OPEN: frozenset({OutputState.QUEUED, OutputState.EMPTY, OutputState.KEPT, OutputState.MERGED}),
    OutputState.QUEUED: frozenset({OutputState.MERGING}),
    OutputState.MERGING: frozenset(
        {OutputState.COMMITTING, OutputState.QUEUED, OutputState.UNMERGEABLE, OutputState.OPEN, OutputState.MERGED}
    ),
    OutputState.COMMITTING: frozenset({OutputState.MERGED}),
    OutputState.MERGED: frozenset(),
    OutputState.EMPTY: frozenset(),
    OutputState.KEPT: frozenset(),
    OutputState.UNMERGEABLE: frozenset(),
}
"""OPEN → MERGED is an output that an earlier session merged; MERGING → OPEN one whose stored ranges could not be read; MERGING →
QUEUED is another attempt, MERGING → MERGED one that nothing would come of: the file in place holds as much. A state from which
nothing leads is final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningMerge:
    """One merge under way: its number, what it merges, and how often that has been tried, this time included."""

    merge: int
    output: OutputNumber
    attempt: int


class MergePlanner:
    """Counts what each output still waits for; says what to merge next."""

    def __init__(self, outputs: OutputMap, config: EngineConfig, *, merges: bool = True) -> None:
        self._map = outputs
        self._merges = merges
        self._config = config
        self.open_ranges: npt.NDArray[np.int64] = np.diff(outputs.bounds)
        """Ranges of each output that are neither stored nor given up."""
        self.stored: npt.NDArray[np.int64] = np.zeros(outputs.n_outputs, dtype=np.int64)
        self._groups: dict[OutputNumber, list[str]] = {}
        self._not_open: dict[OutputNumber, OutputState] = {}
        self._queue: deque[OutputNumber] = deque()
        self._attempts: dict[OutputNumber, int] = {}
        self.running: dict[int, RunningMerge] = {}
        self._next_merge = 1
        self._committing = 0
        self.n_final = 0
        self.n_merged = 0
        self.in_place: dict[OutputNumber, frozenset[int]] = {}
        """Of outputs to be merged again the ranges that the file in place lacks."""
        self.unmergeable: dict[OutputNumber, str] = {}
        self.stalled: dict[int, str] = {}
        """Running merges that wait for a disk, and why."""

    def settle_empty(self) -> None:
        """After a restore: outputs without any open range and without a stored one have nothing to merge."""
        for output in map(OutputNumber, np.flatnonzero((self.open_ranges == 0) & (self.stored == 0)).tolist()):
            if self.state(output) is OutputState.OPEN:
                self._move(output, OutputState.EMPTY)

    def state(self, output: OutputNumber) -> OutputState:
        """Where an output stands."""
        return self._not_open.get(output, OutputState.OPEN)

    def restore_failed(self, output: OutputNumber, count: int) -> None:
        """Earlier sessions gave up ranges of this output; `settle_empty` looks at it afterwards."""
        self.open_ranges[output] -= count

    def restore_merged(self, output: OutputNumber) -> None:
        """An earlier session merged this output."""
        self.open_ranges[output] = 0
        self._move(output, OutputState.MERGED)

    def restore_in_place(self, output: OutputNumber, missing: frozenset[int]) -> None:
        """An earlier session merged this output without some of its events, and that is not the last word."""
        self.in_place[output] = missing

    def stored_in(self, output: OutputNumber, group: str, count: int) -> None:
        """`count` ranges of an output are stored in a group."""
        self._groups.setdefault(output, []).append(group)
        self.stored[output] += count
        self._close(output, count)

    def given_up(self, output: OutputNumber, count: int = 1) -> None:
        """Ranges of an output are recorded as failed."""
        self._close(output, count)

    def groups_of(self, output: OutputNumber) -> tuple[str, ...]:
        """The groups an output is made from."""
        return tuple(self._groups.get(output, ()))

    def next_merge(self) -> RunningMerge | None:
        """What to merge now, if anything."""
        if not self._queue or len(self.running) >= self._config.max_merges:
            return None
        output = self._queue.popleft()
        attempt = self._attempts.get(output, 0) + 1
        self._attempts[output] = attempt
        merge = self._next_merge
        self._next_merge += 1
        self.running[merge] = RunningMerge(merge=merge, output=output, attempt=attempt)
        self._move(output, OutputState.MERGING)
        return self.running[merge]

    def succeeded(self, merge: int) -> OutputNumber:
        """A merge is done; its output waits for the ledger. Returns the output."""
        output = self._ended(merge).output
        self._move(output, OutputState.COMMITTING)
        self._committing += 1
        return output

    def committed(self, output: OutputNumber) -> tuple[str, ...]:
        """A merged output is in the ledger. Returns the groups that are not needed any more."""
        self._committing -= 1
        groups = tuple(self._groups.pop(output, ()))
        self.in_place.pop(output, None)
        self._move(output, OutputState.MERGED)
        return groups

    def needless(self, merge: int) -> None:
        """The file in place holds all that this merge would put together."""
        output = self._ended(merge).output
        self._groups.pop(output, None)
        del self.in_place[output]
        self._move(output, OutputState.MERGED)

    def impossible(self, merge: int, message: str) -> None:
        """No attempt at this merge would do any good."""
        output = self._ended(merge).output
        self.unmergeable[output] = message
        self._move(output, OutputState.UNMERGEABLE)

    def waits(self, merge: int, reason: str) -> None:
        """A disk refuses a running merge."""
        self.stalled[merge] = reason

    def failed(self, merge: int, message: str) -> None:
        """A merge failed, its groups being sound: try again, or give the output up."""
        running = self._ended(merge)
        if running.attempt >= self._config.max_merge_attempts:
            self.unmergeable[running.output] = message
            self._move(running.output, OutputState.UNMERGEABLE)
        else:
            self._enqueue(running.output)

    def abandoned(self, merge: int, lost: int) -> None:
        """A merge failed because `lost` stored outputs are lost: its output is open again, and has all its chances."""
        output = self._ended(merge).output
        self._move(output, OutputState.OPEN)
        self._attempts.pop(output, None)
        self.open_ranges[output] += lost
        self.stored[output] -= lost

    def _ended(self, merge: int) -> RunningMerge:
        self.stalled.pop(merge, None)
        return self.running.pop(merge)

    @property
    def all_final(self) -> bool:
        """Nothing is left to merge or to wait for."""
        return self.n_final == self._map.n_outputs

    @property
    def pending(self) -> bool:
        """Merges are queued, running or being committed."""
        return bool(self._queue or self.running or self._committing)

    def _close(self, output: OutputNumber, count: int) -> None:
        left = int(self.open_ranges[output]) - count
        if left < 0:
            raise InternalError(f"output {output} has {-left} ranges too many")
        self.open_ranges[output] = left
        if left == 0:
            if not self._merges and self.stored[output]:
                self._move(output, OutputState.KEPT)
            elif self.stored[output] or output in self.in_place:
                self._enqueue(output)
            else:
                self._move(output, OutputState.EMPTY)

    def _enqueue(self, output: OutputNumber) -> None:
        self._move(output, OutputState.QUEUED)
        self._queue.append(output)

    def _move(self, output: OutputNumber, target: OutputState) -> None:
        """Raises InternalError when the move is not in `TRANSITIONS`."""
        state = self.state(output)
        if target not in TRANSITIONS[state]:
            raise InternalError(f"illegal move to {target.name}: output {output} is {state.name}")
        if target is OutputState.OPEN:
            del self._not_open[output]
        else:
            self._not_open[output] = target
        self.n_final += not TRANSITIONS[target]
        self.n_merged += target is OutputState.MERGED
