"""`raythena events`: the event-range records of a task, as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from raythena.cli.options import TaskDirectoryArgument
from raythena.domain.errors import InvalidInput
from raythena.storage.atomic import disk_errors

if TYPE_CHECKING:
    from raythena.domain.ranges import Indices
    from raythena.storage.range_records import RangeRecords


class RecordFormat(StrEnum):
    """How records are written."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class StateName(StrEnum):
    """What became of a range."""

    OPEN = "open"
    STORED = "stored"
    MERGED = "merged"
    FAILED = "failed"


def events_command(
    taskdir: TaskDirectoryArgument,
    style: Annotated[RecordFormat, typer.Option("--format", help="json is one object per line.")] = RecordFormat.CSV,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to FILE; Parquet must have one.", show_default=False),
    ] = None,
    *,
    state: Annotated[
        list[StateName] | None, typer.Option("--state", help="Only these; may be repeated.", show_default=False)
    ] = None,
    node: Annotated[str, typer.Option("--node", metavar="TEXT", help="Only of nodes with TEXT in their name.")] = "",
    lfn: Annotated[str, typer.Option("--lfn", metavar="TEXT", help="Only of inputs with TEXT in their name.")] = "",
    retried: Annotated[bool, typer.Option("--retried", help="Only ranges of which an attempt failed.")] = False,
) -> None:
    """Export the record of every event range: where it was computed, what it cost, what became of it.

    In the order of events, nothing left out. Works while the job runs, and after it.

    \b
    Examples:
      raythena events simulation.raythena > events.csv
      raythena events simulation.raythena --state failed --format json
      raythena events simulation.raythena --format parquet -o events.parquet
    """
    from raythena.monitor.snapshot import open_task, read_job
    from raythena.storage.ledger_view import LedgerView
    from raythena.storage.range_records import RangeQuery, RangeRecords, RangeSearch

    task = open_task(taskdir)
    records = RangeRecords(read_job(task))
    with LedgerView.read(task.ledger) as view:
        records.update(view)
    query = RangeQuery(states=frozenset(map(str, state or ())), node=node, lfn=lfn, failed_before=retried)
    indices = RangeSearch(records).all_of(query)
    if style is RecordFormat.PARQUET:
        from raythena.monitor.range_table import write_parquet

        if output is None:
            raise InvalidInput("--output", "", "is missing", expected="a file to write to: Parquet cannot go to standard output")
        write_parquet(output, records, indices)
        return
    with ExitStack() as opened:
        if output is None:
            stream: TextIO = sys.stdout
        else:
            opened.enter_context(disk_errors("write", output))
            stream = opened.enter_context(output.open("w", encoding="utf-8", newline=""))
        (_write_csv if style is RecordFormat.CSV else _write_json)(stream, records, indices)


def _write_csv(stream: TextIO, records: RangeRecords, indices: Indices) -> None:
    from raythena.storage.range_records import COLUMNS

    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for block in records.blocks(indices):
        writer.writerows(zip(*(block[name] for name in COLUMNS), strict=True))


def _write_json(stream: TextIO, records: RangeRecords, indices: Indices) -> None:
    """Cells that do not apply are left out."""
    for block in records.blocks(indices):
        for row in zip(*block.values(), strict=True):
            document = {name: cell for name, cell in zip(block, row, strict=True) if cell not in (None, "")}
            stream.write(json.dumps(document, separators=(",", ":")) + "\n")
