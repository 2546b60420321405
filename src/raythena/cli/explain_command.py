"""`raythena explain-command`: what a node is given instead of PanDA's job, and why."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import JsonOption
from raythena.monitor.wording import printable

if TYPE_CHECKING:
    from rich.text import Text

    from raythena.domain.merge_command import MergeCommand
    from raythena.domain.node_job import Change, NodeJob
    from raythena.domain.panda import PandaJob

_COLOURS = {"untouched": "dim", "changed": "yellow", "added": "green", "removed": "red"}


def explain_command(  # noqa: PLR0917 (one parameter per option)
    job: Annotated[Path, typer.Argument(metavar="JOB", help="PanDA's HPCJobs.json.", show_default=False)],
    panda_id: Annotated[str, typer.Option("--panda-id", metavar="ID", help="Which job, if the file holds several.")] = "",
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="DIR", help="Where the input files are, if the job does not say. Default: beside JOB."),
    ] = None,
    session: Annotated[int, typer.Option("--session", metavar="N", help="Number of the session of the task, from 1.")] = 1,
    node: Annotated[int, typer.Option("--node", metavar="N", help="Number of the node's agent in that session, from 0.")] = 0,
    attempt: Annotated[int, typer.Option("--attempt", metavar="N", help="Starts of the transform by that agent before.")] = 0,
    cores: Annotated[
        int | None,
        typer.Option("--cores", metavar="N", help="Cores of the node. Default: what the job says.", show_default=False),
    ] = None,
    max_events: Annotated[
        int | None,
        typer.Option(
            "--max-events",
            metavar="N",
            help="Value for --maxEvents, -1 for all: the payload's option max_events.",
            show_default=False,
        ),
    ] = None,
    every_input: Annotated[bool, typer.Option("--every-input", help="Name every input, not only the first.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the command a node runs for a PanDA job: each argument untouched, changed, added or removed, and why.

    Nothing is started and no input file is looked at. The job parameters are read as Athena's transforms read them; what does not
    have to be changed is kept byte for byte.

    \b
    Examples:
      raythena explain-command HPCJobs.json
      raythena explain-command HPCJobs.json --node 3 --cores 64 --inputs /lustre/evnt
      raythena explain-command HPCJobs.json --session 2 --node 3 --attempt 1
      raythena explain-command HPCJobs.json --json
    """
    from raythena.domain.job_number import job_number
    from raythena.domain.node_job import NodeFacts, derive_node_job
    from raythena.gateways.panda_file import argument_files, input_paths, load_panda_job

    panda_job = load_panda_job(job, panda_id)
    facts = NodeFacts(job_number(session, node, attempt), cores or panda_job.core_count or 1, max_events, every_input)
    paths = input_paths(panda_job, str(job), inputs or job.parent)
    files = argument_files(panda_job.job_pars, job.parent, f"{job}: jobPars")
    derived = derive_node_job(panda_job, paths, facts, files=files, source=str(job))
    if as_json:
        typer.echo(json.dumps(explanation(panda_job, derived), indent=2))
    else:
        from rich.console import Console

        console = Console(soft_wrap=True, highlight=False)
        for line in explanation_lines(panda_job, derived):
            console.print(line)


def explanation(job: PandaJob, derived: NodeJob) -> dict[str, object]:
    """The explanation for machines."""
    merge = _merge(job)
    return {
        "panda_id": job.panda_id,
        "transformation": job.transformation,
        "before": job.job_pars,
        "after": derived.command.text,
        "argv": list(derived.argv),
        "changes": [
            {
                "name": change.name,
                "action": str(change.action),
                "before": change.before,
                "after": change.after,
                "reason": change.reason,
            }
            for change in derived.changes
        ],
        "pool_file_catalogue": derived.catalogue.to_xml(),
        "merge": None if merge is None else {"argv": list(merge.argv), "files": dict(merge.files)},
    }


def explanation_lines(job: PandaJob, derived: NodeJob) -> list[Text]:
    """The explanation for a person: the command before and after, then what became of each argument and field."""
    from rich.text import Text

    lines = [
        Text("before", style="bold"),
        Text(f"  {job.transformation} {printable(job.job_pars)}"),
        Text("after", style="bold"),
        Text(f"  {derived.transformation} {printable(derived.command.text)}"),
    ]
    for heading, prefix in (("arguments", True), ("fields of the job given to the pilot", False)):
        lines.append(Text(heading, style="bold"))
        lines += [line for change in derived.changes if change.name.startswith("--") is prefix for line in _change_lines(change)]
    if (merge := _merge(job)) is not None:
        lines += [Text("merge of the first output", style="bold"), Text(f"  {printable(shlex.join(merge.argv))}")]
        lines += [Text(f"    {name}: {printable(', '.join(content.splitlines()))}") for name, content in merge.files]
    return lines


def _merge(job: PandaJob) -> MergeCommand | None:
    """The command that merges the first output, for two events; None when the job names no transform for it."""
    from raythena.domain.merge_command import MergeTemplate

    step = job.esmerge_spec
    if step is None or not step.trans_path:
        return None
    lfn = job.output_files[0]
    return MergeTemplate(step.trans_path, step.job_parameters).command([f"000001.{lfn}", f"000002.{lfn}"], lfn)


def _change_lines(change: Change) -> list[Text]:
    from rich.text import Text

    style = _COLOURS[str(change.action)]
    lines = [Text.assemble("  ", (f"{change.action!s:10}", style), change.name)]
    if change.before and change.action != "untouched":
        lines.append(Text(f"    - {printable(change.before)}", style="dim"))
    if change.after and change.action != "untouched":
        lines.append(Text(f"    + {printable(change.after)}"))
    return [*lines, Text(f"      {change.reason}", style="italic")] if change.reason else lines
