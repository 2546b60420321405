"""The declaration of a native job file: every key, what it takes, what it means.

The check of a document, the JSON Schema that `raythena schema job` prints and the tables of `docs/job-file.md` are made from
these models (see `document_model`). What a document cannot say of itself alone is checked by `jobfile`, which makes the job:
whether files are there and hold what is said of them, and whether there are as many outputs as the events fill.
"""

from __future__ import annotations

import re
import string
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from raythena.domain.admission import (
    ADLER32_PATTERN,
    GUID_PATTERN,
    LFN_PATTERN,
    MAX_EVENTS,
    MAX_LFN_BYTES,
    check_checksum,
    check_guid,
    check_lfn,
    check_path,
)
from raythena.domain.document import FieldPath, shown
from raythena.domain.document_model import Checked, DocumentModel, Entries, ListOr, Shapes, line, whole_number
from raythena.domain.job import NO_MERGE
from raythena.domain.seeds import SEEDS
from raythena.domain.worker_shape import MAX_CORES_PER_WORKER, MAX_EVENTS_PER_RANGE, MAX_RANGES_IN_FLIGHT

MAX_CORES = 4096
MAX_EVENT_NUMBER = 1_000_000_000_000
MAX_SEED = 2**53
"""Whole numbers up to here are read alike by everything that reads JSON."""
_WITHOUT_INPUTS = ("first_event", "seed")

_WORD = "[A-Za-z_][A-Za-z0-9_]*"
_NAME = rf"{_WORD}(\.{_WORD})*"
_FUNCTION = f"^{_NAME}:{_NAME}$"
_KIND = "^[A-Za-z][A-Za-z0-9_.-]*$"
_TEMPLATE = r"^([A-Za-z0-9_][A-Za-z0-9_.+=@-]*)?\{n(:(1|0[1-9][0-9]?)?d?)?\}[A-Za-z0-9_.+=@-]*$"
_NUMBER_FORMAT = re.compile(r"(0?[1-9][0-9]?)?d?", re.ASCII)

_STREAM = "^[A-Za-z0-9][A-Za-z0-9_-]*$"
MAX_STREAM_BYTES = 40
MAX_STREAMS = 32

_NO_NUL = {"type": "string", "not": {"pattern": r"\x00"}}


def check_template(place: FieldPath) -> str:
    """A template with the one field `{n}` or `{n:06d}` that makes acceptable file names."""
    expected = "a name with one number in it, such as HITS.{n:06d}.root"
    text = place.text(expected)
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise place.refuse(f"is {text!r}: {error}", expected=expected) from error
    if len(fields) != 1 or fields[0][0] != "n" or fields[0][2] or not _NUMBER_FORMAT.fullmatch(fields[0][1] or ""):
        raise place.refuse(f"is {text!r}", expected=expected)
    check_lfn(FieldPath(place.source, place.field, text.format(n=1)))
    return text


def _check_function(place: FieldPath) -> str:
    expected = "module:function, such as my_module:process"
    name = place.text(expected)
    if not re.fullmatch(_FUNCTION, name):
        raise place.refuse(f"is {name!r}", expected=expected)
    return name


def _check_kind(place: FieldPath) -> str:
    kind = place.text("the name of a plug-in")
    if not re.fullmatch(_KIND, kind):
        raise place.refuse(f"is {kind!r}", expected="the name of a plug-in, such as root")
    return kind


def _check_stream(place: FieldPath) -> str:
    expected = "a word of letters, digits, _ and -, such as HITS"
    name = place.text(expected)
    if not re.fullmatch(_STREAM, name, re.ASCII) or len(name) > MAX_STREAM_BYTES:
        raise place.refuse(f"is {shown(name)}", expected=expected)
    return name


def _check_argument(place: FieldPath) -> str:
    if not isinstance(place.value, str) or "\0" in place.value:
        raise place.refuse(f"is {shown(place.value)}", expected="text", hint="Put numbers in quotes")
    return str(place.plain())


def _check_command(place: FieldPath) -> tuple[str, ...]:
    items = place.items(at_least=1)
    return (items[0].text("a program"), *map(_check_argument, items[1:]))


def _check_environment(place: FieldPath) -> dict[str, str]:
    if not isinstance(place.value, dict):
        raise place.refuse(f"is {shown(place.value)}", expected="a mapping of names to text")
    for key in place.value:
        if not isinstance(key, str) or not re.fullmatch(_WORD, key):
            raise place.refuse(f"has the key {key!r}", expected="names of environment variables")
    return {key: _check_argument(place.entry(key)) for key in place.value}


def _check_options(place: FieldPath) -> dict[str, object]:
    if not isinstance(place.value, dict):
        raise place.refuse(f"is {shown(place.value)}", expected="a mapping")
    plain: dict[str, object] = place.plain()
    return plain


_PATH = line(check_path, unwanted=r"[\x00-\x1f\x7f]|://")
_KIND_LINE = line(_check_kind, _KIND)

FileName = Annotated[str, line(check_lfn, LFN_PATTERN, maxLength=MAX_LFN_BYTES)]
FilePath = Annotated[str, _PATH]
Function = Annotated[str, line(_check_function, _FUNCTION)]
Kind = Annotated[str, _KIND_LINE]
Options = Annotated[dict[str, Any], Checked(_check_options, {"type": "object"})]
Events = Annotated[int, whole_number(MAX_EVENTS)]
TreeName = Annotated[str, line(lambda place: place.text("the name of a tree"))]
Command = Annotated[
    tuple[str, ...],
    Checked(
        _check_command,
        {
            "type": "array",
            "minItems": 1,
            "prefixItems": [{"pattern": r"\S", "not": {"pattern": r"[\x00-\x1f\x7f]"}}],
            "items": _NO_NUL,
        },
    ),
]
Environment = Annotated[
    dict[str, str],
    Checked(
        _check_environment,
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{_WORD}$", "not": {"pattern": r"\n"}},
            "additionalProperties": _NO_NUL,
        },
    ),
]


_EVENTS = Field(
    default=None,
    description="how many events the file has (with `glob`: each of the files)."
    " May be left out for ROOT files, which are counted",
)
_TREE = Field(
    default=None,
    description="the tree whose entries are the events, by its path in the file or its name;"
    " see [the event tree](#the-event-tree) for what is taken without it",
)
_PER_FILE = Field(description="how many events an output file holds")
_OPTIONS = "a mapping handed to {} (optional)"
_PATHS = Field(default=None, description="directories to import from; `[.]`, the directory of the job file, if left out")


class FileInput(DocumentModel):
    """One input file."""

    path: FilePath = Field(description="the file. Give either `path` or `glob`")
    events: Events | None = _EVENTS
    tree: TreeName | None = _TREE
    lfn: FileName | None = Field(
        default=None,
        description="the name the file is known by, when it is not the last part of the path. Must be different for every input",
    )
    guid: Annotated[str, line(check_guid, GUID_PATTERN)] | None = Field(
        default=None, description="its GUID. Without it one is derived from name and size"
    )
    size_bytes: Annotated[int, whole_number()] | None = Field(
        default=None, description="its size, to be checked before the job starts"
    )
    checksum: Annotated[str, line(check_checksum, ADLER32_PATTERN)] | None = Field(
        default=None, description="its adler32, such as `ad:0a1b2c3d`, checked when checksums are asked for"
    )


class PatternInput(DocumentModel):
    """All input files that match a pattern."""

    stranger: ClassVar[tuple[str, str]] = ("cannot be the same for all files of a glob", "path instead of glob")

    glob: FilePath = Field(
        description="a pattern: `*`, `?`, `[...]`, and `**` for any directories. The files it matches are taken in sorted order"
    )
    events: Events | None = _EVENTS
    tree: TreeName | None = _TREE


class UpstreamOutputs(DocumentModel):
    """The outputs of another task."""

    task: FilePath = Field(
        alias="from",
        description="the directory of the other task, or its job file: then the task `NAME.raythena` beside it."
        " See [chains of jobs](chains.md)",
    )


class NumberedOutputs(DocumentModel):
    """Outputs named by a template."""

    events_per_file: Events = _PER_FILE
    name: Annotated[str, line(check_template, _TEMPLATE)] = Field(
        description="a template with one number in it, counted from 1: `HITS.{n:06d}.root`. Give either `name` or `names`"
    )


class NamedOutputs(DocumentModel):
    """Outputs named one by one."""

    events_per_file: Events = _PER_FILE
    names: Annotated[tuple[FileName, ...], Entries(at_least=1)] = Field(
        description="the names one by one, in order; exactly as many as the mapping needs"
    )


class PythonMerge(DocumentModel):
    """A Python function that merges."""

    python: Function = Field(description="`module:function`, called with the list of files, the output and a context")
    options: Options | None = Field(default=None, description=_OPTIONS.format("it"))
    path: Annotated[tuple[FilePath, ...], Entries()] | None = _PATHS


class PluginMerge(DocumentModel):
    """Another merger."""

    kind: Kind = Field(description="`root`, `concat`, `transform`, `hadd`, `none`, or a plug-in of the group `raythena.mergers`")
    options: Options | None = Field(default=None, description=_OPTIONS.format("it"))


Merge = Annotated[PythonMerge | PluginMerge | str, Shapes({"python": PythonMerge, "kind": PluginMerge}, text=_KIND_LINE)]


class StreamOutputs(DocumentModel):
    """One of several streams."""

    stream: Annotated[str, line(_check_stream, _STREAM, maxLength=MAX_STREAM_BYTES)] = Field(
        description="what the payload calls it: a word of letters, digits, `_` and `-`, such as `HITS`"
    )
    name: Annotated[str, line(check_template, _TEMPLATE)] = Field(
        description="a template for the names of its files, with one number in it, counted from 1: `HITS.{n:06d}.root`"
    )
    merge: Merge | None = Field(
        default=None,
        description="what turns its outputs of many events into one file, as `merge` of the job;"
        " `root` for files called `*.root`, else `concat`",
    )

    @classmethod
    def check_together(cls, place: FieldPath) -> None:
        """A stream is merged."""
        merge = place.entry("merge")
        kind = merge.entry("kind").value if isinstance(merge.value, dict) else merge.value
        if kind == NO_MERGE:
            raise merge.refuse("is 'none'", expected="a merger", hint="What events write in several streams is kept merged only")


class StreamedOutputs(DocumentModel):
    """Several outputs for each event."""

    events_per_file: Events = _PER_FILE
    streams: Annotated[tuple[StreamOutputs, ...], Entries(at_least=2)] = Field(
        description="the streams, each of which has files of its own, with the same events as those of every other"
    )


_EVENTS_PER_RANGE = Field(
    default=None,
    description="how many events a worker is given at once, at most; 1 if left out",
)
_CORES_PER_WORKER = Field(default=None, description="how many cores a worker has, for its threads; 1 if left out")
EventsPerRange = Annotated[int, whole_number(MAX_EVENTS_PER_RANGE)]
CoresPerWorker = Annotated[int, whole_number(MAX_CORES_PER_WORKER)]


class PythonPayload(DocumentModel):
    """A Python function."""

    python: Function = Field(description="`module:function`, called for each event")
    setup: Function | None = Field(
        default=None, description="`module:function`, called once on each node before the first event (optional)"
    )
    options: Options | None = Field(default=None, description=_OPTIONS.format("both"))
    path: Annotated[tuple[FilePath, ...], Entries()] | None = _PATHS
    events_per_range: EventsPerRange | None = _EVENTS_PER_RANGE
    cores_per_worker: CoresPerWorker | None = _CORES_PER_WORKER


class ProcessPayload(DocumentModel):
    """A program that speaks the event-server protocol."""

    process: Command = Field(
        description="the program and its arguments, as a list. A program with a `/` in it is a file relative to the job file,"
        " one without is looked up on `PATH`"
    )
    environment: Environment | None = Field(default=None, description="variables to set for it (optional)")
    events_per_range: EventsPerRange | None = _EVENTS_PER_RANGE
    cores_per_worker: CoresPerWorker | None = _CORES_PER_WORKER
    ranges_in_flight: Annotated[int, whole_number(MAX_RANGES_IN_FLIGHT)] | None = Field(
        default=None, description="how many ranges a worker computes at a time; 1 if left out"
    )


class PluginPayload(DocumentModel):
    """Another plug-in."""

    kind: Kind = Field(description="the name of a plug-in of the group `raythena.payloads`")
    options: Options | None = Field(default=None, description=_OPTIONS.format("it"))


Input = Annotated[FileInput | PatternInput | str, Shapes({"path": FileInput, "glob": PatternInput}, text=_PATH)]
Outputs = Annotated[
    NumberedOutputs | NamedOutputs | StreamedOutputs,
    Shapes({"name": NumberedOutputs, "names": NamedOutputs, "streams": StreamedOutputs}),
]
Payload = Annotated[
    PythonPayload | ProcessPayload | PluginPayload,
    Shapes({"python": PythonPayload, "process": ProcessPayload, "kind": PluginPayload}),
]


_PAYLOAD = Field(description="what computes an event")
_MERGE = Field(
    default=None,
    description="what turns the outputs of many events into one file; `root` for outputs called `*.root`, else `concat`",
)


def _given(key: str) -> JsonDict:
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


_ONLY_WITHOUT_INPUTS: list[JsonDict] = [{"if": _given(key), "then": _given("events")} for key in _WITHOUT_INPUTS]


class JobDocument(DocumentModel):
    """A job file."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [_given("inputs"), _given("events")],
            "allOf": [
                *_ONLY_WITHOUT_INPUTS,
                {"if": {"properties": {"outputs": _given("streams")}}, "then": {"properties": {"merge": {"type": "null"}}}},
            ],
        }
    )

    name: FileName = Field(description="a word for people, logs and directories")
    inputs: Annotated[tuple[Input, ...] | UpstreamOutputs, ListOr(UpstreamOutputs)] | None = Field(
        default=None,
        description="where the events are: a list of paths, patterns, mappings, or `from`, the outputs of another task."
        " Give either `inputs` or `events`",
    )
    events: Annotated[int, whole_number(SEEDS)] | None = Field(
        default=None,
        description="how many events there are to make,"
        " in [a job without input files](#events-first_event-seed-jobs-without-input-files)",
    )
    first_event: Annotated[int, whole_number(MAX_EVENT_NUMBER)] | None = Field(
        default=None, description="the number of the first of them; 1 if left out"
    )
    seed: Annotated[int, whole_number(MAX_SEED, minimum=0)] | None = Field(
        default=None, description="what the seeds of events follow from, with their numbers; made from `name` if left out"
    )
    outputs: Outputs = Field(description="how many events an output file holds, and what outputs are called")
    payload: Payload = _PAYLOAD
    merge: Merge | None = _MERGE
    cores_per_node: Annotated[int, whole_number(MAX_CORES)] | None = Field(
        default=None, description="how many cores of each node the payload may use; left out: all, or what the command line says"
    )

    @classmethod
    def check_together(cls, place: FieldPath) -> None:
        """Events come from inputs, or have numbers and seeds."""
        given = [key for key in ("inputs", "events") if place.entry(key).given]
        if len(given) != 1:
            problem = "has both inputs and events" if given else "has neither inputs nor events"
            hint = "Keep one of the two" if given else "Say which files the events are in, or how many to make"
            raise place.refuse(problem, expected="one of inputs, events", hint=hint)
        for key in _WITHOUT_INPUTS:
            if "inputs" in given and place.entry(key).given:
                raise place.entry(key).refuse("does not go with inputs", expected="events instead of inputs")
        outputs = place.entry("outputs")
        if isinstance(outputs.value, dict) and outputs.entry("streams").given and place.entry("merge").given:
            raise place.entry("merge").refuse("does not go with outputs.streams", expected="a merge in each stream")


class PayloadDocument(DocumentModel):
    """What computes and merges the events of a job that does not say so itself."""

    payload: Payload = _PAYLOAD
    merge: Merge | None = _MERGE
