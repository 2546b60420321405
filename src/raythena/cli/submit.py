"""`raythena submit`: a job, or a chain of them, for the batch system.

A job is checked as `run` would check it, its task directory is made, and the batch script is written there before it is
submitted. The list of submitted tasks in the user's state directory is a convenience; the truth is in the task directories.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import ConfigOption, SetOption, settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raythena.cli.settings import Settings
    from raythena.domain.allocation_chain import ChainPlan
    from raythena.storage.taskdir import TaskDirectory

_LIST = "submitted"


def submit_command(  # noqa: PLR0917 (one parameter per option)
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file (YAML), or PanDA's HPCJobs.json.", show_default=False)],
    nodes: Annotated[int, typer.Option("--nodes", "-N", metavar="N", min=1, help="Nodes of each allocation.")] = 1,
    walltime: Annotated[
        str, typer.Option("--time", "-t", metavar="TIME", help="Of each allocation: 30m, 1h30m or 1:30:00.")
    ] = "1h",
    until_done: Annotated[bool, typer.Option("--until-done", help="Queue one allocation after the other until it is.")] = False,
    max_allocations: Annotated[
        int | None, typer.Option("--max-allocations", metavar="K", min=1, help="At most so many.", show_default=False)
    ] = None,
    payload: Annotated[
        Path | None,
        typer.Option("--payload", metavar="FILE", help="What computes and merges the events, as for `run`.", show_default=False),
    ] = None,
    taskdir: Annotated[
        Path | None,
        typer.Option("--taskdir", metavar="DIR", help="Where the task lives. Default: NAME.raythena here.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the task in the task directory.")] = False,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch", metavar="NAME[=VALUE]", help="A directive for the batch system; repeatable.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script and do nothing.")] = False,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Submit a job to Slurm; with --until-done as many allocations as it takes.

    Each allocation goes on where the one before ended. The next one waits in the queue while this one runs, and is taken back
    when the job is complete. The chain ends by itself when several allocations in a row have finished no event.

    \b
    Examples:
      raythena submit simulation.yaml --nodes 16 --time 2h
      raythena submit simulation.yaml --nodes 200 --time 2h --until-done --sbatch partition=regular
      raythena submit simulation.yaml --dry-run
    """
    from raythena.cli.durations import parse_duration
    from raythena.cli.session import prepare_task
    from raythena.cli.settings import placed
    from raythena.domain.allocation_chain import ChainPlan
    from raythena.gateways.file import load_job, load_payload
    from raythena.launch.slurm_batch import batch_script

    settings = settings_from(config, assignments, {}).settings
    computed_by, merged_by = load_payload(payload) if payload else (None, None)
    loaded = load_job(job, payload=computed_by, merge=merged_by)
    walltime_s = parse_duration(walltime, "--time")
    root = (taskdir or Path(f"{loaded.name}.raythena")).absolute()
    wanted = batch_directives(settings, root, loaded.name, nodes, walltime_s, sbatch or [])
    options = {"--payload": payload and payload.absolute(), "--config": config and config.absolute()}
    command = [
        sys.executable,
        "-P",
        "-m",
        "raythena.cli",
        "run",
        str(job.absolute()),
        f"--taskdir={root}",
        "--resume",
        "--chained",
    ]
    command += [f"{name}={value}" for name, value in options.items() if value]
    command += [f"--set={assignment}" for assignment in assignments or []]
    script = batch_script(
        wanted, settings.batch.before, [*command, "--display=lines", f"--grace={max(1, settings.batch.warning_s - _LAST_S)}"]
    )
    if dry_run:
        typer.echo(script, nl=False)
        return
    task = prepare_task(loaded, root, resume=resume)
    check_limits(wanted.get("partition", ""), nodes, walltime_s)
    most = max_allocations or settings.batch.max_allocations
    _submit(task, wanted, script, placed(ChainPlan(until_done, most), settings))


_LAST_S = 15
"""Kept of the batch system's warning for what comes after the job: the cluster's end, the last words."""


def batch_directives(  # noqa: PLR0917 (one for each thing a person chooses)
    settings: Settings, root: Path, name: str, nodes: int, walltime_s: float, given: Sequence[str]
) -> dict[str, str]:
    """The directives of a job: ours, the site's in place of ours, those of the command line before all. Raises InvalidInput."""
    from raythena.launch.slurm_batch import job_name, parse_directives

    minutes, seconds = divmod(round(walltime_s), 60)
    ours = {
        "job-name": f"{job_name(name)}-{short_name(root)}",
        "nodes": str(nodes),
        "time": f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}",
        "exclusive": "",
        "no-kill": "",
        "requeue": "",
        "open-mode": "append",
        "output": f"{root}/logs/slurm-%j.out",
        "signal": f"B:USR1@{settings.batch.warning_s}",
    }
    wanted = {**ours, **parse_directives(settings.batch.directives, "batch.directives")}
    for dropped in parse_directives(settings.batch.drop, "batch.drop"):
        wanted.pop(dropped, None)
    for word in given:
        wanted |= parse_directives(word, "--sbatch")
    return wanted


def short_name(root: Path) -> str:
    """A few letters that stand for a task directory."""
    return hashlib.sha256(str(root).encode()).hexdigest()[:6]


def check_limits(partition: str, nodes: int, walltime_s: float) -> None:
    """Refuse what the partition would leave in the queue for ever. Raises InvalidInput."""
    from raythena.domain.errors import InvalidInput
    from raythena.launch.slurm_batch import BatchError, partition_limits

    try:
        longest_s, most = partition_limits(partition)
    except BatchError as problem:
        typer.echo(f"the limits of the partition are not known: {problem}", err=True)
        return
    where = f"partition {partition}" if partition else "the default partition"
    if longest_s is not None and walltime_s > longest_s:
        raise InvalidInput("--time", "", f"is {walltime_s:.0f} s", expected=f"at most {longest_s:.0f} s, as {where} gives")
    if most is not None and nodes > most:
        raise InvalidInput("--nodes", "", f"is {nodes}", expected=f"at most {most}, as {where} gives")


def _submit(task: TaskDirectory, wanted: Mapping[str, str], script: str, plan: ChainPlan) -> None:
    """Write the chain down, have Slurm look at the script, submit it. Raises BatchError, StorageError, InvalidInput."""
    from raythena.domain.errors import InvalidInput
    from raythena.launch.slurm_batch import check_script, pending_jobs, submit_script
    from raythena.storage.chain_directory import ChainDirectory

    name = wanted.get("job-name", "")
    if name and (waiting := pending_jobs(name)):
        problem = f"has job {waiting[0]} in the queue"
        raise InvalidInput(str(task.root), "", problem, hint="`raythena jobs` shows it, `raythena cancel` ends it")
    chain = ChainDirectory(task.root)
    task.logs.mkdir(exist_ok=True)
    chain.create(plan, name, script)
    check_script(chain.script)
    job_id = submit_script(chain.script)
    chain.note_submitted(job_id)
    _remember(task.root)
    typer.echo(f"submitted {job_id}")
    typer.echo(f"task      {task.root}")
    typer.echo(f"script    {chain.script}")


def state_directory() -> Path:
    """Where the list of submitted tasks is."""
    home = os.environ.get("XDG_STATE_HOME") or f"{os.environ.get('HOME', '/')}/.local/state"
    return Path(home) / "raythena" / _LIST


def _remember(root: Path) -> None:
    """Put the task on the list of `raythena jobs`. A home that cannot be written to is no reason to fail."""
    directory = state_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / short_name(root)).write_text(f"{root}\n")
    except OSError as problem:
        typer.echo(f"`raythena jobs` will not list it: {problem}", err=True)
