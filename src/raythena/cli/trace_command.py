"""`raythena trace`: every event on every core, for a trace viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raythena.cli.options import TaskDirectoryArgument
from raythena.storage.atomic import disk_errors


def trace_command(
    taskdir: TaskDirectoryArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE.", show_default=False)],
    node: Annotated[str, typer.Option("--node", metavar="TEXT", help="Only nodes with TEXT in their name.")] = "",
) -> None:
    """Write a trace that Perfetto and Chrome open: a track for each core of each node, a slice for each event.

    \b
    Examples:
      raythena trace simulation.raythena -o trace.json
      raythena trace simulation.raythena -o trace.json --node nid0042
    """
    from raythena.monitor.chrome_trace import trace_lines
    from raythena.monitor.snapshot import open_task, read_job
    from raythena.storage.ledger_view import LedgerView
    from raythena.storage.range_records import RangeQuery, RangeRecords, RangeSearch

    task = open_task(taskdir)
    records = RangeRecords(read_job(task))
    with LedgerView.read(task.ledger) as view:
        records.update(view)
    indices = RangeSearch(records).all_of(RangeQuery(node=node))
    with disk_errors("write", output), output.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in trace_lines(records, indices))
