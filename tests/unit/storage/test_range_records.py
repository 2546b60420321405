"""Records of ranges: the ledger told range by range, brought up to date by what is new, searched page by page."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raythena.domain.errors import LedgerCorrupt
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.records import (
    AttemptFailed,
    GroupStored,
    OutputMerged,
    RangesReopened,
    RangesRetracted,
    RangesTaken,
    ReportsTaken,
)
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport, MergedOutput
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.ledger_view import LedgerView
from raythena.storage.range_records import COLUMNS, SORTABLE, RangeQuery, RangeRecords, RangeSearch, _page_of
from raythena.testing.simulation.samples import given_job, given_range, merged_of, small_job

JOB = small_job((6, 6), 4)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.create(tmp_path / "ledger.sqlite", JOB)
    ledger.begin_session(SessionInfo("s1", "host", 1, 1_700_000_000.0))
    yield ledger
    ledger.close()


def group(name, output, ranges, node="a.1", wall_s=1.0):
    entries = np.zeros(len(ranges), dtype=ENTRY_DTYPE)
    entries["range"], entries["wall_s"], entries["attempt"], entries["size"] = ranges, wall_s, 1, 100
    entries["start"] = 1_700_000_000.0 + np.asarray(ranges)
    return GroupReport(name, node, output, f"staging/{name}", 100 * len(ranges), 1, entries)


def stored(*arguments, **more):
    return GroupStored(group(*arguments, **more))


def failed(index, attempt=1, *, final=False):
    return AttemptFailed(index, attempt, "b.1", FailureKind.CRASH, "signal 11", final, 1_700_000_009.0)


def states(records):
    return [records.record(index).state for index in range(len(records))]


def seen(path, records):
    with LedgerView.read(path, whole=False) as view:
        return records.update(view)


def test_a_range_on_its_way_through(ledger, tmp_path):
    records, path = RangeRecords(JOB), tmp_path / "ledger.sqlite"
    assert not seen(path, records)
    assert set(states(records)) == {"open"}
    ledger.commit([failed(0), stored("g1", 0, [0, 1]), failed(4, final=True)])
    assert seen(path, records)
    assert states(records)[:5] == ["stored", "stored", "open", "open", "failed"]
    assert records.counts() == {"open": 9, "stored": 2, "merged": 0, "failed": 1}
    ledger.commit([stored("g2", 0, [2, 3]), OutputMerged(MergedOutput(0, "o", "outputs/o", "g", 1, 1, 4), ("g1", "g2"))])
    assert seen(path, records)
    assert states(records)[:5] == ["merged"] * 4 + ["failed"]
    assert not seen(path, records)


def test_what_is_told_of_a_range(ledger, tmp_path):
    ledger.commit([failed(7), stored("g1", 2, [7], node="n.2", wall_s=2.5), failed(4, attempt=3, final=True)])
    records = RangeRecords(JOB)
    seen(tmp_path / "ledger.sqlite", records)
    done, given_up, waiting = (records.record(index) for index in (7, 4, 0))
    assert (done.lfn, done.first_event, done.node, done.session, done.wall_s) == (JOB.inputs[1].lfn, 2, "n.2", 1, 2.5)
    assert (done.output, done.size_bytes, done.failure) == (JOB.outputs[2], 100, 1)
    assert (given_up.state, given_up.node, given_up.attempt, given_up.wall_s) == ("failed", "b.1", 3, None)
    assert (waiting.state, waiting.node, waiting.started_at, waiting.failure) == ("open", "", None, 0)
    assert [cause.count for cause in records.causes] == [1]
    with pytest.raises(IndexError):
        records.record(12)


def test_stored_outputs_that_were_lost_are_open_again_until_they_are_stored_anew(ledger, tmp_path):
    records, path = RangeRecords(JOB), tmp_path / "ledger.sqlite"
    ledger.commit([stored("g1", 0, [0, 1])])
    ledger.commit([RangesRetracted("g1", (1,))])
    seen(path, records)
    assert states(records)[:2] == ["stored", "open"]
    ledger.commit([stored("g2", 0, [1])])
    seen(path, records)
    assert states(records)[:2] == ["stored", "stored"]
    at_once = RangeRecords(JOB)
    seen(path, at_once)
    assert states(at_once) == states(records)


def test_what_failed_and_is_tried_again_is_open_and_then_merged_with_the_others(ledger, tmp_path):
    """Whoever follows step by step sees the same as whoever comes late."""
    following = RangeRecords(JOB)
    ledger.begin_session(SessionInfo("first", "host", 1, 1.0))
    ledger.commit([stored("a", 0, [0, 1, 3]), failed(2, 3, final=True)])
    ledger.commit([OutputMerged(merged_of(JOB, 0, 3, (2,)), ("a",))])
    seen(tmp_path / "ledger.sqlite", following)
    assert following.record(2).state == "failed"
    ledger.begin_session(SessionInfo("second", "host", 1, 2.0), RangesReopened((2,)))
    seen(tmp_path / "ledger.sqlite", following)
    assert (following.record(2).state, following.record(2).attempt, following.causes) == ("open", 0, [])
    ledger.commit([stored("b", 0, [2])])
    late = RangeRecords(JOB)
    for records in (following, late):
        seen(tmp_path / "ledger.sqlite", records)
        assert [records.record(index).state for index in range(4)] == ["merged", "merged", "stored", "merged"]
    ledger.commit([OutputMerged(merged_of(JOB, 0, 4), ("a", "b"))])
    for records in (following, late):
        seen(tmp_path / "ledger.sqlite", records)
        assert records.record(2).state == "merged"
        assert [merged.n_events for merged in records.merged] == [4]


def test_ranges_that_are_given_grow(tmp_path):
    job = given_job(2)
    records, path = RangeRecords(job), tmp_path / "ledger.sqlite"
    with_ranges = [given_range(job, number) for number in range(5)]
    ledger = Ledger.create(path, job)
    ledger.begin_session(SessionInfo("s1", "host", 1, 0.0))
    ledger.commit([RangesTaken(GivenRanges.pack(with_ranges, job.inputs))])
    seen(path, records)
    ledger.commit([stored("g1", 0, [3])])
    seen(path, records)
    ledger.close()
    assert states(records) == ["open", "open", "open", "stored", "open"]
    ids = [records.record(index).range_id for index in range(5)]
    assert set(ids) == {one.range_id for one in with_ranges}
    assert [records.find(range_id) for range_id in ids] == [0, 1, 2, 3, 4]
    (block,) = records.blocks(np.arange(5))
    assert block["range_id"] == ids


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (RangeQuery(), list(range(12))),
        (RangeQuery(states=frozenset({"failed"})), [4]),
        (RangeQuery(states=frozenset({"failed", "stored"})), [0, 1, 4, 7]),
        (RangeQuery(node="n.2"), [7]),
        (RangeQuery(lfn=JOB.inputs[1].lfn), list(range(6, 12))),
        (RangeQuery(failed_before=True), [1, 4]),
        (RangeQuery(lfn="nothing"), []),
        (RangeQuery(message="signal"), [4]),
        (RangeQuery(message="no such"), []),
        (RangeQuery(states=frozenset({"stored"}), sort="wall_s", descending=True), [7, 0, 1]),
        (RangeQuery(states=frozenset({"stored"}), sort="start"), [0, 1, 7]),
    ],
)
def test_what_is_asked_for_is_found(ledger, tmp_path, query, expected):
    ledger.commit([failed(1), stored("g1", 0, [0, 1]), stored("g2", 1, [7], node="n.2", wall_s=3.0), failed(4, final=True)])
    records = RangeRecords(JOB)
    seen(tmp_path / "ledger.sqlite", records)
    search = RangeSearch(records)
    assert search.page(query, 0, 100) == (len(expected), expected)
    pages = [search.page(query, offset, 2)[1] for offset in range(0, 12, 2)]
    assert [index for page in pages for index in page] == expected
    assert sorted(search.all_of(query).tolist()) == sorted(expected)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_page_of_any_order_is_a_stretch_of_the_whole(data):
    """Also where only the first few were sorted, and where many are equal."""
    records = RangeRecords(small_job((200_000,), 200_000))
    numbers = np.random.default_rng(data.draw(st.integers(0, 5)))
    for name in ("wall_s", "start", "size"):
        records.columns[name][:] = numbers.integers(0, data.draw(st.sampled_from([2, 50, 10_000_000])), 200_000)
    sort, descending = data.draw(st.sampled_from(["wall_s", "start", "size"])), data.draw(st.booleans())
    keys = records.columns[sort].astype(float)
    expected = np.argsort(-keys if descending else keys, kind="stable").tolist()
    search, query = RangeSearch(records), RangeQuery(sort=sort, descending=descending)
    for offset in data.draw(st.lists(st.sampled_from([0, 50, 3000, 5000, 199_990, 200_010]), min_size=1, max_size=4)):
        assert search.page(query, offset, 50) == (200_000, expected[offset : offset + 50])


def test_every_order_offered_is_there():
    assert set(SORTABLE) <= set(RangeRecords(JOB).columns)


def test_blocks_tell_the_same_as_records(ledger, tmp_path):
    ledger.commit([stored("g1", 0, [0, 1]), failed(4, attempt=2, final=True)])
    records = RangeRecords(JOB)
    seen(tmp_path / "ledger.sqlite", records)
    blocks = list(records.blocks(np.arange(12), size=5))
    assert [len(block["state"]) for block in blocks] == [5, 5, 2]
    assert all(set(block) == set(COLUMNS) for block in blocks)
    joined = {name: [cell for block in blocks for cell in block[name]] for name in COLUMNS}
    for index in range(12):
        record = records.record(index)
        for name in ("range_id", "lfn", "first_event", "output", "state", "node", "attempt", "wall_s", "size_bytes"):
            assert joined[name][index] == getattr(record, name), name
    assert (joined["reason"][4], joined["message"][4]) == ("crash", "signal 11")
    assert joined["reason"][0] == ""


@pytest.mark.parametrize("wrong", ["", "x", "f1-0", "f1-7", "f1-x", "f1-1-1", "nothing-1"])
def test_an_id_that_is_none_is_not_found(wrong):
    records = RangeRecords(JOB)
    wrong = wrong.replace("f1", JOB.inputs[0].lfn)
    assert records.find(wrong) is None


def test_an_id_is_found():
    records = RangeRecords(JOB)
    assert [records.find(records.record(index).range_id) for index in range(12)] == list(range(12))


def test_why_an_attempt_failed_is_told_also_where_a_later_one_succeeded(ledger, tmp_path):
    records, path = RangeRecords(JOB), tmp_path / "ledger.sqlite"
    ledger.commit([failed(1), stored("g1", 0, [1]), failed(4, 2, final=True)])
    seen(path, records)
    assert [(records.record(index).reason, records.record(index).message) for index in (0, 1, 4)] == [
        ("", ""),
        ("crash", ""),
        ("crash", "signal 11"),
    ]
    ledger.commit([RangesReopened((4,))])
    seen(path, records)
    assert (records.record(4).state, records.record(4).message) == ("open", "")
    ledger.commit([failed(4, 1, final=True)])
    seen(path, records)
    assert records.record(4).message == "signal 11"


def test_what_was_given_and_what_was_acknowledged_is_counted(tmp_path):
    job = given_job(2)
    records, path = RangeRecords(job), tmp_path / "ledger.sqlite"
    ledger = Ledger.create(path, job)
    ledger.begin_session(SessionInfo("s1", "host", 1, 0.0))
    ledger.commit([RangesTaken(GivenRanges.pack([given_range(job, number) for number in range(5)], job.inputs))])
    ledger.commit([stored("g1", 0, [1, 3]), failed(2, final=True)])
    seen(path, records)
    assert (records.given, records.acknowledged) == (5, 0)
    ledger.commit([ReportsTaken(("g1",), (2,))])
    ledger.close()
    seen(path, records)
    assert (records.given, records.acknowledged) == (5, 3)


def test_the_process_of_a_range_is_in_the_id_that_panda_gave_it(tmp_path):
    job = given_job(1)
    records = RangeRecords(job)
    records.layout.append(GivenRanges.pack([replace(given_range(job, 0), range_id="30737678-5750099001-41-17-3")], job.inputs))
    records.layout.append(GivenRanges.pack([replace(given_range(job, 1), range_id="a-b-c-d-e")], job.inputs))
    records.columns = {name: np.zeros(2, dtype=column.dtype) for name, column in records.columns.items()}
    assert [records.record(index).process for index in (0, 1)] == ["17", ""]


def test_what_a_host_computed_in_a_stretch_of_time_comes_in_order(ledger, tmp_path):
    records, path = RangeRecords(JOB), tmp_path / "ledger.sqlite"
    ledger.commit([stored("g1", 0, [0, 1], node="a.1"), stored("g2", 0, [2], node="a.2"), stored("g3", 1, [4], node="b.1")])
    seen(path, records)
    origin = 1_700_000_000.0
    assert records.computed_on("a", origin, origin + 10).tolist() == [0, 1, 2]
    assert records.computed_on("a", origin + 1.5, origin + 2.0).tolist() == [1]
    assert records.computed_on("a", origin + 10, origin + 20).tolist() == []
    assert records.computed_on("nobody", origin, origin + 10).tolist() == []


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_however_many_groups_are_taken_in_together_each_range_is_told_of_its_own(ledger, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr("raythena.storage.range_records._AT_ONCE", at_once)
    ledger.commit(
        [stored("g1", 0, [0, 1], wall_s=1.0), stored("g2", 0, [2], node="b.1"), stored("g3", 0, [3], node="c.1", wall_s=7.0)]
    )
    heard, records = [], RangeRecords(JOB)
    with LedgerView.read(tmp_path / "ledger.sqlite", whole=False) as view:
        records.update(view, lambda nodes, places, entries: heard.extend(nodes[place] for place in places.tolist()))
    told = [(record.node, record.wall_s) for record in map(records.record, range(4))]
    assert told == [("a.1", 1.0), ("a.1", 1.0), ("b.1", 1.0), ("c.1", 7.0)]
    assert heard == ["a.1", "a.1", "b.1", "c.1"]


def test_what_stands_before_a_damaged_row_is_taken_in_once(ledger, tmp_path):
    class Damaged:
        def rows_after(self, table, seq):
            if table == "groups" and seq < 2:
                yield from view.rows_after(table, seq)
                raise LedgerCorrupt("row 3 was altered")

    heard, records = [], RangeRecords(JOB)
    ledger.commit([stored("g1", 0, [0, 1]), stored("g2", 0, [2])])
    with LedgerView.read(tmp_path / "ledger.sqlite", whole=False) as view:
        for _ in range(2):
            with suppress(LedgerCorrupt):
                records.update(Damaged(), lambda nodes, places, entries: heard.append(len(entries)))
    assert states(records)[:4] == ["stored"] * 3 + ["open"]
    assert heard == [3]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50), st.booleans(), st.data())
def test_a_page_far_down_an_order_is_found_without_sorting_all(values, descending, data):
    column = np.array(values, dtype=np.uint8)
    whole = sorted(range(len(values)), key=lambda place: (-values[place] if descending else values[place], place))
    offset = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(offset, len(values)))
    assert _page_of(column, offset, stop, descending=descending).tolist() == whole[offset:stop]
