"""Jobs from a document on disk: a native job file, or PanDA's `HPCJobs.json`.

`load_job` reads the document, decides which of the two it is, and looks at every input file the job names: it must be there, be
readable and be what the document says it is. What comes back is a `Job` that can be run.

Rules: the document is somebody else's, so its size, its encoding and its contents are checked before anything reads it; every
refusal is an InvalidInput that names the document, even when an input file is at fault.
"""

from __future__ import annotations

import os
import stat
import zlib
from dataclasses import dataclass, replace
from functools import partial
from glob import iglob
from pathlib import Path
from typing import Any

from raythena.domain.admission import FileFacts, check_lfn, confirmed
from raythena.domain.document import FieldPath, read_json, read_yaml
from raythena.domain.errors import InvalidInput, MissingInput
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.jobfile import parse_job_document, parse_payload_document
from raythena.domain.panda import PandaJob, input_place, is_panda, merge_spec, parse_panda_jobs, to_job
from raythena.domain.upstream import UpstreamTask
from raythena.gateways.root_inputs import count_root_events
from raythena.gateways.upstream_task import upstream_task

MAX_JSON_BYTES = 256 * 1024 * 1024
"""`HPCJobs.json` of a hundred jobs with ten thousand inputs each stays below this."""

MAX_YAML_BYTES = 8 * 1024 * 1024
"""A YAML file is written by a person."""

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DiskInputs:
    """The input files as they are on disk (see `InputReader`). `checksums` turns on reading every byte."""

    checksums: bool = False
    resumed: Path | None = None
    """Directory of the job's own task, if that has begun."""

    def matching(self, pattern: str) -> list[str]:
        """Absolute paths of the regular files that match, sorted; `**` stands for any directories."""
        found = iglob(pattern, recursive=True)  # noqa: PTH207 - Path.glob refuses absolute patterns
        return sorted(path for path in found if Path(path).is_file())

    def facts(self, pfn: str, *, with_checksum: bool) -> FileFacts:
        """Size, and adler32 if wanted. Raises InvalidInput for what is no readable regular file."""
        path = Path(pfn)
        status = _status(path, MissingInput)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInput(pfn, "", "is no regular file", expected="a file")
        if status.st_size == 0:
            raise InvalidInput(pfn, "", "is empty", expected="a file with events")
        if not os.access(path, os.R_OK):
            raise InvalidInput(pfn, "", "may not be read", expected="a readable file", hint="Look at its permissions")
        return FileFacts(status.st_size, _adler32(path) if self.checksums and with_checksum else None)

    def count_events(self, pfn: str, tree: str | None) -> int:
        """Events in a ROOT file (see `count_root_events`)."""
        return count_root_events(Path(pfn), tree)

    def upstream(self, path: str) -> UpstreamTask:
        """The task there (see `upstream_task`)."""
        return upstream_task(Path(path), _name_in, self.resumed)


def load_job(
    path: Path,
    *,
    payload: PayloadSpec | None = None,
    merge: MergeSpec | None = None,
    panda_id: str = "",
    input_directory: Path | None = None,
    verify_checksums: bool = False,
    resumed: Path | None = None,
) -> Job:
    """The job a document on disk describes, its input files checked.

    `payload` and `merge` replace what a native document says. PanDA's says nothing of payloads, so `payload` must be given for
    it, and `merge` if its `esmergeSpec` names no transform. `panda_id` chooses among several jobs of an `HPCJobs.json`;
    `input_directory` is where PanDA's inputs are when the document does not say (by default the directory of the document).
    `verify_checksums` reads every byte of every input whose checksum is given. `resumed` is the directory of the job's task if it
    has begun, or the one where such a directory has the name of the job. Raises InvalidInput.
    """
    source, base_dir = str(path), os.path.abspath(path.parent)  # noqa: PTH100 - the text is made absolute, links are not followed
    document = read_document(path)
    reader = DiskInputs(checksums=verify_checksums, resumed=_own_task(resumed, document))
    if is_panda(document):
        directory = os.path.abspath(input_directory) if input_directory else base_dir  # noqa: PTH100 - as above
        chosen = _chosen(parse_panda_jobs(document, source), source, panda_id)
        place = FieldPath(source, "" if "PandaID" in document else str(chosen.panda_id), chosen.document)
        job = to_job(chosen, *_specified(source, payload, merge_spec(chosen, merge)), place=place, input_directory=directory)
        return _confirmed(job, place, reader)
    if panda_id or input_directory:
        option = "panda_id" if panda_id else "input_directory"
        raise InvalidInput(source, "", f"is a native job file, which has no use for {option}", expected="an HPCJobs.json")
    job = parse_job_document(document, source, base_dir, reader)
    if merge and job.streams:
        raise InvalidInput(source, "outputs.streams", "has a merge in each stream", expected="no other merge for the job")
    return replace(job, payload=payload or job.payload, merge=merge or job.merge)


def _own_task(resumed: Path | None, document: Any) -> Path | None:
    name = document.get("name") if isinstance(document, dict) else None
    beside = resumed / f"{name}.raythena" if resumed is not None else None
    return beside if beside is not None and beside.is_dir() else resumed


def _name_in(path: Path) -> str:
    """The name that a job file gives its job, nothing else of it being looked at. Raises InvalidInput."""
    document = read_document(path)
    return check_lfn(FieldPath(str(path), "", document).entry("name"))


def load_payload(path: Path) -> tuple[PayloadSpec, MergeSpec | None]:
    """What a document on disk says of payload and merging, for jobs that do not. Raises InvalidInput."""
    base_dir = os.path.abspath(path.parent)  # noqa: PTH100 - the text is made absolute, links are not followed
    return parse_payload_document(read_document(path), str(path), base_dir)


def read_document(path: Path) -> Any:
    """The tree of a YAML or JSON file. Raises InvalidInput for what is no text of sensible size, or is malformed."""
    source = str(path)
    data = _read(path)
    if b"\0" in data:
        raise InvalidInput(source, "", "is a binary file", expected="a YAML or JSON document in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(source, f"line {line}", f"is not UTF-8: {error.reason}", expected="a document in UTF-8") from error
    if not text.strip():
        raise InvalidInput(source, "", "is empty", expected="a job")
    if path.suffix.lower() == ".json" or (path.suffix.lower() not in (".yaml", ".yml") and text.lstrip().startswith("{")):
        return read_json(text, source)
    if len(data) > MAX_YAML_BYTES:
        raise _too_large(source, len(data), MAX_YAML_BYTES)
    return read_yaml(text, source)


def _read(path: Path) -> bytes:
    status = _status(path)
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise InvalidInput(str(path), "", f"is {what}", expected="a YAML or JSON file")
    if status.st_size > MAX_JSON_BYTES:
        raise _too_large(str(path), status.st_size, MAX_JSON_BYTES)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(str(path), "", f"cannot be read: {error.strerror}", expected="a readable file") from error


def _too_large(source: str, size_bytes: int, limit: int) -> InvalidInput:
    return InvalidInput(source, "", f"has {size_bytes:,} bytes", expected=f"at most {limit:,}", hint="Is it a job file at all?")


def _status(path: Path, missing: type[InvalidInput] = InvalidInput) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as error:
        nowhere = path
        while not nowhere.parent.exists():
            nowhere = nowhere.parent
        hint = "" if nowhere == path else f"The directory {nowhere} does not exist"
        if path.is_symlink():
            hint = f"It is a link to {path.readlink()}, which does not exist"
        raise missing(str(path), "", "does not exist", expected="a file", hint=hint) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(str(path), "", f"cannot be looked at: {error}", expected="a readable file") from error


def _adler32(path: Path) -> int:
    checksum = 1
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                checksum = zlib.adler32(chunk, checksum)
    except OSError as error:
        raise InvalidInput(str(path), "", f"cannot be read: {error.strerror}", expected="a readable file") from error
    return checksum


def _chosen(jobs: dict[str, PandaJob], source: str, panda_id: str) -> PandaJob:
    listed = "one of " + ", ".join(sorted(jobs))
    if panda_id and panda_id not in jobs:
        raise InvalidInput(source, panda_id, "no such job", expected=listed)
    if not panda_id and len(jobs) > 1:
        raise InvalidInput(source, "", f"holds {len(jobs)} jobs", expected=listed, hint="Say which one to run")
    return jobs[panda_id or next(iter(jobs))]


def _specified(source: str, payload: PayloadSpec | None, merge: MergeSpec | None) -> tuple[PayloadSpec, MergeSpec]:
    if payload is None or merge is None:
        missing = "payload" if payload is None else "merge"
        raise InvalidInput(
            source,
            missing,
            "a PanDA job does not say it",
            expected=f"a {missing} given beside the document",
            hint="Use --payload FILE",
        )
    return payload, merge


def _confirmed(job: Job, place: FieldPath, reader: DiskInputs) -> Job:
    """The job with its inputs compared with the disk; `place` is the specification it was made from."""
    fields = (partial(input_place, place, index) for index in range(len(job.inputs)))
    return replace(job, inputs=tuple(confirmed(file, reader, field) for file, field in zip(job.inputs, fields, strict=True)))
