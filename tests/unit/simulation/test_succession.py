"""The head's machine dies: thousands of histories in which one node at most takes its place, and mutants that are noticed."""

from collections import Counter

import pytest

from raythena.engine.succession import Move, Sight, Succession
from raythena.testing.simulation import PromiseBroken
from raythena.testing.simulation.simulated_lease import LeaseInMemory
from raythena.testing.simulation.simulated_succession import FIRST, simulate_succession

HISTORIES = 800


def broken(rules=Succession, new_lease=LeaseInMemory, histories=HISTORIES):
    """What the judge says of the first history that goes wrong; "" if none does."""
    for seed in range(histories):
        try:
            simulate_succession(seed, rules, new_lease)
        except PromiseBroken as problem:
            return str(problem)
    return ""


def test_there_is_one_head_at_most_and_the_job_goes_on():
    """And the histories are worth something: heads die, successors die, claims come to nothing."""
    outcomes = [simulate_succession(seed) for seed in range(HISTORIES)]
    lives = Counter(len(outcome.heads) for outcome in outcomes)
    assert lives[1] > 100
    assert lives[2] > 200
    assert lives[3] > 40
    assert sum(outcome.given_up for outcome in outcomes) > 20
    pauses = sorted(outcome.without_head_s for outcome in outcomes if outcome.without_head_s)
    assert 60 < pauses[len(pauses) // 2] < 120


# ---- leases that are wrong


class GivesToAnybody(LeaseInMemory):
    def _is_free(self, found, host):
        return True


class GivesTooSoon(LeaseInMemory):
    def _is_free(self, found, host):
        return self._clock() - found.heard_at >= 20


class Hasty(Succession):
    """Claims as soon as the head is silent, whatever the lease says; a right lease holds it back."""

    def _is_orphaned(self, sight, now):
        return sight.lease_readable


def test_a_lease_that_is_given_to_anybody_makes_two_heads():
    assert broken(Hasty, histories=100) == "", "the lease alone is enough"
    assert "two heads at once" in broken(Hasty, GivesToAnybody)
    assert "two heads at once" in broken(Hasty, GivesTooSoon)


# ---- rules that are wrong


class NeverClaims(Succession):
    """Nobody takes over, and nobody says so."""

    def look(self, sight, now):
        move = super().look(sight, now)
        return Move.WATCH if move in {Move.CLAIM, Move.GIVE_UP} else move


class GivesUpAtOnce(Succession):
    """A head behind a cut link loses its job."""

    def look(self, sight, now):
        move = super().look(sight, now)
        return Move.GIVE_UP if self.doubts else move


class GivesUpWhenItCannotRead(Succession):
    """A disk that does not answer is taken for a lease that is not there."""

    def _note_lease(self, sight, now):
        super()._note_lease(sight, now)
        if not sight.lease_readable:
            self._heard_at = float("-inf")

    def _is_orphaned(self, sight, now):
        return now - self._heard_at > 60


class LeavesWhenTheHeadIsSilent(Succession):
    def look(self, sight, now):
        move = super().look(sight, now)
        return Move.LEAVE if move is Move.CLAIM else move


class ForgetsThatAClaimFailed(Succession):
    """Its lease is silent now, and it takes itself for one that follows somebody."""

    def _as_understudy(self, sight, now, since):
        return Move.STAND_BY


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (NeverClaims, "nobody goes on with the job"),
        (GivesUpAtOnce, "gives the job up while"),
        (GivesUpWhenItCannotRead, "gives the job up while"),
        (LeavesWhenTheHeadIsSilent, "nobody is at work"),
        (ForgetsThatAClaimFailed, "nobody goes on with the job"),
    ],
)
def test_a_wrong_rule_is_noticed(rules, words):
    assert words in broken(rules)


# ---- stories


def seen(*, answers=False, ray=True, holder=FIRST, heartbeat=0.0, readable=True):
    return Sight(head_answers=answers, ray_runs=ray, holder=holder, heartbeat=heartbeat, lease_readable=readable)


def moves(rules, sights):
    return [rules.look(sight, now) for now, sight in sights]


def test_a_head_that_answers_is_watched_until_ray_ends():
    rules = Succession(FIRST, 0)
    assert moves(rules, [(0, seen(answers=True)), (15, seen(answers=True, ray=False))]) == [Move.WATCH, Move.LEAVE]


def test_a_silent_head_is_succeeded_when_its_lease_is_silent_too():
    rules = Succession(FIRST, 0)
    sights = [(now, seen(ray=now < 60)) for now in (0, 30, 59, 61)]
    assert moves(rules, sights) == [Move.WATCH, Move.WATCH, Move.WATCH, Move.CLAIM]


def test_ranks_claim_one_after_the_other():
    first, second = Succession(FIRST, 0), Succession(FIRST, 5)
    for rules in (first, second):
        rules.look(seen(), 0)
    assert [rules.look(seen(), 61) for rules in (first, second)] == [Move.CLAIM, Move.WATCH]
    assert second.look(seen(), 71) is Move.CLAIM


def test_a_head_behind_a_cut_link_is_waited_for_and_then_left():
    rules = Succession(FIRST, 0)
    assert {rules.look(seen(heartbeat=now), now) for now in range(0, 600, 5)} == {Move.WATCH}
    assert rules.look(seen(heartbeat=605), 605) is Move.LEAVE


def test_others_stand_by_until_the_new_head_is_at_work():
    rules = Succession(FIRST, 3)
    rules.look(seen(), 0)
    assert rules.look(seen(holder="n2.1", heartbeat=1), 65) is Move.STAND_BY
    assert rules.look(seen(holder="n2.1", heartbeat=2), 120) is Move.STAND_BY
    assert rules.look(seen(holder="n2.1", heartbeat=3), 126) is Move.LEAVE


def test_a_successor_that_dies_is_succeeded():
    rules = Succession(FIRST, 0)
    rules.look(seen(), 0)
    rules.look(seen(holder="n2.1", heartbeat=1), 65)
    assert rules.look(seen(holder="n2.1", heartbeat=1), 120) is Move.STAND_BY
    assert rules.look(seen(holder="n2.1", heartbeat=1), 126) is Move.CLAIM


def test_a_job_that_is_over_needs_nobody():
    rules = Succession(FIRST, 0)
    rules.look(seen(), 0)
    rules.look(seen(holder="n2.1", heartbeat=1), 65)
    assert rules.look(seen(holder=""), 70) is Move.LEAVE


def test_without_a_lease_there_is_nothing_to_go_on_with():
    rules = Succession("", 0)
    assert moves(rules, [(0, seen(holder="")), (59, seen(holder="")), (61, seen(holder=""))]) == [
        Move.WATCH,
        Move.WATCH,
        Move.GIVE_UP,
    ]


def test_two_claims_that_come_to_nothing_are_enough():
    rules = Succession(FIRST, 0)
    rules.look(seen(), 0)
    assert rules.look(seen(), 61) is Move.CLAIM
    rules.claim_failed(70)
    rules.look(seen(holder="mine.1"), 72)
    assert rules.look(seen(holder="mine.1"), 170) is Move.CLAIM
    rules.claim_failed(180)
    rules.look(seen(holder="mine.2"), 182)
    assert rules.look(seen(holder="mine.2"), 400) is Move.GIVE_UP
