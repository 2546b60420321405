"""`raythena metrics`: the figures of a job for Prometheus."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import TaskDirectoryArgument
from raythena.domain.errors import InvalidInput

if TYPE_CHECKING:
    from raythena.storage.taskdir import TaskDirectory


def metrics_command(  # noqa: PLR0917 (one parameter per option)
    taskdir: TaskDirectoryArgument,
    textfile: Annotated[
        Path | None,
        typer.Option("--textfile", metavar="FILE", help="Replace FILE again and again until the job ends.", show_default=False),
    ] = None,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="How often FILE is replaced.")] = 15.0,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--serve",
            metavar="TOKENFILE",
            help="Serve /metrics to holders of the token in TOKENFILE, which is made if it is not there.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Where to serve; 0: a free port.")] = 0,
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Interface to serve on.")] = "127.0.0.1",
) -> None:
    """Tell the figures of a job as Prometheus metrics: once, in a file that is kept current, or to whoever scrapes them.

    Works while the job runs, and after it, on any machine that sees TASKDIR; it only reads. Where nodes cannot be scraped, have
    --textfile write into the directory of node_exporter's textfile collector; the name must end in .prom.

    \b
    Examples:
      raythena metrics simulation.raythena
      raythena metrics simulation.raythena --textfile /var/lib/node_exporter/raythena.prom
      raythena metrics simulation.raythena --serve metrics.token --port 9464
    """
    from raythena.monitor.job_metrics import exposition
    from raythena.monitor.snapshot import open_task

    task = open_task(taskdir)
    if textfile is not None and token_file is not None:
        raise InvalidInput("--textfile", "", "cannot go with --serve", expected="one of them")
    if token_file is not None:
        _serve(task, host, port, token_file)
    elif textfile is not None:
        _keep_current(task, textfile, every)
    else:
        typer.echo(exposition(task, time.time()).decode(), nl=False)


def _serve(task: TaskDirectory, host: str, port: int, token_file: Path) -> None:
    from raythena.monitor.metrics_server import serve_metrics, token_in
    from raythena.monitor.page_server import Place

    try:
        serve_metrics(task, Place(host, port), token_in(token_file), _tell)
    except KeyboardInterrupt:
        return
    except OSError as problem:
        where = f"{host}:{port}"
        raise InvalidInput("--port", where, f"cannot be listened on: {problem.strerror}", expected="a free port") from None


def _tell(address: str) -> None:
    typer.echo(f"{address}\nCtrl-C ends the metrics, not the job")
    sys.stdout.flush()


def _keep_current(task: TaskDirectory, textfile: Path, every_s: float) -> None:
    """Until the job has ended, and then once more: whoever reads the file sees the end. Raises StorageError."""
    from raythena.monitor.job_metrics import exposition
    from raythena.monitor.snapshot import read_snapshot
    from raythena.storage.atomic import write_atomically

    while True:
        snapshot = read_snapshot(task.status)
        write_atomically(textfile.absolute(), exposition(task, time.time()))
        if snapshot is not None and snapshot.ended:
            return
        time.sleep(every_s)
