"""Watches the upstream task: tells the engine which files it has made, and how it stands.

Whoever computes that task knows nothing of us. Its lease says whether somebody is at work, its ledger what is finished; both are
only read. A file is taken on by a second name for it (a hard link) below our own task directory, by its GUID: so it stays what it
is when the other task replaces it with one of more events, is moved or is removed. It is compared with the ledger's size and
checksum when it is taken on, for between ledger and link it may have been replaced.

Rule: the lease is looked at before the ledger. Whatever somebody who is not at work any more has done is then in it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from raythena.domain.errors import InvalidInput, LedgerBusy, LedgerError, LedgerForeign, RaythenaError, StorageError
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.results import MergedOutput
from raythena.domain.upstream import InputTaken, Upstream
from raythena.engine import events as ev
from raythena.runtime.clock import SYSTEM_CLOCK, Clock
from raythena.storage.atomic import adler32_of, disk_errors, fsync_directory
from raythena.storage.ledger_format import journal_of
from raythena.storage.ledger_view import LedgerView, first_outputs
from raythena.storage.task_lease import TaskLease
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_LOOK_SHARE = 0.05
"""Of the time, spent on reading the other ledger, however large it is."""
_STARTING_S = 600.0
"""A cluster is started within so long."""
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


class UpstreamEffects(Protocol):
    """What a watch can bring about in the coordinator."""

    @property
    def over(self) -> bool:
        """Nobody wants to know any more."""

    def tell(self, event: ev.Event) -> None:
        """Hand an event to the engine and do what it says."""

    def stop(self, reason: str, cause: RaythenaError | None = None) -> None:
        """End the job early, because of an error."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The upstream task at one moment."""

    merged: tuple[MergedOutput, ...] = ()
    withheld: tuple[int, ...] = ()
    """Outputs all of whose events were given up."""
    unfinished: str = ""
    """Why nobody should wait for more; empty: somebody is at work, or everything is there."""


def is_starting(task: TaskDirectory) -> bool:
    """Whether a task was written down lately and has no ledger: whoever computes it may still be starting a cluster."""
    try:
        return not task.ledger.exists() and time.time() - task.job.stat().st_mtime < _STARTING_S
    except OSError:
        return False


class UpstreamTaskReader:
    """Looks at the upstream task. Its ledger is read again only when it has changed."""

    def __init__(self, upstream: Upstream, outputs: OutputMap) -> None:
        self._upstream = upstream
        self._task = TaskDirectory(Path(upstream.task))
        self._outputs = outputs
        self._stamp: object = None
        self._made: tuple[tuple[MergedOutput, ...], tuple[int, ...]] = ((), ())

    def look(self) -> Sight:
        """What stands on disk now. Raises LedgerForeign, LedgerCorrupt, StorageError."""
        at_work = self._at_work()
        if not self._task.ledger.exists():
            missing = "has not begun" if self._task.job.exists() else "is not there any more"
            return Sight(
                *self._made,
                unfinished="" if at_work or is_starting(self._task) else f"{self._named} {missing}, and nobody works on it",
            )
        stamp = _stamp(self._task.ledger)
        if stamp != self._stamp:
            self._made = self._read()
            self._stamp = stamp
        complete = len(self._made[0]) + len(self._made[1]) == self._outputs.n_outputs
        return Sight(
            *self._made, unfinished="" if at_work or complete else f"{self._named} is not finished, and nobody works on it"
        )

    @property
    def _named(self) -> str:
        return f"the upstream task {self._upstream.name} in {self._upstream.task}"

    def _at_work(self) -> bool:
        try:
            TaskLease(self._task.lease).check_free()
        except LedgerBusy:
            return True
        return False

    def _read(self) -> tuple[tuple[MergedOutput, ...], tuple[int, ...]]:
        with LedgerView.read(self._task.ledger, whole=False) as view:
            if view.fingerprint != self._upstream.fingerprint:
                raise LedgerForeign(
                    f"{self._task.root} holds another task than the one this job's inputs are taken from: "
                    f"{view.job_name!r} with other inputs or outputs. Name the directory where that one is now"
                )
            merged = first_outputs(view)
            failed = np.asarray(sorted(failure.range_index for failure in view.given_up()), dtype=np.int64)
        return merged, tuple(self._withheld(failed, {each.output for each in merged}))

    def _withheld(self, failed: np.ndarray[tuple[int], np.dtype[np.int64]], merged: set[int]) -> Iterator[int]:
        counts = np.bincount(self._outputs.outputs_of(failed), minlength=self._outputs.n_outputs)
        for output in np.flatnonzero(counts == np.diff(self._outputs.bounds)).tolist():
            if output not in merged:
                yield output


class UpstreamWatch:
    """Brings what the upstream task makes into a task's own directory, and tells the coordinator."""

    def __init__(
        self,
        job: Job,
        upstream: Upstream,
        task: TaskDirectory,
        known: Sequence[InputTaken] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`known` are the files the task's own ledger knows: their contents were looked at when they were taken on."""
        self._known = {file.guid for file in known}
        self._task = task
        self._from = TaskDirectory(Path(upstream.task))
        # its outputs are our inputs
        bounds = np.cumsum([0, *(file.n_events for file in job.inputs)])
        self._reader = UpstreamTaskReader(upstream, OutputMap(bounds.astype(np.int64)))
        self._told: set[str | int] = set()
        self._clock = clock

    async def run(self, coordinator: UpstreamEffects) -> None:
        """Look again and again, until the job is over. What is wrong with the other task ends this one's session."""
        while not coordinator.over:
            began = self._clock.monotonic_s()
            try:
                await self._look(coordinator)
            except LedgerBusy as problem:
                logger.info("the upstream task could not be looked at: %s", problem)
            except (InvalidInput, LedgerError, StorageError) as problem:
                coordinator.stop(f"inputs cannot be taken from the upstream task: {problem}", problem)
                return
            took_s = self._clock.monotonic_s() - began
            await asyncio.sleep(max(_LOOK_S, took_s / _LOOK_SHARE))

    async def _look(self, coordinator: UpstreamEffects) -> None:
        sight = await asyncio.to_thread(self._reader.look)
        for merged in sight.merged:
            if merged.guid not in self._told:
                file = await asyncio.to_thread(self.take, merged)
                if file is None:  # replaced since: the next look finds the other one
                    continue
                self._told.add(merged.guid)
                logger.info("input %s: %d events, GUID %s", file.lfn, file.n_events, file.guid)
                coordinator.tell(ev.InputMade(file))
        for number in sight.withheld:
            if number not in self._told:
                self._told.add(number)
                coordinator.tell(ev.InputWithheld(number))
        coordinator.tell(ev.UpstreamSeen(sight.unfinished))

    def take(self, merged: MergedOutput) -> InputTaken | None:
        """Give a merged file a second name here; None if another one has taken its place.

        Raises InvalidInput for a file that is gone, damaged or cannot be linked, StorageError.
        """
        measures = (merged.lfn, merged.guid, merged.size_bytes, merged.adler32, merged.n_events)
        file = InputTaken(merged.output, *measures, merged.missing)
        place = self._task.input(file)
        with disk_errors("take inputs on", place.parent):
            if place.exists() and (file.guid in self._known or _is_whole(place, file)):
                return file
            place.unlink(missing_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            source = self._from.output(merged)
            if not _linked(source, place):
                self._refuse_unless_replaced(merged, f"{source} is gone")
                return None
            if not _is_whole(place, file):
                place.unlink()
                self._refuse_unless_replaced(merged, f"{source} is not as its ledger says: it was changed, or is damaged")
                return None
            fsync_directory(place.parent)
            fsync_directory(self._task.inputs)
        return file

    def _refuse_unless_replaced(self, merged: MergedOutput, problem: str) -> None:
        with LedgerView.read(self._from.ledger, whole=False) as view:
            latest: Sequence[str] = [each.guid for each in first_outputs(view) if each.output == merged.output]
        if merged.guid in latest:
            raise InvalidInput(str(self._from.root), merged.lfn, problem, expected="the outputs of the task, unchanged")


def _linked(source: Path, place: Path) -> bool:
    """False: there is no such file. Raises InvalidInput where files cannot have two names, OSError."""
    try:
        os.link(source, place)
    except FileExistsError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        hint = "Put both task directories on one file system that has hard links"
        problem = f"cannot be linked to {place.parent}: {error.strerror}"
        raise InvalidInput(
            str(source), "", problem, expected="a file on the file system of the task directory", hint=hint
        ) from error
    return True


def _is_whole(path: Path, file: InputTaken) -> bool:
    return path.stat().st_size == file.size_bytes and adler32_of(path) == file.adler32


def _stamp(ledger: Path) -> tuple[object, ...]:
    """Different when something was committed."""
    with disk_errors("look at the ledger", ledger):
        return tuple(
            (status.st_mtime_ns, status.st_size, status.st_ino)
            for path in (ledger, journal_of(ledger))
            if path.exists()
            for status in (path.stat(),)
        )
