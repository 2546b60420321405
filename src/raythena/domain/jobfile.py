"""The native job file: a short YAML (or JSON) document for people without PanDA; see `docs/job-file.md`.

`parse_job_document` turns the tree of such a document into a `Job`. It is strict, because a job file is written by hand and a
misspelt key that is ignored costs a night of computing: unknown keys are refused with the nearest known one, and every refusal
names the place (`inputs[2].events`).

Rules: relative paths are relative to the job file; one spelling per path; nothing here touches a disk, only the `InputReader`
it is given does. Which payloads and mergers exist is not known here: kinds and options are handed on as they are.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

from raythena.domain.admission import (
    MAX_EVENTS,
    InputReader,
    asked_at,
    canonical_path,
    check_checksum,
    check_guid,
    check_inputs,
    check_lfn,
    check_outputs,
    confirmed,
    count_outputs,
)
from raythena.domain.document import FieldPath, shown
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec

JOB_KEYS = ("name", "inputs", "outputs", "payload", "merge", "cores_per_node")
INPUT_KEYS = ("path", "glob", "events", "tree", "lfn", "guid", "size_bytes", "checksum")
OUTPUT_KEYS = ("events_per_file", "name", "names")
PAYLOAD_KEYS = ("python", "setup", "options", "path", "process", "environment", "kind")
MERGE_KEYS = ("python", "options", "path", "kind")

MAX_CORES = 4096

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
_NUMBER_FORMAT = re.compile(r"(0?[1-9][0-9]?)?d?", re.ASCII)


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
    root = FieldPath(source, "", document).mapping(JOB_KEYS, required=("name", "inputs", "outputs", "payload"))
    entries = _inputs(root.entry("inputs"), base_dir, reader)
    inputs = tuple(entry.file for entry in entries)
    check_inputs(inputs, root.entry("inputs"), lambda index, attribute: entries[index].field(attribute))
    per_output, outputs = _outputs(root.entry("outputs"), inputs)
    cores = root.entry("cores_per_node")
    return Job(
        name=check_lfn(root.entry("name")),
        inputs=inputs,
        outputs=outputs,
        payload=_payload(root.entry("payload"), base_dir),
        merge=_merge(root.entry("merge"), base_dir, outputs),
        events_per_output=per_output,
        cores_per_node=cores.count(maximum=MAX_CORES) if cores.given else None,
        source=root.plain(),
    )


def parse_payload_document(document: object, source: str, base_dir: str) -> tuple[PayloadSpec, MergeSpec | None]:
    """What computes and merges the events of a job that does not say so itself, PanDA's for instance.

    The document has the keys `payload` and `merge` of a job file and no others; `merge` is None if left out. Raises InvalidInput.
    """
    root = FieldPath(source, "", document).mapping(("payload", "merge"), required=("payload",))
    merge = root.entry("merge")
    spec = _merge(merge, base_dir, ()) if merge.given else None
    return _payload(root.entry("payload"), base_dir), spec


def _inputs(place: FieldPath, base_dir: str, reader: InputReader) -> list[_Entry]:
    return [entry for item in place.items(at_least=1) for entry in _input(item, base_dir, reader)]


def _input(place: FieldPath, base_dir: str, reader: InputReader) -> list[_Entry]:
    """The files of one entry: a path, a pattern, or a mapping that says more."""
    if isinstance(place.value, str):
        if any(char in place.value for char in "*?["):
            return _matching(place, place, base_dir, reader)
        return [_known(place, canonical_path(base_dir, place), reader)]
    place.mapping(INPUT_KEYS)
    path, pattern = place.entry("path"), place.entry("glob")
    if path.given == pattern.given:
        raise place.refuse("has both path and glob" if path.given else "has neither path nor glob", expected="one of the two")
    if path.given:
        return [_known(place, canonical_path(base_dir, path), reader)]
    for key in ("lfn", "guid", "size_bytes", "checksum"):
        if place.entry(key).given:
            raise place.entry(key).refuse("cannot be the same for all files of a glob", expected="path instead of glob")
    return _matching(place, pattern, base_dir, reader)


def _matching(place: FieldPath, pattern: FieldPath, base_dir: str, reader: InputReader) -> list[_Entry]:
    # a bracket in the name of the job file's own directory is no pattern
    literal_base = re.sub(r"[*?[]", r"[\g<0>]", base_dir)
    paths = asked_at(pattern, lambda: reader.matching(canonical_path(literal_base, pattern)))
    if not paths:
        raise pattern.refuse(f"no file matches {pattern.value!r}", expected="at least one file", hint=f"Looked below {base_dir}")
    return [_known(place, path, reader) for path in paths]


def _known(place: FieldPath, pfn: str, reader: InputReader) -> _Entry:
    """The file at `pfn`, with everything the document and the disk say about it."""
    size, guid, checksum = place.entry("size_bytes"), place.entry("guid"), place.entry("checksum")
    file = InputFile(
        lfn=_input_lfn(place, pfn),
        pfn=pfn,
        n_events=0,
        guid=check_guid(guid) if guid.given else "",
        size_bytes=size.count() if size.given else None,
        checksum=check_checksum(checksum) if checksum.given else "",
    )
    entry = _Entry(file, place)
    file = confirmed(file, reader, entry.field)
    return replace(entry, file=replace(file, n_events=_n_events(entry, reader)))


def _input_lfn(place: FieldPath, pfn: str) -> str:
    lfn = place.entry("lfn")
    if lfn.given:
        return check_lfn(lfn)
    name = pfn.rpartition("/")[2]
    derived = FieldPath(place.source, lfn.field if isinstance(place.value, dict) else place.field, name)
    return check_lfn(derived)


def _n_events(entry: _Entry, reader: InputReader) -> int:
    events, tree = entry.place.entry("events"), entry.place.entry("tree")
    if events.given:
        return events.count(maximum=MAX_EVENTS)
    name = tree.text("the name of a tree") if tree.given else None
    return asked_at(entry.field("events"), lambda: reader.count_events(entry.file.pfn, name))


def _outputs(place: FieldPath, inputs: Sequence[InputFile]) -> tuple[int, tuple[str, ...]]:
    """Events per output file and the names of the outputs."""
    place.mapping(OUTPUT_KEYS, required=("events_per_file",))
    per_file = place.entry("events_per_file")
    per_output = per_file.count(maximum=MAX_EVENTS)
    needed = count_outputs(inputs, per_output, per_file)
    template, names = place.entry("name"), place.entry("names")
    if template.given == names.given:
        raise place.refuse("has both name and names" if names.given else "has neither name nor names", expected="one of the two")
    places = names.items(at_least=1) if names.given else [replace(template, value=lfn) for lfn in _numbered(template, needed)]
    outputs = tuple(check_lfn(item) for item in places)
    check_outputs(places, inputs, needed, names)
    return per_output, outputs


def _numbered(template: FieldPath, count: int) -> tuple[str, ...]:
    """`count` names from a template with the one field `{n}` or `{n:06d}`, numbered from 1."""
    expected = "a name with one number in it, such as HITS.{n:06d}.root"
    text = template.text(expected)
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise template.refuse(f"is {text!r}: {error}", expected=expected) from error
    if len(fields) != 1 or fields[0][0] != "n" or fields[0][2] or not _NUMBER_FORMAT.fullmatch(fields[0][1] or ""):
        raise template.refuse(f"is {text!r}", expected=expected)
    return tuple(text.format(n=number) for number in range(1, count + 1))


def _payload(place: FieldPath, base_dir: str) -> PayloadSpec:
    place.mapping(PAYLOAD_KEYS)
    shape = _only_one(place, ("python", "process", "kind"))
    if shape == "python":
        _refuse_others(place, "python", ("python", "setup", "options", "path"))
        return PayloadSpec("python", _python_options(place, base_dir))
    if shape == "process":
        _refuse_others(place, "process", ("process", "environment"))
        return PayloadSpec("process", _process_options(place, base_dir))
    _refuse_others(place, "kind", ("kind", "options"))
    return PayloadSpec(_kind(place.entry("kind")), _options(place.entry("options")))


def _merge(place: FieldPath, base_dir: str, outputs: Sequence[str]) -> MergeSpec:
    if not place.given:
        return MergeSpec("root" if all(lfn.endswith(".root") for lfn in outputs) else "concat")
    if isinstance(place.value, str):
        return MergeSpec(_kind(place))
    place.mapping(MERGE_KEYS)
    if _only_one(place, ("python", "kind")) == "python":
        _refuse_others(place, "python", ("python", "options", "path"))
        return MergeSpec("python", _python_options(place, base_dir))
    _refuse_others(place, "kind", ("kind", "options"))
    return MergeSpec(_kind(place.entry("kind")), _options(place.entry("options")))


def _only_one(place: FieldPath, keys: Sequence[str]) -> str:
    given = [key for key in keys if place.entry(key).given]
    if len(given) != 1:
        raise place.refuse(f"has {' and '.join(given) or 'none of ' + ', '.join(keys)}", expected="one of " + ", ".join(keys))
    return given[0]


def _refuse_others(place: FieldPath, shape: str, allowed: Sequence[str]) -> None:
    for key in place.value:
        if key not in allowed:
            raise place.entry(key).refuse(f"does not go with {shape}", expected="only " + ", ".join(allowed))


def _python_options(place: FieldPath, base_dir: str) -> dict[str, object]:
    """What `PayloadSpec` documents for `python`: function, setup, options, path."""
    setup, path, options = place.entry("setup"), place.entry("path"), place.entry("options")
    built: dict[str, object] = {"function": _function(place.entry("python"))}
    if setup.given:
        built["setup"] = _function(setup)
    if options.given:
        built["options"] = _options(options)
    built["path"] = [canonical_path(base_dir, item) for item in path.items()] if path.given else [base_dir]
    return built


def _process_options(place: FieldPath, base_dir: str) -> dict[str, object]:
    """What `PayloadSpec` documents for `process`: command, environment."""
    items = place.entry("process").items(at_least=1)
    program = items[0].text("a program")
    # a bare name is looked up on PATH by the node, as a shell would; one with a slash is a file beside the job file
    argv = [canonical_path(base_dir, items[0]) if "/" in program else program]
    argv += [_argument(item) for item in items[1:]]
    environment = place.entry("environment")
    if not environment.given:
        return {"command": argv}
    return {"command": argv, "environment": _environment(environment)}


def _argument(place: FieldPath) -> str:
    if not isinstance(place.value, str) or "\0" in place.value:
        raise place.refuse(f"is {shown(place.value)}", expected="text", hint="Put numbers in quotes")
    return str(place.plain())


def _environment(place: FieldPath) -> dict[str, str]:
    if not isinstance(place.value, dict):
        raise place.refuse(f"is {shown(place.value)}", expected="a mapping of names to text")
    for key in place.value:
        if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII):
            raise place.refuse(f"has the key {key!r}", expected="names of environment variables")
    return {key: _argument(place.entry(key)) for key in place.value}


def _options(place: FieldPath) -> dict[str, object]:
    if not place.given:
        return {}
    if not isinstance(place.value, dict):
        raise place.refuse(f"is {shown(place.value)}", expected="a mapping")
    plain: dict[str, object] = place.plain()
    return plain


def _function(place: FieldPath) -> str:
    expected = "module:function, such as my_module:process"
    name = place.text(expected)
    if not _FUNCTION.fullmatch(name):
        raise place.refuse(f"is {name!r}", expected=expected)
    return name


def _kind(place: FieldPath) -> str:
    kind = place.text("the name of a plug-in")
    if not _KIND.fullmatch(kind):
        raise place.refuse(f"is {kind!r}", expected="the name of a plug-in, such as root")
    return kind
