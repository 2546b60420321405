"""The seed of each event of a job without input files.

A seed follows from the seed of the job and the number of the event, and from nothing else: not from the node, the attempt or the
order of events, so an event that is computed again, today or in another job over the same numbers, comes out as it did before.

For each seed of a job the mapping is a permutation of `SEEDS` values (a Feistel network, walked along until it is back in the
interval): no two events whose numbers are less than `SEEDS` apart share a seed. Random ones would: of 100,000 drawn from as many
values about five pairs are equal, and those events are the same event twice.
"""

from __future__ import annotations

from array import array
from functools import lru_cache

import numpy as np

SEEDS = 900_000_000
"""Seeds are 1 to this: what Pythia takes, and so every generator with 32 bits or more."""

_HALF_BITS = 15
_HALF = (1 << _HALF_BITS) - 1
_ROUNDS = 4
_ODD = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio: an odd number without pattern."""


def event_seed(job_seed: int, event: int) -> int:
    """The seed, 1 to `SEEDS`, of event number `event` of a job with the seed `job_seed` (0 to 2**53)."""
    rounds = _rounds(job_seed)
    place = event % SEEDS
    while True:
        left, right = place >> _HALF_BITS, place & _HALF
        for table in rounds:
            left, right = right, left ^ table[right]
        place = left << _HALF_BITS | right
        if place < SEEDS:
            return place + 1


@lru_cache(maxsize=4)
def _rounds(job_seed: int) -> tuple[array[int], ...]:
    """What each round adds to one half, by the other half."""
    inputs = np.arange(_ROUNDS * (_HALF + 1), dtype=np.uint64)
    mixed = _mixed(inputs + _mixed(np.asarray([job_seed], dtype=np.uint64))) & np.uint64(_HALF)
    return tuple(array("H", part.astype(np.uint16).tobytes()) for part in mixed.reshape(_ROUNDS, _HALF + 1))


def _mixed(values: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """SplitMix64's step and finalizer (Steele, Lea, Flood 2014): every bit of the input reaches every bit of the output."""
    mixed = values + np.uint64(_ODD)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
