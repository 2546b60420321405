"""Inputs that an upstream task makes while this job runs.

A range is AWAITED until the file that holds its event is made and the ledger knows that it was taken on; then it is READY like
any other. An event that the upstream task has given up is given up here as well, at once and without an attempt: only a person
who has mended its cause, there, has it tried again. As long as a range is awaited its output is open, so the job cannot end
before the upstream task is through, except when it is waited for in vain.
"""

from __future__ import annotations

import numpy as np

from raythena.domain.ids import RangeIndex
from raythena.domain.ranges import Indices, RangeState
from raythena.domain.results import FailureKind, RangeFailure
from raythena.domain.upstream import InputTaken
from raythena.engine import events as ev
from raythena.engine.failures import Failures
from raythena.engine.state import JobState

_AT_WORK = (RangeState.READY, RangeState.LEASED, RangeState.ACCEPTED, RangeState.FAILING)


class AwaitedInputs:
    """What the upstream task has made, withheld, and how it stands. Nothing ever happens here in a job without one."""

    def __init__(self, state: JobState, failures: Failures) -> None:
        self._state = state
        self._table = state.table
        self._failures = failures
        self._on_the_way: set[str] = set()
        """GUIDs of files that the ledger has been told of and has not committed."""
        self._unfinished = ""
        """Why the upstream task does not go on; empty: somebody works on it."""
        self._unfinished_since = 0.0

    def made(self, event: ev.InputMade, now: float) -> None:
        """A file is there. Ranges that have what they need are not concerned, nor are those that were given up."""
        file = event.file
        awaited = self._awaited(file.number)
        lacking = np.isin(awaited, np.asarray(file.missing, dtype=np.int64))
        self._give_up(awaited[lacking], now)
        if not lacking.all() and file.guid not in self._on_the_way:
            self._on_the_way.add(file.guid)
            self._state.journal.commit(file, now)

    def withheld(self, event: ev.InputWithheld, now: float) -> None:
        """There will be no file."""
        self._give_up(self._awaited(event.number), now)

    def stored(self, file: InputTaken) -> None:
        """The ledger knows of a file: its events may be computed. Those of a file before it are computed from that one."""
        self._on_the_way.discard(file.guid)
        awaited = self._awaited(file.number)
        if self._table.taken is not None:
            self._table.taken.add(file)
        self._table.move(awaited[~np.isin(awaited, np.asarray(file.missing, dtype=np.int64))], RangeState.READY)
        self._state.pool.begin_anew(file.number)

    def upstream_seen(self, event: ev.UpstreamSeen, now: float) -> None:
        """How the upstream task stands."""
        if event.reason and not self._unfinished:
            self._unfinished_since = now
        self._unfinished = event.reason

    def waits_in_vain(self, now: float) -> str:
        """Why nobody should wait any longer, with nothing left to do, for a task that does not go on; empty: go on."""
        table = self._table
        if not self._unfinished or not table.count(RangeState.AWAITED) or any(table.count(state) for state in _AT_WORK):
            return ""
        waited_s = now - self._unfinished_since
        return self._unfinished if waited_s > self._state.config.upstream_patience_s else ""

    def _awaited(self, number: int) -> Indices:
        start, stop = self._table.segment(number)
        return np.flatnonzero(self._table.state[start:stop] == RangeState.AWAITED).astype(np.int64) + start

    def _give_up(self, ranges: Indices, now: float) -> None:
        name = self._state.job.upstream.name if self._state.job.upstream else ""
        for index in map(RangeIndex, ranges.tolist()):
            failure = RangeFailure(index, FailureKind.UPSTREAM, f"the upstream task {name} has given the event up")
            self._failures.give_up(failure, int(self._table.attempt[index]), now)
