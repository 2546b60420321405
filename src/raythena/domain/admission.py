"""What every job must satisfy before it is admitted, whichever document it came from.

Names of files are hostile until proven harmless: they end up in directory listings, command lines, catalogues and URLs of other
people's systems. Counts are absurd until proven sane. A list of outputs must be exactly the one the mapping of events needs. And
what a document says of an input file must be true of the file itself.

Rules: nothing here reads a disk; what only a look at the disk can tell comes from an `InputReader` the caller brings. Every
refusal is an InvalidInput at a `FieldPath`.
"""

from __future__ import annotations

import posixpath
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.job import InputFile
from raythena.domain.outputs import OutputMap
from raythena.domain.upstream import UpstreamTask

MAX_EVENTS = 4_000_000_000
"""Events in a job: a range index is 32 bits wide wherever ranges are stored."""

MAX_OUTPUTS = 1_000_000
"""Output files of a job; more is a mistake in the number of events per file."""

MAX_LFN_BYTES = 240
"""File systems allow 255; some are left for the suffixes of temporary files."""

LFN_PATTERN = "^[A-Za-z0-9_][A-Za-z0-9_.+=@-]*$"
GUID_PATTERN = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
ADLER32_PATTERN = "^ad:[0-9A-Fa-f]{1,8}$"
_LFN, _GUID, _ADLER32 = (re.compile(pattern) for pattern in (LFN_PATTERN, GUID_PATTERN, ADLER32_PATTERN))
_GUID_NAMESPACE = uuid.UUID("6f3c4c1e-8d3b-5b7e-9c55-0d9f4d3f7a21")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a look at a file says."""

    size_bytes: int
    adler32: int | None = None
    """Of the contents; None when it was not computed."""


class InputReader(Protocol):
    """A look at the input files. Every method raises InvalidInput whose `source` is the file looked at."""

    def matching(self, pattern: str) -> Sequence[str]:
        """Absolute paths of the files a glob pattern (itself absolute) matches, sorted; empty when there are none."""
        ...

    def facts(self, pfn: str, *, with_checksum: bool) -> FileFacts:
        """Size, and checksum if wanted (a reader may decline), of a readable regular file."""
        ...

    def count_events(self, pfn: str, tree: str | None) -> int:
        """Events in a file, by reading it; `tree` names the tree to count, None lets the reader find it."""
        ...

    def upstream(self, path: str) -> UpstreamTask:
        """The task in a directory, or of the job file, at this absolute path, and the outputs it promised."""
        ...


def check_lfn(place: FieldPath) -> str:
    """A logical file name that is harmless everywhere: letters, digits and `_.+=@-`, beginning with a letter, digit or `_`."""
    expected = "a file name of letters, digits and _ . + = @ -, beginning with a letter, a digit or _"
    name = place.text(expected)
    if not _LFN.fullmatch(name):
        hint = "A directory does not belong in a file's name" if "/" in name else ""
        raise place.refuse(f"is {name!r}, which is no acceptable file name", expected=expected, hint=hint)
    if len(name) > MAX_LFN_BYTES:
        raise place.refuse(f"is a file name of {len(name)} characters", expected=f"at most {MAX_LFN_BYTES}")
    return name


def check_guid(place: FieldPath) -> str:
    """A GUID in its usual form of 36 characters, upper case."""
    guid = place.text("a GUID")
    if not _GUID.fullmatch(guid):
        raise place.refuse(f"is {guid!r}", expected="a GUID such as 1B4E28BA-2FA1-41D2-883F-0016D3CCA427")
    return guid.upper()


def check_checksum(place: FieldPath) -> str:
    """An adler32 checksum, `ad:` and up to 8 hexadecimal digits."""
    checksum = place.text("a checksum")
    if not _ADLER32.fullmatch(checksum):
        raise place.refuse(f"is {checksum!r}", expected="an adler32 checksum such as ad:0a1b2c3d")
    return checksum


def check_path(place: FieldPath) -> str:
    """A path, absolute or not, of a file or directory on a file system; as it stands."""
    text = place.text("the path of a file")
    if "://" in text:
        raise place.refuse(f"is {text!r}, a URL", expected="the path of a file on a file system all nodes see")
    if len(text.encode()) > 4096:
        raise place.refuse(f"is a path of {len(text.encode())} bytes", expected="at most 4096")
    return text


def canonical_path(base_dir: str, place: FieldPath) -> str:
    """The one spelling of a path: absolute, without `.`, `..` or doubled slashes; relative ones are below `base_dir`.

    Arithmetic on the text only: symbolic links are neither followed nor known, so that all nodes write the same bytes.
    """
    text = check_path(place)
    return "/" + posixpath.normpath(posixpath.join(base_dir, text)).lstrip("/")


def derived_guid(lfn: str, size_bytes: int) -> str:
    """A GUID for a file that has none: the same for the same name and size, for ever."""
    return str(uuid.uuid5(_GUID_NAMESPACE, f"{lfn}\n{size_bytes}")).upper()


def check_distinct(what: str, places: Sequence[FieldPath]) -> None:
    """Refuse the second of two places with the same value."""
    first: dict[object, FieldPath] = {}
    for place in places:
        earlier = first.setdefault(place.value, place)
        if earlier is not place:
            raise place.refuse(f"{what} {place.value!r} is listed twice", expected=f"another than {earlier.field}")


def check_inputs(inputs: Sequence[InputFile], place: FieldPath, field_of: Callable[[int, str], FieldPath]) -> None:
    """Refuse input files that are not distinct, and more events than a job may have.

    `field_of(i, attribute)` is where the document says `attribute` (`lfn`, `pfn` or `guid`) of input `i`; `place` is where
    the inputs stand as a whole.
    """
    for attribute, what in (("lfn", "the input file"), ("pfn", "the path"), ("guid", "the GUID")):
        values = [(index, getattr(file, attribute)) for index, file in enumerate(inputs)]
        check_distinct(what, [replace(field_of(index, attribute), value=value) for index, value in values if value])
    total = sum(file.n_events for file in inputs)
    if total > MAX_EVENTS:
        raise place.refuse(
            f"the inputs hold {total:,} events", expected=f"at most {MAX_EVENTS:,} in one job", hint="Split the job"
        )


def count_outputs(inputs: Sequence[InputFile], events_per_output: int, place: FieldPath) -> int:
    """How many output files the mapping needs. Raises InvalidInput at `place` when they are absurdly many."""
    events = [file.n_events for file in inputs]
    # a floor, in constant memory: the exact plan is made only when it is known to be small
    fewest = sum(count // events_per_output for count in events)
    if fewest > MAX_OUTPUTS:
        raise place.refuse(
            f"is {events_per_output}, which makes {fewest:,} output files", expected=f"at most {MAX_OUTPUTS:,} files"
        )
    return OutputMap.plan(events, events_per_output).n_outputs


def check_outputs(outputs: Sequence[FieldPath], inputs: Sequence[InputFile], needed: int, place: FieldPath) -> None:
    """Refuse output names that repeat, that are also inputs, or that are not exactly as many as the mapping needs."""
    check_distinct("the output file", outputs)
    lfns = {file.lfn for file in inputs if file.is_file}
    for output in outputs:
        if output.value in lfns:
            raise output.refuse(f"the output file {output.value!r} is also an input file", expected="another name")
    if len(outputs) != needed:
        total = sum(file.n_events for file in inputs)
        raise place.refuse(
            f"lists {_files(len(outputs))}, but {total:,} events{_origin(inputs)} fill {needed}",
            expected=_files(needed),
        )


def _origin(inputs: Sequence[InputFile]) -> str:
    return f" of {_files(len(inputs), 'input file')}" if all(file.is_file for file in inputs) else ""


def _files(count: int, what: str = "output file") -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def asked_at(place: FieldPath, question: Callable[[], T]) -> T:
    """The answer to a question about an input file; a refusal is put down to the place that names the file."""
    try:
        return question()
    except InvalidInput as error:
        inside = f"{error.source}: {error.field}" if error.field else error.source
        problem = f"{inside}: {error.problem}"
        # of the same class: a file that is missing is another fault than a document that is wrong
        raise type(error)(place.source, place.field, problem, expected=error.expected, hint=error.hint) from error


def confirmed(file: InputFile, reader: InputReader, field_of: Callable[[str], FieldPath]) -> InputFile:
    """`file`, with size and GUID filled in, once the disk agrees with what the document says of it.

    `field_of(attribute)` is where the document says `pfn`, `size_bytes` or `checksum`.
    """
    checkable = file.checksum.startswith("ad:")
    facts = asked_at(field_of("pfn"), lambda: reader.facts(file.pfn, with_checksum=checkable))
    if file.size_bytes is not None and file.size_bytes != facts.size_bytes:
        problem = f"{file.pfn} has {facts.size_bytes:,} bytes"
        raise field_of("size_bytes").refuse(problem, expected=f"{file.size_bytes:,} bytes", hint="The copy may be cut short")
    if checkable and facts.adler32 is not None and int(file.checksum[3:], 16) != facts.adler32:
        problem = f"{file.pfn} has the adler32 {facts.adler32:08x}"
        raise field_of("checksum").refuse(problem, expected=file.checksum, hint="The contents of the copy are damaged")
    guid = file.guid or derived_guid(file.lfn, facts.size_bytes)
    return replace(file, size_bytes=facts.size_bytes, guid=guid)
