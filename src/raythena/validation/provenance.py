"""Where the events of a chained job came from: its inputs against the upstream task that made them.

Range `k` of the one task is range `k` of the other. So the numbers in a file that was taken on must be those the upstream task's
own inputs have at the same ranges, and every file must be one that the upstream ledger knows, by GUID and by its measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InvalidInput, LedgerError, StorageError
from raythena.domain.job import Job
from raythena.domain.ranges import RangeLayout
from raythena.domain.results import FailureKind, MergedOutput
from raythena.domain.upstream import InputTaken, Upstream
from raythena.storage.atomic import adler32_of
from raythena.storage.ledger_view import LedgerView, first_outputs, output_files
from raythena.storage.taskdir import TaskDirectory
from raythena.validation.comparison import Numbers, named
from raythena.validation.evidence import Recorded
from raythena.validation.findings import Finding, Severity
from raythena.validation.readers import event_numbers

Say = Callable[[str, str, str, Severity, int], None]


@dataclass(frozen=True)
class EventNumbers:
    """The number of every event of a job, by range, and for which of them it is known."""

    numbers: Numbers
    known: npt.NDArray[np.bool_]


def numbers_taken(task: TaskDirectory, job: Job, recorded: Recorded, say: Say) -> EventNumbers:
    """The event numbers of a chained job, read from the files it took on; each from the first file that has the event."""
    numbers, known = np.zeros(job.n_events, dtype=np.int64), np.zeros(job.n_events, dtype=np.bool_)
    layout = RangeLayout.of(job)
    for file in recorded.inputs:
        found = _numbers_in(task, file, say)
        start, stop = layout.segment(file.number)
        held = np.setdiff1d(np.arange(start, stop), np.asarray(file.missing, dtype=np.int64))
        if found is None or len(found) != len(held):
            if found is not None:
                text = f"{file.lfn} has {len(found):,} events, where the ledger counts {file.n_events:,}"
                say("input-count", file.lfn, text, Severity.ERROR, abs(len(held) - len(found)))
            continue
        new = ~known[held]
        numbers[held[new]], known[held[new]] = found[new], True
    return EventNumbers(numbers, known)


def _numbers_in(task: TaskDirectory, file: InputTaken, say: Say) -> Numbers | None:
    path = task.input(file)
    try:
        size_bytes, checksum = path.stat().st_size, adler32_of(path)
        found = event_numbers(path)
    except (OSError, StorageError, InvalidInput) as error:
        say("input-unreadable", file.lfn, f"{error}; its events cannot be compared", Severity.UNPROVEN, file.n_events)
        return None
    if (size_bytes, checksum) != (file.size_bytes, file.adler32):
        say("input-altered", file.lfn, f"{path} is not as it was when it was taken on", Severity.ERROR, file.n_events)
    if found is None:
        text = f"{file.lfn} is of a kind that cannot be read: its events are taken to be numbered from 1 to {file.n_events}"
        say("input-not-inspected", file.lfn, text, Severity.NOTE, file.n_events)
        return np.arange(1, file.n_events + 1, dtype=np.int64)
    return found


def compare_with_upstream(recorded: Recorded, mine: EventNumbers, theirs: EventNumbers, upstream: Upstream) -> Iterator[Finding]:
    """What is wrong with the inputs, as the upstream task tells it. `theirs` are the numbers of its own inputs."""
    try:
        with LedgerView.read(TaskDirectory(Path(upstream.task)).ledger) as view:
            made = {merged.guid: merged for merged in output_files(view)}
            latest = first_outputs(view)
            given_up = {int(failure.range_index) for failure in view.given_up()}
    except (LedgerError, StorageError) as error:
        yield Finding("upstream-unreadable", Severity.UNPROVEN, "", f"the ledger of the upstream task cannot be read: {error}")
        return
    for file in recorded.inputs:
        if not _is_made(file, made.get(file.guid)):
            text = f"{file.lfn} with GUID {file.guid} is no file that the upstream task {upstream.name} made"
            yield Finding("provenance-wrong", Severity.ERROR, file.lfn, text, file.n_events)
    yield from _other_numbers(mine, theirs, upstream)
    yield from _superseded(recorded, latest, given_up)


def _is_made(file: InputTaken, made: MergedOutput | None) -> bool:
    return made is not None and (made.output, made.size_bytes, made.adler32, made.n_events, made.missing) == (
        file.number,
        file.size_bytes,
        file.adler32,
        file.n_events,
        file.missing,
    )


def _other_numbers(mine: EventNumbers, theirs: EventNumbers, upstream: Upstream) -> Iterator[Finding]:
    if len(mine.numbers) != len(theirs.numbers):
        counts = f"{len(mine.numbers):,} events from the upstream task {upstream.name}, which has {len(theirs.numbers):,}"
        text = f"this job takes {counts}"
        yield Finding("provenance-wrong", Severity.ERROR, "", text)
        return
    both = mine.known & theirs.known
    other = np.flatnonzero(both & (mine.numbers != theirs.numbers))
    if len(other):
        told = f"{len(other):,} events of the inputs are others than the upstream task {upstream.name} had"
        text = f"{told}: {named(mine.numbers[other])}"
        yield Finding("provenance-wrong", Severity.ERROR, "", text, len(other))


def _superseded(recorded: Recorded, latest: Iterable[MergedOutput], given_up: set[int]) -> Iterator[Finding]:
    """Events that were given up for the upstream task's sake, and are in its outputs by now."""
    for_its_sake = {index for index, failure in recorded.failures.items() if failure.kind is FailureKind.UPSTREAM}
    missing = {index for merged in latest for index in merged.missing}
    there = for_its_sake - given_up - missing
    if there:
        text = f"{len(there):,} events that the upstream task had given up are there now: try them with --retry-failed upstream"
        yield Finding("input-superseded", Severity.NOTE, "", text, len(there))
