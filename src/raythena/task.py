"""A task as a value in Python: `raythena.Task(path)` says how far it is, what became of every range, and where the time went.

    task = raythena.Task("simulation.raythena")
    task.status().progress.finished
    task.table(state="failed").to_pandas()

Everything is read from the task directory, while a job runs there or long after, from any machine that sees it. Nothing is ever
written, and whoever computes is not disturbed. `docs/python.md` shows it all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from raythena.domain.core_time import Accounting, account
from raythena.domain.errors import InvalidInput
from raythena.domain.failure_causes import FailureCause
from raythena.domain.job import Job
from raythena.domain.results import MergedOutput
from raythena.monitor.range_story import StoryLine, story_of
from raythena.monitor.snapshot import Snapshot, open_task, read_job, read_snapshot
from raythena.runtime.core_time_file import kept_by_life, read_sessions
from raythena.storage.ledger_view import LedgerSummary, LedgerView
from raythena.storage.range_records import RangeQuery, RangeRecords, RangeSearch, Record, State
from raythena.storage.taskdir import TaskDirectory

if TYPE_CHECKING:
    import pyarrow as pa

    from raythena.validation import Validation

__all__ = ["Task"]

_STATES = frozenset(state.name.lower() for state in State)


class Task:
    """What is recorded in a task directory. Raises InvalidInput when `path` is none.

    Each answer is as of the moment it is asked for. Ledgers that are damaged or belong to others raise LedgerCorrupt,
    LedgerForeign; a task whose job has not begun computing has no ledger yet, and raises InvalidInput where it is needed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._directory: TaskDirectory = open_task(self.path)

    @property
    def job(self) -> Job:
        """The job, as it was accepted."""
        return read_job(self._directory)

    def status(self) -> Snapshot | None:
        """How far the last session is, or was; None before it has said anything."""
        return read_snapshot(self._directory.status)

    def summary(self) -> LedgerSummary:
        """The ledger in numbers: events, failures, sessions, what each node did."""
        with self._view() as view:
            return view.summary()

    def ranges(self, *, state: str = "", node: str = "", lfn: str = "") -> Iterator[Record]:
        """What became of each event range, in the order of events.

        `state`: only those `open`, `stored`, `merged` or `failed`; `node`, `lfn`: only those with this in the node's or the
        input's name. Raises InvalidInput for another state.
        """
        records, query = self._records(), _query(state, node, lfn)
        yield from map(records.record, RangeSearch(records).all_of(query).tolist())

    def table(self, *, state: str = "", node: str = "", lfn: str = "") -> pa.Table:
        """`ranges` as an Arrow table, one column for each field of a record; `.to_pandas()` makes a data frame of it.

        Raises InvalidInput where pyarrow is not installed (`pip install "raythena[tables]"`).
        """
        from raythena.monitor.range_table import arrow_table

        records = self._records()
        return arrow_table(records, RangeSearch(records).all_of(_query(state, node, lfn)))

    def story(self, range_id: str) -> list[StoryLine]:
        """Everything known about one range, in order of time. Raises InvalidInput when there is no such range."""
        records = self._records()
        index = records.find(range_id)
        if index is None:
            raise InvalidInput(str(self.path), range_id, "is no event range of the task", expected="an id as `ranges` tells it")
        with self._view() as view:
            return story_of(self._directory, view, records, index)

    def outputs(self) -> tuple[MergedOutput, ...]:
        """The output files that are merged and in their places, in the order of the job."""
        with self._view() as view:
            return view.outputs()

    def failures(self) -> list[FailureCause]:
        """Why ranges were given up, the commonest cause first."""
        return self._records().causes

    def accounting(self) -> Accounting:
        """Where every allocated core-second went."""
        return account(read_sessions(self._directory), kept_by_life(self.summary()))

    def validate(self, *, partial: bool = False) -> Validation:
        """Prove the outputs, event by event; `partial` passes over outputs that are not made yet."""
        from raythena.validation import validate

        return validate(self.path, partial=partial)

    def _view(self) -> LedgerView:
        if not self._directory.ledger.exists():
            raise InvalidInput(str(self._directory.ledger), "", "does not exist", hint="The job has not begun")
        return LedgerView.read(self._directory.ledger)

    def _records(self) -> RangeRecords:
        records = RangeRecords(self.job)
        with self._view() as view:
            records.update(view)
        return records


def _query(state: str, node: str, lfn: str) -> RangeQuery:
    if state and state not in _STATES:
        raise InvalidInput("ranges", "state", f"no state called {state!r}", expected="one of " + ", ".join(sorted(_STATES)))
    return RangeQuery(states=frozenset({state} if state else ()), node=node, lfn=lfn)
