"""What ended is started again after a pause that grows, unless it keeps ending; and who is to blame decides what counts."""

from __future__ import annotations

import pytest

from raythena.engine.restarts import (
    AFTER_AGENT,
    AFTER_PAYLOAD,
    AGENT_LIMITS,
    AgentEnd,
    AgentRestarts,
    GiveUp,
    PayloadEnd,
    PayloadRestarts,
    Reaction,
    RestartLimits,
    SilenceLimits,
    StartAgain,
)

FINAL = {AgentEnd.PAYLOAD_FAILED, AgentEnd.DISK_REFUSED}


@pytest.fixture
def agents() -> AgentRestarts:
    restarts = AgentRestarts(SilenceLimits(silent_s=10.0, answer_s=20.0))
    for node in ("a", "b"):
        restarts.node_appeared(node)
    return restarts


def die(restarts: AgentRestarts, node: str, lived_s: float, how: AgentEnd = AgentEnd.DIED) -> StartAgain | GiveUp:
    restarts.agent_started(node, 1000.0)
    return restarts.agent_ended(node, how, 1000.0 + lived_s)


def test_every_end_has_a_reaction():
    assert AFTER_AGENT.keys() == set(AgentEnd)
    assert AFTER_PAYLOAD.keys() == set(PayloadEnd)


def test_pauses_double_up_to_a_limit():
    limits = RestartLimits(max_failures=10, first_pause_s=1.0, longest_pause_s=5.0)
    assert [limits.pause_s(failures) for failures in range(5)] == [0.0, 1.0, 2.0, 4.0, 5.0]


def test_an_agent_that_keeps_dying_is_given_up(agents):
    decisions = [die(agents, "a", 1.0) for _ in range(AGENT_LIMITS.max_failures)]
    assert decisions == [StartAgain(0.5), StartAgain(1.0), StartAgain(2.0), StartAgain(4.0), GiveUp(is_last=False)]


def test_an_agent_that_lived_long_begins_with_a_clean_record(agents):
    for _ in range(4):
        die(agents, "a", 1.0)
    assert die(agents, "a", AGENT_LIMITS.stable_s + 1.0) == StartAgain(0.5)
    assert die(agents, "a", AGENT_LIMITS.stable_s) == StartAgain(1.0), "exactly that long is not longer"


@pytest.mark.parametrize("how", list(AgentEnd))
def test_what_another_agent_would_end_with_too_is_final(agents, how):
    decision = die(agents, "a", 1e6, how)
    assert decision == (GiveUp(is_last=False) if how in FINAL else StartAgain(0.5))


def test_nodes_do_not_pay_for_each_other(agents):
    for _ in range(4):
        die(agents, "a", 1.0)
    assert die(agents, "b", 1.0) == StartAgain(0.5)


def test_the_last_node_that_is_given_up_is_called_the_last(agents):
    assert die(agents, "a", 1.0, AgentEnd.PAYLOAD_FAILED) == GiveUp(is_last=False)
    assert die(agents, "b", 1.0, AgentEnd.PAYLOAD_FAILED) == GiveUp(is_last=True)


def test_a_node_that_vanished_is_no_hope(agents):
    agents.node_vanished("b")
    assert die(agents, "a", 1.0, AgentEnd.DISK_REFUSED) == GiveUp(is_last=True)


def test_an_agent_of_a_vanished_node_is_not_started_again_and_nobody_is_told_that_it_was_the_last(agents):
    agents.node_vanished("a")
    agents.node_vanished("b")
    assert die(agents, "a", 1.0) == GiveUp(is_last=False)


def test_only_the_silent_are_asked_and_those_never_heard_of_get_longer(agents):
    agents.agent_started("a", 0.0)
    assert agents.answer_limit_s("a", 10.0) is None
    assert agents.answer_limit_s("a", 10.1) == 300.0
    agents.agent_heard("a")
    assert agents.answer_limit_s("a", 10.1) == 20.0
    agents.agent_started("a", 50.0)
    assert agents.answer_limit_s("a", float("inf")) == 300.0, "the next agent has not been heard of"


def test_a_payload_that_finishes_an_event_between_failures_is_kept():
    payload = PayloadRestarts()
    for _ in range(10):
        payload.started(0.0)
        assert payload.ended(PayloadEnd.FAILED, 1.0) == StartAgain(1.0)
        payload.proved_sound()


def test_a_payload_that_only_fails_is_given_up():
    payload = PayloadRestarts()
    assert [payload.ended(PayloadEnd.FAILED, 1.0) for _ in range(3)] == [StartAgain(1.0), StartAgain(2.0), GiveUp()]


def test_living_long_does_not_make_a_payload_sound():
    payload = PayloadRestarts()
    payload.started(0.0)
    assert [payload.ended(PayloadEnd.FAILED, 1e6) for _ in range(3)][-1] == GiveUp()


def test_a_full_disk_is_not_the_payloads_fault():
    payload = PayloadRestarts()
    assert {payload.ended(PayloadEnd.NO_ROOM, 1.0) for _ in range(20)} == {StartAgain(0.0)}
    payload.ended(PayloadEnd.FAILED, 1.0)
    assert payload.ended(PayloadEnd.NO_ROOM, 1.0) == StartAgain(1.0)


def test_a_payload_without_numbers_is_given_up_at_once():
    assert AFTER_PAYLOAD[PayloadEnd.NUMBERS_EXHAUSTED] is Reaction.GIVE_UP
    assert PayloadRestarts().ended(PayloadEnd.NUMBERS_EXHAUSTED, 0.0) == GiveUp()
