"""Command lines told in documents, understood as the program would."""

from __future__ import annotations

import re
import shlex
from functools import cache

import click
from document_blocks import ROOT
from typer.main import get_command

from raythena.cli.app import app


@cache
def program():
    """The program, as click has it."""
    return get_command(app)


def parse(words, *, whole=True):
    """Understand the words after `raythena`: every command and option must exist, and values must be of their type.

    `whole` is False for a mention, which may leave out what the command needs.
    """
    command, context = program(), None
    words = list(words)
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        context = click.Context(command, parent=context, info_name=command.name)
        if (words and words[0] in ("--help", "-h", "--version")) or (not words and not whole):
            return
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name!r}"
        command = found
    if "--help" in words:
        return
    try:
        command.make_context(command.name, words, parent=context)
    except Exception as problem:
        # typer brings a click of its own, whose classes have no public name
        if whole or type(problem).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            raise


def console_commands(text):
    """The commands of a console block, each as a list of words, comments left out."""
    for line in text.splitlines():
        if line.startswith("$ "):
            yield shlex.split(line[2:], comments=True)


@cache
def options():
    """Every option of every command."""
    found = set()

    def collect(command):
        found.update(word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts))
        for inner in getattr(command, "commands", {}).values():
            collect(inner)

    collect(program())
    return found | {"--help", "-h"}


@cache
def words_of_the_code():
    """Every word in the sources: options of Athena, of containers and of batch systems are among them, without their dashes."""
    sources = [path.read_text() for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".hpp", ".json", ".j2")]
    return set(re.findall(r"[A-Za-z][\w-]*", "\n".join(sources)))


def targets():
    """What can be made."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
