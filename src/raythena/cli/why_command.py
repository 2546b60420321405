"""`raythena why`: why a job is slow, and why it failed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from raythena.cli.options import JsonOption, TaskDirectoryArgument
from raythena.monitor.wording import percent, printable

if TYPE_CHECKING:
    from raythena.monitor.diagnosis import Cause


def why_command(taskdir: TaskDirectoryArgument, as_json: JsonOption = False) -> None:
    """Say why a job is slow, and why it failed: causes with figures, the weightiest first.

    Works while the job runs, from any machine that sees TASKDIR, and after it ended or died. What makes it slow weighs as much as
    the part of all cores it keeps from computing; what made it fail, as the part of all events it cost.

    \b
    Examples:
      raythena why simulation.raythena
      raythena why simulation.raythena --json
    """
    from raythena.monitor.diagnosis import diagnose
    from raythena.monitor.diagnosis_reading import read_evidence
    from raythena.monitor.snapshot import open_task

    found = diagnose(read_evidence(open_task(taskdir), time.time()))
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
        return
    _tell("why it is slow", found.slow, "no cause is known")
    _tell("why it failed", found.failed, "nothing has failed")


def _tell(question: str, causes: Sequence[Cause], otherwise: str) -> None:
    typer.echo(f"{question}:" if causes else f"{question}: {otherwise}")
    for number, cause in enumerate(causes, 1):
        typer.echo(f"{number:>3}. {percent(cause.weight):>7}  {printable(cause.text)}")
        if cause.advice:
            typer.echo(f"{'':14}{printable(cause.advice)}")
