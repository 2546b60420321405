"""The promises hold at a few hundred sites with all kinds of trouble, and the judge notices when they do not."""

from __future__ import annotations

import numpy as np
import pytest

from raythena.domain.ranges import RangeState
from raythena.engine import commands as do
from raythena.engine.desk import CoordinatorDesk
from raythena.engine.engine import Engine
from raythena.testing.simulation import Plan, PromiseBroken, simulate
from raythena.testing.simulation.disk_ledger import LedgerOnDisk

FEW = range(0, 100, 20)
MANY = [pytest.param(first, marks=pytest.mark.slow) for first in range(1000, 2000, 20)]


@pytest.mark.parametrize("first", [*FEW, *MANY])
def test_every_promise_holds_at_troubled_sites(first: int) -> None:
    for seed in range(first, first + 20):
        result = simulate(seed)
        assert result.merged + result.failed == result.events


@pytest.mark.parametrize("seed", range(300, 306))
def test_every_promise_holds_with_the_real_ledger(seed: int, tmp_path) -> None:
    ledgers: list[LedgerOnDisk] = []

    def on_disk(job):
        ledgers.append(LedgerOnDisk(tmp_path, job))
        return ledgers[-1]

    assert simulate(seed, make_ledger=on_disk) == simulate(seed)
    ledgers[0].close()


def test_a_seed_is_the_whole_reproduction() -> None:
    assert simulate(17) == simulate(17)


def test_innocent_events_are_never_given_up() -> None:
    """Neighbours of an event that fails, hangs or kills are merged."""
    for seed in range(3):
        result = simulate(seed, Plan((30, 30), 7, 3, 2, 0.3, trouble_s=20.0, poison=1, hangs=1, killers=1, crashes=2))
        assert (result.failed, result.innocent) == (3, 0)


@pytest.mark.parametrize(("n_events", "mean_event_s", "floor"), [(2000, 0.2, 0.97), (800, 1.0, 0.97), (320, 5.0, 0.94)])
def test_cores_are_busy_when_nothing_goes_wrong(n_events: int, mean_event_s: float, floor: float) -> None:
    """The end costs up to one event per core: fewer, longer events leave less."""
    result = simulate(1, Plan((n_events // 2,) * 2, 250, 4, 4, mean_event_s, spread=0.3))
    assert result.occupancy >= floor
    assert result.outcome is do.Outcome.COMPLETE
    assert result.attempts <= 1.02 * n_events


def test_a_slow_node_does_not_hold_up_the_end() -> None:
    plan = Plan((400,), 100, 4, 2, 0.5, spread=0.1, slow_nodes=1, slowness=5.0)
    assert simulate(1, plan).makespan_s < 1.35 * 400 * 0.5 / (2 * (3 + 1 / 5))


# ---- engines that are wrong


class AcknowledgesBeforeCommit(Engine):
    def _group_reported(self, event, now):
        super()._group_reported(event, now)
        self._do(do.Acknowledge(event.group.node, event.group.name))


def forget_outcome(engine, group, states):
    """Take ranges of a group for undone that are in one of `states`."""
    table = engine.table
    for index in group.entries["range"].tolist():
        if table.state[index] in states:
            table.counts[table.state[index]] -= 1
            table.counts[RangeState.READY] += 1
            table.state[index] = RangeState.READY


class AcceptsLateResults(Engine):
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
    def _ranges_returned(self, event, now):
        put_back, self.pool.put_back = self.pool.put_back, lambda indices: put_back(indices[:-1])
        super()._ranges_returned(event, now)
        self.pool.put_back = put_back


class KeepsLeasesOfLostNodes(Engine):
    def _node_lost(self, event, now):
        put_back, self.pool.put_back = self.pool.put_back, lambda indices: None
        super()._node_lost(event, now)
        self.pool.put_back = put_back


class CountsFailedAsStored(Engine):
    def _give_up(self, failure, attempt, now):
        one = np.asarray([failure.range_index])
        self.table.move(one, RangeState.ACCEPTED)
        self.table.move(one, RangeState.STORED)
        self.merges.stored_in(self.outputs.output_of(failure.range_index), "nowhere", 1)


class HandsOutTwice(Engine):
    """The pool of a restarted engine does not know what nodes brought along."""

    def _node_joined(self, event, now):
        super()._node_joined(event, now)
        self.pool._returned.setdefault(0, []).extend(range(3))


class NeverTakesBackWhatGotLost(Engine):
    def _reclaim(self, node):
        pass


BUSY = Plan((40, 40), 10, 4, 2, 0.5, spread=1.0, slow_nodes=1, slowness=8.0, trouble_s=20.0)
ROUGH = Plan((40, 40), 10, 4, 2, 0.5, loss=0.1, duplication=0.2, trouble_s=20.0, cuts=6, deaths=2, crashes=3, poison=2)


@pytest.mark.parametrize(
    ("mutant", "plan", "complaint"),
    [
        (AcknowledgesBeforeCommit, BUSY, "acknowledged means durable"),
        (AcceptsLateResults, ROUGH, "has an outcome|differ|wrongly|illegal|not merged|without"),
        (AcceptsBothDuplicates, BUSY, "has an outcome|differ|illegal"),
        (ForgetsReturnedRanges, BUSY, "progress"),
        (KeepsLeasesOfLostNodes, ROUGH, "progress"),
        (CountsFailedAsStored, ROUGH, "not in the ledger"),
        (HandsOutTwice, ROUGH, "illegal|differ|twice"),
    ],
)
def test_the_judge_notices(mutant, plan, complaint) -> None:
    def try_seeds() -> None:
        for seed in range(30):
            simulate(seed, plan, make_engine=mutant)

    with pytest.raises(PromiseBroken, match=complaint) as caught:
        try_seeds()
    assert "Again: simulate(" in str(caught.value)
    assert "What happened last:" in str(caught.value)


def test_the_right_engine_passes_where_the_wrong_ones_fail() -> None:
    for seed in range(3):
        simulate(seed, BUSY)
        simulate(seed, ROUGH)


def test_replies_forgotten_by_the_desk_are_noticed(monkeypatch) -> None:
    """Without the memory of replies, leases in lost answers would be lost, if nobody took them back."""

    def forgetful(self, message, now):
        line = self._lines.get(message.node)
        if line is not None:
            line.reply = None
        return answer(self, message, now)

    answer = CoordinatorDesk.exchange
    monkeypatch.setattr(CoordinatorDesk, "exchange", forgetful)
    plan = Plan((40, 40), 10, 4, 2, 0.5, loss=0.3, trouble_s=30.0)
    simulate(1, plan)
    with pytest.raises(PromiseBroken, match="progress"):
        simulate(1, plan, make_engine=NeverTakesBackWhatGotLost)
