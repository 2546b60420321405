"""Engines, ledgers, leases and desks that are wrong: the judge notices each of them, soon.

Each mutant makes one mistake that somebody could make. The right parts pass the very same seeds (see `test_promises`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raythena.domain.errors import StorageError
from raythena.domain.ranges import RangeState
from raythena.domain.records import AttemptFailed, RangesRetracted
from raythena.engine import commands as do
from raythena.engine.desk import CoordinatorDesk
from raythena.engine.engine import Engine
from raythena.testing.simulation import MemoryLedger, Parts, PromiseBroken, simulate
from raythena.testing.simulation.draw import draw
from raythena.testing.simulation.lease import LeaseInMemory

SCHEDULES = 2000


# ---- engines


class AcknowledgesBeforeCommit(Engine):
    def _group_reported(self, event, now):
        super()._group_reported(event, now)
        self._do(do.Acknowledge(event.group.node, event.group.name))


class AcknowledgesWhatItRefusesTooEarly(Engine):
    """Another node was faster, but that one's result is not in the ledger yet."""

    def _release_refused(self):
        for name, (_, node) in self._refused.items():
            self._refused[name] = (0, node)
        super()._release_refused()


def forget_outcome(engine, group, states):
    """Take ranges of a group for undone that are in one of `states`."""
    table = engine.table
    for index in group.entries["range"].tolist():
        if table.state[index] in states:
            table.counts[table.state[index]] -= 1
            table.counts[RangeState.READY] += 1
            table.state[index] = RangeState.READY


class AcceptsLateResults(Engine):
    """No fencing: a node that was given up overwrites what others have done since."""

    def _group_reported(self, event, now):
        if event.group.name not in self.stored_groups and event.group.name not in self.groups:
            forget_outcome(self, event.group, (RangeState.STORED, RangeState.MERGED, RangeState.FAILED))
        super()._group_reported(event, now)


class AcceptsBothDuplicates(Engine):
    def _group_reported(self, event, now):
        if event.group.name not in self.groups:
            forget_outcome(self, event.group, (RangeState.ACCEPTED,))
        super()._group_reported(event, now)


class ForgetsReturnedRanges(Engine):
    """Of what a node gives back, one range is lost."""

    def _ranges_returned(self, event, now):
        put_back, self.pool.put_back = self.pool.put_back, lambda indices: put_back(indices[:-1])
        super()._ranges_returned(event, now)
        self.pool.put_back = put_back


class KeepsLeasesOfLostNodes(Engine):
    def _node_lost(self, event, now):
        put_back, self.pool.put_back = self.pool.put_back, lambda indices: None
        super()._node_lost(event, now)
        self.pool.put_back = put_back


class ForgetsSiblingsOfASuspect(Engine):
    """A node is given one suspect at a time; the others it was to be given are lost instead of left to others."""

    def _suitable(self, node, ranges):
        put_back, self.pool.put_back = self.pool.put_back, lambda indices: None
        kept = super()._suitable(node, ranges)
        self.pool.put_back = put_back
        return kept


class ForgetsWhatPauses(Engine):
    """A failed event is never tried again."""

    def _tick(self, event, now):
        self.retries.due(now)
        super()._tick(event, now)


class CountsFailedAsStored(Engine):
    def _give_up(self, failure, attempt, now):
        if self.supply is not None:
            super()._give_up(failure, attempt, now)
            return
        one = np.asarray([failure.range_index])
        self.table.move(one, RangeState.ACCEPTED)
        self.table.move(one, RangeState.STORED)
        self.merges.stored_in(self.outputs.output_of(failure.range_index), "nowhere", 1)


class CountsFailedTwice(Engine):
    """An output with a failed event is merged one event too early."""

    def _failure_stored(self, record):
        super()._failure_stored(record)
        if record.final and self.supply is None and self.merges.open_ranges[self.outputs.output_of(record.range_index)]:
            self.merges.given_up(self.outputs.output_of(record.range_index))


class MergesWithoutTheFailed(Engine):
    """The merged output does not say what it lacks."""

    def _do(self, command):
        super()._do(replace(command, missing=()) if isinstance(command, do.StartMerge) else command)


class EndsBeforeTheMerges(Engine):
    def _look_for_end(self, now):
        undone = self.table.count(RangeState.STORED) + self.table.count(RangeState.MERGED) + self.table.count(RangeState.FAILED)
        if undone == len(self.table):
            self._finish(do.Outcome.COMPLETE, "every event is stored")
        super()._look_for_end(now)


class DropsResultsWhenItStops(Engine):
    """Once the job is to end, groups are waved through."""

    def _group_reported(self, event, now):
        if self.stopping is not None:
            self._do(do.Acknowledge(event.group.node, event.group.name))
        else:
            super()._group_reported(event, now)


class RestoresWithoutFailures(Engine):
    def _restore(self, restored):
        super()._restore(replace(restored, failed=np.empty(0, dtype=np.int64)))


class RestoresWithoutTheLastGroup(Engine):
    def _restore(self, restored):
        super()._restore(replace(restored, groups=restored.groups[:-1]))


class ForgetsToRetract(Engine):
    """A stored output that cannot be read is computed again, but the ledger is not told."""

    def _commit(self, record):
        if not isinstance(record, RangesRetracted):
            super()._commit(record)


class FailsWithoutTellingTheLedger(Engine):
    def _commit(self, record):
        if isinstance(record, AttemptFailed) and record.final:
            self._failure_stored(record)
        else:
            super()._commit(record)


# ---- engines whose ranges are handed out by somebody else


class ForgetsReportsWhenRestarted(Engine):
    def _restore_reports(self, restored):
        for group in restored.groups if self.supply is not None else ():
            self.table.move(group.entries["range"].astype(np.int64), RangeState.MERGED)


class TakesRangesTwice(Engine):
    """What is handed out again, because a coordinator died, is taken for new."""

    def _ranges_given(self, event, now):
        self._ids.is_known = lambda hashes, range_id: np.zeros(len(hashes), dtype=bool)
        super()._ranges_given(event, now)


class LeasesBeforeTheLedgerKnows(Engine):
    def _append(self, chunk):
        super()._append(chunk)
        super()._ranges_taken(len(chunk))

    def _ranges_taken(self, count):
        pass


class ReportsWhatIsNotDurable(Engine):
    def _group_reported(self, event, now):
        super()._group_reported(event, now)
        group = self.groups.get(event.group.name)
        if group is not None and self.supply is not None:
            self._do(do.PublishReport(1_000_000 + self._next_ticket, group, ()))


class EndsBeforeItsReportsAreTaken(Engine):
    def _is_all_done(self):
        if self.supply is not None and self.supply.ended and self._n_in_work() == 0:
            return not self._tickets
        return super()._is_all_done()


# ---- ledgers


class ForgetsTheLastOfABatch(MemoryLedger):
    def commit(self, records):
        super().commit(records[:-1] if len(records) > 1 else records)


class TearsCommits(MemoryLedger):
    """A coordinator that dies in the middle of a commit leaves half of it."""

    def commit_torn(self, records, dice):
        super().commit(records[: len(records) // 2])


class RemembersWhatItRefused(MemoryLedger):
    def commit_on_full_disk(self, records):
        super().commit(records)
        raise StorageError("no space left on device")


class ForgetsWhatWasNotSynchronised(MemoryLedger):
    """The last commit before a death is lost."""

    def commit(self, records):
        self._before = len(self.records)
        super().commit(records)

    def crash(self):
        records, before = self.records, getattr(self, "_before", 0)
        self.__init__()
        for record in records[:before]:
            super().commit([record])


# ---- leases and desks


class RefusesNobody(LeaseInMemory):
    def _is_free(self, found, host):
        return True


class ForgetsTheRestartedOne(LeaseInMemory):
    """A coordinator that comes back in its session is let in, but not written down."""

    def acquire(self, session, host):
        again = self._holder is not None and self._holder.session == session
        super().acquire(session, host)
        if again:
            self._holder = None


class AnswersTooMuch(CoordinatorDesk):
    """Every group of a message is acknowledged in its answer."""

    def exchange(self, message, now):
        reply = super().exchange(message, now)
        return replace(reply, acknowledged=(*reply.acknowledged, *(group.name for group in message.groups)))


MUTANTS = [
    *(
        Parts(engine=mutant)
        for mutant in (
            AcknowledgesBeforeCommit,
            AcknowledgesWhatItRefusesTooEarly,
            AcceptsLateResults,
            AcceptsBothDuplicates,
            ForgetsReturnedRanges,
            KeepsLeasesOfLostNodes,
            ForgetsSiblingsOfASuspect,
            ForgetsWhatPauses,
            CountsFailedAsStored,
            CountsFailedTwice,
            MergesWithoutTheFailed,
            EndsBeforeTheMerges,
            DropsResultsWhenItStops,
            RestoresWithoutFailures,
            RestoresWithoutTheLastGroup,
            ForgetsToRetract,
            FailsWithoutTellingTheLedger,
            ForgetsReportsWhenRestarted,
            TakesRangesTwice,
            LeasesBeforeTheLedgerKnows,
            ReportsWhatIsNotDurable,
            EndsBeforeItsReportsAreTaken,
        )
    ),
    *(
        Parts(ledger=lambda job, mutant=mutant: mutant())
        for mutant in (
            ForgetsTheLastOfABatch,
            TearsCommits,
            RemembersWhatItRefused,
            ForgetsWhatWasNotSynchronised,
        )
    ),
    *(Parts(lease=mutant) for mutant in (RefusesNobody, ForgetsTheRestartedOne)),
    Parts(desk=AnswersTooMuch),
]


def name_of(parts: Parts) -> str:
    unusual = next(part for part in vars(parts) if getattr(parts, part) is not getattr(Parts(), part))
    value = getattr(parts, unusual)
    return (value(None).__class__ if unusual == "ledger" else value).__name__


def first_catch(parts: Parts) -> tuple[int, PromiseBroken]:
    for seed in range(SCHEDULES):
        if draw(seed).nodes > 5:
            continue  # a large site takes long to show that a job does not end
        try:
            simulate(seed, parts=parts)
        except PromiseBroken as broken:
            return seed, broken
    pytest.fail(f"nobody noticed in {SCHEDULES} schedules")


@pytest.mark.parametrize("parts", MUTANTS, ids=name_of)
def test_the_judge_notices(parts: Parts) -> None:
    seed, broken = first_catch(parts)
    assert "What happened last:" in str(broken)
    assert f"Again: simulate({seed})" in str(broken)
