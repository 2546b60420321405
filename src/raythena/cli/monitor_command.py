"""`raythena monitor`: the page of a task, in a browser."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from raythena.cli.options import TaskDirectoryArgument
from raythena.domain.errors import InvalidInput


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

    try:
        serve_page(open_task(taskdir), Place(host, port), _tell, until_input_ends=until_input_ends)
    except KeyboardInterrupt:
        return
    except OSError as problem:
        where = f"{host}:{port}"
        raise InvalidInput("--port", where, f"cannot be listened on: {problem.strerror}", expected="a free port") from None


def _tell(address: str) -> None:
    typer.echo(f"{address}\nCtrl-C ends the page, not the job")
    sys.stdout.flush()
