"""`raythena run`: a job from a file, on this machine or on every node of the batch job."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import ConfigOption, SetOption, settings_from
from raythena.cli.output import be_patient

if TYPE_CHECKING:
    from raythena.cli.settings import Settings
    from raythena.domain.job import Job
    from raythena.domain.reopening import RetryRequest
    from raythena.runtime.session_end import SessionResult
    from raythena.storage.taskdir import TaskDirectory

TaskdirOption = Annotated[
    Path | None,
    typer.Option("--taskdir", metavar="DIR", help="Where the task lives. Default: NAME.raythena here.", show_default=False),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the task in the task directory.")]
RetryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--retry-failed",
        metavar="WHAT",
        help="With --resume: give events that failed for good new attempts, once their cause is mended. all, a cause "
        "(reported, crash, hang, ...) or the id of an event range; may be repeated.",
        show_default=False,
    ),
]
NodesOption = Annotated[
    int | None,
    typer.Option(
        "--nodes",
        metavar="N",
        help="Nodes to use at most; outside of batch jobs: logical nodes to start on this machine.",
        show_default=False,
    ),
]
CoresOption = Annotated[
    int | None, typer.Option("--cores", metavar="N", help="Events at the same time on each node.", show_default=False)
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="LAUNCHER",
        help="Where the nodes are: auto, local, processes, slurm, ssh, ray or a plug-in.",
        show_default=False,
    ),
]
HeadCoresOption = Annotated[
    int | None,
    typer.Option("--head-cores", metavar="N", help="Events at the same time on the head node; may be 0.", show_default=False),
]
DisplayOption = Annotated[
    str | None, typer.Option("--display", metavar="MODE", help="auto, live, lines, json or quiet.", show_default=False)
]
WalltimeOption = Annotated[
    str | None,
    typer.Option(
        "--walltime", metavar="TIME", help="Be over so long after the start: 30m, 1h30m or 1:30:00.", show_default=False
    ),
]
GraceOption = Annotated[
    float | None,
    typer.Option("--grace", metavar="SECONDS", help="Time between SIGTERM, SIGHUP or SIGUSR1 and the kill.", show_default=False),
]
JsonLinesOption = Annotated[bool, typer.Option("--json", help="Print progress and result as JSON lines.")]


def cluster_options(
    nodes: int | None, cores: int | None, display: str | None, on: str | None, head_cores: int | None
) -> dict[str, object]:
    """The settings that the options shared by `run`, `harvest` and `demo` stand for; None where one was not given."""
    return {
        "nodes.count": nodes,
        "nodes.cores_per_node": cores,
        "display.mode": display,
        "launch.on": on,
        "launch.head_cores": head_cores,
    }


def run_command(  # noqa: PLR0917 (one parameter per option)
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file (YAML), or PanDA's HPCJobs.json.", show_default=False)],
    payload: Annotated[
        Path | None,
        typer.Option(
            "--payload",
            metavar="FILE",
            help="What computes and merges the events (keys payload, merge): for jobs that do not say.",
            show_default=False,
        ),
    ] = None,
    taskdir: TaskdirOption = None,
    resume: ResumeOption = False,
    retry_failed: RetryOption = None,
    nodes: NodesOption = None,
    cores: CoresOption = None,
    on: OnOption = None,
    head_cores: HeadCoresOption = None,
    walltime: WalltimeOption = None,
    grace: GraceOption = None,
    display: DisplayOption = None,
    as_json: JsonLinesOption = False,
    config: ConfigOption = None,
    assignments: SetOption = None,
    page: Annotated[bool, typer.Option("--page", help="Show the job in a browser too; prints the address.")] = False,
    chained: Annotated[bool, typer.Option("--chained", hidden=True, help="As one allocation of a chain.")] = False,
) -> None:
    """Run a job to the end: compute every event, merge the outputs, write the job report.

    Ctrl-C (or SIGTERM) drains the job: running events end, complete outputs are merged, and `--resume` goes on later. Killing
    anything, this command included, loses nothing that was committed. With --walltime the job ends by itself in time; where the
    batch system only warns by a signal, --grace says how long before the kill.

    \b
    Examples:
      raythena run simulation.yaml
      raythena run simulation.yaml --nodes 2 --cores 8 --taskdir /scratch/simulation.raythena
      raythena run simulation.yaml --resume --walltime 2h
      raythena run simulation.yaml --resume --retry-failed all
      raythena run simulation.yaml --resume --retry-failed hang --retry-failed EVNT.000001.root-17
      raythena run HPCJobs.json --payload payload.yaml
    """
    from raythena.cli.session import look_at_retry, prepare_task, takeover_patience_s
    from raythena.gateways.file import load_job, load_payload

    be_patient()
    began = time.time()
    retry = retry_request(retry_failed, resume=resume)
    overrides = {**cluster_options(nodes, cores, "json" if as_json else display, on, head_cores), **time_limits(walltime, grace)}
    settings = settings_from(config, assignments, overrides).settings
    computed_by, merged_by = load_payload(payload) if payload else (None, None)
    loaded = load_job(job, payload=computed_by, merge=merged_by, resumed=(taskdir or Path()) if resume else None)
    patience_s = takeover_patience_s(settings, os.environ)
    directory = taskdir or Path(f"{loaded.name}.raythena")
    tell = partial(typer.echo, err=True)
    task = prepare_task(loaded, directory, resume=resume, patience_s=patience_s, tell=tell)
    if retry is not None:
        look_at_retry(loaded, task, retry, tell)
    work = partial(_work, loaded, task, settings, began, retry, page=page)
    raise typer.Exit(_in_chain(task, work) if chained else work())


def retry_request(words: list[str] | None, *, resume: bool) -> RetryRequest | None:
    """What is to be tried again; None: nothing was asked for. Raises InvalidInput."""
    from raythena.domain.errors import InvalidInput
    from raythena.domain.reopening import SOURCE, RetryRequest

    if not words:
        return None
    if not resume:
        raise InvalidInput(SOURCE, "", "is for a task that has begun", expected="--resume with it")
    return RetryRequest.parse(words)


def _work(job: Job, task: TaskDirectory, settings: Settings, began: float, retry: RetryRequest | None, *, page: bool) -> int:
    """Run the job and say what became of it; its exit code. Raises RaythenaError."""
    from raythena.cli.page_beside import page_beside
    from raythena.cli.session import run_session, session_config
    from raythena.monitor.display import choose_display

    with ExitStack() as beside:
        shown = beside.enter_context(choose_display(settings.display.mode, sys.stdout))
        if page:
            beside.enter_context(page_beside(task.root, shown.message))
        result = run_session(session_config(job, task, settings, began, retry), settings, shown)
    tell_result(result, task.root, settings.display.mode)
    return int(result.exit_code)


def _in_chain(task: TaskDirectory, work: Callable[[], int]) -> int:
    """Run the job as one allocation of a chain. Raises RaythenaError."""
    from raythena.domain.errors import ExitCode, RaythenaError
    from raythena.launch.chain_link import ChainLink

    link = ChainLink(task, os.environ, typer.echo)
    if not link.begin():
        return int(ExitCode.STOPPED)
    try:
        code = work()
    except RaythenaError as problem:
        link.end(int(problem.exit_code))
        raise
    link.end(code)
    return code


def time_limits(walltime: str | None, grace_s: float | None) -> dict[str, object]:
    """The options --walltime and --grace as settings. Raises InvalidInput."""
    from raythena.cli.durations import parse_duration

    return {
        "engine.walltime_s": None if walltime is None else parse_duration(walltime, "--walltime"),
        "runtime.drain_s": grace_s,
    }


def tell_result(result: SessionResult, task: Path, mode: str) -> None:
    """The last words: what became of the job, why events failed, and where to look."""
    import json

    from raythena.cli.failure_words import failures_of
    from raythena.storage.taskdir import TaskDirectory

    progress = result.progress
    if mode == "json":
        document = {
            "result": result.outcome,
            "reason": result.reason,
            "exit_code": int(result.exit_code),
            "events": progress.events,
            "finished": progress.finished,
            "failed": progress.failed,
            "occupancy": round(progress.occupancy, 4),
            "task_directory": str(task),
        }
        typer.echo(json.dumps(document))
    elif mode != "quiet":
        typer.echo(f"{result.outcome}: {result.reason}")
        typer.echo(
            f"{progress.finished} of {progress.events} events, {progress.outputs_merged} of {progress.outputs} outputs merged"
        )
        typer.echo(f"occupancy {100 * progress.occupancy:.1f} %, {result.core_s:.1f} core-seconds on {result.cores} cores")
        for line in failures_of(TaskDirectory(task)) if progress.failed else ():
            typer.echo(line)
        typer.echo(f"outputs  {task / 'outputs'}")
        typer.echo(f"report   {task / 'jobReport.json'}")
