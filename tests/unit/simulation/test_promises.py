"""The promises hold at two thousand sites with all kinds of trouble; and what the simulated world is worth."""

from __future__ import annotations

import pytest

from raythena.engine import commands as do
from raythena.testing.simulation import Plan, simulate
from raythena.testing.simulation.campaign import try_seeds
from raythena.testing.simulation.draw import FAULTS, Size, draw

SCHEDULES = 2000
PORTION = 25
FAULTS_THAT_COME_UP = {
    "coordinator died",
    "coordinator froze",
    "coordinator killed in a commit",
    "agent died",
    "agent froze",
    "commit refused",
    "disk full",
    "killed at the walltime",
    "merge died",
    "merge wrote a bad file",
    "node died",
    "node given up",
    "node not used any more",
    "nodes out of reach",
    "payload crashed",
    "second coordinator",
    "session stopped",
    "stored output unreadable",
    "walltime warning",
}


@pytest.mark.parametrize("first", range(0, SCHEDULES, PORTION))
def test_every_promise_holds_at_troubled_sites(first: int) -> None:
    """A failure here prints its story; `raythena simulate --first SEED --seeds 1` shows it again."""
    tally = try_seeds(first, PORTION, Size())
    assert not tally.broken, tally.broken[0].story
    assert tally.merged + tally.failed == tally.events


@pytest.mark.parametrize("seed", range(3))
def test_every_promise_holds_at_a_large_site(seed: int) -> None:
    result = simulate(seed, draw(seed, Size(nodes=64, cores=2, events=1000)))
    assert result.merged + result.failed == result.events == 1000


@pytest.mark.parametrize("seed", [300, 302, 304])
def test_the_real_ledger_and_the_real_lease_change_nothing(seed: int) -> None:
    """What a ledger in memory does, the one on disk does: with the same seed the same things happen, one after the other."""
    faults = [kind for kind in FAULTS if kind != "disk"]
    plan = draw(seed, Size(kinds=faults))
    calm = {"commit_kills": 0.0, "stalls": 0, "intruders": 0, "walltime_s": 0.0, "stops": 0}
    in_memory, on_disk = (Plan(**{**vars(plan), **calm, "on_disk": real}) for real in (False, True))
    assert simulate(seed, on_disk) == simulate(seed, in_memory)


def test_the_real_ledger_survives_full_disks_and_deaths_in_the_middle_of_a_commit() -> None:
    plan = Plan(
        (20, 20),
        10,
        2,
        2,
        0.3,
        trouble_s=30.0,
        on_disk=True,
        commit_kills=0.2,
        stalls=2,
        crashes=3,
        intruders=3,
        flaky=0.1,
        loss=0.1,
    )
    deaths = sum(simulate(seed, plan).faults.get("coordinator killed in a commit", 0) for seed in range(5))
    assert deaths > 0


@pytest.mark.parametrize("seed", range(6))
def test_ranges_handed_out_while_the_job_runs_are_each_told_once(seed: int) -> None:
    """Whoever gives them learns the outcome of every one, through deaths of the coordinator and ends of allocations."""
    plan = Plan(
        (30, 30), 10, 3, 2, 0.5, trouble_s=40.0, crashes=4, deaths=2, poison=2, stops=1, loss=0.1, given=True, on_disk=seed < 2
    )
    result = simulate(seed, plan)
    assert (result.merged, result.failed) == (58, 2)


def test_a_seed_is_the_whole_reproduction() -> None:
    assert simulate(17) == simulate(17)


def test_every_kind_of_fault_comes_up() -> None:
    """Soon; a campaign of a few hundred schedules is worth something."""
    missing = set(FAULTS_THAT_COME_UP)
    for seed in range(400):
        missing -= simulate(seed).faults.keys()
        if not missing:
            return
    pytest.fail(f"not seen: {sorted(missing)}")


def test_innocent_events_are_never_given_up() -> None:
    """Neighbours of an event that fails, hangs or kills are merged."""
    for seed in range(3):
        result = simulate(seed, Plan((30, 30), 7, 3, 2, 0.3, trouble_s=20.0, poison=1, hangs=1, killers=1, crashes=2))
        assert (result.failed, result.innocent) == (3, 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_node_that_fails_everything_costs_no_event(seed: int) -> None:
    result = simulate(seed, Plan((100, 100), 50, 4, 2, 1.0, trouble_s=1000.0, bad_nodes=1))
    assert (result.merged, result.outcome) == (200, do.Outcome.COMPLETE)


@pytest.mark.parametrize("seed", range(5))
def test_a_job_goes_on_after_the_walltime(seed: int) -> None:
    """Allocations far too short for the job: it is done all the same, and events that were stored are not computed again."""
    plan = Plan((60, 60), 40, 2, 2, 1.0, trouble_s=150.0, walltime_s=25.0, walltime_known=True)
    result = simulate(seed, plan)
    assert result.merged == 120
    assert result.sessions > 1


def test_a_signal_that_nobody_expected_is_enough_to_save_what_is_finished() -> None:
    plan = Plan((60, 60), 40, 2, 2, 1.0, trouble_s=150.0, walltime_s=25.0, warning_s=8.0)
    assert all(simulate(seed, plan).merged == 120 for seed in range(3))


def test_a_second_coordinator_is_refused() -> None:
    result = simulate(2, Plan((60, 60), 40, 2, 2, 0.5, trouble_s=12.0, intruders=5))
    assert (result.faults["second coordinator"], result.sessions) == (5, 1)


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
