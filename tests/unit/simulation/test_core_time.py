"""At simulated sites too, what cores did and what they waited for adds up; and a node that books wrongly is found out."""

from __future__ import annotations

import pytest

from raythena.domain.core_time import Idle, SessionTimes, Share, account
from raythena.engine.core_times import CoreTimes
from raythena.engine.node_core import NodeCore
from raythena.testing.simulation import Parts, Plan, simulate

ENOUGH = 0.995


def run_site(seed: int, plan: Plan | None = None, times=CoreTimes):
    """The account of a simulated job, as one allocation that begins when the first node does."""
    cores: list[NodeCore] = []

    def core(*arguments) -> NodeCore:
        cores.append(NodeCore(*arguments))
        cores[-1].times = times()
        return cores[-1]

    result = simulate(seed, plan, Parts(core=core))
    lives = [life for one in cores if (life := one.times.read(one.node)).cores]
    session = SessionTimes(
        session="s",
        began_at=0.0,
        written_at=result.makespan_s,
        ended_at=result.makespan_s,
        lives=tuple(lives),
    )
    return result, account([session]), lives


def accounted(lives) -> float:
    """How well each life adds up by itself."""
    there_were = sum(life.cores * (life.as_of - life.began_at) for life in lives)
    told = sum(life.computed_s + life.open_s + sum(life.thrown_away_s.values()) + sum(life.idle_s.values()) for life in lives)
    return 1 - abs(told - there_were) / there_were


@pytest.mark.parametrize("seed", range(40))
def test_whatever_goes_wrong_it_adds_up(seed):
    _, _, lives = run_site(seed)
    assert accounted(lives) >= ENOUGH


def test_nothing_goes_wrong_and_the_cores_compute():
    result, told, _ = run_site(1, Plan(events_per_input=(400,), events_per_output=400, nodes=2, cores=4))
    shares = {name: seconds / told.allocated_s for name, seconds in told.core_s.items()}
    assert told.accounted >= ENOUGH
    assert shares[Share.KEPT] > 0.9
    assert shares[Idle.TAIL] + shares[Share.KEPT] + shares.get(Idle.MERGING, 0.0) > 0.97
    assert set(told.thrown_away) <= {"cut-off", "not-wanted"}, "second copies of the last events"
    assert result.failed == 0


def test_a_disk_that_was_full_is_told_of():
    trouble = Plan(nodes=2, cores=2, events_per_input=(400,), trouble_s=60.0, full_scratches=2)
    _, told, _ = run_site(7, trouble)
    assert told.core_s[Idle.DISK] > 1.0


def test_events_that_fail_are_thrown_away_by_their_reason():
    _, told, _ = run_site(3, Plan(trouble_s=200.0, poison=5))
    assert set(told.thrown_away) & {"reported", "crash", "bad-output", "protocol"}
    assert sum(told.thrown_away.values()) == pytest.approx(told.core_s[Share.THROWN_AWAY])


class ForgetsTheDisk(CoreTimes):
    def _book(self, seconds):
        if self._cause is not Idle.DISK:
            super()._book(seconds)


class CountsEventsTwice(CoreTimes):
    def done(self, index, began_at, wall_s, *, is_wanted):
        super().done(index, began_at, wall_s, is_wanted=is_wanted)
        self._idle_s[Idle.BETWEEN] += wall_s / 10


class NeverTakesBack(CoreTimes):
    def _book_one(self, seconds):
        if seconds > 0:
            super()._book_one(seconds)


@pytest.mark.parametrize("wrong", [ForgetsTheDisk, CountsEventsTwice, NeverTakesBack])
def test_a_node_that_books_wrongly_does_not_add_up(wrong):
    trouble = Plan(nodes=2, cores=2, events_per_input=(400,), trouble_s=60.0, full_scratches=2)
    _, _, right = run_site(7, trouble)
    _, _, lives = run_site(7, trouble, wrong)
    assert accounted(right) >= ENOUGH
    assert accounted(lives) < ENOUGH
