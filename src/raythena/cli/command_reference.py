"""The command-line reference as Markdown, written from the program itself: `make docs`.

Nothing here knows a command by name; what is registered is described, in the words of its own help.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer import Context
from typer.main import get_command

from raythena.cli.app import app
from raythena.cli.exit_codes import MEANINGS
from raythena.cli.settings import SETTINGS

WIDTH = 100


def reference() -> str:
    """The whole document."""
    parts = [_INTRODUCTION]
    for path, command in commands():
        title = " ".join(path)
        parts.append(f"## `{title}`\n\n```text\n{_help(path, command)}\n```\n")
    return "\n".join([*parts, _settings(), _exit_codes()])


def commands() -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command with its full name, groups before their members."""
    yield from _below(("raythena",), get_command(app))


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], object]]:
    if not command.hidden:
        yield path, command
        for name, member in getattr(command, "commands", {}).items():
            yield from _below((*path, name), member)


def _help(path: tuple[str, ...], command: Any) -> str:
    names = ["-h", "--help"]
    context = Context(command, info_name=" ".join(path), terminal_width=WIDTH, max_content_width=WIDTH, help_option_names=names)
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def _settings() -> str:
    rows = [
        f"| `{setting.name}` | `{setting.default!r}` | {setting.expected} | {setting.description} |"
        for setting in SETTINGS.values()
    ]
    return "\n".join([_SETTINGS, "| setting | default | takes | what it is |", "| --- | --- | --- | --- |", *rows, ""])


def _exit_codes() -> str:
    rows = [f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["## Exit codes\n", "| code | meaning |", "| ---: | --- |", *rows, ""])


_INTRODUCTION = """\
# Command-line reference

<!-- Written by `make docs` from the program's own help. Change the help, not this file. -->

Bash, zsh and fish complete commands and options after `raythena --install-completion`, typed in the shell that is to learn it.
Where start files are not to be touched, `raythena --show-completion` prints what to put there by other means.
"""

_SETTINGS = """\
## Settings

Later sources win: the built-in default; the user's file, `~/.config/raythena/config.yaml` (`$XDG_CONFIG_HOME` is honoured);
`raythena.yaml` in the current directory; environment variables; the command line. `--config FILE`, or the variable
`RAYTHENA_CONFIG`, takes the place of both files. `raythena config show` lists the settings in force and where each comes from.

A file holds groups of settings:

```yaml
nodes:
  count: 4
engine:
  max_attempts: 5
```

In the environment the same settings are `RAYTHENA_NODES_COUNT=4` and `RAYTHENA_ENGINE_MAX_ATTEMPTS=5`; on the command line
`--set nodes.count=4`. A name nobody knows is refused, and so is a value of the wrong type, wherever it stands.
"""

if __name__ == "__main__":
    print(reference(), end="")
