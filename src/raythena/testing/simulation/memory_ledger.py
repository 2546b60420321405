"""A ledger in memory, as naive as possible: the model against which engine and real ledger are held.

It keeps the committed records in order and derives everything from them by going through all of them again. Rule: a record that
contradicts the earlier ones is a defect of the engine and raises InternalError, as the real ledger does.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from raythena.domain.errors import InternalError, StorageError
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.records import (
    AttemptFailed,
    GroupStored,
    OutputMerged,
    RangesReopened,
    RangesRetracted,
    RangesTaken,
    Record,
    ReportsTaken,
    Restored,
)
from raythena.domain.results import FailureKind, GroupReport, MergedOutput
from raythena.domain.upstream import InputTaken


class MemoryLedger:
    """Survives the coordinator, because nobody throws it away."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.stored: dict[int, str] = {}
        """Range → name of the group that holds its committed output."""
        self.failed: dict[int, str] = {}
        """Range → reason."""
        self.merged: dict[int, MergedOutput] = {}
        self.merged_ranges: dict[int, int] = {}
        """Range → output it was merged into."""
        self.ever_durable: set[int] = set()
        """Ranges that have or had an outcome; retractions don't count."""
        self.reported_groups: set[str] = set()
        self.reported_failures: set[int] = set()
        self._groups: dict[str, GroupReport] = {}

    def begin_session(self, reopened: RangesReopened | None) -> None:
        """Lives of coordinators leave no trace here but what they reopen."""
        if reopened is not None:
            self.commit([reopened])

    def commit(self, records: Sequence[Record]) -> None:
        """Remember all of them."""
        for record in records:
            self._add(record)
            self.records.append(record)

    # ---- what may happen to any ledger

    def commit_on_full_disk(self, records: Sequence[Record]) -> None:
        """Nothing of it is remembered."""
        raise StorageError("simulated: no space left on device")

    def commit_torn(self, records: Sequence[Record], dice: random.Random) -> None:
        """The coordinator dies while it commits: all of it is remembered, or nothing."""
        if dice.random() < 0.5:
            self.commit(records)

    def crash(self) -> None:
        """The coordinator is dead: nothing changes."""

    def close(self) -> None:
        """Nothing to let go of."""

    # ---- what is in it

    def is_durable(self, index: int) -> bool:
        """Whether a range has an outcome."""
        return index in self.stored or index in self.failed

    def knows(self, group: str) -> bool:
        """Whether a group of this name was ever committed."""
        return group in self._groups

    @property
    def given(self) -> tuple[GivenRanges, ...]:
        """Chunks of ranges handed out by somebody else, in order."""
        return tuple(record.chunk for record in self.records if isinstance(record, RangesTaken))

    @property
    def inputs(self) -> tuple[InputTaken, ...]:
        """Files of an upstream task that were taken on, in order."""
        return tuple(record for record in self.records if isinstance(record, InputTaken))

    def groups_named(self, names: Iterable[str]) -> list[GroupReport]:
        """Committed groups with those of their entries that still count."""
        return [self._still_counting(self._groups[name]) for name in names]

    def restore(self) -> Restored:
        """What a new engine starts from."""
        done = {output for output, merged in self.merged.items() if not merged.missing}
        groups = tuple(self._still_counting(group) for group in self._groups.values() if group.output not in done)
        charged = [record for record in self._failures_that_count() if record.range_index not in self.failed]
        attempts: dict[int, int] = {}
        for record in charged:
            attempts[record.range_index] = max(attempts.get(record.range_index, 0), record.attempt)
        lost = [record.range_index for record in charged if record.kind is FailureKind.NODE_LOST]
        failed = np.asarray(sorted(self.failed), dtype=np.int64)
        losses = tuple(sorted(Counter(lost).items()))
        return Restored(
            groups,
            tuple(self.merged.values()),
            failed,
            tuple(sorted(attempts.items())),
            losses,
            self.given,
            frozenset(self.reported_groups),
            self._unreported_failures() if self.given else (),
            self.inputs,
        )

    def _failures_that_count(self) -> list[AttemptFailed]:
        """Failed attempts at ranges since they were given new ones, if they were."""
        counting: list[AttemptFailed] = []
        for record in self.records:
            if isinstance(record, AttemptFailed):
                counting.append(record)
            elif isinstance(record, RangesReopened):
                counting = [failure for failure in counting if failure.range_index not in record.ranges]
        return counting

    def _unreported_failures(self) -> tuple[AttemptFailed, ...]:
        final = (record for record in self.records if isinstance(record, AttemptFailed) and record.final)
        return tuple(record for record in final if record.range_index not in self.reported_failures)

    def _still_counting(self, group: GroupReport) -> GroupReport:
        kept = [self.stored.get(index) == group.name for index in group.entries["range"].tolist()]
        return replace(group, entries=group.entries[np.asarray(kept, dtype=bool)])

    def _add(self, record: Record) -> None:
        match record:
            case GroupStored(group):
                self._add_group(group)
            case AttemptFailed(range_index=index, final=True, message=message):
                _require(not self.is_durable(index), f"range {index} fails although it has an outcome")
                self.failed[index] = message or str(record.kind)
                self.ever_durable.add(index)
            case OutputMerged(merged):
                self._add_output(merged, record.groups)
            case RangesRetracted(name, ranges):
                for lost in ranges:
                    _require(self.stored.get(lost) == name, f"range {lost} is retracted but not stored in {name}")
                    in_place = self.merged.get(self.merged_ranges.get(lost, -1))
                    _require(in_place is None or in_place.missing, f"range {lost} is retracted but merged")
                    del self.stored[lost]
            case InputTaken(guid=guid):
                _require(guid not in {file.guid for file in self.inputs}, f"the input {guid} is taken on twice")
            case RangesReopened(ranges):
                for again in ranges:
                    _require(again in self.failed, f"range {again} gets new attempts, but is not given up")
                    del self.failed[again]
            case ReportsTaken(groups, indices):
                _require(self._groups.keys() >= set(groups), "a report of a group that was never stored is taken")
                _require(self.failed.keys() >= set(indices), "a report of a failure that never was is taken")
                self.reported_groups.update(groups)
                self.reported_failures.update(indices)
            case _:
                pass

    def _add_group(self, group: GroupReport) -> None:
        _require(group.name not in self._groups, f"group {group.name} is committed twice")
        indices = group.entries["range"].tolist()
        _require(len(indices) and len(set(indices)) == len(indices), f"group {group.name} is empty or repeats a range")
        for index in indices:
            _require(not self.is_durable(index), f"range {index} is stored although it has an outcome")
            self.stored[index] = group.name
            self.ever_durable.add(index)
        self._groups[group.name] = group

    def _add_output(self, merged: MergedOutput, groups: tuple[str, ...]) -> None:
        before = self.merged.get(merged.output)
        _require(before is None or set(merged.missing) < set(before.missing), f"output {merged.output} is merged twice")
        ranges = [int(index) for group in self.groups_named(groups) for index in group.entries["range"]]
        _require(len(ranges) == merged.n_events, f"output {merged.output} has {merged.n_events} events, its groups {len(ranges)}")
        for index in ranges:
            _require(self.merged_ranges.get(index, merged.output) == merged.output, f"range {index} is merged into two outputs")
            self.merged_ranges[index] = merged.output
        self.merged[merged.output] = merged


def _require(holds: object, rule: str) -> None:
    if not holds:
        raise InternalError(f"the ledger was asked for something impossible: {rule}")
