"""What a training function is given to talk to the scan: `report`.

def train(parameters, report):
    model = Model(**parameters)
    if report.checkpoint_directory:
        model.load(report.checkpoint_directory / "weights.npz")
    for epoch in range(report.next_step, 100):
        loss = model.fit_once()
        model.save("weights.npz")
        report.checkpoint("weights.npz")
        report(loss, step=epoch)
    return loss
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from raythena.domain.document import FieldPath
from raythena.domain.scan.stopping_rule import EarlyEnd
from raythena.domain.scan.trial import MAX_REPORTS, TrialReport, finite
from raythena.payloads.trials.checkpoint_store import CheckpointStore


class TrialEnded(BaseException):
    """The trial is not worth going on with. No `Exception`, so that no training loop mistakes it for a failure of its own."""


class TrainingReport:
    """See the module. `clock` gives seconds since the trial began."""

    def __init__(
        self, clock: Callable[[], float], early_end: EarlyEnd, store: CheckpointStore, checkpoint_directory: Path | None = None
    ) -> None:
        self._clock = clock
        self._early_end = early_end
        self._store = store
        self.checkpoint_directory = checkpoint_directory
        """The files of the last checkpoint, when the trial goes on; None when it begins."""
        self.reports: list[TrialReport] = []

    def __call__(self, value: float, step: float | None = None) -> None:
        """Report an intermediate value. Raises InvalidInput for what is no finite number, TrialEnded to end the trial."""
        number = finite(FieldPath("report", "value", _plain(value)))
        at = float(step) if step is not None else (self.reports[-1].step + 1.0 if self.reports else 1.0)
        if not math.isfinite(at) or (self.reports and at <= self.reports[-1].step):
            raise FieldPath("report", "step", step).refuse(f"is {step!r}", expected="a number that grows from report to report")
        if len(self.reports) < MAX_REPORTS:
            self.reports.append(TrialReport(at, number, self._clock()))
        if self._early_end.is_due(at, number):
            raise TrialEnded

    def checkpoint(self, *files: str | Path) -> None:
        """Keep these files or directories for another attempt. Raises CheckpointTooLarge, StorageError, OSError."""
        self._store.save(Path(file) for file in files)


def _plain(value: object) -> object:
    """A number of NumPy or a framework as Python's."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value
