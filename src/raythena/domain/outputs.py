"""Which event belongs in which output file.

The events of a job, in input order, are cut into consecutive stretches, one for each output file. Three shapes come out of one
rule (`events_per_output` against the size of the inputs):

    1→1   every input fills one output
    1→N   an input is split over several outputs; an output never spans two inputs; the last of an input may be smaller
    N→1   whole consecutive inputs are put together until the output is full; the last output may be smaller

So an output is always one interval [start, stop) of range indices, and the output of a range is a binary search: no object
per event, no dictionary.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from raythena.domain.ids import OutputNumber, RangeIndex


@dataclass(frozen=True)
class OutputMap:
    """The intervals of the outputs: output `k` holds ranges `bounds[k] .. bounds[k + 1] - 1`. `bounds` is int64, length K + 1."""

    bounds: npt.NDArray[np.int64]

    @classmethod
    def plan(cls, events_per_input: Sequence[int], events_per_output: int) -> OutputMap:
        """Cut the inputs into outputs.

        An input larger than `events_per_output` is split (1→N); smaller ones are put together, whole, as long as they fit
        (N→1). Raises ValueError for counts below 1.
        """
        if events_per_output < 1 or any(count < 1 for count in events_per_input):
            raise ValueError("event counts must be at least 1")
        bounds = [0]
        position = 0
        for count in events_per_input:
            if position > bounds[-1] and position - bounds[-1] + count > events_per_output:
                bounds.append(position)
            end = position + count
            if count > events_per_output:
                bounds.extend(range(position + events_per_output, end, events_per_output))
            position = end
            if count > events_per_output or position - bounds[-1] == events_per_output:
                bounds.append(position)
        if bounds[-1] != position:
            bounds.append(position)
        return cls(np.asarray(bounds, dtype=np.int64))

    @cached_property
    def _starts(self) -> list[int]:
        """The bounds again: a binary search for one range is ten times faster in a list."""
        starts: list[int] = self.bounds.tolist()
        return starts

    @property
    def n_outputs(self) -> int:
        """How many output files there are."""
        return len(self.bounds) - 1

    @property
    def n_ranges(self) -> int:
        """How many ranges there are."""
        return int(self.bounds[-1])

    def interval(self, output: int) -> tuple[int, int]:
        """Ranges [start, stop) of one output."""
        return int(self.bounds[output]), int(self.bounds[output + 1])

    def output_of(self, range_index: RangeIndex) -> OutputNumber:
        """The output a range belongs to."""
        return OutputNumber(bisect_right(self._starts, range_index) - 1)

    def outputs_of(self, range_indices: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """The outputs of many ranges at once."""
        return np.searchsorted(self.bounds, range_indices, side="right") - 1
