"""`raythena status`: how far a job is, while it runs and after."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import JsonOption, TaskDirectoryArgument
from raythena.domain.errors import InvalidInput
from raythena.monitor.snapshot import Snapshot, open_task, read_snapshot
from raythena.monitor.wording import duration, printable

if TYPE_CHECKING:
    from raythena.domain.core_time import Accounting
    from raythena.monitor.display import Display
    from raythena.storage.ledger_view import LedgerSummary
    from raythena.storage.taskdir import TaskDirectory

FOLLOW_INTERVAL_S = 0.5


def status_command(
    taskdir: TaskDirectoryArgument,
    as_json: JsonOption = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep showing until the job ends, then exit with the job's own exit code.")
    ] = False,
) -> None:
    """Say how far a job is: events, rate, time left, nodes.

    Works while the job runs, from any machine that sees TASKDIR, and after it ended. When its coordinator died, says so and
    shows what is safely recorded.

    \b
    Examples:
      raythena status simulation.raythena
      raythena status simulation.raythena --follow
      raythena status simulation.raythena --json
    """
    task = open_task(taskdir)
    if follow:
        raise typer.Exit(_follow(task, "json" if as_json else "auto"))
    snapshot, problem = _read(task)
    if snapshot is None:
        _show_ledger(task, problem, as_json)
    elif as_json:
        typer.echo(json.dumps({**_document(snapshot, time.time()), "accounting": _accounting(task).to_dict()}))
    else:
        _show(snapshot)
        _show_core_time(task)
        _show_failures(task, snapshot.progress.failed)


def _read(task: TaskDirectory) -> tuple[Snapshot | None, str]:
    """The snapshot, or None and why there is none."""
    try:
        snapshot = read_snapshot(task.status)
    except InvalidInput as error:
        return None, str(error)
    return snapshot, "" if snapshot else "the job has not reported its status yet"


def _document(snapshot: Snapshot, now: float) -> dict[str, object]:
    stale = snapshot.stale(now)
    return {
        **snapshot.progress.to_dict(),
        "written_at": snapshot.written_at,
        "host": snapshot.host,
        "pid": snapshot.pid,
        "verdict": snapshot.verdict,
        "exit_code": snapshot.exit_code,
        "age_s": round(snapshot.age_s(now), 3),
        "stale": bool(stale),
        "stale_reason": stale,
    }


def _show(snapshot: Snapshot) -> None:
    from rich.console import Console
    from rich.text import Text

    from raythena.monitor.display import picture

    console = Console()
    console.print(picture(snapshot.progress))
    for text, style in _remarks(snapshot, time.time()):
        console.print(Text(text, style=style), soft_wrap=True)


def _accounting(task: TaskDirectory) -> Accounting:
    """Where core-seconds go, as far as the nodes have told; the ledger, which takes long to read, is not asked what was kept."""
    from raythena.domain.core_time import account
    from raythena.runtime.core_time_file import read_sessions

    return account(read_sessions(task))


def _show_core_time(task: TaskDirectory) -> None:
    from raythena.monitor.core_time_words import core_time_line

    if line := core_time_line(_accounting(task)):
        typer.echo(f"core time: {line}")


def _show_failures(task: TaskDirectory, failed: int) -> None:
    from raythena.cli.failure_words import failures_of

    for line in failures_of(task) if failed else ():
        typer.echo(line)


def _remarks(snapshot: Snapshot, now: float) -> list[tuple[str, str]]:
    """What must be said about a snapshot besides its figures, with a style."""
    age = duration(snapshot.age_s(now))
    stale = snapshot.stale(now)
    if stale:
        resume = "`raythena run JOB --resume` goes on where it stopped"
        return [(f"stale: this is how it stood {age} ago; {stale}. {resume}", "bold red")]
    if snapshot.ended:
        code = "" if snapshot.exit_code is None else f", exit code {snapshot.exit_code}"
        return [(f"ended {age} ago: {printable(snapshot.verdict) or 'no verdict'}{code}", "bold")]
    return [(f"running on {printable(snapshot.host)}, process {snapshot.pid}; as of {age} ago", "dim")]


def _show_ledger(task: TaskDirectory, problem: str, as_json: bool) -> None:
    summary = _ledger_summary(task)
    if as_json:
        typer.echo(json.dumps({"problem": problem, "ledger": _ledger_document(summary) if summary else None}))
        return
    typer.echo(f"no running status: {problem}")
    if summary is None:
        typer.echo("no ledger either: nothing has been computed")
        return
    typer.echo(f"{printable(summary.job_name)}: the ledger holds {summary.events:,} of {summary.n_ranges:,} events, ", nl=False)
    typer.echo(f"{summary.failed:,} failed, {summary.outputs_merged:,} outputs merged")
    _show_failures(task, summary.failed)


def _ledger_summary(task: TaskDirectory) -> LedgerSummary | None:
    if not task.ledger.exists():
        return None
    from raythena.storage.ledger_view import LedgerView

    with LedgerView.read(task.ledger) as view:
        return view.summary()


def _ledger_document(summary: LedgerSummary) -> dict[str, object]:
    return {
        "job": summary.job_name,
        "events": summary.n_ranges,
        "finished": summary.events,
        "failed": summary.failed,
        "outputs_merged": summary.outputs_merged,
    }


def _follow(task: TaskDirectory, mode: str) -> int:
    """Show snapshots as they come until the job ends; its exit code. Ctrl-C ends the watching, not the job."""
    from raythena.monitor.display import choose_display

    with choose_display(mode, sys.stdout) as display:
        try:
            return _watch(task, display)
        except KeyboardInterrupt:
            return 0


def _watch(task: TaskDirectory, display: Display) -> int:
    said = ""
    while True:
        snapshot, problem = _read(task)
        if snapshot is not None:
            display.show(snapshot.progress)
            problem = snapshot.stale(time.time())
        if problem and problem != said:
            display.message(f"waiting: {problem}")
        said = problem
        if snapshot is not None and snapshot.ended:
            display.message(f"ended: {snapshot.verdict or 'no verdict'}")
            return snapshot.exit_code or 0
        time.sleep(FOLLOW_INTERVAL_S)
