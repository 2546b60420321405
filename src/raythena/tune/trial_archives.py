"""Between points and event ranges, and between what is reported of ranges and what a searcher is told."""

from __future__ import annotations

from pathlib import Path

from raythena.domain.range_report import RangeReport, RangeStatus
from raythena.domain.scan.scan_file import Objective
from raythena.domain.scan.trial import TrialResult
from raythena.engine.scan_policy import TrialOutcome
from raythena.runtime.result_archive import results_in

_ID = "point-"


def range_id_of(number: int) -> str:
    """The id of the event range that carries a point."""
    return f"{_ID}{number}"


def number_of(range_id: str) -> int:
    """The other way round."""
    return int(range_id.removeprefix(_ID))


def outcomes_of(report: RangeReport, objectives: tuple[Objective, ...]) -> list[TrialOutcome]:
    """What a report says, in a searcher's words. Raises StorageError."""
    finished = [each.range_id for each in report.ranges if each.status is RangeStatus.FINISHED]
    failed = [TrialOutcome(number_of(each.range_id), None) for each in report.ranges if each.status is not RangeStatus.FINISHED]
    if report.archive is None:
        return failed
    return failed + [outcome_of(result, objectives) for result in results_in(Path(report.archive.path), finished)]


def outcome_of(result: TrialResult, objectives: tuple[Objective, ...]) -> TrialOutcome:
    """A result in a searcher's words."""
    values = tuple(result.values[objective.name] for objective in objectives)
    return TrialOutcome(result.number, values, result.stopped_early, result.reports, result.wall_s)
