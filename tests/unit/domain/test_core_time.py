"""Where core-seconds went: every allocated one has a name, and no other has."""

from __future__ import annotations

import pytest

from raythena.domain.core_time import CATEGORIES, Idle, NodeTimes, SessionTimes, Share, account


def life(node="a.1", began_at=110.0, as_of=200.0, *, open_s=0.0, thrown=None, idle=None):
    """The account of a life of two cores; what is not computing is between events."""
    thrown, cores, computed_s = thrown or {}, 2, 100.0
    rest_s = cores * (as_of - began_at) - computed_s - open_s - sum(thrown.values()) - sum((idle or {}).values())
    idle_s = {**(idle or {}), str(Idle.BETWEEN): rest_s}
    return NodeTimes(
        node=node,
        cores=cores,
        began_at=began_at,
        as_of=as_of,
        computed_s=computed_s,
        open_s=open_s,
        thrown_away_s=thrown,
        idle_s=idle_s,
    )


def session(*lives, began_at=100.0, ended_at=205.0, lost=(), name="s", written_at=203.0):
    return SessionTimes(
        session=name, began_at=began_at, written_at=written_at, ended_at=ended_at, lives=lives, lost=frozenset(lost)
    )


def test_a_whole_life_from_the_beginning_of_the_allocation_to_its_end():
    told = account([session(life(thrown={"crash": 7.0}, idle={str(Idle.TAIL): 3.0}))], {("s", "a.1"): 100.0})
    assert told.core_s == {
        Share.NODE_START: 20.0,
        Share.KEPT: 100.0,
        Share.THROWN_AWAY: 7.0,
        Idle.BETWEEN: 70.0,
        Idle.TAIL: 3.0,
        Share.AFTER_END: 10.0,
    }
    assert list(told.core_s) == [name for name in CATEGORIES if name in told.core_s]
    assert (told.allocated_s, told.accounted, told.unaccounted_s) == (210.0, 1.0, 0.0)
    assert told.thrown_away == {"crash": 7.0}


def test_what_the_ledger_did_not_take_is_thrown_away_once_the_session_is_over():
    times = life(open_s=5.0)
    over = account([session(times)], {("s", "a.1"): 90.0})
    assert (over.core_s[Share.KEPT], over.thrown_away) == (90.0, {"not-committed": 10.0, "cut-off": 5.0})
    going_on = account([session(times, ended_at=None)], {("s", "a.1"): 90.0})
    assert going_on.core_s[Share.UNDER_WAY] == 15.0
    assert going_on.thrown_away == {}
    assert over.accounted == going_on.accounted == 1.0


def test_a_sum_over_single_precision_times_is_not_a_loss():
    told = account([session(life())], {("s", "a.1"): 100.0002})
    assert told.thrown_away == {}
    assert told.accounted == pytest.approx(1.0, abs=1e-12)


def test_a_node_that_is_lost_and_comes_back_is_lost_in_between():
    told = account([session(life(), life("a.2", 230.0, 300.0), ended_at=310.0, lost=["a.1"])])
    assert told.core_s[Share.NODE_LOST] == 2 * 30.0
    assert told.core_s[Share.AFTER_END] == 2 * 10.0
    assert told.accounted == 1.0


def test_a_node_that_is_lost_for_good_is_lost_until_the_end():
    told = account([session(life(), life("b.1"), lost=["a.1"], ended_at=None, written_at=260.0)])
    lost, living = told.nodes
    assert (lost.host, lost.core_s[Share.NODE_LOST]) == ("a", 2 * 60.0)
    assert Share.NODE_LOST not in living.core_s
    assert told.accounted == 1.0


def test_what_was_committed_after_the_last_account_was_not_lost():
    told = account([session(life(), lost=["a.1"], ended_at=260.0)], {("s", "a.1"): 104.0})
    assert told.core_s[Share.KEPT] == 104.0
    assert told.core_s[Share.NODE_LOST] == 2 * 60.0 - 4.0
    assert told.accounted == 1.0


def test_a_chain_of_allocations_is_the_sum_of_its_links():
    links = [session(life()), session(life(began_at=510.0, as_of=600.0), began_at=500.0, ended_at=601.0, name="t")]
    told = account(links, {("s", "a.1"): 100.0, ("t", "a.1"): 80.0})
    assert told.allocated_s == 210.0 + 202.0
    assert told.core_s[Share.KEPT] == 180.0
    assert told.accounted == 1.0


@pytest.mark.parametrize("off_s", [-4.0, 4.0])
def test_a_category_that_is_wrong_is_not_hidden(off_s):
    times = life(idle={str(Idle.TAIL): 30.0})
    wrong = NodeTimes(**{name: getattr(times, name) for name in times.__slots__} | {"computed_s": times.computed_s + off_s})
    told = account([session(wrong), session(life(), name="t")])
    assert told.unaccounted_s == pytest.approx(-off_s)
    assert told.accounted == pytest.approx(1 - 4.0 / 420.0)


def test_waiting_below_nothing_makes_no_other_error_good():
    told = account([session(life(idle={str(Idle.TAIL): -20.0}))])
    assert told.unaccounted_s == 0.0
    assert told.accounted == pytest.approx(1 - 20.0 / 210.0)


def test_errors_of_two_nodes_do_not_cancel_each_other():
    more, less = life("a.1"), life("b.1")
    more.idle_s[str(Idle.BETWEEN)] += 5.0
    less.idle_s[str(Idle.BETWEEN)] -= 5.0
    told = account([session(more, less)])
    assert told.unaccounted_s == pytest.approx(0.0)
    assert told.accounted == pytest.approx(1 - 10.0 / 420.0)


def test_of_nothing_nothing_is_told():
    assert account([]).to_dict() == {"allocated_core_s": 0.0, "accounted": 1.0, "core_s": {}, "thrown_away": {}, "nodes": []}
