"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from raythena.cli.settings import LoadedSettings

TaskDirectoryArgument = Annotated[Path, typer.Argument(metavar="TASKDIR", help="The directory of the task.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text for people.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Read settings from FILE instead of ./raythena.yaml and the user's file."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="GROUP.NAME=VALUE", help="Set one setting; may be repeated.", show_default=False),
]


def settings_from(
    config: Path | None, assignments: Iterable[str] | None = None, overrides: dict[str, object] | None = None
) -> LoadedSettings:
    """The settings in force: files, the environment of this process, `--set`, and a command's own options.

    `overrides` maps `group.name` to the value of a dedicated option, None when it was not given; it wins over `--set`. Raises
    InvalidInput.
    """
    from raythena.cli.settings import load_settings, parse_assignments

    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    loaded = load_settings(config, os.environ, {**parse_assignments(assignments or ()), **given})
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return loaded
