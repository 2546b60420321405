"""The parts of a node's decisions: ranges in the payload, results on their way into groups; and what a node leases."""

from __future__ import annotations

import numpy as np
import pytest

from raythena.domain.ids import OutputNumber
from raythena.domain.ranges import RangeState, RangeTable
from raythena.engine.lease_list import LeaseList
from raythena.engine.payload_ranges import AskedBack, PayloadRanges
from raythena.engine.result_groups import FinishedRange, GroupLimits, ResultGroups
from raythena.testing.simulation.samples import small_job


def result(index: int, size_bytes: int = 10) -> FinishedRange:
    return FinishedRange(index, f"/scratch/{index}", 0, size_bytes, True, 1, 1.0, 1.0, 0.0)


@pytest.fixture
def fed() -> PayloadRanges:
    ranges = PayloadRanges()
    ranges.feed([4, 2, 7])
    ranges.started(2, 100.0)
    return ranges


# ---- ranges in the payload


def test_what_has_begun_is_told_with_its_age(fed):
    assert (fed.begun(), fed.unbegun(), len(fed)) == ([2], [4, 7], 3)
    assert list(fed.running(103.5)) == [(2, 3.5)]
    assert len(fed.running(103.5)) == 1
    assert (2, 3.5) in fed.running(103.5)
    assert fed.n_unbegun == 2
    assert (fed.remove(4), fed.n_unbegun) == (True, 1)
    fed.started(7, 100.0)
    fed.feed([7, 9])
    assert fed.n_unbegun == len(fed.unbegun())
    assert (2, 0.0) in fed.running(99.0), "clocks differ; an age is never negative"


def test_a_range_leaves_the_payload_once(fed):
    assert fed.remove(4)
    assert not fed.remove(4)
    fed.started(4, 1.0)
    assert list(fed) == [2, 7]


def test_only_what_has_not_begun_is_asked_back_the_last_first_and_once(fed):
    assert fed.ask_back_last(1) == [7]
    assert fed.ask_back_last(5) == [4]
    assert fed.ask_back_last(5) == []
    assert fed.why_asked_back(7) is AskedBack.RECALLED


def test_what_is_settled_elsewhere_need_not_come_home(fed):
    assert fed.ask_back({2, 4, 99}, AskedBack.REVOKED) == [4]
    assert fed.why_asked_back(4) is AskedBack.REVOKED
    assert fed.why_asked_back(2) is None


def test_a_range_that_begins_or_is_leased_anew_is_not_wanted_back_any_more(fed):
    fed.ask_back_last(2)
    fed.started(7, 1.0)
    fed.keep(4)
    assert (fed.why_asked_back(7), fed.why_asked_back(4)) == (None, None)


# ---- results on their way


@pytest.mark.parametrize(
    ("limits", "now"),
    [(GroupLimits(2, 10**6, 1e9), 0.0), (GroupLimits(99, 20, 1e9), 0.0), (GroupLimits(99, 10**6, 5.0), 5.0)],
    ids=["full", "large", "old"],
)
def test_a_group_is_closed_when_it_is_full_large_or_old(limits, now):
    groups = ResultGroups(limits)
    groups.add(OutputNumber(3), result(9), 0.0)
    groups.add(OutputNumber(5), result(1), 4.0)
    assert groups.due(4.0, all_of_them=False) == []
    groups.add(OutputNumber(3), result(8), 4.0)
    (group,) = groups.due(now, all_of_them=False)
    assert (group.number, group.output, [member.index for member in group.members]) == (1, 3, [8, 9])


def test_results_are_counted_until_their_group_is_durable():
    groups = ResultGroups(GroupLimits(2, 10**6, 5.0))
    assert not groups
    for index in (1, 2, 3):
        groups.add(OutputNumber(index // 3), result(index), 0.0)
    (full,) = groups.due(0.0, all_of_them=False)
    assert (groups.n_unreported, sorted(groups.indices())) == (2, [1, 2, 3])
    groups.written(full.number)
    assert (groups.n_unreported, list(groups.indices())) == (1, [3])
    (rest,) = groups.due(0.0, all_of_them=True)
    groups.written(rest.number)
    assert not groups


# ---- leases of a node


def test_a_lease_counts_while_the_table_says_the_same():
    table = RangeTable(small_job((10,)).inputs)
    leases = LeaseList(table, 0)
    table.move(np.arange(6), RangeState.LEASED, 0)
    leases.add(np.asarray([3, 4, 5]))
    leases.add(np.asarray([0, 1]))
    table.move(np.asarray([4]), RangeState.ACCEPTED)
    assert leases.held().tolist() == [0, 1, 3, 5]
    leases.replace(np.asarray([3]))
    assert (leases.held().tolist(), leases.listed) == ([3], 1)
    leases.replace(np.empty(0, dtype=np.int64))
    assert (leases.held().tolist(), leases.arrays) == ([], [])
