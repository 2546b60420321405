"""A rule that is broken is told with the last steps of the range it is about; outputs move along their table."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from raythena.domain.errors import InternalError
from raythena.domain.ranges import RangeState
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.engine.merge_planner import TRANSITIONS, MergePlanner, OutputState
from raythena.testing.simulation.samples import group_of, small_job


def leased_engine() -> Engine:
    engine = Engine(small_job((6, 6), 12), None, EngineConfig(retry_delay_s=0.0))
    engine.step(ev.NodeJoined(node="n1.1", cores=4), 1.0)
    engine.step(ev.NodeReport(node="n1.1", queued=0, running=()), 2.0)
    return engine


def test_the_error_tells_the_last_steps_of_the_range_and_of_no_other():
    engine = leased_engine()
    engine.step(ev.AttemptReported(RangeFailure(2, FailureKind.CRASH, "segfault", "n1.1")), 3.0)
    engine.step(ev.AttemptReported(RangeFailure(3, FailureKind.HANG, "slow", "n1.1")), 3.5)
    story = engine.state.journal.story(2)
    assert "2.000 s: leased to n1.1" in story
    assert "3.000 s: reported failed by n1.1 (crash)" in story
    assert "attempt 1 failed on n1.1 (crash), ticket 1" in story
    assert "3.500 s: reported failed" not in story


def test_a_broken_rule_within_a_step_carries_the_story():
    engine = leased_engine()
    commands = engine.step(ev.GroupReported(group_of("g", "n1.1", 0, [0, 1])), 3.0)
    (commit,) = [command for command in commands if isinstance(command, do.Commit)]
    engine.table.move(np.asarray([0, 1]), RangeState.STORED)  # behind the engine's back
    with pytest.raises(InternalError, match=r"illegal move to STORED.*its last steps") as caught:
        engine.step(ev.Committed((commit.ticket,)), 4.0)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        "2.000 s: leased to n1.1",
        "3.000 s: reported by n1.1 in g",
        "3.000 s: accepted in g, ticket 1",
        "4.000 s: tickets 1 to 1 are committed",
    ]
    assert pickle.loads(pickle.dumps(caught.value)).range_index == 0


def test_an_error_about_no_range_is_told_as_it_is():
    with pytest.raises(InternalError, match=r"^the ledger committed ticket 99, which was not asked for$"):
        leased_engine().step(ev.Committed((99,)), 3.0)


def test_every_state_of_an_output_is_in_the_table_and_the_final_ones_lead_nowhere():
    assert TRANSITIONS.keys() == set(OutputState)
    final = {state for state, targets in TRANSITIONS.items() if not targets}
    assert final == {OutputState.MERGED, OutputState.EMPTY, OutputState.KEPT, OutputState.UNMERGEABLE}


def test_an_output_cannot_be_merged_twice():
    engine = leased_engine()
    planner = MergePlanner(engine.outputs, EngineConfig())
    planner.restore_merged(0)
    assert (planner.n_final, planner.n_merged) == (1, 1)
    with pytest.raises(InternalError, match="illegal move to MERGED: output 0 is MERGED"):
        planner.restore_merged(0)
