"""The two kinds of jobs differ in one object, chosen when the engine begins."""

from __future__ import annotations

import pytest

from raythena.domain.errors import InternalError
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.ids import OutputNumber
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.completion import MergedHere
from raythena.engine.engine import Engine
from raythena.engine.range_source import RangeSource
from raythena.testing.simulation.samples import given_job, given_range, small_job


def chunk(job, count):
    return GivenRanges.pack([given_range(job, number) for number in range(count)], job.inputs)


def test_a_job_that_cuts_its_ranges_merges_here_and_takes_none_from_others():
    engine = Engine(small_job((6, 6), 4))
    assert isinstance(engine.completion, MergedHere)
    assert not engine.completion.may_grow
    assert engine.completion.interval(OutputNumber(2)) == (6, 10)
    assert engine.completion.interval(OutputNumber(4)) is None
    assert engine.completion.waits_in_vain(1e9) == ""
    with pytest.raises(InternalError, match="in a job that cuts its own"):
        engine.step(ev.RangesGiven(chunk(given_job(2), 2)), 1.0)


def test_a_job_whose_ranges_are_given_grows_until_it_is_told_that_there_are_no_more():
    job = given_job(2)
    engine = Engine(job)
    assert isinstance(engine.completion, RangeSource)
    assert engine.completion.interval(OutputNumber(0)) is None, "nothing is known yet"
    commands = engine.step(ev.RangesGiven(chunk(job, 5)), 1.0)
    assert [command for command in commands if isinstance(command, do.AcceptRanges)] == [do.AcceptRanges(5)]
    assert engine.completion.interval(OutputNumber(1)) == (0, 5)
    assert engine.completion.interval(OutputNumber(2)) is None
    assert engine.completion.may_grow
    engine.step(ev.RangesEnded(), 2.0)
    assert not engine.completion.may_grow
    assert not engine.completion.is_over


def test_ranges_that_came_before_are_not_counted_as_new():
    job = given_job(2)
    engine = Engine(job)
    engine.step(ev.RangesGiven(chunk(job, 3)), 1.0)
    assert do.AcceptRanges(2) in engine.step(ev.RangesGiven(chunk(job, 5)), 2.0)
