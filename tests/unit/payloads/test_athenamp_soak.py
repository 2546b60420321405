"""All misdeeds of AthenaMP mixed at random: a range comes back once each time it is fed, and an output is its own event's."""

import random
from collections import Counter

import pytest
from athenamp_kit import FIRST_NUMBER, event_number, play

from athenamp_stand_in.plan import MISDEEDS
from raythena.runtime.payload_interface import Done, Released, Started

EVENTS = 400
RARE = ("die", "die_late", "exit_after", "hang")
"""Those that cost a new start, or a time limit."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_everything_comes_out_in_the_end(tmp_path, seed):
    rng = random.Random(seed)
    numbers = rng.sample(range(1, EVENTS + 1), EVENTS)
    plan = {name: [numbers.pop() for _ in range(1 if name in RARE else 5)] for name in MISDEEDS}
    (tmp_path / "once").mkdir()
    plan |= {"event_s": 0.01, "spread": 1.0, "caching": seed == 0, "once": str(tmp_path / "once")}

    async def scene(stage):
        todo, held, failures = set(range(1, EVENTS + 1)), set(), Counter()

        def enter(outcome):
            held.remove(outcome.index)
            if isinstance(outcome, Done):
                assert event_number(outcome.path) == FIRST_NUMBER + outcome.index - 1
                outcome.path.unlink()
                return
            todo.add(outcome.index)
            if not isinstance(outcome, Released):
                failures[outcome.index] += 1

        while todo or held:
            batch = [todo.pop() for _ in range(min(stage.payload.appetite, len(todo)))]
            held.update(batch)
            stage.feed(*batch)
            for outcome in await stage.payload.poll(0.05):
                if not isinstance(outcome, Started):
                    enter(outcome)
            if held and rng.random() < 0.05:
                stage.payload.release(rng.sample(sorted(held), min(3, len(held))))
        told = {number for name in MISDEEDS for number in plan[name]}
        innocent = {number for number in failures if number not in told}
        assert len(innocent) <= 4 * 3  # beside each death of everything, at most the other workers' events
        assert max(failures.values()) <= 3

    play(scene, tmp_path, plan, cores=4, events=EVENTS, limits={"min_time_limit_s": 6.0})
