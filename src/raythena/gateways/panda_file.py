"""PanDA's job specification on disk, for those who want the specification itself and not the `Job` made of it.

Also the argument files (`@name`) its job parameters may refer to, which stand beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from raythena.domain.admission import canonical_path
from raythena.domain.document import FieldPath, shown
from raythena.domain.errors import InvalidInput
from raythena.domain.panda import PandaJob, is_panda, parse_panda_jobs
from raythena.domain.transform import split_words
from raythena.gateways.file import read_document

MAX_ARGUMENT_FILE_BYTES = 16 * 1024 * 1024
MAX_ARGUMENT_FILES = 100


def load_panda_job(path: Path, panda_id: str = "") -> PandaJob:
    """One job of an `HPCJobs.json`; `panda_id` chooses among several. Raises InvalidInput."""
    document = read_document(path)
    if not is_panda(document):
        raise InvalidInput(str(path), "", "is no job specification of PanDA", expected="an HPCJobs.json")
    jobs = parse_panda_jobs(document, str(path))
    if panda_id and panda_id not in jobs:
        raise InvalidInput(str(path), panda_id, "no such job", expected="one of " + ", ".join(sorted(jobs)))
    if not panda_id and len(jobs) > 1:
        problem, hint = f"holds {len(jobs)} jobs", "Choose one with --panda-id"
        raise InvalidInput(str(path), "", problem, expected="one of " + ", ".join(sorted(jobs)), hint=hint)
    return jobs[panda_id or next(iter(jobs))]


def input_paths(job: PandaJob, source: str, directory: Path) -> dict[str, str]:
    """The path of every input by LFN: from `inFilePaths`, or else by name in `directory`. Links are not followed."""
    base = os.path.abspath(directory)  # noqa: PTH100 - the text is made absolute, links are not followed
    names = job.in_file_paths or job.in_files
    places = [FieldPath(source, f"inFiles[{index}]", name) for index, name in enumerate(names)]
    return {lfn: canonical_path(base, place) for lfn, place in zip(job.in_files, places, strict=True)}


def argument_files(text: str, directory: Path, source: str = "jobPars") -> dict[str, str]:
    """Contents of the argument files that job parameters refer to, and of those that these refer to, by name.

    Raises InvalidInput for a file that cannot be read.
    """
    contents: dict[str, str] = {}
    waiting = list(_referred(word.value for word in split_words(text, source)))
    while waiting:
        name = waiting.pop()
        if name not in contents:
            if len(contents) == MAX_ARGUMENT_FILES:
                raise InvalidInput(source, f"@{name}", "is one argument file too many", expected=f"at most {MAX_ARGUMENT_FILES}")
            contents[name] = _content(name, directory, source)
            waiting += _referred(iter(contents[name].splitlines()))
    return contents


def _referred(words: Iterator[str]) -> Iterator[str]:
    return (word[1:] for word in words if word.startswith("@"))


def _content(name: str, directory: Path, source: str) -> str:
    path = directory / name
    expected = "a file of arguments, one on each line"
    try:
        if path.stat().st_size > MAX_ARGUMENT_FILE_BYTES:
            raise InvalidInput(source, f"@{name}", f"{path} is too large", expected=f"at most {MAX_ARGUMENT_FILE_BYTES:,} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or shown(str(error))
        raise InvalidInput(source, f"@{name}", f"{path} cannot be read: {reason}", expected=expected) from error
