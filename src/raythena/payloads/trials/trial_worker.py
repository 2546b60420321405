"""One trial after the other, in a worker process: the point comes with the event range, the result leaves as its output.

Every attempt has a directory of its own on the node's disk, which is the current directory while it runs and is removed after it.
Whatever makes a trial fail, or gives back something that is no finite number, is raised: the attempt has failed, with the reason.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raythena.domain.document import FieldPath, shown
from raythena.domain.errors import InvalidInput, PayloadError
from raythena.domain.event_range import EventRange
from raythena.domain.scan.search_space import Values
from raythena.domain.scan.stopping_rule import EarlyEnd
from raythena.domain.scan.trial import Point, TrialResult, checked_output
from raythena.payloads.trials.checkpoint_store import CheckpointStore
from raythena.payloads.trials.training_command import TrainingCommand
from raythena.payloads.trials.training_report import TrainingReport, TrialEnded
from raythena.payloads.trials.trial_payload import TrialOptions
from raythena.payloads.workers.python_worker import find_function

Train = Callable[[Values, TrainingReport], object]


class TrialContext(Protocol):
    """What is used of `WorkerContext`."""

    scratch: Path
    state: object


@dataclass(frozen=True, slots=True)
class Trainer:
    """What this worker evaluates points with."""

    options: TrialOptions
    train: Train | None
    """None: a command."""


def prepare(options: dict[str, object]) -> Trainer:
    """Load the function, once for all workers of a node. Raises whatever importing it raises."""
    given = dict(options)
    read = TrialOptions.of(given)
    return Trainer(read, find_function(read.python) if read.python else None)


def evaluate(event_range: EventRange, context: TrialContext) -> bytes:
    """One trial; its result as it is stored."""
    trainer = context.state
    if not isinstance(trainer, Trainer) or not event_range.point:
        raise PayloadError(f"the range {event_range.range_id} is no point of a hyper-parameter scan")
    point = Point.from_text(event_range.point)
    with _own_directory(context.scratch) as home:
        return _Trial(trainer, point, home).run().to_bytes()


@contextmanager
def _own_directory(scratch: Path) -> Iterator[Path]:
    before = Path.cwd()
    home = Path(tempfile.mkdtemp(prefix="trial-", dir=scratch))
    try:
        os.chdir(home)
        yield home
    finally:
        os.chdir(before)
        shutil.rmtree(home, ignore_errors=True)


class _Trial:
    """One attempt at one point."""

    def __init__(self, trainer: Trainer, point: Point, home: Path) -> None:
        options = trainer.options
        self._trainer = trainer
        self._point = point
        self._home = home
        self._began = time.monotonic()
        self._store = CheckpointStore(options.task_directory, point.number, options.checkpoint.max_mb)
        self._early_end = EarlyEnd(point.bounds, options.rule, options.objectives[0].sign)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def run(self) -> TrialResult:
        """Train. Raises whatever is wrong."""
        train, known = self._trainer.train, self._point.known
        if known is not None:
            return TrialResult(self._point.number, self._point.parameters, {self._trainer.options.objectives[0].name: known})
        return self._with_command() if train is None else self._with_function(train)

    def _with_function(self, train: Train) -> TrialResult:
        kept = self._home / "checkpoint"
        found = kept if self._restored(kept) else None
        report = TrainingReport(self._elapsed_s, self._early_end, self._store, found)
        try:
            given = train(copy.deepcopy(self._point.parameters), report)
        except TrialEnded:
            return self._ended_early(report)
        return self._result(self._values_of(given), report)

    def _restored(self, directory: Path) -> bool:
        """Unpack what this trial has kept of itself, or else what its parent left; False when it starts from nothing."""
        if self._store.restore(directory):
            return True
        parent, options = self._point.parent, self._trainer.options
        if parent is None:
            return False
        if not CheckpointStore(options.task_directory, parent, options.checkpoint.max_mb).restore(directory):
            raise PayloadError(f"point {parent}, which this one goes on from, has kept no checkpoint: the program is to keep one")
        return True

    def _values_of(self, given: object) -> tuple[dict[str, float], dict[str, object]]:
        names = [objective.name for objective in self._trainer.options.objectives]
        item = getattr(given, "item", None)
        plain = item() if callable(item) else given
        if isinstance(plain, int | float) and len(names) == 1:
            plain = {names[0]: plain}
        if not isinstance(plain, dict):
            raise InvalidInput("train", "", f"returned {shown(given)}", expected="a mapping with " + ", ".join(names))
        return checked_output(FieldPath("train", "", plain), names)

    def _with_command(self) -> TrialResult:
        report = TrainingReport(self._elapsed_s, self._early_end, self._store)
        command = TrainingCommand(self._trainer.options, self._home, self._store, report)
        self._restored(self._home)
        try:
            return self._result(command.run(self._point), report)
        except TrialEnded:
            return self._ended_early(report)

    def _ended_early(self, report: TrainingReport) -> TrialResult:
        name = self._trainer.options.objectives[0].name
        return self._result(({name: report.reports[-1].value}, {}), report, stopped_early=True)

    def _result(
        self, given: tuple[dict[str, float], dict[str, object]], report: TrainingReport, *, stopped_early: bool = False
    ) -> TrialResult:
        values, metrics = given
        point, reports = self._point, tuple(report.reports)
        return TrialResult(point.number, point.parameters, values, stopped_early, reports, self._elapsed_s(), metrics)
