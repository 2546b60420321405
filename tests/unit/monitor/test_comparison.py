"""Tasks and allocations side by side: sums are added, rates are not, and a chain is as one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page_kit import task_in

from raythena.domain.core_time import NodeTimes, SessionTimes, account
from raythena.monitor.comparison_tables import TOGETHER, Comparison, comparison_drawing, comparison_table
from raythena.monitor.report_tables import Kind
from raythena.monitor.task_figures import Extent, Sums, figures
from raythena.monitor.task_reading import read_reported
from raythena.storage.ledger_view import NodeTotals


@pytest.fixture
def read(tmp_path):
    return read_reported(task_in(tmp_path))


def nodes(session, first, last, events=10):
    return NodeTotals(session, f"n{session}.1", events, 5.0, events * 1.0, first, last)


def chain(read):
    """The task in two allocations, with half an hour between them; the second one's nodes lost a quarter of their time."""
    first, *_ = read.summary.sessions
    second = replace(first, number=2, name="s2", began_at=first.began_at + 3600.0)
    spans = [(first.began_at, first.began_at + 100.0), (second.began_at, second.began_at + 100.0)]
    told = [
        SessionTimes(
            session=name,
            began_at=began,
            written_at=ended,
            ended_at=ended,
            lives=(
                NodeTimes(
                    node=f"n{number}.1",
                    cores=1,
                    began_at=began,
                    as_of=ended,
                    computed_s=75.0,
                    open_s=0.0,
                    thrown_away_s={},
                    idle_s={"tail": 25.0},
                ),
            ),
        )
        for number, (name, (began, ended)) in enumerate(zip(("s1", "s2"), spans, strict=True), start=1)
    ]
    totals = tuple(nodes(number, *span) for number, span in enumerate(spans, start=1))
    summary = replace(read.summary, sessions=(first, second), nodes=totals)
    return replace(read, summary=summary, accounting=account(told))


def value(comparison, figure, column):
    return comparison.cells()[figure][1][comparison.names.index(column)]


def test_allocations_of_a_chain_stand_side_by_side_and_as_one(read):
    compared = Comparison.of_allocations([chain(read)])
    assert compared.names == ["s1", "s2", TOGETHER]
    assert [value(compared, "finished", name) for name in compared.names] == [10, 10, 20]
    assert [value(compared, "allocated core time", name) for name in compared.names] == [100.0, 100.0, 200.0]
    assert [value(compared, "tail", name) for name in compared.names] == [0.25, 0.25, 0.25]
    assert [value(compared, "accounted for", name) for name in compared.names] == [1.0, 1.0, 1.0]
    assert value(compared, "nodes", TOGETHER) == 2
    assert value(compared, "events", TOGETHER) == 12, "what is known of the task only is told for all as one"
    assert value(compared, "events", "s1") is None


def test_a_rate_of_several_is_no_mean_of_rates(read):
    compared = Comparison.of_allocations([chain(read)])
    assert value(compared, "events per second", "s1") == 10 / 100.0
    assert value(compared, "events per second", TOGETHER) == 20 / 3700.0


def test_directories_of_one_name_are_told_apart(read):
    compared = Comparison.of_tasks([read, read, read], together=True)
    assert compared.names == ["sim.raythena", "sim.raythena (2)", "sim.raythena (3)", TOGETHER]
    assert value(compared, "merged", TOGETHER) == 12
    assert Comparison.of_tasks([read], together=False).names == ["sim.raythena"]


def test_what_one_does_not_know_all_together_do_not_know():
    parts = [Extent(Sums(events=3), (), account([])), Extent(Sums(), (), account([]))]
    assert figures(Extent.together(parts))["events"] == (None, Kind.COUNT)
    assert figures(Extent.together(parts))["allocations"] == (2, Kind.COUNT)


def test_a_category_of_one_only_is_in_the_table(read):
    compared = Comparison({"a": Extent.of_task(read), "b": Extent.of_task(chain(read))})
    kind, cells = compared.cells()["tail"]
    assert (kind, cells) == (Kind.SHARE, [None, 0.25])


def test_people_see_how_many_times_the_first_it_is(read):
    other = replace(read, summary=replace(read.summary, failed=3))
    rows = dict((row[0], row[1:]) for row in comparison_table(Comparison.of_tasks([read, other], together=False)).rows)
    assert rows["failed"] == ("1", "3 (3.00 ×)")
    assert rows["finished"] == ("6", "6")


def test_there_is_a_bar_for_each(read):
    assert comparison_drawing(Comparison.of_tasks([read, read], together=True)).count("<svg") == 3
