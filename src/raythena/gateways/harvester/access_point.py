"""The access point on disk: looks at it, and does what the desks decide.

Everything we write is written under a temporary name, made durable and moved into place; a dump is put in place by a hard link,
which fails where a dump is already, so that none is ever overwritten. What is ours alone lies in `.raythena`, two levels down,
where Harvester's own log archive does not look:

    .raythena/job/      the job specification as it was first read
    .raythena/wished    a job was asked for, and is perhaps not to be seen yet
    .raythena/task      where the task directory of this worker's job is
    .raythena/asked     ranges were asked for, and none have come since
    .raythena/ranges/   ranges taken away from Harvester, until they are safe
    .raythena/told/     a copy of every dump ever published
    .raythena/dump      the dump that is about to be put in place

Reads are tolerant: a file that is not there, or cannot be read as JSON yet, is no error here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raythena.domain.errors import StorageError
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.conversation import Sight
from raythena.gateways.harvester.documents import Entry
from raythena.gateways.harvester.harvester_config import READ_SUFFIX, TASK_WORKDIR_FILE, FileNames
from raythena.storage.atomic import disk_errors, fsync_directory, make_directory, write_atomically

logger = logging.getLogger(__name__)

OWN_DIRECTORY = ".raythena"
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
"""What file systems without hard links say."""


class Torn(Exception):
    """A file is not there yet, or not whole."""


@dataclass(frozen=True, slots=True)
class AccessPoint:
    """One worker's directory. Methods raise StorageError when the disk refuses."""

    directory: Path
    names: FileNames

    # ---- looking

    def look(self) -> Sight:
        """What is there now."""
        dump = self.names.event_status_dump_json_file
        return Sight(
            request=self._there(self.names.event_request_file),
            ranges=self._there(self.names.event_ranges_file),
            dump=self._there(dump),
            dump_read=self._there(dump + READ_SUFFIX),
        )

    def _there(self, name: str) -> bool:
        return os.path.lexists(self.directory / name)

    def path(self, name: str) -> Path:
        """A file of the access point."""
        return self.directory / name

    def own(self, *parts: str) -> Path:
        """A file of ours."""
        return self.directory.joinpath(OWN_DIRECTORY, *parts)

    # ---- the job

    def write_job_request(self) -> None:
        """Ask for a job, and note that one was asked for."""
        make_directory(self.own())
        write_atomically(self.own("wished"), "")
        self.write(self.names.job_request_file, documents.job_request())

    def has_asked_for_job(self) -> bool:
        """Whether this start or an earlier one has asked for a job."""
        return self.own("wished").exists()

    # ---- ranges

    def write_request(self, document: dict[str, object]) -> None:
        """Ask for ranges, and note that they were asked for."""
        make_directory(self.own())
        write_atomically(self.own("asked"), "")
        self.write(self.names.event_request_file, document)

    def claim_ranges(self) -> str | None:
        """Rename the ranges away. The new name, below `.raythena/ranges`; None when they are gone."""
        target = self._next("ranges")
        try:
            self.path(self.names.event_ranges_file).rename(target)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise StorageError(f"cannot take over {self.names.event_ranges_file}: {problem.strerror}") from problem
        with disk_errors("remove", self.own("asked")):
            self.own("asked").unlink(missing_ok=True)
        return target.name

    def has_asked(self) -> bool:
        """Whether a request, perhaps of an earlier start, is without an answer."""
        return self.own("asked").exists()

    def claims(self) -> list[str]:
        """Names of claimed ranges, oldest first."""
        return [path.name for path in _listed(self.own("ranges"))]

    def read_claim(self, name: str) -> tuple[object, str]:
        """Tree and text of claimed ranges. Raises Torn."""
        return read_json_file(self.own("ranges", name))

    def drop_claim(self, name: str) -> None:
        """Claimed ranges are safe elsewhere."""
        with disk_errors("remove", self.own("ranges", name)):
            self.own("ranges", name).unlink(missing_ok=True)

    # ---- dumps

    def publish(self, panda_id: str, entries: Sequence[Entry]) -> bool:
        """Put a dump in place. False, and nothing has changed, when there is one."""
        told, new = self._next("told"), self.own("dump")
        text = json.dumps(documents.dump(panda_id, entries))
        # a file of its own: Harvester may write into the one it was given, and what was told must stay what it was
        write_atomically(new, text)
        write_atomically(told, text)
        place = self.path(self.names.event_status_dump_json_file)
        try:
            _put_in_place(new, place)
        except FileExistsError:
            told.unlink(missing_ok=True)
            return False
        except OSError as problem:
            told.unlink(missing_ok=True)
            raise StorageError(f"cannot publish {place}: {problem.strerror}") from problem
        with disk_errors("synchronise", self.directory):
            fsync_directory(self.directory)
            new.unlink(missing_ok=True)
        return True

    def told(self) -> Iterator[list[Entry]]:
        """The entries of every dump published so far, by this start or an earlier one; what cannot be read is left out."""
        for path in _listed(self.own("told")):
            with contextlib.suppress(Torn):
                document, _ = read_json_file(path)
                yield from document.values()

    # ---- one file each

    def write_attributes(self, values: documents.Attributes) -> None:
        """Tell PanDA of this worker. Raises InternalError for what PanDA would refuse.

        It is added to what was told before, by this start or an earlier one: Harvester may not have read that yet, and what it
        has read sticks.
        """
        self.write(self.names.worker_attributes_file, {**self.attributes(), **documents.attributes(values)})

    def attributes(self) -> dict[str, int | str | None]:
        """What PanDA was told of this worker so far."""
        try:
            document, _ = read_json_file(self.path(self.names.worker_attributes_file))
        except Torn:
            return {}
        return documents.known_attributes(document)

    def write_job_report(self, document: dict[str, object]) -> None:
        """The report on the job."""
        self.write(self.names.job_report_file, document)

    def beat(self) -> None:
        """Work proceeds. Only the time of the file counts."""
        path = self.path(self.names.heartbeat_file)
        with disk_errors("touch", path):
            path.touch()

    def ask_to_be_killed(self, reason: str) -> None:
        """Have Harvester kill the batch job: for a worker that cannot end by itself."""
        self.write(self.names.kill_worker_file, {"reason": reason})

    def task_directory(self) -> Path | None:
        """The directory of the task, as Harvester (or we) wrote it down."""
        return _absolute_path_in(self.path(TASK_WORKDIR_FILE))

    def remember_task(self, directory: Path) -> None:
        """Keep in mind, for the next start, where this one works."""
        make_directory(self.own())
        write_atomically(self.own("task"), str(directory))

    def remembered_task(self) -> Path | None:
        """Where an earlier start has worked."""
        return _absolute_path_in(self.own("task"))

    def set_task_directory(self, directory: Path) -> None:
        """Where Harvester is to look for `state.json`. Without a line end: Harvester takes every byte for part of the path."""
        write_atomically(self.path(TASK_WORKDIR_FILE), str(directory))

    def write(self, name: str, document: dict[str, object]) -> None:
        """A JSON document, whole or not at all."""
        write_atomically(self.path(name), json.dumps(document, indent=1))

    def _next(self, kind: str) -> Path:
        directory = self.own(kind)
        make_directory(directory)
        numbers = [int(path.stem) for path in _listed(directory)]
        return directory / f"{max(numbers, default=0) + 1:08d}.json"


def _put_in_place(source: Path, place: Path) -> None:
    """Give a file a second name. Raises FileExistsError when that is taken, OSError."""
    try:
        place.hardlink_to(source)
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        if os.path.lexists(place):
            raise FileExistsError(str(place)) from problem
        # between the look and the rename only Harvester's post-processing could write a dump, and that runs when we are gone
        write_atomically(place, source.read_bytes())


def _absolute_path_in(path: Path) -> Path | None:
    """The path a file holds; None when there is no such file, or something else in it."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return Path(text) if text.startswith("/") else None


def _listed(directory: Path) -> list[Path]:
    """Numbered files, in order."""
    return sorted(directory.glob("[0-9]*.json")) if directory.is_dir() else []


def read_json_file(path: Path) -> tuple[Any, str]:
    """Tree and text. Raises Torn when the file is not there or not whole, StorageError when the disk refuses."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as problem:
        raise Torn(str(problem)) from problem
    except OSError as problem:
        raise StorageError(f"cannot read {path}: {problem.strerror}") from problem
    try:
        return json.loads(text), text
    except (json.JSONDecodeError, RecursionError) as problem:
        raise Torn(f"{path}: {problem}") from problem
