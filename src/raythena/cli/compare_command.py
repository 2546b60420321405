"""`raythena compare`: tasks, or the allocations of one, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import JsonOption
from raythena.monitor.wording import printable

if TYPE_CHECKING:
    from raythena.monitor.comparison_tables import Comparison
    from raythena.monitor.report_tables import ReportTable


def compare_command(
    taskdirs: Annotated[list[Path], typer.Argument(metavar="TASKDIR...", help="Directories of tasks.", show_default=False)],
    allocations: Annotated[
        bool, typer.Option("--allocations", help="A column for each allocation of the tasks, and one for all as one.")
    ] = False,
    together: Annotated[bool, typer.Option("--together", help="A further column for all tasks as one.")] = False,
    as_json: JsonOption = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it to one HTML file.", show_default=False)
    ] = None,
) -> None:
    """Show tasks side by side: events, throughput, failures, where the core-seconds went.

    With --allocations, what each allocation of a task did, and the chain of them as one. Works while jobs run, and after them.

    \b
    Examples:
      raythena compare before.raythena after.raythena
      raythena compare simulation.raythena --allocations
      raythena compare part1.raythena part2.raythena --together --html parts.html
    """
    from raythena.monitor.comparison_tables import Comparison, comparison_drawing, comparison_table
    from raythena.monitor.report_file import ReportFile
    from raythena.monitor.snapshot import open_task
    from raythena.monitor.task_reading import read_reported
    from raythena.storage.atomic import write_atomically

    tasks = [read_reported(open_task(path.absolute())) for path in taskdirs]
    comparison = Comparison.of_allocations(tasks) if allocations else Comparison.of_tasks(tasks, together=together)
    table = comparison_table(comparison)
    if html is not None:
        title = " and ".join(dict.fromkeys(read.job.name for read in tasks))
        file = ReportFile(title, [table], _legend(comparison), {table.name: comparison_drawing(comparison)})
        write_atomically(html.absolute(), file.html())
        typer.echo(str(html))
    elif as_json:
        typer.echo(json.dumps(comparison.to_dict(), indent=2))
    else:
        _print(table)


def _legend(comparison: Comparison) -> list[str]:
    return ["The bars are shares of core time, in this order: " + ", ".join(comparison.names) + "."]


def _print(table: ReportTable) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, column in enumerate(table.columns):
        shown.add_column(Text(printable(column.title)), justify="right" if place else "left")
    for row in table.rows:
        shown.add_row(*(Text(printable(str(cell))) for cell in row))
    Console(soft_wrap=True).print(shown)
