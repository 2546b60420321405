"""`raythena report --html` and `--parquet`: a report as one file, and its tables as files.

The proof of the outputs is made here, because only commands know both the proof and the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from raythena.domain.errors import InvalidInput

if TYPE_CHECKING:
    from raythena.monitor.report_tables import ReportTable
    from raythena.monitor.task_reading import ReportedTask
    from raythena.validation import Validation


def proven(read: ReportedTask) -> Validation:
    """The proof of the outputs as far as they must be there. Raises LedgerError, StorageError."""
    from raythena.validation import validate

    return validate(read.task.root, partial=not read.ended)


def tables_of(read: ReportedTask, proof: Validation | None) -> list[ReportTable]:
    """Every table of a task, with those of the proof where there is one."""
    from raythena.monitor.task_tables import task_tables

    summary, *others = task_tables(read)
    return [summary, *(_proof_tables(proof) if proof is not None else ()), *others]


def write_html(path: Path, read: ReportedTask, proof: Validation | None, most_ranges: int) -> None:
    """Write the report as one file. Raises InvalidInput without pyarrow where records are to be carried, StorageError."""
    from raythena.monitor.report_file import CarriedRanges, ReportFile
    from raythena.monitor.task_drawings import task_drawings
    from raythena.storage.atomic import write_atomically

    if most_ranges and find_spec("pyarrow") is None:
        hint = 'pip install "raythena[tables]"; with --ranges 0 the file carries no event ranges'
        raise InvalidInput("--html", "pyarrow", "is not installed", expected="pyarrow, to carry event ranges", hint=hint)
    ranges = CarriedRanges.of_task(read.records, most_ranges) if most_ranges and len(read.records) else None
    lines = [read.verdict, proof.summary() if proof is not None else "The outputs were not proved for this report."]
    lines.append(f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC of {read.task.root.name}.")
    report = ReportFile(read.job.name, tables_of(read, proof), lines, task_drawings(read), ranges)
    write_atomically(path.absolute(), report.html())


def write_parquet_files(directory: Path, read: ReportedTask, proof: Validation | None) -> list[Path]:
    """Write every table, and all records, as Parquet files. Raises InvalidInput without pyarrow, StorageError."""
    import numpy as np

    from raythena.monitor.report_tables import write_tables

    return write_tables(directory, tables_of(read, proof), read.records, np.arange(len(read.records), dtype=np.int64))


def _proof_tables(proof: Validation) -> Sequence[ReportTable]:
    from raythena.monitor.report_tables import Column, Kind, ReportTable

    count = Kind.COUNT
    files = ReportTable(
        "proof",
        "Proof of the outputs",
        (
            Column("lfn", "output"),
            Column("standing", "standing"),
            Column("expected", "events expected", count),
            Column("found", "found", count),
            Column("failed", "failed", count),
        ),
        tuple((file.lfn, str(file.standing), file.expected, file.found, file.failed) for file in proof.files),
        proof.summary(),
    )
    found = ReportTable(
        "findings",
        "What the proof found",
        (
            Column("severity", "severity"),
            Column("code", "code"),
            Column("file", "file"),
            Column("text", "text"),
            Column("events", "events", count),
        ),
        tuple((str(one.severity), one.code, one.file, one.text, one.events) for one in proof.findings),
    )
    return files, found
