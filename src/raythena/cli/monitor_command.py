"""`raythena monitor`: the page of a task, in a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import TaskDirectoryArgument
from raythena.domain.errors import InvalidInput

if TYPE_CHECKING:
    from raythena.storage.taskdir import TaskDirectory


def monitor_command(
    taskdir: TaskDirectoryArgument,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Where to listen; 0: a free port.")] = 0,
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Interface to listen on.")] = "127.0.0.1",
    until_input_ends: Annotated[
        bool, typer.Option("--until-input-ends", hidden=True, help="End with whoever started it.")
    ] = False,
) -> None:
    """Serve a page about a task: how far it is, what every core did, every event range, failures and their logs.

    Works while the job runs, and long after, on any machine that sees TASKDIR; it only reads. Open the address it prints; on a
    remote machine, through `ssh -L`. Whoever has the address, with its token, sees everything; nobody else sees anything.
    Ctrl-C ends it.

    \b
    Examples:
      raythena monitor simulation.raythena
      raythena monitor simulation.raythena --port 8799
    """
    from raythena.monitor.page_server import Place, serve_page
    from raythena.monitor.snapshot import open_task

    task = open_task(taskdir)
    try:
        serve_page(task, Place(host, port), _tell, _reader_of_scan(task), until_input_ends=until_input_ends)
    except KeyboardInterrupt:
        return
    except OSError as problem:
        where = f"{host}:{port}"
        raise InvalidInput("--port", where, f"cannot be listened on: {problem.strerror}", expected="a free port") from None


def _reader_of_scan(task: TaskDirectory) -> Callable[[], dict[str, object]] | None:
    """What reads the points of a task that is a scan of ours; None: it is none."""
    from raythena.domain.scan.scan_file import parse_scan
    from raythena.monitor.snapshot import read_job
    from raythena.tune.scan_document import scan_document
    from raythena.tune.scan_results import read_scan

    try:
        parse_scan(read_job(task).source, "")
    except InvalidInput:  # any other job, also one whose points PanDA hands out
        return None
    return lambda: scan_document(read_scan(task))


def _tell(address: str) -> None:
    typer.echo(f"{address}\nCtrl-C ends the page, not the job")
    sys.stdout.flush()
