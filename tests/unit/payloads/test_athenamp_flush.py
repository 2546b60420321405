"""Flushes come in rounds, and a round that is over has fetched everything that was said before it."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from raythena.payloads.athenamp.flush import PAUSE_MAX_S, PAUSE_MIN_S, REPORT_DELAY_S, ROUND_LIMIT_S, Flushes


def test_the_first_flush_waits_a_little_and_rounds_have_pauses_between_them():
    flushes = Flushes()
    assert not flushes.due(10.0, 10.0, 0.0)
    assert flushes.due(10.01 + PAUSE_MIN_S, 10.0, 0.0)
    assert not flushes.due(10.5, 10.0, 20.0)
    assert flushes.due(10.0 + PAUSE_MAX_S, 10.0, 1000.0)
    flushes.sent("a", 10.0, 5000.0)
    assert flushes.in_round
    assert flushes.due(10.0, 10.0, 1000.0)
    assert flushes.refused("a", 11.0)
    assert not flushes.in_round
    assert not flushes.due(11.1, 10.0, 0.0)
    assert flushes.due(11.2, 10.0, 0.0)
    assert flushes.heard_until == 5000.0 - REPORT_DELAY_S


def test_pauses_grow_until_something_is_heard():
    flushes = Flushes()
    pauses = []
    for n in range(30):
        flushes.sent(str(n), 0.0, 0.0)
        flushes.refused(str(n), 0.0)
        pauses.append(next(t / 100 for t in range(1000) if flushes.due(t / 100, -1.0, 0.0)))
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_MAX_S
    flushes.reported()
    assert flushes.due(0.01 + PAUSE_MIN_S, -1.0, 0.0)


def test_what_is_no_flush_is_not_taken_for_one():
    flushes = Flushes()
    flushes.sent("a", 0.0, 0.0)
    assert not flushes.refused("b", 0.0)
    assert flushes.refused("a", 0.0)
    assert not flushes.refused("a", 0.0)


def test_a_round_whose_first_flush_was_lost_gives_way_to_another():
    flushes = Flushes()
    flushes.sent("lost", 0.0, 0.0)
    flushes.sent("b", 1.0, 1.0)
    assert flushes.due(ROUND_LIMIT_S, -1.0, 0.0)
    flushes.sent("c", ROUND_LIMIT_S, 99.0)
    assert flushes.refused("b", ROUND_LIMIT_S)
    assert flushes.in_round
    assert flushes.refused("c", ROUND_LIMIT_S)
    assert not flushes.in_round
    assert flushes.heard_until == 99.0 - REPORT_DELAY_S


def test_a_range_ends_a_round():
    flushes = Flushes()
    flushes.sent("a", 0.0, 0.0)
    flushes.given()
    assert not flushes.in_round
    assert flushes.refused("a", 1.0)
    assert flushes.heard_until is None


@given(st.lists(st.sampled_from(["idle", "report"]), min_size=1, max_size=40))
def test_one_round_fetches_everything_that_was_said_before_it(workers):
    """The scatterer's queue: workers that ask for a range, and workers that report and then ask. One asks already."""
    queue = deque()
    for number, kind in enumerate(workers):
        queue.extend([(kind, number), ("idle", number)] if kind == "report" else [("idle", number)])
    flushes, heard, tokens, asking = Flushes(), [], 0, True
    while asking or flushes.in_round:
        if asking:
            if tokens and not flushes.in_round:
                break
            tokens += 1
            flushes.sent(str(tokens), 0.0, 0.0)
            queue.extend([("refusal", str(tokens)), ("idle", "")])
        kind, value = queue.popleft()
        asking = kind == "idle"
        if kind == "report":
            heard.append(value)
        elif kind == "refusal":
            assert flushes.refused(value, 0.0)
    assert heard == [number for number, kind in enumerate(workers) if kind == "report"]
