"""`raythena stage`: this environment as one archive, for nodes to unpack on their own disks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def stage_command(
    archive: Annotated[
        Path, typer.Argument(metavar="FILE", help="The archive to write, on a disk all nodes see.", show_default=False)
    ],
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="PATTERN", help="Leave out what is called so; repeatable.", show_default=False),
    ] = None,
) -> None:
    """Put this environment into one archive, which each node unpacks on a disk of its own before it starts.

    For file systems on which importing Python from many nodes at once is slow. Afterwards set launch.environment to FILE. Make it
    anew whenever something is installed: an archive of other versions is refused. Patterns are those of paths below the
    environment, such as 'lib/python3.11/site-packages/mypy*'.

    \b
    Examples:
      raythena stage $SCRATCH/environment.tar
      raythena run job.yaml --set launch.environment=$SCRATCH/environment.tar
    """
    from raythena.launch.environment_archive import make_archive

    made = make_archive(archive.absolute(), without or [])
    typer.echo(f"{archive}: {made.files:,} files, {made.size_bytes / 1e6:,.0f} MB, SHA-256 {made.sha256}")
    typer.echo(f"use it with --set launch.environment={archive.absolute()}")
