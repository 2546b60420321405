"""Engines, ledgers, leases and desks that are wrong: the judge notices each of them, soon.

Each mutant makes one mistake that somebody could make. The right parts pass the very same seeds (see `test_promises`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from wrong_parts import AcknowledgesWhatItRefusesTooEarly, DropsResultsWhenItStops, engine_with

from raythena.domain.errors import StorageError
from raythena.domain.ranges import RangeState
from raythena.domain.records import AttemptFailed, RangesRetracted, RangesTaken
from raythena.domain.taxonomy import EndCause
from raythena.engine import commands as do
from raythena.engine.awaited_inputs import AwaitedInputs
from raythena.engine.completion import MergedHere
from raythena.engine.departure import Departure
from raythena.engine.engine import Engine
from raythena.engine.exchange import NodeExchange
from raythena.engine.failures import Failures
from raythena.engine.journal import Journal
from raythena.engine.leasing import Leasing
from raythena.engine.membership import Membership
from raythena.engine.merges import Merges
from raythena.engine.range_source import RangeSource
from raythena.engine.restarts import PAYLOAD_LIMITS, AgentEnd, AgentRestarts, GiveUp, PayloadEnd, PayloadRestarts
from raythena.engine.result_intake import Results
from raythena.engine.stopping import Stopping
from raythena.testing.simulation import MemoryLedger, Parts, PromiseBroken, simulate
from raythena.testing.simulation.draw import draw
from raythena.testing.simulation.simulated_lease import LeaseInMemory

SCHEDULES = 2000
LIKELY = {
    "AcceptsBothDuplicates": 30,
    "AcknowledgesWhatItRefusesTooEarly": 96,
    "BlamesPayloadsForFullDisks": 76,
    "CountsOnVanishedNodes": 688,
    "ForgetsReportsWhenRestarted": 35,
    "ForgetsTheRestartedOne": 193,
    "HoldsOldFailuresAgainstAgents": 59,
    "NeverAsksTheSilent": 142,
    "NeverGivesAPayloadUp": 21,
    "StartsAgentsAgainInVain": 21,
    "TakesRangesTwice": 43,
    "TearsCommits": 35,
    "WaitsWithoutNodes": 36,
}
"""Where those that are noticed late were noticed when somebody last looked. It saves time, nothing else: all seeds are tried."""


# ---- engines


class AcknowledgesBeforeCommit(Results):
    def reported(self, event, now):
        super().reported(event, now)
        self._journal.do(do.Acknowledge(node=event.group.node, group=event.group.name))


def forget_outcome(table, group, states):
    """Take ranges of a group for undone that are in one of `states`."""
    for index in group.entries["range"].tolist():
        if table.state[index] in states:
            table.counts[table.state[index]] -= 1
            table.counts[RangeState.READY] += 1
            table.state[index] = RangeState.READY


class AcceptsLateResults(Results):
    """No fencing: a node that was given up overwrites what others have done since."""

    def reported(self, event, now):
        if event.group.name not in self.stored and event.group.name not in self.waiting:
            forget_outcome(self._table, event.group, (RangeState.STORED, RangeState.MERGED, RangeState.FAILED))
        super().reported(event, now)


class AcceptsBothDuplicates(Results):
    def reported(self, event, now):
        if event.group.name not in self.waiting:
            forget_outcome(self._table, event.group, (RangeState.ACCEPTED,))
        super().reported(event, now)


class ForgetsReturnedRanges(Membership):
    """Of what a node gives back, one range is lost."""

    def returned(self, event, now):
        pool = self._state.pool
        put_back, pool.put_back = pool.put_back, lambda indices: put_back(indices[:-1])
        super().returned(event, now)
        pool.put_back = put_back


class KeepsLeasesOfLostNodes(Membership):
    def lost(self, event, now):
        pool = self._state.pool
        put_back, pool.put_back = pool.put_back, lambda indices: None
        super().lost(event, now)
        pool.put_back = put_back


class ForgetsSiblingsOfASuspect(Leasing):
    """A node is given one suspect at a time; the others it was to be given are lost instead of left to others."""

    def _suitable(self, node, ranges):
        pool = self._state.pool
        put_back, pool.put_back = pool.put_back, lambda indices: None
        kept = super()._suitable(node, ranges)
        pool.put_back = put_back
        return kept


class ForgetsWhatPauses(Engine):
    """A failed event is never tried again."""

    def _tick(self, event, now):
        self.retries.due(now)
        super()._tick(event, now)


class CountsFailedAsStored(Failures):
    def give_up(self, failure, attempt, now):
        state = self._state
        if state.job.ranges_given:
            super().give_up(failure, attempt, now)
            return
        one = np.asarray([failure.range_index])
        state.table.move(one, RangeState.ACCEPTED)
        state.table.move(one, RangeState.STORED)
        state.merges.stored_in(state.outputs.output_of(failure.range_index), "nowhere", 1)


class CountsFailedTwice(MergedHere):
    """An output with a failed event is merged one event too early."""

    def failed(self, failures):
        super().failed(failures)
        for failure in failures:
            output = self._outputs.output_of(failure.range_index)
            if self._planner.open_ranges[output]:
                self._planner.given_up(output)


class ForgetsWhatFailed(MergedHere):
    """An output with a failed event waits for it for ever."""

    def failed(self, failures):
        pass


class EndsBeforeTheLastOutput(MergedHere):
    @property
    def is_over(self):
        return self._planner.n_final >= self._outputs.n_outputs - 1


class AcceptsWhatIsOfAnotherOutput(MergedHere):
    """A group is taken for what it says it is."""

    def interval(self, output):
        return 0, int(self._outputs.bounds[-1])

    def stored(self, group):
        super().stored(replace(group, output=(group.output + 1) % self._outputs.n_outputs))


class MergesWithoutTheFailed(Journal):
    """The merged output does not say what it lacks."""

    def do(self, command):
        super().do(replace(command, missing=()) if isinstance(command, do.StartMerge) else command)


class EndsBeforeTheMerges(Stopping):
    def look_for_end(self, now):
        table = self._state.table
        undone = table.count(RangeState.STORED) + table.count(RangeState.MERGED) + table.count(RangeState.FAILED)
        if undone == len(table):
            self.finish(do.Outcome.COMPLETE, "every event is stored", EndCause.NONE, now)
        super().look_for_end(now)


class RestoresWithoutFailures(Engine):
    def _restore(self, restored):
        super()._restore(replace(restored, failed=np.empty(0, dtype=np.int64)))


class RestoresWithoutTheLastGroup(Engine):
    def _restore(self, restored):
        super()._restore(replace(restored, groups=restored.groups[:-1]))


class ForgetsToRetract(Journal):
    """A stored output that cannot be read is computed again, but the ledger is not told."""

    def commit(self, record, now):
        if not isinstance(record, RangesRetracted):
            super().commit(record, now)


class FailsWithoutTellingTheLedger(Failures):
    def note(self, failure, attempt, *, final, now, fatal=False):
        if final:
            self.stored(
                AttemptFailed(failure.range_index, attempt, failure.node, failure.kind, failure.message, final, now, fatal)
            )
        else:
            super().note(failure, attempt, final=final, now=now, fatal=fatal)


# ---- engines whose ranges are handed out by somebody else


class ForgetsReportsWhenRestarted(RangeSource):
    def restore_groups(self, restored):
        for group in restored.groups:
            self._table.move(group.entries["range"].astype(np.int64), RangeState.MERGED)


class TakesRangesTwice(RangeSource):
    """What is handed out again, because a coordinator died, is taken for new."""

    def given(self, event, now):
        self._ids.is_known = lambda hashes, range_id: np.zeros(len(hashes), dtype=bool)
        super().given(event, now)


class LeasesBeforeTheLedgerKnows(RangeSource):
    def _append(self, chunk):
        super()._append(chunk)
        super().taken(RangesTaken(chunk))

    def taken(self, record):
        pass


class ReportsWhatIsNotDurable(Results):
    def reported(self, event, now):
        super().reported(event, now)
        group = self.waiting.get(event.group.name)
        if group is not None and self._state.job.ranges_given:
            self._journal.do(do.PublishReport(number=1_000_000 + self._journal.next_ticket, group=group, failures=()))


class EndsBeforeItsReportsAreTaken(Stopping):
    def is_all_done(self):
        source = self._completion
        if isinstance(source, RangeSource) and source.supply.ended and source.n_in_work == 0:
            return self._state.journal.is_settled
        return super().is_all_done()


class CountsEverythingAsNew(Journal):
    """Whoever hands ranges out is told that all of them were new."""

    def do(self, command):
        super().do(replace(command, n_new=command.n_new + 1) if isinstance(command, do.AcceptRanges) else command)


# ---- restarts


class NeverGivesAnAgentUp(AgentRestarts):
    def __init__(self, silence, limits):
        super().__init__(silence, replace(limits, max_failures=10**9))


class StartsAgentsAgainAtOnce(AgentRestarts):
    def __init__(self, silence, limits):
        super().__init__(silence, replace(limits, first_pause_s=0.0))


class HoldsOldFailuresAgainstAgents(AgentRestarts):
    """An agent that died a few times is given up, however long it lived in between."""

    def __init__(self, silence, limits):
        super().__init__(silence, replace(limits, stable_s=float("inf")))


class StartsAgentsAgainInVain(AgentRestarts):
    """Also where the payload cannot be kept running."""

    def agent_ended(self, node, how, now):
        return super().agent_ended(node, AgentEnd.DIED, now)


class GivesUpAfterOneDeath(AgentRestarts):
    def __init__(self, silence, limits):
        super().__init__(silence, replace(limits, max_failures=1))


class WaitsWithoutNodes(AgentRestarts):
    """Nobody is told that the last node was given up."""

    def agent_ended(self, node, how, now):
        decision = super().agent_ended(node, how, now)
        return GiveUp(is_last=False) if isinstance(decision, GiveUp) else decision


class CountsOnVanishedNodes(AgentRestarts):
    """A machine that is gone counts as one on which work can go on."""

    def node_vanished(self, node):
        pass


class NeverAsksTheSilent(AgentRestarts):
    def answer_limit_s(self, node, silence_s):
        return None


class KillsAgentsThatAreLoading(AgentRestarts):
    """As little patience with an agent that has never been heard of as with any other."""

    def answer_limit_s(self, node, silence_s):
        self.agent_heard(node)
        return super().answer_limit_s(node, silence_s)


class NeverGivesAPayloadUp(PayloadRestarts):
    def __init__(self):
        super().__init__(replace(PAYLOAD_LIMITS, max_failures=10**9))


class StartsPayloadsAgainAtOnce(PayloadRestarts):
    def __init__(self):
        super().__init__(replace(PAYLOAD_LIMITS, first_pause_s=0.0))


class HoldsOldFailuresAgainstPayloads(PayloadRestarts):
    def proved_sound(self):
        pass


class BlamesPayloadsForFullDisks(PayloadRestarts):
    def ended(self, how, now):
        return super().ended(PayloadEnd.FAILED, now)


class DiscardsWhatIsNeededAgain(Engine):
    """What an output was made from that lacks events is thrown away with the rest."""

    def __init__(self, job, restored, config, *others):
        super().__init__(job, restored, replace(config, keep_incomplete=False), *others)


class ReplacesWhatTheLedgerKnows(Journal):
    """The better file takes the place of the older one before the ledger knows it."""

    def do(self, command):
        super().do(replace(command, beside=False) if isinstance(command, do.StartMerge) else command)


class MergesAgainForNothing(Merges):
    """A file is made anew though no event was won."""

    def _adds_events(self, planned, lacking):
        return True


class TakesEveryFileForTheLastWord(Merges):
    """After a restart an output that was merged once is done, whatever was reopened."""

    def restore(self, restored):
        failed = set(restored.failed.tolist())
        told = []
        for merged in restored.merged:
            start, stop = self._state.outputs.interval(merged.output)
            told.append(replace(merged, missing=tuple(index for index in range(start, stop) if index in failed)))
        return super().restore(replace(restored, merged=tuple(told)))


class ForgetsWhatWasReopened(MemoryLedger):
    def begin_session(self, reopened):
        pass


class HoldsOldFailuresAgainstEvents(MemoryLedger):
    """What was reopened has only the attempts left that it had before."""

    def _failures_that_count(self):
        return [record for record in self.records if isinstance(record, AttemptFailed)]


class StartsAgainWhatCallsItselfUnusable(PayloadRestarts):
    def ended(self, how, now):
        return super().ended(PayloadEnd.FAILED if how is PayloadEnd.UNUSABLE else how, now)


class TellsNobodyWhatPayloadsRemark(Membership):
    def _note_remark(self, node, remark):
        pass


class TellsEverythingPayloadsRemark(Membership):
    def _note_remark(self, node, remark):
        self._budget.warn(f"node {node.host}: {remark}")


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


class AnswersTooMuch(NodeExchange):
    """Every group of a message is acknowledged in its answer."""

    def exchange(self, message, now):
        reply = super().exchange(message, now)
        return replace(reply, acknowledged=(*reply.acknowledged, *(group.name for group in message.groups)))


class LeavesAtOnce(Departure):
    def notice(self, now, mean_event_s):
        return "it may leave some day"


class LeasesBeforeTheInputIsSafe(AwaitedInputs):
    """What another task made is handed out although a later coordinator would not know of it."""

    def made(self, event, now):
        super().made(event, now)
        if event.file.guid in self._on_the_way:
            self.stored(event.file)


class ForgetsWhatAnInputLacks(AwaitedInputs):
    def stored(self, file):
        super().stored(replace(file, missing=()))


class TakesInputsTwice(AwaitedInputs):
    def made(self, event, now):
        self._on_the_way.clear()
        super().made(event, now)


class WaitsForWhatIsWithheld(AwaitedInputs):
    def withheld(self, event, now):
        pass


class TriesWhatTheUpstreamGaveUp(AwaitedInputs):
    """Computes events that no input has."""

    def _give_up(self, ranges, now):
        self._table.move(ranges, RangeState.READY)
        for number in set(self._table.files_of(ranges).tolist()):
            self._state.pool.begin_anew(number)


class RestoresWithoutInputs(Engine):
    def _restore(self, restored):
        super()._restore(replace(restored, inputs=()))


MUTANTS = [
    *(
        Parts(engine=mutant)
        for mutant in (
            engine_with(results=AcknowledgesBeforeCommit),
            engine_with(results=AcknowledgesWhatItRefusesTooEarly),
            engine_with(results=AcceptsLateResults),
            engine_with(results=AcceptsBothDuplicates),
            engine_with(membership=ForgetsReturnedRanges),
            engine_with(membership=KeepsLeasesOfLostNodes),
            engine_with(membership=TellsNobodyWhatPayloadsRemark),
            engine_with(membership=TellsEverythingPayloadsRemark),
            engine_with(leasing=ForgetsSiblingsOfASuspect),
            ForgetsWhatPauses,
            engine_with(failures=CountsFailedAsStored),
            engine_with(merged_here=CountsFailedTwice),
            engine_with(merged_here=ForgetsWhatFailed),
            engine_with(merged_here=EndsBeforeTheLastOutput),
            engine_with(merged_here=AcceptsWhatIsOfAnotherOutput),
            engine_with(journal=MergesWithoutTheFailed),
            engine_with(stopping=EndsBeforeTheMerges),
            engine_with(results=DropsResultsWhenItStops),
            RestoresWithoutFailures,
            RestoresWithoutTheLastGroup,
            engine_with(journal=ForgetsToRetract),
            engine_with(failures=FailsWithoutTellingTheLedger),
            engine_with(range_source=ForgetsReportsWhenRestarted),
            engine_with(range_source=TakesRangesTwice),
            engine_with(range_source=LeasesBeforeTheLedgerKnows),
            engine_with(results=ReportsWhatIsNotDurable),
            engine_with(stopping=EndsBeforeItsReportsAreTaken),
            engine_with(journal=CountsEverythingAsNew),
            DiscardsWhatIsNeededAgain,
            engine_with(journal=ReplacesWhatTheLedgerKnows),
            engine_with(merges=MergesAgainForNothing),
            engine_with(merges=TakesEveryFileForTheLastWord),
            engine_with(awaited_inputs=LeasesBeforeTheInputIsSafe),
            engine_with(awaited_inputs=ForgetsWhatAnInputLacks),
            engine_with(awaited_inputs=TakesInputsTwice),
            engine_with(awaited_inputs=WaitsForWhatIsWithheld),
            engine_with(awaited_inputs=TriesWhatTheUpstreamGaveUp),
            RestoresWithoutInputs,
        )
    ),
    *(
        Parts(agent_restarts=mutant)
        for mutant in (
            NeverGivesAnAgentUp,
            StartsAgentsAgainAtOnce,
            HoldsOldFailuresAgainstAgents,
            StartsAgentsAgainInVain,
            GivesUpAfterOneDeath,
            WaitsWithoutNodes,
            CountsOnVanishedNodes,
            NeverAsksTheSilent,
            KillsAgentsThatAreLoading,
        )
    ),
    *(
        Parts(payload_restarts=mutant)
        for mutant in (
            NeverGivesAPayloadUp,
            StartsPayloadsAgainAtOnce,
            HoldsOldFailuresAgainstPayloads,
            BlamesPayloadsForFullDisks,
            StartsAgainWhatCallsItselfUnusable,
        )
    ),
    *(
        Parts(ledger=lambda job, mutant=mutant: mutant())
        for mutant in (
            ForgetsTheLastOfABatch,
            TearsCommits,
            RemembersWhatItRefused,
            ForgetsWhatWasNotSynchronised,
            ForgetsWhatWasReopened,
            HoldsOldFailuresAgainstEvents,
        )
    ),
    *(Parts(lease=mutant) for mutant in (RefusesNobody, ForgetsTheRestartedOne)),
    Parts(node_exchange=AnswersTooMuch),
    Parts(departure=LeavesAtOnce),
]


def name_of(parts: Parts) -> str:
    unusual = next(part for part in vars(parts) if getattr(parts, part) is not getattr(Parts(), part))
    value = getattr(parts, unusual)
    return (value(None).__class__ if unusual == "ledger" else value).__name__


def first_catch(parts: Parts) -> tuple[int, PromiseBroken]:
    for seed in (LIKELY.get(name_of(parts), 0), *range(SCHEDULES)):
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
