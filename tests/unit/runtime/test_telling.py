"""What people are told of warnings, of nodes set aside and of early ends."""

from __future__ import annotations

import numpy as np

from raythena.domain.taxonomy import EndCause
from raythena.engine import events as ev
from raythena.engine.commands import DrainLoss, Finish, Outcome
from raythena.engine.engine import Engine
from raythena.runtime.job_report import _ending
from raythena.runtime.progress_meter import ProgressMeter
from raythena.testing.simulation.samples import small_job


def engine_with_two_nodes() -> Engine:
    engine = Engine(small_job())
    for name in ("a.1", "b.1"):
        engine.step(ev.NodeJoined(node=name, cores=1, held=np.empty(0, dtype=np.int64)), 0.0)
    return engine


def test_the_latest_warning_is_the_message_until_there_is_something_more_urgent():
    engine = engine_with_two_nodes()
    meter = ProgressMeter(engine, 0.0)
    assert meter.read(1.0).message == ""
    engine.warnings.extend(["first", "second"])
    assert meter.read(1.0).message == "second"
    assert meter.read(1.0).warnings == ("first", "second")
    engine.step(ev.StopRequested(reason="a person"), 2.0)
    assert meter.read(2.0).message == "a person"


def test_a_node_set_aside_is_shown_as_such():
    engine = engine_with_two_nodes()
    engine.fleet.set_aside(engine.fleet.number(1))
    assert [node.state for node in ProgressMeter(engine, 0.0).read(1.0).nodes] == ["up", "aside"]


def test_the_report_tells_what_an_early_end_cost():
    loss = DrainLoss(drain_s=12.5, core_s=30.0, events_cut_off=2, left_s=7.25)
    assert _ending(Finish(outcome=Outcome.STOPPED, reason="walltime", loss=loss, cause=EndCause.WALLTIME)) == {
        "cause": "walltime",
        "drain_s": 12.5,
        "core_s_thrown_away": 30.0,
        "events_cut_off": 2,
        "walltime_left_s": 7.25,
    }


def test_a_job_that_ended_by_itself_has_no_early_end():
    assert _ending(Finish(outcome=Outcome.COMPLETE, reason="done")) is None
