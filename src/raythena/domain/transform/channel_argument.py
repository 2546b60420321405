"""Where a transform in event-service mode is told the name of the channel its events come through.

That depends on the age of Athena and on how it works: multithreaded Athena (component accumulator and `--multithreaded`) reads an
option of its own, `--mtes-channel`; the others are configured before anything else by a line of Python, which names another flag
for the component accumulator than for job options. The arguments are those of one `CommandLine`, read and written as such.
"""

from __future__ import annotations

from enum import Enum

from raythena.domain.errors import InvalidInput
from raythena.domain.transform.arguments import CommandLine
from raythena.domain.transform.values import substeps

LEGACY_IMPORT = "from AthenaMP.AthenaMPFlags import jobproperties as jps;"


class ChannelPlace(Enum):
    """What carries the channel's name."""

    ATHENA_OPTION = "--athenaopts with --mtes-channel"
    CA_FLAG = "--preExec with a flag of the component accumulator"
    JOB_PROPERTY = "--preExec with a job property"


def channel_place(line: CommandLine) -> ChannelPlace:
    """What this transform looks at. Raises InvalidInput where `--CA` or `--multithreaded` cannot be understood."""
    if not is_true(line, "CA"):
        return ChannelPlace.JOB_PROPERTY
    return ChannelPlace.ATHENA_OPTION if is_true(line, "multithreaded") else ChannelPlace.CA_FLAG


def with_channel(line: CommandLine, channel: str) -> CommandLine:
    """The command line that names the channel. Raises InvalidInput."""
    match channel_place(line):
        case ChannelPlace.ATHENA_OPTION:
            return with_athena_option(line, f'--mtes --mtes-channel="{channel}"')
        case ChannelPlace.CA_FLAG:
            return _with_pre_exec(line, f'ConfigFlags.MP.EventRangeChannel="{channel}"')
        case ChannelPlace.JOB_PROPERTY:
            return _with_pre_exec(line, f'{LEGACY_IMPORT}jps.AthenaMPFlags.EventRangeChannel="{channel}"')


def with_athena_option(line: CommandLine, text: str) -> CommandLine:
    """The command line with further options for Athena, in whichever step it runs. Raises InvalidInput."""
    given = line.values("athenaopts")
    return line.set("athenaopts", *([f"{value} {text}" for value in given] or [text]))


def _with_pre_exec(line: CommandLine, text: str) -> CommandLine:
    """The text as the first value of `--preExec`, before anything that others give."""
    return line.set("preExec", text, *line.values("preExec"))


def is_true(line: CommandLine, name: str) -> bool:
    """Whether a switch is on: `--CA`, `--CA True`, `--CA=all:True`. InvalidInput when it is on for some steps only."""
    argument = line.get(name)
    if argument is None:
        return False
    told = {step.value.strip().lower() for step in substeps(argument.values)}
    if told <= {"true"}:
        return True
    if told == {"false"}:
        return False
    shown = " ".join(argument.values)
    raise InvalidInput(line.source, argument.position, f"is {shown!r}", expected="True or False, the same for all steps")
