"""What the events of a job have cost, as its ledger knows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.storage.ledger import Ledger


def cpu_seconds(ledger: Path) -> npt.NDArray[np.float64]:
    """CPU seconds of each committed event whose cost is known, in no order. Raises LedgerError, StorageError."""
    with Ledger.read(ledger) as view:
        costs = [chunk.events["cpu_s"] for chunk in view.iter_events()]
    known = np.concatenate([*costs, np.empty(0)]).astype(np.float64)
    return known[known > 0]


def in_words(cpu_s: npt.NDArray[np.float64]) -> str:
    """The mean cost of an event, and the cheapest and the dearest."""
    if not len(cpu_s):
        return "unknown"
    mean, least, most = (1000 * value for value in (cpu_s.mean(), cpu_s.min(), cpu_s.max()))
    return f"{mean:.0f} ms ({least:.0f} to {most:.0f})"
