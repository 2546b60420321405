"""Merges ordered, and what comes of them. Which output is to be merged when is planned in `merging`."""

from __future__ import annotations

import numpy as np

from raythena.domain.ids import OutputNumber, RangeIndex
from raythena.domain.ranges import RangeState
from raythena.domain.records import OutputMerged, RangesRetracted, Restored
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.failures import Failures
from raythena.engine.merge_planner import RunningMerge
from raythena.engine.result_intake import Results
from raythena.engine.state import JobState


class Merges:
    """Merges from their order to the commit of their output."""

    def __init__(self, state: JobState, results: Results, failures: Failures) -> None:
        self._state = state
        self._table = state.table
        self._planner = state.merges
        self._results = results
        self._failures = failures

    def start(self) -> None:
        """Order what is complete, as many at a time as may run."""
        while (planned := self._planner.next_merge()) is not None:
            output = planned.output
            start, stop = self._state.outputs.interval(output)
            missing = np.flatnonzero(self._table.state[start:stop] == RangeState.FAILED) + start
            lacking = tuple(map(RangeIndex, missing.tolist()))
            if output in self._planner.in_place and not self._adds_events(planned, lacking):
                continue
            groups, n_events = self._planner.groups_of(output), stop - start - len(missing)
            delay_s = self._state.config.merge_retry_delay_s * (planned.attempt - 1)
            self._state.journal.do(
                do.StartMerge(
                    merge=planned.merge,
                    output=output,
                    groups=groups,
                    expected=n_events,
                    missing=lacking,
                    delay_s=delay_s,
                    attempt=planned.attempt,
                    beside=output in self._planner.in_place,
                )
            )

    def _adds_events(self, planned: RunningMerge, lacking: tuple[RangeIndex, ...]) -> bool:
        """Whether a file is worth merging again: it loses no event that the one in place has, and wins some."""
        before = self._planner.in_place[planned.output]
        if before > set(lacking):
            return True
        if before == set(lacking):
            self._planner.needless(planned.merge)
            self._settle(planned.output)
        else:
            lost = len(set(lacking) - before)
            self._planner.impossible(planned.merge, f"{lost} events of the file in place could not be computed again; it stays")
        return False

    def _settle(self, output: OutputNumber) -> None:
        start, stop = self._state.outputs.interval(output)
        stored = np.flatnonzero(self._table.state[start:stop] == RangeState.STORED) + start
        self._table.move(stored, RangeState.MERGED)

    def succeeded(self, event: ev.MergeSucceeded, now: float) -> None:
        """An output is merged and in its place: the ledger is to know."""
        if event.merge in self._planner.running:
            output = self._planner.succeeded(event.merge)
            self._state.deadline.merge_took(sum(file.wall_s for file in event.merged.files))
            self._state.journal.commit(OutputMerged(event.merged, self._planner.groups_of(output)), now)
            self.start()

    def failed(self, event: ev.MergeFailed, now: float) -> None:
        """A merge failed; perhaps because stored outputs are lost or no good: these are then computed again."""
        if event.merge not in self._planner.running:
            return
        output = self._planner.running[event.merge].output
        lost = self._stored_in(output, event.bad)
        if lost:
            self._planner.abandoned(event.merge, sum(len(ranges) for ranges in lost.values()))
            for group, ranges in lost.items():
                self._retract(group, ranges, event, now)
        else:
            self._planner.failed(event.merge, event.message)
        self.start()

    def stalled(self, event: ev.MergeStalled, now: float) -> None:
        """A merge waits for a disk. People are told of the first."""
        if event.merge in self._planner.running:
            if not self._planner.stalled:
                self._state.budget.warn(f"merging waits for the disk: {event.reason}")
            self._planner.waits(event.merge, event.reason)

    def _stored_in(self, output: OutputNumber, bad: tuple[ev.BadMembers, ...]) -> dict[str, list[RangeIndex]]:
        """What of an accusation can be true: groups the output is made from, stored ranges of it, each once."""
        start, stop = self._state.outputs.interval(output)
        known = set(self._planner.groups_of(output))
        seen: set[RangeIndex] = set()
        lost: dict[str, list[RangeIndex]] = {}
        for group, ranges in bad:
            for index in sorted(set(ranges).difference(seen)) if group in known else ():
                if start <= index < stop and self._table.state[index] == RangeState.STORED:
                    lost.setdefault(group, []).append(index)
                    seen.add(index)
        return lost

    def _retract(self, group: str, ranges: list[RangeIndex], event: ev.MergeFailed, now: float) -> None:
        """Stored outputs are lost or no good: compute their ranges again, at the cost of an attempt each."""
        self._state.journal.commit(RangesRetracted(group, tuple(ranges)), now)
        reasons = dict(event.reasons)
        for index in ranges:
            kind = FailureKind.BAD_OUTPUT if index in reasons else FailureKind.STORED_OUTPUT_LOST
            failure = RangeFailure(index, kind, reasons.get(index, event.message))
            attempt = self._failures.charge(index)
            if attempt >= self._state.config.max_attempts:
                self._failures.give_up(failure, attempt, now)
            else:
                self._failures.note(failure, attempt, final=False, now=now)
                self._state.holders.make_ready(np.asarray([index], dtype=np.int64))

    def committed(self, record: OutputMerged) -> None:
        """A merged output is in the ledger. The groups it was made from are needed again only if events are missing."""
        merged, beside = record.merged, record.merged.output in self._planner.in_place
        self._settle(merged.output)
        groups = self._planner.committed(merged.output)
        if beside:
            self._state.journal.do(do.PlaceOutput(merged))
        if not merged.missing or not self._state.config.keep_incomplete:
            self._results.stored.difference_update(groups)
            self._state.journal.do(do.DiscardGroups(groups))

    # ---- starting from a ledger

    def restore(self, restored: Restored) -> frozenset[OutputNumber]:
        """Take over what was merged; returns the outputs whose files are the last word.

        A file is not when events it lacks have been given new attempts, or are there: then its output is merged again when
        it is complete. Failed ranges must be restored before.
        """
        final = set()
        for merged in restored.merged:
            if merged.stream:  # as the first stream, so all of them: they are committed as one
                continue
            start, stop = self._state.outputs.interval(merged.output)
            failed = np.flatnonzero(self._table.state[start:stop] == RangeState.FAILED) + start
            if not np.array_equal(failed, np.asarray(merged.missing, dtype=np.int64)):
                self._planner.restore_in_place(merged.output, frozenset(merged.missing))
                continue
            final.add(merged.output)
            kept = np.flatnonzero(self._table.state[start:stop] != RangeState.FAILED) + start
            for state in (RangeState.ACCEPTED, RangeState.STORED, RangeState.MERGED):
                self._table.move(kept, state)
            self._planner.restore_merged(merged.output)
        return frozenset(final)
