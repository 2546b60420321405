"""A seed that breaks a promise is told so that a person can act on it: what led there, a simpler site, a line to see it again."""

from __future__ import annotations

import pytest
from wrong_parts import AcknowledgesWhatItRefusesTooEarly, DropsResultsWhenItStops, engine_with

from raythena.domain.taxonomy import EndCause
from raythena.engine import commands as do
from raythena.engine.engine import Engine
from raythena.engine.stopping import Stopping
from raythena.testing import simulation
from raythena.testing.simulation import BudgetConfig, EngineConfig, Parts, Plan, PromiseBroken, simulate
from raythena.testing.simulation.campaign import command_for, run_campaign, try_seeds
from raythena.testing.simulation.draw import FAULTS, Size, draw
from raythena.testing.simulation.plan import pasted
from raythena.testing.simulation.shrink import shrink


class EndsAtOnce(Stopping):
    def look_for_end(self, now):
        self.finish(do.Outcome.COMPLETE, "why not", EndCause.NONE, now)


class Stumbles(Engine):
    def _tick(self, event, now):
        raise ZeroDivisionError("a defect nobody thought of")


def first_broken(parts: Parts) -> tuple[int, PromiseBroken]:
    for seed in range(500):
        try:
            simulate(seed, parts=parts)
        except PromiseBroken as broken:
            return seed, broken
    raise AssertionError("nothing is broken")


def test_the_story_follows_the_range_that_was_wronged() -> None:
    _, broken = first_broken(Parts(engine=engine_with(results=AcknowledgesWhatItRefusesTooEarly)))
    story = str(broken)
    number = broken.promise.rpartition("range ")[2].split()[0]
    assert f"range {number} is leased to" in story
    assert f"range {number} is reported by" in story
    assert f"range {number} is acknowledged to" in story


def test_a_seed_looked_at_more_closely_breaks_the_same_promise_not_later() -> None:
    parts = Parts(engine=engine_with(stopping=EndsAtOnce))
    with pytest.raises(PromiseBroken, match="exactly once: range 0 is neither merged nor failed"):
        simulate(3, parts=parts)


def test_a_defect_of_any_kind_is_told_with_its_seed() -> None:
    with pytest.raises(PromiseBroken, match="a defect: ZeroDivisionError: a defect nobody thought of") as caught:
        simulate(8, parts=Parts(engine=Stumbles))
    assert "Again: simulate(8)" in str(caught.value)


def test_a_failing_site_is_made_simpler_and_breaks_the_same_promise() -> None:
    parts = Parts(engine=engine_with(results=DropsResultsWhenItStops))
    seed, broken = first_broken(parts)
    plan = draw(seed)
    seed, smaller, still = shrink(seed, plan, broken, parts)
    assert "acknowledged means durable" in still.promise
    assert len(pasted(smaller)) < len(pasted(plan)) / 2
    with pytest.raises(PromiseBroken) as again:
        simulate(seed, smaller, parts)
    assert str(again.value) == str(still)


def test_a_plan_written_down_is_the_same_plan() -> None:
    for seed in range(50):
        plan = draw(seed)
        assert eval(pasted(plan), vars(simulation)) == plan
    assert pasted(Plan(nodes=3, engine=EngineConfig(budget=BudgetConfig(few_lost_nodes=1)))) == (
        "Plan(nodes=3, engine=EngineConfig(budget=BudgetConfig(few_lost_nodes=1)))"
    )


def test_a_tally_tells_which_seed_broke_what() -> None:
    tally = try_seeds(7, 2, Size(), Parts(engine=engine_with(stopping=EndsAtOnce)))
    assert (tally.schedules, [broken.seed for broken in tally.broken]) == (2, [7, 8])
    story = tally.broken[0].story
    assert "Again: raythena simulate --first 7 --seeds 1" in story
    assert "python -c 'from raythena.testing.simulation import *; simulate(" in story


def test_a_campaign_is_the_same_however_it_is_shared_out() -> None:
    alone, shared = (run_campaign(40, 60, Size(kinds=("network", "disk")), processes) for processes in (1, 2))
    assert alone.schedules == shared.schedules == 60
    assert (alone.events, alone.merged, alone.steps, alone.faults) == (shared.events, shared.merged, shared.steps, shared.faults)


def test_what_is_wanted_is_not_drawn() -> None:
    plan = draw(5, Size(nodes=64, cores=7, events=900, kinds=()))
    assert (plan.nodes, plan.cores, plan.n_events) == (64, 7, 900)
    usual = Plan()
    assert all(getattr(plan, name) == getattr(usual, name) for names in FAULTS.values() for name in names)
    assert command_for(5, Size(nodes=64, kinds=())) == "raythena simulate --first 5 --seeds 1 --nodes 64 --faults none"
