"""The arguments of a simulation transform, as far as they matter to the event service.

The grammar is that of Athena's transforms: unique prefixes and aliases, `--name=value` or `--name value`, values separated by
blanks or commas, substep prefixes (`all:`, `EVNTtoHITS:`), patterns for input files, `@file` with one argument per line. Unknown
arguments are kept and ignored.
"""

import argparse
import glob
import re
from dataclasses import dataclass
from pathlib import Path

_SUBSTEP = re.compile(r"^(?:all|first|default|EVNTtoHITS|TRtoHITS|a2r|HITtoRDO):")
_CHANNEL = re.compile(r"EventRangeChannel\s*=\s*\\?[\"']([^\"'\\]+)\\?[\"']")
_MTES_CHANNEL = re.compile(r"--mtes[-_]channel[= ]\\?[\"']?([^\"'\s\\]+)")
DEFAULT_CHANNEL = "EventService_EventRanges"


class Refused(Exception):
    """The transform would not start: exit code and reason."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Arguments:
    """What the stand-in needs to know."""

    inputs: tuple
    output: str
    channel: str
    processes: int
    max_events: int
    job_number: int
    event_service: bool
    ignored: tuple


def parse(argv, environment):
    """Arguments of one transform. Raises Refused."""
    parser = argparse.ArgumentParser(prog="Sim_tf.py", fromfile_prefix_chars="@", add_help=False)
    parser.convert_arg_line_to_args = lambda line: [line] if line.strip() else []
    several = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--inputEVNTFile", "--inputEvgenFile", "--inputEVNT_TRFile", dest="inputs", **several)
    parser.add_argument("--outputHITSFile", "--outputHitsFile", dest="outputs", **several)
    parser.add_argument("--preExec", **several)
    parser.add_argument("--postExec", **several)
    parser.add_argument("--preInclude", **several)
    parser.add_argument("--postInclude", **several)
    parser.add_argument("--athenaopts", **several)
    parser.add_argument("--maxEvents", default="-1")
    parser.add_argument("--jobNumber", default="1")
    parser.add_argument("--eventService", nargs="?", const="True", default="False")
    parser.add_argument("--multiprocess", nargs="?", const="True", default="False")
    parser.add_argument("--multithreaded", nargs="?", const="True", default="False")
    parser.add_argument("--mtes-channel", dest="mtes_channel", default="")
    try:
        known, ignored = parser.parse_known_args(argv)
    except SystemExit as end:
        raise Refused(2, "the arguments cannot be parsed") from end
    outputs = _words(known.outputs)
    if len(outputs) != 1:
        raise Refused(65, f"{len(outputs)} output files; the event service takes one")
    inputs = tuple(path for word in _words(known.inputs) for path in _matching(word))
    for path in inputs:
        if not Path(path).is_file():
            raise Refused(68, f"input file {path} is not there")
    if not inputs:
        raise Refused(65, "no input file")
    return Arguments(
        inputs=tuple(dict.fromkeys(inputs)),
        output=outputs[0],
        channel=_channel(known, environment),
        processes=_processes(environment),
        max_events=_number("maxEvents", known.maxEvents),
        job_number=_number("jobNumber", known.jobNumber),
        event_service=_substepless(known.eventService).lower() == "true",
        ignored=tuple(ignored),
    )


def _matching(pattern):
    # strings, not paths: the spelling must stay as it is
    return sorted(glob.glob(pattern)) or [pattern]  # noqa: PTH207


def _words(values):
    found = [part for value in values for part in re.split(r"[\s,]+", _substepless(value)) if part]
    return [_substepless(part) for part in found]


def _substepless(value):
    return _SUBSTEP.sub("", value.strip())


def _channel(known, environment):
    if known.mtes_channel:
        return known.mtes_channel.strip("\"'")
    for text in known.athenaopts:
        if found := _MTES_CHANNEL.search(text):
            return found[1]
    for text in known.preExec:
        if found := _CHANNEL.search(text):
            return found[1]
    return environment.get("PILOT_EVENTRANGECHANNEL", DEFAULT_CHANNEL)


def _processes(environment):
    for name in ("ATHENA_PROC_NUMBER", "ATHENA_CORE_NUMBER"):
        if environment.get(name):
            return max(1, int(environment[name]))
    return 1


def _number(name, text):
    try:
        return int(_substepless(text))
    except ValueError as problem:
        raise Refused(65, f"--{name}={text!r} is no number") from problem
