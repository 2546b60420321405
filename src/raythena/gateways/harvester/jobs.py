"""Where a worker gets its job from: the job specification in the access point, asked for where jobs are bound late.

Harvester does not write it atomically and never looks at it again. What was read whole once is kept below `.raythena`, so that
the same worker, started again, has the same job, whatever has become of the original; one that an earlier start (of another
program, even) has renamed is found as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from raythena.domain.admission import confirmed
from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.panda import PandaJob, input_place, parse_panda_jobs, to_given_job
from raythena.gateways.file import DiskInputs, load_job, read_document
from raythena.gateways.harvester.access_point import AccessPoint, Torn, read_json_file
from raythena.gateways.harvester.conversation import Patience
from raythena.gateways.harvester.harvester_config import UNNAMED_JOB_SPEC_FILE
from raythena.storage.atomic import make_directory, write_atomically


@dataclass
class SpecificationSearch:
    """Looks for the job specification, turn after turn. `late_binding`: it has to be asked for.

    `found` is handed the specification as soon as it is whole, before anything is written.
    """

    point: AccessPoint
    late_binding: bool = False
    patience: Patience = field(default_factory=Patience)
    found: Callable[[object], None] = lambda _: None
    _absent_since: float | None = None
    _torn_since: float | None = None
    _request_gone_since: float | None = None

    def turn(self, now: float) -> Path | None:
        """The specification, once it is there and whole; None: look again later.

        Raises InvalidInput when it stays torn, or stays away although it was not to be asked for.
        """
        kept = self.point.own("job", self.point.names.job_spec_file)
        if kept.exists():
            return kept
        torn: Torn | None = None
        for path in self._candidates():
            try:
                document, text = read_json_file(path)
            except Torn as problem:
                torn = problem
                continue
            self.found(document)
            make_directory(kept.parent)
            write_atomically(kept, text)
            return kept
        if torn is not None:
            self._wait_for_the_rest(torn, now)
        else:
            self._wait_for_the_beginning(now)
        return None

    def _candidates(self) -> Iterator[Path]:
        """The specification under its own name, or Harvester's own for one; then what looks like a renamed one, latest first."""
        name = self.point.names.job_spec_file
        yield from (path for path in map(self.point.path, (name, UNNAMED_JOB_SPEC_FILE)) if path.exists())
        stem, _, suffix = name.rpartition(".")
        renamed = {*self.point.directory.glob(f"{name}?*"), *self.point.directory.glob(f"{stem}?*.{suffix}")}
        yield from sorted((path for path in renamed if path.is_file()), key=lambda path: path.stat().st_mtime, reverse=True)

    def _wait_for_the_rest(self, torn: Torn, now: float) -> None:
        self._absent_since = None
        self._torn_since = now if self._torn_since is None else self._torn_since
        if now - self._torn_since > self.patience.torn_s:
            raise InvalidInput(
                str(self.point.path(self.point.names.job_spec_file)),
                "",
                f"has been cut short for {now - self._torn_since:.0f} s ({torn})",
                expected="a job specification",
                hint="Look at Harvester's log and at the space on its disk",
            )

    def _wait_for_the_beginning(self, now: float) -> None:
        if self.late_binding:
            self._ask(now)
            return
        self._absent_since = now if self._absent_since is None else self._absent_since
        if now - self._absent_since > self.patience.invisible_s:
            raise InvalidInput(
                str(self.point.path(self.point.names.job_spec_file)),
                "",
                "does not exist",
                expected="a job specification, written by Harvester before it submits",
                hint="A queue that binds jobs late needs --late-binding; another file name belongs in panda_harvester.cfg",
            )

    def _ask(self, now: float) -> None:
        """Keep a wish for a job in place; one that is removed without an answer is made again after a while.

        One that an earlier start has made and that is gone may have an answer nobody here sees yet: a second one would bring a
        second job, which this worker could never do.
        """
        request = self.point.path(self.point.names.job_request_file)
        if request.exists():
            self._request_gone_since = None
            return
        first = self._absent_since is None and not self.point.has_asked_for_job()
        self._absent_since = now if self._absent_since is None else self._absent_since
        self._request_gone_since = now if self._request_gone_since is None else self._request_gone_since
        if first or now - self._request_gone_since > self.patience.invisible_s:
            self._request_gone_since = None
            self.point.write_job_request()


def load_harvester_job(specification: Path, directory: Path, payload: PayloadSpec, merge: MergeSpec | None) -> Job:
    """The job of a worker. Inputs the specification gives no path of are in `directory`, the access point.

    With on-site merging it is cut into events here; else PanDA hands the event ranges out. Raises InvalidInput.
    """
    document = read_document(specification)
    source = str(specification)
    chosen = _only_job(document, source)
    if not chosen.is_scan and (chosen.esmerge_spec is not None or not chosen.event_service):
        return load_job(specification, payload=payload, merge=merge, panda_id=str(chosen.panda_id), input_directory=directory)
    place = FieldPath(source, str(chosen.panda_id), chosen.document)
    job = to_given_job(chosen, payload, place=place, input_directory=os.path.abspath(directory))  # noqa: PTH100 (links are kept)
    if chosen.is_scan:
        return job
    reader = DiskInputs()
    fields = [partial(input_place, place, index) for index in range(len(job.inputs))]
    inputs = tuple(confirmed(file, reader, where) for file, where in zip(job.inputs, fields, strict=True))
    return replace(job, inputs=inputs)


def _only_job(document: object, source: str) -> PandaJob:
    jobs = parse_panda_jobs(document, source)
    if len(jobs) != 1:
        hint = "Set the queue's mapType to OneToOne"
        raise InvalidInput(source, "", f"holds {len(jobs)} jobs", expected="one job for each worker", hint=hint)
    return next(iter(jobs.values()))
