"""What came of a scan, read from its task directory: every point, every loss, the best of them, as tables for other programs.

The ledger says which points there were and what became of each; the archives in `staging` hold the results. Nothing else is
believed: a result the ledger does not know was never accepted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.ranges import RangeLayout
from raythena.domain.records import AttemptFailed
from raythena.domain.results import GroupReport
from raythena.domain.scan.scan_file import Objective, Scan, parse_scan
from raythena.domain.scan.trial import Point, TrialResult
from raythena.engine.scan_policy import pareto_front
from raythena.runtime.result_archive import results_in
from raythena.storage.atomic import make_directory, write_atomically
from raythena.storage.ledger_view import LedgerView
from raythena.storage.taskdir import TaskDirectory


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One point and what became of it."""

    point: Point
    state: str
    """`finished`, `stopped early`, `failed`, or `open`: it is computed when the scan goes on."""
    result: TrialResult | None = None
    reason: str = ""
    """Why it failed."""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class ScanResults:
    """A scan as it stands."""

    scan: Scan
    rows: tuple[TrialRow, ...]

    def count(self, state: str) -> int:
        """Points in a state."""
        return sum(row.state == state for row in self.rows)

    @property
    def finished(self) -> list[TrialResult]:
        """Results of the trials that went to their end."""
        return [row.result for row in self.rows if row.result is not None and row.state == "finished"]

    def best(self) -> list[TrialResult]:
        """The best point, or with several objectives those of the Pareto front; empty when nothing has finished."""
        objectives = self.scan.objectives
        values = {each.number: _signed(each, objectives) for each in self.finished}
        if len(objectives) == 1:
            numbers = sorted(values, key=lambda number: (values[number], number))[:1]
        else:
            numbers = pareto_front(values)
        by_number = {each.number: each for each in self.finished}
        return [by_number[number] for number in numbers]


def _signed(result: TrialResult, objectives: Sequence[Objective]) -> tuple[float, ...]:
    return tuple(objective.sign * result.values[objective.name] for objective in objectives)


def read_scan(task: TaskDirectory) -> ScanResults:
    """A scan from its task directory, while it runs or after. Raises InvalidInput, LedgerError, StorageError."""
    try:
        job = Job.from_dict(json.loads(task.job.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InvalidInput(str(task.root), "", f"holds no task: {problem}", expected="the task directory of a scan") from problem
    scan = parse_scan(job.source, str(task.job))
    with LedgerView.read(task.ledger) as view:
        layout = RangeLayout.of(job, view.chunks())
        groups = list(view.groups())
        failures = list(view.failures())
    points = (
        [Point.from_text(each.point) for each in layout.event_ranges(np.arange(len(layout), dtype=np.int64))]
        if len(layout)
        else []
    )
    results = {result.number: result for group in groups for result in _results_of(task, group, layout)}
    return ScanResults(scan, tuple(_rows(points, results, failures)))


def _results_of(task: TaskDirectory, group: GroupReport, layout: RangeLayout) -> Iterator[TrialResult]:
    indices = group.entries["range"].astype(np.int64)
    if len(indices):
        yield from results_in(task.root / group.path, [layout.range_id(index) for index in indices.tolist()])


def _rows(points: Sequence[Point], results: dict[int, TrialResult], failures: Sequence[AttemptFailed]) -> Iterator[TrialRow]:
    failed: dict[int, list[AttemptFailed]] = {}
    for failure in failures:
        failed.setdefault(failure.range_index, []).append(failure)
    for index, point in enumerate(points):
        result, before = results.get(point.number), failed.get(index, [])
        if result is not None:
            state = "stopped early" if result.stopped_early else "finished"
            yield TrialRow(point, state, result, attempts=len(before) + 1)
        elif before and before[-1].final:
            yield TrialRow(point, "failed", reason=before[-1].message, attempts=len(before))
        else:
            yield TrialRow(point, "open", reason=before[-1].message if before else "", attempts=len(before))


# ---- tables


def points_table(results: ScanResults) -> tuple[list[str], list[list[object]]]:
    """(column names, rows) of all points: number, state, objectives, parameters, cost, reason."""
    objectives = [objective.name for objective in results.scan.objectives]
    parameters = [parameter.name for parameter in results.scan.space.parameters]
    lineage = ["parent"] if any(row.point.parent is not None for row in results.rows) else []
    tried_columns = [f"parameter.{name}" for name in parameters]
    columns = ["point", "state", *objectives, *tried_columns, *lineage, "wall_s", "attempts", "reason"]
    rows: list[list[object]] = []
    for row in results.rows:
        values = row.result.values if row.result else {}
        tried = [_cell(row.point.parameters[name]) if name in row.point.parameters else None for name in parameters]
        wall_s = row.result.wall_s if row.result else None
        told = [*(values.get(name) for name in objectives), *tried, *(row.point.parent for _ in lineage)]
        rows.append([row.point.number, row.state, *told, wall_s, row.attempts, row.reason])
    return columns, rows


def losses_table(results: ScanResults) -> tuple[list[str], list[list[object]]]:
    """(column names, rows) of everything that trials reported on their way."""
    name = results.scan.objectives[0].name
    rows: list[list[object]] = [
        [row.point.number, report.step, report.value, report.wall_s]
        for row in results.rows
        if row.result
        for report in row.result.reports
    ]
    return ["point", "step", name, "wall_s"], rows


def _cell(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else json.dumps(value)


def write_tables(results: ScanResults, directory: Path) -> list[Path]:
    """Write `points` and `losses` as CSV, JSON and, where pyarrow is installed, Parquet; `best.json`. Raises StorageError."""
    make_directory(directory)
    written = []
    for name, (columns, rows) in (("points", points_table(results)), ("losses", losses_table(results))):
        content = io.StringIO(newline="")
        table = csv.writer(content, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
        written.append(_write(directory / f"{name}.csv", content.getvalue()))
        written.append(
            _write(directory / f"{name}.json", json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
        )
        written.extend(_write_parquet(directory / f"{name}.parquet", columns, rows))
    best = [{"point": each.number, "values": each.values, "parameters": each.parameters} for each in results.best()]
    written.append(_write(directory / "best.json", json.dumps(best, indent=1)))
    return written


def _write(path: Path, content: str) -> Path:
    write_atomically(path, content)
    return path


def _write_parquet(path: Path, columns: list[str], rows: list[list[object]]) -> list[Path]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return []
    table = {name: _column([row[index] for row in rows]) for index, name in enumerate(columns)}
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(table), sink)
    write_atomically(path, sink.getvalue().to_pybytes())
    return [path]


def _column(values: list[object]) -> list[object]:
    """Of one type: as they are when they are numbers, as text when some are not."""
    plain = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in plain):
        return [float(value) if isinstance(value, int | float) else None for value in values]
    return [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
