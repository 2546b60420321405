"""Options of the payload `athenamp`, and the command they make for one run of the transform.

    command            the transform and its arguments, a list; `{channel}`, `{cores}` and `{job_number}` in it are filled in.
                       Left out for a job of PanDA's, which says itself what to run
    max_events         value for `--maxEvents` of PanDA's job, -1 for all (default: what the job says)
    name_every_input   give the transform all inputs of PanDA's job, not only the first (default false)
    container          what it runs in, see `raythena.domain.container` (optional)
    environment        more variables for it (optional)
    yampl_path         directory with the Python module yampl, if Python does not find it by itself (optional)
    flush              true: held-back reports are fetched with a range no file has; false: by ending the transform (default true)

The transform learns the channel's name where the command has `{channel}`, otherwise as
`domain.transform.channel_argument` says; always
also in `PILOT_EVENTRANGECHANNEL`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raythena.domain.container import Container, parse_container, refuse_isolation
from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.node_job import NodeFacts, derive_node_job
from raythena.domain.panda import is_panda, parse_panda_job
from raythena.domain.transform import CommandLine, quoted, vocabulary_of, with_channel
from raythena.payloads.plugin_options import PREFIX, checked_path, max_events, refuse_unknown, string_list, string_map
from raythena.payloads.workers.program import ONE_THREAD
from raythena.runtime.payload_interface import PayloadContext

KNOWN_OPTIONS = ("command", "max_events", "name_every_input", "container", "environment", "yampl_path", "flush")
CHANNEL_VARIABLE = "PILOT_EVENTRANGECHANNEL"
CHANNEL = "{channel}"
CATALOGUE = "PoolFileCatalog.xml"


@dataclass(frozen=True, slots=True)
class TransformOptions:
    """The options, checked."""

    command: tuple[str, ...]
    """Empty: that of PanDA's job."""
    max_events: int | None
    """For a job of PanDA's; None: what it says."""
    name_every_input: bool
    container: Container
    environment: dict[str, str]
    yampl_path: Path | None
    flush: bool


def read_options(options: Mapping[str, object], source: str) -> TransformOptions:
    """The options of a job. Raises InvalidInput naming the field."""
    refuse_unknown(options, KNOWN_OPTIONS, source)
    command = string_list(options, "command", source)
    if "command" in options and not (command and command[0]):
        expected = "a list: the transform and its arguments, one by one"
        raise InvalidInput(source, f"{PREFIX}.command", "no transform given", expected=expected)
    flags = {name: _flag(options, name, default, source) for name, default in (("flush", True), ("name_every_input", False))}
    container = parse_container(options.get("container"), source, f"{PREFIX}.container")
    refuse_isolation(container, source, f"{PREFIX}.container")
    return TransformOptions(
        tuple(command),
        max_events(options, "command", source),
        flags["name_every_input"],
        container,
        string_map(options, "environment", source),
        checked_path(options, "yampl_path", source),
        flags["flush"],
    )


def check_options(options: Mapping[str, object], source: str) -> None:
    """Refuse options that cannot work. Raises InvalidInput naming the field."""
    read = read_options(options, source)
    if read.command:
        _given_command(read.command, source).argv("channel")


def _flag(options: Mapping[str, object], name: str, default: bool, source: str) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput(source, f"{PREFIX}.{name}", f"is {value!r}", expected="true or false")
    return value


@dataclass(frozen=True)
class TransformCommand:
    """What to run for one life of the transform, before the channel is known."""

    program: tuple[str, ...]
    """The transform, and what starts it; all of the command where it says itself where the channel goes."""
    arguments: CommandLine | None
    """None: `program` has `{channel}` in it."""
    catalogue: str = ""
    """Content of the POOL file catalogue to be put beside it; empty: none."""

    def argv(self, channel: str) -> list[str]:
        """The command with the channel's name where the transform looks for it. Raises InvalidInput."""
        if self.arguments is None:
            return [word.replace(CHANNEL, channel) for word in self.program]
        return [*self.program, *with_channel(self.arguments, channel).argv]


def transform_command(options: TransformOptions, context: PayloadContext, job_number: int) -> TransformCommand:
    """The command of one run: that of the options, or what PanDA's job says. Raises InvalidInput."""
    facts = NodeFacts(job_number, context.cores, options.max_events, options.name_every_input)
    if options.command:
        values = {"{cores}": str(context.cores), "{job_number}": str(job_number)}
        return _given_command([_filled(word, values) for word in options.command], "job")
    job = context.job
    if job is None or not is_panda(job.source):
        hint = "Only a job of PanDA's says itself what to run"
        raise InvalidInput("job", f"{PREFIX}.command", "is missing", expected="the transform and its arguments", hint=hint)
    panda_job = parse_panda_job(FieldPath("job", "", job.source))
    node_job = derive_node_job(panda_job, {file.lfn: file.pfn for file in job.inputs}, facts)
    catalogue = node_job.catalogue.to_xml() if node_job.catalogue.entries else ""
    return TransformCommand((node_job.transformation,), node_job.command, catalogue)


def _given_command(words: Sequence[str], source: str) -> TransformCommand:
    """The option `command`: programs, then arguments of a transform, unless it says itself where the channel goes."""
    if any(CHANNEL in word for word in words):
        return TransformCommand(tuple(words), None)
    first = next((at for at, word in enumerate(words) if word.startswith("--")), len(words))
    text = " ".join(map(quoted, words[first:]))
    line = CommandLine.parse(text, f"{source}: {PREFIX}.command", vocabulary_of(words[max(0, first - 1)]))
    return TransformCommand(tuple(words[:first]), line)


def environment_of(options: TransformOptions, channel: str, cores: int) -> dict[str, str]:
    """Variables the transform needs, without those of the surroundings."""
    own = {"ATHENA_PROC_NUMBER": str(cores), "ATHENA_CORE_NUMBER": str(cores), CHANNEL_VARIABLE: channel}
    return {**ONE_THREAD, **own, **options.environment}


def _filled(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word
