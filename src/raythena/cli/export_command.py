"""`raythena export`: the outputs of a finished task for who takes them on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from raythena.cli.options import TaskDirectoryArgument


def export_command(
    taskdir: TaskDirectoryArgument,
    scope: Annotated[str, typer.Option("--scope", metavar="SCOPE", help="Scope of the dataset and its files.")] = "",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the dataset. Default: the job's.", show_default=False)
    ] = "",
) -> None:
    """Describe the outputs of a finished task as a dataset, in JSON: LFN, GUID, size, Adler-32, events, and where each file is.

    Files are described as Rucio's clients take replicas; Snakemake reads the same document as a configuration. What is told is
    what the ledger knows; `raythena validate` proves it.

    \b
    Examples:
      raythena export simulation.raythena
      raythena export simulation.raythena --scope user.jdoe --name user.jdoe.simulation.v1
    """
    typer.echo(json.dumps(described(taskdir, scope, name), indent=2))


def described(taskdir: Path, scope: str, name: str) -> dict[str, object]:
    """The description of a task. Raises InvalidInput for one that is not finished, and LedgerError."""
    from raythena.domain.dataset import dataset_document, provenance
    from raythena.domain.errors import InvalidInput
    from raythena.domain.job import Job
    from raythena.monitor.snapshot import read_json
    from raythena.storage.ledger_view import LedgerView, inputs_taken
    from raythena.storage.taskdir import TaskDirectory

    task = TaskDirectory(taskdir.absolute())
    with LedgerView.read(task.ledger) as view:
        outputs, summary, taken = view.outputs(), view.summary(), inputs_taken(view)
    document = read_json(task.job)
    if not isinstance(document, dict):
        raise InvalidInput(str(task.job), "", "cannot be read", expected="the job as it was accepted")
    job = Job.from_dict(document)
    if job.ranges_given or job.merge.kind == "none":
        raise InvalidInput(str(taskdir), "", "has no merged outputs to describe", expected="a task that merges its outputs")
    merged = sum(output.n_events for output in outputs if output.stream == 0)
    if merged + summary.failed < summary.n_ranges:
        left = summary.n_ranges - merged - summary.failed
        hint = "Go on with it: raythena run JOB --resume"
        raise InvalidInput(
            str(taskdir), "", f"is not finished: {left:,} events are in no output", expected="a finished task", hint=hint
        )
    paths = [str(task.output(output)) for output in outputs]
    dataset = dataset_document(name or job.name, scope, outputs, paths, summary.failed)
    return dataset | provenance(job, outputs, taken)
