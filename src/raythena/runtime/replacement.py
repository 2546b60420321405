"""Merged outputs that replace older files, with fewer events, of the same name.

The order: the new file lies beside the old one, the ledger is told of it there, then it is put into the old one's place. So
whoever dies when, the file the ledger knows exists, and the old one is not touched before the ledger knows a better one.
"""

from __future__ import annotations

from collections.abc import Iterable

from raythena.domain.job import Job
from raythena.domain.ranges import RangeLayout
from raythena.domain.records import RangesReopened
from raythena.domain.reopening import RetryRequest, reopening
from raythena.domain.results import MergedOutput
from raythena.storage.atomic import durable_rename
from raythena.storage.ledger_view import LedgerView
from raythena.storage.taskdir import TaskDirectory


def put_into_place(directory: TaskDirectory, outputs: Iterable[MergedOutput]) -> None:
    """Have each of these files where people look for it; safe to repeat. The ledger must know them. Raises StorageError."""
    for file in (file for merged in outputs for file in merged.files):
        path, place = directory.output(file), directory.outputs / file.lfn
        if path.parent == directory.replacing:
            durable_rename(path, place)


def reopening_in(view: LedgerView, job: Job, request: RetryRequest) -> RangesReopened | None:
    """What a request means for a task. Raises InvalidInput, LedgerCorrupt, StorageError."""
    told = any(session.gateway for session in view.sessions())
    return reopening(request, view.given_up(), RangeLayout.of(job, view.chunks()), told=told)
