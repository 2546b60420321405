"""A large site made small: whether the figures are what a site like that must show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raythena.engine import commands as do
from raythena.engine import tail
from raythena.testing.simulation.large_site import SitePlan, list_scheduling_s, simulate_large_site

PLAN = SitePlan(nodes=12, cores=4, events=12 * 4 * 12, event_s=20.0, start_s=5.0, events_per_output=100)


@pytest.fixture(scope="module")
def figures():
    return simulate_large_site(PLAN)


def test_every_core_computes_from_the_beginning_to_the_end(figures):
    assert figures.outcome is do.Outcome.COMPLETE
    assert figures.occupancy > 0.995
    assert figures.bound_s < figures.scheduling_s <= figures.makespan_s < 1.1 * figures.scheduling_s + PLAN.start_s


def test_messages_follow_the_clock_and_not_the_events(figures):
    short = simulate_large_site(replace(PLAN, events=8 * PLAN.n_events, event_s=PLAN.event_s / 8))
    assert short.messages < 2 * figures.messages
    assert figures.messages < 4 * PLAN.nodes * figures.makespan_s
    assert figures.coordinator_busy == pytest.approx(figures.messages * PLAN.message_s / figures.makespan_s)


def test_the_same_seed_is_the_same_site(figures):
    assert replace(simulate_large_site(PLAN), engine_cpu_s=0.0) == replace(figures, engine_cpu_s=0.0)


def test_a_coordinator_that_is_too_slow_keeps_cores_waiting():
    """The figures show saturation, if there is any."""
    slow = simulate_large_site(replace(PLAN, message_s=1.0))
    assert slow.coordinator_busy > 0.9
    assert slow.longest_wait_s > 5.0
    assert slow.occupancy < 0.995


def test_events_are_begun_twice_only_where_that_gains(monkeypatch):
    """Events of very different length on equal nodes: a second copy of a long one takes as long again."""
    plan = replace(PLAN, spread=0.8)
    figures = simulate_large_site(plan)
    assert figures.begun_twice <= 2
    monkeypatch.setattr(tail, "probably_gains", lambda event, slowness_there, times: True)
    wasteful = simulate_large_site(plan)
    assert wasteful.begun_twice > 5
    assert figures.makespan_s <= wasteful.makespan_s


def test_nodes_that_are_lost_cost_their_cores_and_no_event():
    lost = simulate_large_site(replace(PLAN, lost_share=0.25))
    assert lost.outcome is do.Outcome.COMPLETE
    assert lost.begun_twice >= 3
    assert lost.occupancy < 0.97


def test_list_scheduling_is_known_by_hand():
    assert list_scheduling_s(np.asarray([3.0, 1.0, 1.0, 1.0, 2.0]), 2) == 5.0
    assert list_scheduling_s(np.asarray([3.0]), 128) == 3.0
