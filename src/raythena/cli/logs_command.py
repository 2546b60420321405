"""`raythena logs`: everything about one event range, over all nodes and sessions, in order of time."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from raythena.cli.options import JsonOption, TaskDirectoryArgument
from raythena.monitor.wording import printable


def logs_command(
    taskdir: TaskDirectoryArgument,
    range_id: Annotated[str, typer.Option("--range", metavar="ID", help="As `raythena events` calls it.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Tell all that is known about one event range: attempts, results, and the log lines that mention it.

    \b
    Examples:
      raythena logs simulation.raythena --range EVNT.1.root-17
      raythena logs simulation.raythena --range EVNT.1.root-17 --json
    """
    from raythena.task import Task

    for line in Task(taskdir).story(range_id):
        if as_json:
            typer.echo(json.dumps(asdict(line)))
        else:
            at = "" if line.at is None else f"{datetime.fromtimestamp(line.at):%Y-%m-%d %H:%M:%S}"
            typer.echo(f"{at:19}  {printable(line.source)}: {printable(line.text)}")
