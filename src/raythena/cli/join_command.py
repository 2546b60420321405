"""`raythena join`: the nodes of another allocation for a job that runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import ConfigOption, SetOption, settings_from
from raythena.cli.run import CoresOption, NodesOption, OnOption, cluster_options

if TYPE_CHECKING:
    from raythena.launch.added_nodes import AddedNodes


def join_command(  # noqa: PLR0917 (one parameter per option)
    taskdir: Annotated[Path, typer.Argument(metavar="TASKDIR", help="Directory of the task that runs.", show_default=False)],
    nodes: NodesOption = None,
    cores: CoresOption = None,
    on: OnOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Add the nodes of this allocation to a job that runs in another one.

    Run inside of a second batch job, of the same user and on the same file system. Its nodes compute events of the job until the
    job is over, or this allocation ends: in time for that they begin nothing more. They leave no traces, and may come and go.

    \b
    Examples:
      raythena join simulation.raythena
      raythena join simulation.raythena --nodes 4 --cores 64
    """
    import asyncio
    import signal

    from raythena.cli.launching import launch_order
    from raythena.domain.errors import InvalidInput
    from raythena.launch.added_nodes import AddedNodes, specs_here
    from raythena.launch.launcher import choose_launcher
    from raythena.storage.taskdir import TaskDirectory

    settings = settings_from(config, assignments, cluster_options(nodes, cores, None, on, None)).settings
    task = TaskDirectory(taskdir.absolute())
    if not task.lease.exists():
        expected, hint = "the directory of a job that runs", "`raythena run` or `raythena submit` begin one"
        raise InvalidInput(str(taskdir), "", "nobody is at work on a task here", expected=expected, hint=hint)
    plugin = choose_launcher(settings.launch.on, os.environ)
    order = launch_order(settings, os.environ, str(task.root), typer.echo)
    specs = specs_here(plugin, order)

    async def work() -> str:
        ends_at = await plugin.launch(order).ends_at()
        added: AddedNodes = AddedNodes(task, specs, order, ends_at)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            asyncio.get_running_loop().add_signal_handler(number, added.end)
        return await added.run()

    typer.echo(f"adding {plugin.words(order)} to {task.root}")
    typer.echo(asyncio.run(work()))
