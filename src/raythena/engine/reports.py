"""What has to be reported of given ranges, and how far each report has come: due → published → taken.

A report is due once the ledger has committed what it says: a group of results, or ranges that were given up. It is published,
under a number, while not too many are on their way. When it is acknowledged, the ledger is told, and once that is committed the
report is done with. After a restart everything that is not committed as taken is due again; to be told twice does no harm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from raythena.domain.ranges import Indices
from raythena.domain.records import AttemptFailed, ReportsTaken
from raythena.domain.results import GroupReport
from raythena.engine.commands import PublishReport

_NO_RANGES: Indices = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Published:
    """What must be known of a report once it is out."""

    group: str | None
    finished: Indices
    failed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.finished) + len(self.failed)


class ReportQueue:
    """Reports on their way. `limit`: so many ranges may be in published reports."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._due: deque[GroupReport | tuple[AttemptFailed, ...]] = deque()
        self._published: dict[int, _Published] = {}
        self._leaving: deque[list[_Published]] = deque()
        self._next_number = 1
        self._on_the_way = 0
        self.n_taken = 0
        """Reports that are done with."""
        self.moved_at = 0.0
        """When a report was last published or taken."""

    @property
    def is_empty(self) -> bool:
        """Nothing is left to report."""
        return not (self._due or self._published or self._leaving)

    @property
    def n_open(self) -> int:
        """Reports that are not done with."""
        return len(self._due) + len(self._published) + sum(len(batch) for batch in self._leaving)

    def finished(self, group: GroupReport) -> None:
        """A group is committed."""
        self._due.append(group)

    def given_up(self, failures: Iterable[AttemptFailed]) -> None:
        """Failures are committed, all of them final: one report."""
        together = tuple(failures)
        if together:
            self._due.append(together)

    def next(self, now: float) -> PublishReport | None:
        """A report to publish now."""
        if not self._due or (self._on_the_way and self._on_the_way + _size(self._due[0]) > self._limit):
            return None
        due = self._due.popleft()
        number = self._next_number
        self._next_number += 1
        self.moved_at = now
        if isinstance(due, GroupReport):
            published = _Published(due.name, due.entries["range"].astype(np.int64), ())
            command = PublishReport(number=number, group=due, failures=())
        else:
            published = _Published(None, _NO_RANGES, tuple(failure.range_index for failure in due))
            command = PublishReport(number=number, group=None, failures=due)
        self._published[number] = published
        self._on_the_way += len(published)
        return command

    def acknowledged(self, numbers: Iterable[int], now: float) -> ReportsTaken | None:
        """Published reports have been taken: what the ledger should know of it, if anything."""
        batch = [self._published.pop(number) for number in dict.fromkeys(numbers) if number in self._published]
        if not batch:
            return None
        self.moved_at = now
        self._on_the_way -= sum(len(report) for report in batch)
        self._leaving.append(batch)
        groups = tuple(report.group for report in batch if report.group is not None)
        return ReportsTaken(groups, tuple(index for report in batch for index in report.failed))

    def committed(self) -> Indices:
        """The ledger knows of the oldest acknowledgement: the finished ranges in it."""
        batch = self._leaving.popleft()
        self.n_taken += len(batch)
        return np.concatenate([_NO_RANGES, *(report.finished for report in batch)])

    def finished_ranges(self) -> Indices:
        """Every finished range that is not done with. Looks at everything: for checks only."""
        due = [report.entries["range"].astype(np.int64) for report in self._due if isinstance(report, GroupReport)]
        out = [report.finished for report in self._published.values()]
        leaving = [report.finished for batch in self._leaving for report in batch]
        return np.concatenate([_NO_RANGES, *due, *out, *leaving])


def _size(due: GroupReport | tuple[AttemptFailed, ...]) -> int:
    return len(due.entries) if isinstance(due, GroupReport) else len(due)
