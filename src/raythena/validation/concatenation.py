"""Outputs made by merger `concat`, proved without a reader: such a file is the outputs of its events, one behind the other.

The ledger keeps the size and the Adler-32 of every event's output. The Adler-32 of what they give behind one another follows from
them alone: of a text both halves of the sum are linear in what went before. A file of just this size and sum holds the events the
ledger says, in their order, whatever its format is.

Rules: nothing is read here but the ledger; all arithmetic is done on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raythena.storage.ledger_view import LedgerView

_BASE = 65521
"""The modulus of Adler-32 (RFC 1950)."""
_FIELDS = ["output", "range", "size", "adler32"]


@dataclass(frozen=True, slots=True)
class Concatenation:
    """The outputs of some events behind one another: indices of their ranges in order, total size, Adler-32 of the whole."""

    ranges: npt.NDArray[np.int64]
    size_bytes: int
    adler32: int


def concatenations(view: LedgerView) -> dict[int, Concatenation]:
    """For each output what its committed events give behind one another, in the order of their ranges. Raises LedgerError."""
    chunks = [chunk.events[_FIELDS] for chunk in view.iter_events()]
    if not chunks:
        return {}
    events = np.concatenate(chunks)
    events = events[np.lexsort((events["range"], events["output"]))]
    outputs, starts = np.unique(events["output"], return_index=True)
    parts = np.split(events, starts[1:])
    return {int(output): _concatenation(part) for output, part in zip(outputs, parts, strict=True)}


def _concatenation(events: npt.NDArray[np.void]) -> Concatenation:
    sizes = events["size"].astype(np.int64)
    return Concatenation(events["range"].astype(np.int64), int(sizes.sum()), combined_adler32(events["adler32"], sizes))


def combined_adler32(checksums: npt.NDArray[np.uint32], sizes_bytes: npt.NDArray[np.int64]) -> int:
    """The Adler-32 of pieces behind one another, from the checksum and the size of each.

    With (a, b) the low and high half: a - 1 is the sum of the bytes, and b the sum of a after each byte. What stands before a
    piece adds its own a - 1 to each of the piece's steps.
    """
    low = (checksums & 0xFFFF).astype(np.int64) - 1
    high = (checksums >> 16).astype(np.int64)
    before = np.concatenate(([0], np.cumsum(low)[:-1])) % _BASE
    total_low = (1 + int(low.sum())) % _BASE
    total_high = int(((high + (sizes_bytes % _BASE) * before) % _BASE).sum()) % _BASE
    return total_high << 16 | total_low
