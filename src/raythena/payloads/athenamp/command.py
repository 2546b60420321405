"""Options of the payload `athenamp`, and the command they make for one run of the transform.

    command        the transform and its arguments, a list. `{channel}`, `{cores}` and `{job_number}` in it are filled in
    container      what it runs in, see `raythena.domain.container` (optional)
    environment    more variables for it (optional)
    yampl_path     directory with the Python module yampl, if Python does not find it by itself (optional)
    nudge          true: held-back reports are fetched with a range no file has; false: by ending the transform (default true)

How the transform learns the channel's name depends on its age, as Pilot does it: a `{channel}` in the command; otherwise
`--athenaopts` with `--mtes-channel` for multithreaded Athena, a `--preExec` otherwise; always also in `PILOT_EVENTRANGECHANNEL`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raythena.domain.container import Container, parse_container
from raythena.domain.errors import InvalidInput
from raythena.payloads.options import PREFIX, checked_path, refuse_unknown, string_list, string_map
from raythena.payloads.process import ONE_THREAD

KNOWN_OPTIONS = ("command", "container", "environment", "yampl_path", "nudge")
CHANNEL_VARIABLE = "PILOT_EVENTRANGECHANNEL"
_JOB_NUMBERS = 1 << 30


@dataclass(frozen=True, slots=True)
class TransformOptions:
    """The options, checked."""

    command: tuple[str, ...]
    container: Container
    environment: dict[str, str]
    yampl_path: Path | None
    nudge: bool


def read_options(options: Mapping[str, Any], source: str) -> TransformOptions:
    """The options of a job. Raises InvalidInput naming the field."""
    refuse_unknown(options, KNOWN_OPTIONS, source)
    command = string_list(options, "command", source)
    if not command or not command[0]:
        raise InvalidInput(
            source, f"{PREFIX}.command", "no transform given", expected="a list: the transform and its arguments, one by one"
        )
    if not isinstance(options.get("nudge", True), bool):
        raise InvalidInput(source, f"{PREFIX}.nudge", f"is {options['nudge']!r}", expected="true or false")
    return TransformOptions(
        tuple(command),
        parse_container(options.get("container"), source, f"{PREFIX}.container"),
        string_map(options, "environment", source),
        checked_path(options, "yampl_path", source),
        bool(options.get("nudge", True)),
    )


def check_options(options: Mapping[str, Any], source: str) -> None:
    """Refuse options that cannot work. Raises InvalidInput naming the field."""
    read_options(options, source)


def job_number(node: str) -> int:
    """A number for `--jobNumber`, which seeds random numbers: positive, and different on every node and in every life of one."""
    return 1 + zlib.crc32(node.encode()) % _JOB_NUMBERS


def command_line(command: Sequence[str], channel: str, cores: int, node: str) -> list[str]:
    """The command of one run, with the channel's name where the transform looks for it."""
    values = {"{channel}": channel, "{cores}": str(cores), "{job_number}": str(job_number(node))}
    filled = [_filled(word, values) for word in command]
    if any("{channel}" in word for word in command):
        return filled
    if not any(word.split("=")[0] == "--CA" for word in filled):
        jobproperties = "from AthenaMP.AthenaMPFlags import jobproperties as jps;jps.AthenaMPFlags.EventRangeChannel"
        return _with_pre_exec(filled, f'{jobproperties}="{channel}"')
    if any(word.lower() == "--multithreaded=true" for word in filled):
        return _with_athena_option(filled, f'--mtes --mtes-channel="{channel}"')
    return _with_pre_exec(filled, f'ConfigFlags.MP.EventRangeChannel="{channel}"')


def environment_of(options: TransformOptions, channel: str, cores: int) -> dict[str, str]:
    """Variables the transform needs, without those of the surroundings."""
    own = {"ATHENA_PROC_NUMBER": str(cores), "ATHENA_CORE_NUMBER": str(cores), CHANNEL_VARIABLE: channel}
    return {**ONE_THREAD, **own, **options.environment}


def whole_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables on top of the agent's own."""
    return {**os.environ, **variables}


def _filled(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def _with_pre_exec(words: list[str], text: str) -> list[str]:
    """The text as the first value of `--preExec`; an argument of its own when there is none."""
    for place, word in enumerate(words):
        if word == "--preExec":
            return [*words[: place + 1], text, *words[place + 1 :]]
        if word.startswith("--preExec="):
            return [*words[:place], "--preExec", text, word.removeprefix("--preExec="), *words[place + 1 :]]
    return [*words, "--preExec", text]


def _with_athena_option(words: list[str], text: str) -> list[str]:
    for place, word in enumerate(words):
        if word.startswith("--athenaopts="):
            return [*words[:place], f"{word} {text}", *words[place + 1 :]]
    return [*words, f"--athenaopts={text}"]
