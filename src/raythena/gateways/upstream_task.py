"""The task another job takes its inputs from, as its directory tells it: which outputs it promised, and whether it is one of use.

A task is one as soon as its job is written down, before anything of it is computed. Nothing here looks at what is finished; who
runs the second job does (`runtime.upstream_watch`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from raythena.domain.errors import InvalidInput, LedgerBusy, MissingInput
from raythena.domain.job import NO_MERGE, Job
from raythena.domain.outputs import OutputMap
from raythena.domain.upstream import Upstream, UpstreamTask
from raythena.runtime.upstream_watch import is_starting
from raythena.storage.ledger_view import LedgerView
from raythena.storage.task_lease import TaskLease
from raythena.storage.taskdir import TaskDirectory

_BEGIN = "Start that task first; this one may be started as soon as its directory is there"
MAX_LEVELS = 100
"""Tasks in a chain. More is a chain without an end."""


def upstream_task(path: Path, name_in: Callable[[Path], str], resumed: Path | None = None) -> UpstreamTask:
    """The task in the directory `path`, or the one that belongs to the job file `path`, whose name `name_in` reads.

    `resumed` is the directory of the second job if that has begun: what it has taken on, it has, wherever the first task is now.
    Raises InvalidInput for a task whose outputs cannot be inputs, MissingInput if there is none.
    """
    path = _directory_of(path, name_in)
    try:
        job = job_in(path)
    except MissingInput:
        if (kept := _kept(path, resumed)) is not None:
            return kept
        raise
    if job.ranges_given:
        problem = "was computed for somebody who handed its event ranges out, and merges nothing"
        raise InvalidInput(str(path), "", problem, expected="a task that merges its outputs")
    if job.merge.kind == NO_MERGE:
        raise InvalidInput(str(path), "", "does not merge its outputs (merge: none)", expected="a task that merges its outputs")
    plan = OutputMap.plan([file.n_events for file in job.inputs], job.events_per_output)
    events = [stop - start for start, stop in map(plan.interval, range(plan.n_outputs))]
    return UpstreamTask(Upstream(str(path), job.fingerprint(), job.name), tuple(zip(job.outputs, events, strict=True)))


def _directory_of(path: Path, name_in: Callable[[Path], str]) -> Path:
    return path.with_name(f"{name_in(path)}.raythena") if path.is_file() else path


def _kept(path: Path, resumed: Path | None) -> UpstreamTask | None:
    """The upstream task as the second job knew it when it began."""
    if resumed is None or not TaskDirectory(resumed).job.is_file():
        return None
    job = job_in(resumed)
    if job.upstream is None or job.upstream.task != str(path):
        return None
    return UpstreamTask(job.upstream, tuple((file.lfn, file.n_events) for file in job.inputs))


def job_in(directory: Path) -> Job:
    """The job of a task. Raises InvalidInput, MissingInput."""
    task = TaskDirectory(directory)
    try:
        return Job.from_dict(json.loads(task.job.read_bytes()))
    except FileNotFoundError as error:
        problem = "holds no task" if directory.is_dir() else "does not exist"
        raise MissingInput(str(directory), "", problem, expected="the directory of a task", hint=_BEGIN) from error
    except NotADirectoryError as error:
        raise InvalidInput(str(directory), "", "is no directory", expected="the directory of a task") from error
    except OSError as error:
        raise InvalidInput(str(task.job), "", f"cannot be read: {error.strerror}", expected="the job of a task") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"is no job: {type(error).__name__}: {error}"
        raise InvalidInput(str(task.job), "", problem, expected="the job of a task") from error


def check_chain(job: Job, directory: Path) -> None:
    """Refuse a job, to be run in `directory`, that could never take its inputs. Does nothing without an upstream task.

    Raises InvalidInput, LedgerError, StorageError.
    """
    if job.upstream is None:
        return
    for nth, before in enumerate(upstream_of(job)):
        if _is_same(before, directory):
            through = f", by way of {job.upstream.task}," if nth else ""
            problem = f"{directory} would take its inputs{through} from itself"
            raise _refusal(problem, "the directory of another task", "Choose another --taskdir, or another task to take from")
    first = Path(job.upstream.task)
    if first.is_dir() and first.stat().st_dev != _nearest(directory).stat().st_dev:
        hint = "Inputs are taken on by hard links; choose a --taskdir beside the upstream task"
        raise _refusal(f"{first} and {directory} are on different file systems", "both on one", hint)
    task, own = TaskDirectory(first), TaskDirectory(directory)
    if own.ledger.exists() or not task.job.exists() or _is_at_work(task) or is_starting(task) or _has_outputs(task):
        return
    raise _refusal(f"{first} has no output, and nobody works on it", "a task that is being computed, or was", _BEGIN)


def _refusal(problem: str, expected: str, hint: str) -> InvalidInput:
    return InvalidInput("job", "inputs.from", problem, expected=expected, hint=hint)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.absolute() == other.absolute() or one.samefile(other)
    except OSError:
        return False


def _nearest(path: Path) -> Path:
    """The directory, or the nearest above it that exists."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _is_at_work(task: TaskDirectory) -> bool:
    try:
        TaskLease(task.lease).check_free()
    except LedgerBusy:
        return True
    return False


def _has_outputs(task: TaskDirectory) -> bool:
    if not task.ledger.exists():
        return False
    with LedgerView.read(task.ledger, whole=False) as view:
        return bool(view.outputs()) or sum(1 for _ in view.given_up()) == view.n_ranges


def upstream_of(job: Job) -> Iterator[Path]:
    """The directories of the tasks before a job's own, nearest first, as far as they are there. Raises InvalidInput."""
    for _ in range(MAX_LEVELS):
        if job.upstream is None:
            return
        directory = Path(job.upstream.task)
        yield directory
        try:
            job = job_in(directory)
        except MissingInput:
            return
    raise InvalidInput("job", "inputs.from", f"more than {MAX_LEVELS} tasks are chained", expected="a chain with a first task")
