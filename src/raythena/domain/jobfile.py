"""The native job file: a short YAML (or JSON) document for people without PanDA; see `docs/job-file.md`.

`parse_job_document` turns the tree of such a document into a `Job`. It is strict, because a job file is written by hand and a
misspelt key that is ignored costs a night of computing: unknown keys are refused with the nearest known one, and every refusal
names the place (`inputs[2].events`). What a document may say is declared in `job_document`; here is what it cannot know of
itself: the files it names, and how many outputs their events fill.

Rules: relative paths are relative to the job file; one spelling per path; nothing here touches a disk, only the `InputReader`
it is given does. Which payloads and mergers exist is not known here: kinds and options are handed on as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from raythena.domain.admission import (
    InputReader,
    asked_at,
    canonical_path,
    check_distinct,
    check_inputs,
    check_lfn,
    check_outputs,
    confirmed,
    count_outputs,
)
from raythena.domain.document import FieldPath
from raythena.domain.document_model import parsed
from raythena.domain.job import InputFile, Job, MergeSpec, OutputStream, PayloadSpec
from raythena.domain.job_document import (
    MAX_STREAMS,
    FileInput,
    Input,
    JobDocument,
    Merge,
    NamedOutputs,
    Outputs,
    PatternInput,
    Payload,
    PayloadDocument,
    ProcessPayload,
    PythonMerge,
    PythonPayload,
    StreamedOutputs,
    UpstreamOutputs,
)
from raythena.domain.upstream import Upstream
from raythena.domain.worker_shape import SHAPE_OPTIONS


@dataclass(frozen=True, slots=True)
class _Entry:
    """One input file and the place in the document that brought it."""

    file: InputFile
    place: FieldPath

    def field(self, attribute: str) -> FieldPath:
        """Where `attribute` of the file is said; what is derived from the path is said to stand at the path."""
        if not isinstance(self.place.value, dict):
            return self.place
        key = "path" if self.place.value.get("path") is not None else "glob"
        return self.place.entry(attribute if self.place.value.get(attribute) is not None else key)


def parse_job_document(document: object, source: str, base_dir: str, reader: InputReader) -> Job:
    """The job a native document describes.

    `document` is the tree of the YAML or JSON text, `source` the name used in messages, `base_dir` the absolute directory that
    relative paths start from. Raises InvalidInput.
    """
    root = FieldPath(source, "", document)
    said = parsed(JobDocument, root)
    inputs, upstream = _events(said, root.entry("inputs"), base_dir, reader)
    streams = _streams(said.outputs, root.entry("outputs"), inputs, base_dir) if isinstance(said.outputs, StreamedOutputs) else ()
    outputs = streams[0].outputs if streams else _outputs(said.outputs, root.entry("outputs"), inputs)
    merge = streams[0].merge if streams else _merge(said.merge, root.entry("merge"), base_dir)
    return Job(
        name=said.name,
        inputs=inputs,
        outputs=outputs,
        payload=_payload(said.payload, root.entry("payload"), base_dir),
        merge=merge or _merge_by_names(outputs),
        events_per_output=said.outputs.events_per_file,
        cores_per_node=said.cores_per_node,
        upstream=upstream,
        source=root.plain(),
        streams=streams,
    )


def parse_payload_document(document: object, source: str, base_dir: str) -> tuple[PayloadSpec, MergeSpec | None]:
    """What computes and merges the events of a job that does not say so itself, PanDA's for instance.

    The document has the keys `payload` and `merge` of a job file and no others; `merge` is None if left out. Raises InvalidInput.
    """
    root = FieldPath(source, "", document)
    said = parsed(PayloadDocument, root)
    return _payload(said.payload, root.entry("payload"), base_dir), _merge(said.merge, root.entry("merge"), base_dir)


def _events(
    said: JobDocument, place: FieldPath, base_dir: str, reader: InputReader
) -> tuple[tuple[InputFile, ...], Upstream | None]:
    """Where the events are, and the task that makes the files if there is one."""
    if said.inputs is None:
        return _generated(said), None
    if not isinstance(said.inputs, UpstreamOutputs):
        return _files(said.inputs, place, base_dir, reader), None
    path = canonical_path(base_dir, place.entry("from"))
    made = asked_at(place.entry("from"), lambda: reader.upstream(path))
    return tuple(InputFile(lfn, "", n_events) for lfn, n_events in made.outputs), made.upstream


def _generated(said: JobDocument) -> tuple[InputFile]:
    """The sequence of events of a job without input files."""
    seed = said.seed if said.seed is not None else _seed_of(said.name)
    return (InputFile(lfn=said.name, pfn="", n_events=said.events or 0, first_event=said.first_event or 1, seed=seed),)


def _seed_of(name: str) -> int:
    """The same for the same name, for ever."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])


def _files(said: Sequence[Input], place: FieldPath, base_dir: str, reader: InputReader) -> tuple[InputFile, ...]:
    """The input files, distinct and not too many events."""
    entries = _inputs(said, place, base_dir, reader)
    inputs = tuple(entry.file for entry in entries)
    check_inputs(inputs, place, lambda index, attribute: entries[index].field(attribute))
    return inputs


def _inputs(said: Sequence[Input], place: FieldPath, base_dir: str, reader: InputReader) -> list[_Entry]:
    places = zip(said, place.items(), strict=True)
    return [entry for each, item in places for entry in _input(each, item, base_dir, reader)]


def _input(said: Input, place: FieldPath, base_dir: str, reader: InputReader) -> list[_Entry]:
    """The files of one entry: a path, a pattern, or a mapping that says more."""
    if isinstance(said, str):
        if any(char in said for char in "*?["):
            return _matching(PatternInput(glob=said), place, place, base_dir, reader)
        return [_known(FileInput(path=said), place, canonical_path(base_dir, place), reader)]
    if isinstance(said, FileInput):
        return [_known(said, place, canonical_path(base_dir, place.entry("path")), reader)]
    return _matching(said, place, place.entry("glob"), base_dir, reader)


def _matching(said: PatternInput, place: FieldPath, pattern: FieldPath, base_dir: str, reader: InputReader) -> list[_Entry]:
    # a bracket in the name of the job file's own directory is no pattern
    literal_base = re.sub(r"[*?[]", r"[\g<0>]", base_dir)
    paths = asked_at(pattern, lambda: reader.matching(canonical_path(literal_base, pattern)))
    if not paths:
        raise pattern.refuse(f"no file matches {pattern.value!r}", expected="at least one file", hint=f"Looked below {base_dir}")
    return [_known(FileInput(path=path, events=said.events, tree=said.tree), place, path, reader) for path in paths]


def _known(said: FileInput, place: FieldPath, pfn: str, reader: InputReader) -> _Entry:
    """The file at `pfn`, with everything the document and the disk say about it."""
    file = InputFile(
        lfn=said.lfn or _lfn_of(pfn, place),
        pfn=pfn,
        n_events=0,
        guid=said.guid or "",
        size_bytes=said.size_bytes,
        checksum=said.checksum or "",
    )
    entry = _Entry(file, place)
    file = confirmed(file, reader, entry.field)
    if said.events is not None:
        return replace(entry, file=replace(file, n_events=said.events))
    n_events = asked_at(entry.field("events"), lambda: reader.count_events(pfn, said.tree))
    return replace(entry, file=replace(file, n_events=n_events))


def _lfn_of(pfn: str, place: FieldPath) -> str:
    field = place.entry("lfn").field if isinstance(place.value, dict) else place.field
    return check_lfn(FieldPath(place.source, field, pfn.rpartition("/")[2]))


def _numbered(template: FieldPath, needed: int) -> list[FieldPath]:
    """Of a template that is good for one number, the longest names may still be too long."""
    return [replace(template, value=str(template.value).format(n=number)) for number in range(1, needed + 1)]


def _streams(said: StreamedOutputs, place: FieldPath, inputs: Sequence[InputFile], base_dir: str) -> tuple[OutputStream, ...]:
    """The streams, no two of which have a name, or a file, in common."""
    needed = count_outputs(inputs, said.events_per_file, place.entry("events_per_file"))
    items = place.entry("streams").items()
    if len(items) > MAX_STREAMS:
        raise place.entry("streams").refuse(f"lists {len(items)} streams", expected=f"at most {MAX_STREAMS}")
    check_distinct("the stream", [item.entry("stream") for item in items])
    names = [_numbered(item.entry("name"), needed) for item in items]
    check_outputs([name for each in names for name in each], inputs, needed * len(items), place.entry("streams"))
    streams = []
    for stream, item, places in zip(said.streams, items, names, strict=True):
        lfns = tuple(check_lfn(each) for each in places)
        streams.append(
            OutputStream(stream.stream, lfns, _merge(stream.merge, item.entry("merge"), base_dir) or _merge_by_names(lfns))
        )
    return tuple(streams)


def _outputs(said: Outputs, place: FieldPath, inputs: Sequence[InputFile]) -> tuple[str, ...]:
    """The names of the outputs."""
    needed = count_outputs(inputs, said.events_per_file, place.entry("events_per_file"))
    template, names = place.entry("name"), place.entry("names")
    places = names.items() if isinstance(said, NamedOutputs) else _numbered(template, needed)
    outputs = tuple(check_lfn(item) for item in places)
    check_outputs(places, inputs, needed, names)
    return outputs


def _payload(said: Payload, place: FieldPath, base_dir: str) -> PayloadSpec:
    if isinstance(said, PythonPayload):
        return PayloadSpec("python", {**_python_options(said, place, base_dir), **_shape(said)})
    if isinstance(said, ProcessPayload):
        return PayloadSpec("process", {**_process_options(said, place, base_dir), **_shape(said)})
    return PayloadSpec(said.kind, said.options or {})


def _merge(said: Merge | None, place: FieldPath, base_dir: str) -> MergeSpec | None:
    if said is None or isinstance(said, str):
        return MergeSpec(said) if said else None
    if isinstance(said, PythonMerge):
        return MergeSpec("python", _python_options(said, place, base_dir))
    return MergeSpec(said.kind, said.options or {})


def _merge_by_names(outputs: Sequence[str]) -> MergeSpec:
    return MergeSpec("root" if all(lfn.endswith(".root") for lfn in outputs) else "concat")


def _python_options(said: PythonPayload | PythonMerge, place: FieldPath, base_dir: str) -> dict[str, object]:
    """What `PayloadSpec` documents for `python`: function, setup, options, path."""
    built: dict[str, object] = {"function": said.python}
    if isinstance(said, PythonPayload) and said.setup is not None:
        built["setup"] = said.setup
    if said.options is not None:
        built["options"] = said.options
    path = place.entry("path")
    built["path"] = [canonical_path(base_dir, item) for item in path.items()] if path.given else [base_dir]
    return built


def _shape(said: PythonPayload | ProcessPayload) -> dict[str, object]:
    """What is said of workers."""
    return {name: value for name in SHAPE_OPTIONS if (value := getattr(said, name, None)) is not None}


def _process_options(said: ProcessPayload, place: FieldPath, base_dir: str) -> dict[str, object]:
    """What `PayloadSpec` documents for `process`: command, environment."""
    program, *arguments = said.process
    # a bare name is looked up on PATH by the node, as a shell would; one with a slash is a file beside the job file
    if "/" in program:
        program = canonical_path(base_dir, place.entry("process").items()[0])
    environment = {} if said.environment is None else {"environment": said.environment}
    return {"command": [program, *arguments], **environment}
