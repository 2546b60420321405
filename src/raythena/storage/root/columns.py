"""Columns of ROOT trees on their way from one file to another: what the readers hand to the merger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Branch:
    """One column of a tree: `dtype` of a value, `counter` the branch that counts the rows of an event, empty for one value."""

    name: str
    dtype: np.dtype[Any]
    counter: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """The values of one column for some consecutive events; `counts` says how many each event has, None for one value each."""

    values: npt.NDArray[Any]
    counts: npt.NDArray[np.int64] | None

    @property
    def size_bytes(self) -> int:
        """Memory taken, Python's own share included: it is the larger one for single small events."""
        return self.values.nbytes + 256 + (0 if self.counts is None else self.counts.nbytes + 128)

    def is_same(self, other: Rows) -> bool:
        """Whether two columns hold the same values, bit by bit, and the same counts."""
        counts = self.counts is None if other.counts is None else np.array_equal(self.counts, other.counts)  # type: ignore[arg-type]
        mine, theirs = self.values, other.values
        return bool(counts and mine.dtype == theirs.dtype and mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes())


Chunk = tuple[Rows, ...]
"""Some consecutive events of a tree: one `Rows` for each branch."""
