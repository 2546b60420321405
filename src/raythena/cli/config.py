"""`raythena config`: which settings are in force, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import ConfigOption, JsonOption, SetOption, settings_from

if TYPE_CHECKING:
    from rich.table import Table

    from raythena.cli.settings import LoadedSettings

config_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@config_app.callback()
def config() -> None:
    """Look at the settings.

    \b
    Example:
      raythena config show
      raythena config check sites/slurm.yaml
    """


@config_app.command("show")
def show_command(config: ConfigOption = None, assignments: SetOption = None, as_json: JsonOption = False) -> None:
    """List every setting, its value, and where the value comes from.

    Later sources win: built-in default, the user's file (~/.config/raythena/config.yaml), ./raythena.yaml, environment
    variables, the command line. A variable is named after its setting: RAYTHENA_NODES_COUNT is nodes.count.

    \b
    Examples:
      raythena config show
      raythena config show --config site.yaml --set nodes.count=4
      RAYTHENA_ENGINE_MAX_ATTEMPTS=5 raythena config show --json
    """
    loaded = settings_from(config, assignments)
    if as_json:
        typer.echo(json.dumps(_document(loaded), indent=2))
        return
    from rich.console import Console

    Console(soft_wrap=True).print(_table(loaded))


@config_app.command("check")
def check_command(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Settings files, a site's for example.", show_default=False)
    ],
) -> None:
    """Check settings files: every name is known, every value is possible. Nothing else is read, nothing is started.

    \b
    Examples:
      raythena config check sites/slurm.yaml
      raythena config check ~/.config/raythena/config.yaml ./raythena.yaml
    """
    from raythena.cli.settings import load_settings

    for file in files:
        loaded = load_settings(file, {})
        set_here = [name for name, origin in loaded.origin.items() if origin != "default"]
        typer.echo(f"{file}: {len(set_here)} settings, all of them possible")


def _document(loaded: LoadedSettings) -> dict[str, dict[str, object]]:
    return {name: {"value": loaded.value(name), "origin": origin} for name, origin in loaded.origin.items()}


def _table(loaded: LoadedSettings) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("setting", "value", "from"):
        table.add_column(heading, no_wrap=True)
    for name, origin in loaded.origin.items():
        style = "dim" if origin == "default" else "bold"
        table.add_row(*(Text(cell, style=style) for cell in (name, json.dumps(loaded.value(name)), origin)))
    return table
