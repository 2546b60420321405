"""`raythena jobs` and `raythena cancel`: what was submitted, how far it is, and how it is ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import JsonOption, TaskDirectoryArgument
from raythena.cli.submit import state_directory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raythena.launch.slurm_batch import QueuedJob

_WAITING = "PENDING"
_LIVING = frozenset({_WAITING, "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED"})


@dataclass(frozen=True, slots=True)
class SubmittedTask:
    """One task that was submitted, as `raythena jobs` shows it."""

    task: str
    state: str
    """running, queued, done, cancelled, stopped, or unknown while the queue does not answer."""
    events: int
    finished: int
    allocations: int
    """That have begun."""
    jobs: dict[str, str]
    """Batch jobs that run or wait, and their states."""

    def line(self) -> str:
        """For a person."""
        share = 100.0 * self.finished / self.events if self.events else 0.0
        jobs = ", ".join(f"{job_id} {state.lower()}" for job_id, state in self.jobs.items())
        return f"{self.state:10} {share:5.1f} %  {self.finished}/{self.events} events  {jobs or '-'}  {self.task}"


def jobs_command(as_json: JsonOption = False) -> None:
    """List the jobs that were submitted: queued, running and done, and how far each is.

    \b
    Examples:
      raythena jobs
      raythena jobs --json
    """
    from raythena.launch.slurm_batch import BatchError, queued
    from raythena.storage.chain_directory import ChainDirectory

    ids = {root: ChainDirectory(root).submitted() for root in _known_tasks()}
    known: dict[str, QueuedJob] | None = None
    try:
        known = queued([job_id for group in ids.values() for job_id in group])
    except BatchError as problem:
        typer.echo(f"what is in the queue is not known: {problem}", err=True)
    tasks = [submitted_task(root, group, known) for root, group in ids.items()]
    if as_json:
        typer.echo(json.dumps([asdict(task) for task in tasks]))
    else:
        for line in [task.line() for task in tasks] or ["nothing was submitted from here"]:
            typer.echo(line)


def _known_tasks() -> list[Path]:
    directory = state_directory()
    paths = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime) if directory.is_dir() else []
    roots = [Path(path.read_text().strip()) for path in paths]
    return [root for root in roots if (root / "chain").is_dir()]


def submitted_task(root: Path, job_ids: Sequence[str], known: Mapping[str, QueuedJob] | None) -> SubmittedTask:
    """What is known of one task; `known` None: the queue did not answer."""
    from raythena.domain.errors import RaythenaError
    from raythena.storage.chain_directory import ChainDirectory
    from raythena.storage.ledger_view import LedgerView
    from raythena.storage.taskdir import TaskDirectory

    task, chain = TaskDirectory(root), ChainDirectory(root)
    events = finished = settled = 0
    try:
        if task.ledger.exists():
            with LedgerView.read(task.ledger) as ledger:
                summary = ledger.summary()
            events, finished = summary.n_ranges, summary.events
            settled = summary.events_merged + summary.failed
    except (RaythenaError, OSError):
        events = 0  # the line is shown without them
    found = {job_id: known[job_id].state for job_id in job_ids if known is not None and job_id in known}
    living = {job_id: state for job_id, state in found.items() if state in _LIVING}
    if known is None:
        state = "unknown"
    elif living:
        state = "queued" if set(living.values()) == {_WAITING} else "running"
    elif events and settled >= events:
        state = "done"
    else:
        state = "cancelled" if chain.cancelled else "stopped"
    return SubmittedTask(str(root), state, events, finished, len(chain.begun()), living)


def cancel_command(
    taskdir: TaskDirectoryArgument,
    now: Annotated[bool, typer.Option("--now", help="Kill what runs, instead of letting it come to an end.")] = False,
) -> None:
    """End a submitted job: take its allocations out of the queue, and have the running one finish what it is at.

    What is computed stays; `raythena submit --resume` goes on.

    \b
    Examples:
      raythena cancel simulation.raythena
      raythena cancel simulation.raythena --now
    """
    from raythena.domain.errors import InvalidInput
    from raythena.launch.slurm_batch import cancel_job, pending_jobs, queued
    from raythena.monitor.snapshot import open_task
    from raythena.storage.chain_directory import ChainDirectory

    chain = ChainDirectory(open_task(taskdir).root.absolute())
    if not chain.exists():
        raise InvalidInput(str(taskdir), "", "was not submitted", expected="a task of `raythena submit`")
    chain.cancel()  # first: whatever begins from now on ends by itself
    waiting = pending_jobs(chain.batch_name)
    for job_id in waiting:
        cancel_job(job_id)
        typer.echo(f"cancelled {job_id}")
    for job in queued([job_id for job_id in chain.submitted() if job_id not in waiting]).values():
        if job.state == "RUNNING":
            cancel_job(job.job_id, gently=not now)
            typer.echo(f"{'killed' if now else 'ending'} {job.job_id}")
