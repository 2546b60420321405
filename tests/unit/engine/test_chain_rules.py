"""Chains of allocations: on while they help, and no longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.allocation_chain import AllocationBegun, ChainPlan
from raythena.domain.errors import ExitCode
from raythena.engine.chain_rules import (
    EndOfChain,
    Go,
    LeaveChain,
    begin_allocation,
    end_allocation,
    idle_allocations,
)

PLAN = ChainPlan(until_done=True, max_allocations=5, idle_limit=3)


def begun(*finished):
    return [AllocationBegun(str(100 + number), float(number), count) for number, count in enumerate(finished)]


def test_one_allocation_is_one():
    assert begin_allocation(ChainPlan(False, 1), begun(0), cancelled=False) == Go(False, "one allocation was asked for")


def test_the_next_one_is_queued_while_this_one_runs():
    assert begin_allocation(PLAN, begun(0), cancelled=False) == Go(True)
    assert begin_allocation(PLAN, begun(0, 100, 200, 300), cancelled=False) == Go(True)


def test_allocations_are_counted():
    assert begin_allocation(PLAN, begun(0, 1, 2, 3, 4), cancelled=False) == Go(False, "this is the last of 5 allocations")


def test_one_that_was_requeued_counts_once():
    again = [AllocationBegun("100", float(number), number, restarts=number) for number in range(5)]
    assert begin_allocation(PLAN, again, cancelled=False) == Go(True)


def test_a_cancelled_chain_ends_before_it_computes():
    assert begin_allocation(PLAN, begun(0), cancelled=True) == EndOfChain("the chain was cancelled")


@pytest.mark.parametrize(
    ("finished", "idle"), [((5,), 0), ((0, 0), 1), ((0, 5), 0), ((0, 5, 5, 5), 2), ((5, 5, 5, 6), 0), ((9, 9, 9, 9), 3)]
)
def test_idle_allocations_in_a_row(finished, idle):
    assert idle_allocations(begun(*finished)) == idle


def test_three_that_achieved_nothing_end_it():
    assert isinstance(begin_allocation(PLAN, begun(7, 7, 7), cancelled=False), Go)
    assert begin_allocation(PLAN, begun(7, 7, 7, 7), cancelled=False) == EndOfChain(
        "3 allocations in a row have finished no event"
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 10))
def test_every_chain_ends(steps, limit):
    """However the job gets on, there are never more allocations than planned, nor more idle ones."""
    plan = ChainPlan(True, limit, idle_limit=3)
    done, history = 0, []
    for number, step in enumerate([*steps, *([0] * 20)]):
        history.append(AllocationBegun(str(number), float(number), done))
        decision = begin_allocation(plan, history, cancelled=False)
        if isinstance(decision, EndOfChain) or not decision.successor:
            break
        done += step
    assert len(history) <= limit
    assert idle_allocations(history) <= 3


@pytest.mark.parametrize("code", [ExitCode.STOPPED, ExitCode.CLUSTER, ExitCode.STORAGE])
def test_what_another_allocation_may_mend_is_gone_on_with(code):
    assert end_allocation(code, cancelled=False) == Go(True)


@pytest.mark.parametrize("code", [code for code in ExitCode if code not in {5, 6, 7, 8}])
def test_what_it_cannot_mend_is_the_end(code):
    assert isinstance(end_allocation(code, cancelled=False), EndOfChain)


def test_a_busy_task_is_somebody_elses_chain():
    assert isinstance(end_allocation(ExitCode.LEDGER, cancelled=False), LeaveChain)


@pytest.mark.parametrize("code", list(ExitCode))
def test_cancelled_is_cancelled(code):
    assert end_allocation(code, cancelled=True) == EndOfChain("the chain was cancelled")
