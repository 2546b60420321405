"""Ranges handed out from outside: packed, they come out as they went in; known ids are recognised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.errors import InvalidInput
from raythena.domain.event_range import EventRange
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.id_index import IdIndex
from raythena.domain.job import InputFile
from raythena.domain.ranges import NO_NODE, RangeLayout, RangeState, RangeTable

INPUTS = tuple(InputFile(f"EVNT.{n}", f"/in/EVNT.{n}", 0, guid=f"GUID{n}") for n in range(4))

NUMBERS = st.integers(0, 10**18 - 1) | st.integers(0, 300)
PANDA_IDS = st.lists(NUMBERS, min_size=5, max_size=5).map(lambda parts: "-".join(map(str, parts)))
IDS = (
    PANDA_IDS | st.text(min_size=1) | st.sampled_from(["007-1-2-3-4", "1-2-3-4-5-6", "1-2-3-4-99999999999999999999", "EVNT.1-3"])
)


def event_range(range_id: str, file: int = 0, first: int = 1, last: int | None = None, guid: str | None = None) -> EventRange:
    known = INPUTS[file]
    return EventRange(range_id, known.lfn, known.pfn, known.guid if guid is None else guid, first, last or first)


@st.composite
def chunks(draw, ids=IDS):
    ranges = []
    for range_id in draw(st.lists(ids, unique=True, max_size=12)):
        first = draw(st.integers(1, 10**9))
        ranges.append(event_range(range_id, draw(st.integers(0, 3)), first, first + draw(st.integers(0, 70_000))))
    return ranges


def positions(chunk: GivenRanges) -> np.ndarray:
    return np.arange(len(chunk), dtype=np.int64)


@given(chunks())
def test_what_is_packed_comes_out_as_it_went_in(ranges):
    chunk = GivenRanges.pack(ranges, INPUTS)
    for copy in (chunk, GivenRanges.from_bytes(chunk.to_bytes()), chunk.take(positions(chunk))):
        assert len(copy) == len(ranges)
        out = copy.event_ranges(positions(copy), INPUTS)
        assert sorted(out, key=lambda each: each.range_id) == sorted(ranges, key=lambda each: each.range_id)
        assert [copy.range_id(k) for k in range(len(copy))] == [each.range_id for each in out]
        assert [copy.events(k) for k in range(len(copy))] == [(each.first_event, each.last_event) for each in out]
        assert [(INPUTS.index(file), each.first_event) for each in out for file in INPUTS if file.lfn == each.lfn] == sorted(
            (int(each.lfn[-1]), each.first_event) for each in ranges
        )
        assert sum(count for _, count in copy.stretches()) == len(ranges)


@given(chunks(), st.data())
def test_an_id_hashes_the_same_whatever_its_neighbours_are(ranges, data):
    chunk = GivenRanges.pack(ranges, INPUTS)
    hashes = dict(zip((chunk.range_id(k) for k in positions(chunk)), chunk.id_hashes().tolist(), strict=True))
    for each in ranges:
        assert GivenRanges.pack([each], INPUTS).id_hashes().tolist() == [hashes[each.range_id]]


def test_ids_of_panda_cost_a_few_bytes():
    ranges = [event_range(f"24706191-5013009653-{24039149400 + n % 4}-{n // 4 + 1}-5", n % 4, n // 4 + 1) for n in range(4000)]
    chunk = GivenRanges.pack(ranges, INPUTS)
    assert sum(column.rest.nbytes for column in chunk.columns.values()) <= 8 * len(ranges)
    assert len(chunk.to_bytes()) <= 8 * len(ranges)


def test_an_id_listed_twice_is_one_range():
    assert len(GivenRanges.pack([event_range("1-2-3-4-5"), event_range("1-2-3-4-5")], INPUTS)) == 1


def test_a_guid_the_job_does_not_know_is_kept():
    chunk = GivenRanges.pack([event_range("a", 1, guid="OTHER"), event_range("b", 2)], INPUTS)
    out = GivenRanges.from_bytes(chunk.to_bytes()).event_ranges(np.asarray([0, 1]), INPUTS)
    assert [each.guid for each in out] == ["OTHER", "GUID2"]


def test_an_empty_chunk_is_a_chunk():
    empty = GivenRanges.from_bytes(GivenRanges.pack([], INPUTS).to_bytes())
    assert (len(empty), empty.stretches(), empty.id_hashes().tolist()) == (0, [], [])


def test_a_range_of_an_unknown_file_or_path_is_refused():
    with pytest.raises(InvalidInput, match="no input of the job"):
        GivenRanges.pack([EventRange("1-2-3-4-5", "EVNT.9", "/in/EVNT.9", "", 1, 1)], INPUTS)
    with pytest.raises(InvalidInput, match=r"/in/EVNT\.1"):
        GivenRanges.pack([EventRange("1-2-3-4-5", "EVNT.1", "/in/./EVNT.1", "", 1, 1)], INPUTS)


# ---- the index of ids


class Known:
    """An index and the ids in it."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.index = IdIndex(lambda number: self.ids[number])

    def ask(self, ids: list[str], hashes: list[int]) -> list[bool]:
        return self.index.is_known(np.asarray(hashes, dtype=np.uint32), lambda position: ids[position]).tolist()

    def add(self, ids: list[str], hashes: list[int]) -> None:
        self.ids += ids
        self.index.add(np.asarray(hashes, dtype=np.uint32))


@given(st.lists(st.lists(st.integers(0, 3000), unique=True, max_size=40), max_size=30), st.sampled_from([2**32 - 1, 7, 1]))
def test_the_index_knows_exactly_what_was_added(batches, spread):
    """Even when many hashes agree: `spread` is the number of different ones."""
    known, reference = Known(), set()
    for batch in batches:
        ids = [f"id{number}" for number in batch]
        hashes = [(number * 2654435761) % spread for number in batch]
        answer = known.ask(ids, hashes)
        assert answer == [each in reference for each in ids]
        new = [(each, value) for each, value, old in zip(ids, hashes, answer, strict=True) if not old]
        known.add([each for each, _ in new], [value for _, value in new])
        reference.update(ids)
    assert len(known.index) == len(reference)


def test_the_index_grows_beyond_its_first_size():
    known = Known()
    for start in range(0, 5000, 100):
        known.add([f"id{n}" for n in range(start, start + 100)], list(range(start, start + 100)))
    assert all(known.ask([f"id{n}" for n in range(5000)], list(range(5000))))
    assert not any(known.ask([f"id{n}" for n in range(5000, 5100)], list(range(5000, 5100))))


# ---- layouts and tables that grow


@given(st.lists(chunks(PANDA_IDS), max_size=6), st.data())
def test_a_layout_that_grows_knows_every_range_it_was_given(batches, data):
    layout, expected = RangeLayout(INPUTS, given=True), []
    for ranges in batches:
        chunk = GivenRanges.pack(ranges, INPUTS)
        layout.append(chunk)
        expected += chunk.event_ranges(positions(chunk), INPUTS)
    assert len(layout) == len(expected)
    indices = np.asarray(data.draw(st.permutations(range(len(expected)))), dtype=np.int64)
    assert layout.event_ranges(indices) == [expected[index] for index in indices.tolist()]
    assert [layout.inputs[file].lfn for file in layout.files_of(indices).tolist()] == [expected[k].lfn for k in indices.tolist()]
    for index, each in enumerate(expected):
        assert layout.event_range(index) == each
        assert layout.range_id(index) == each.range_id
        assert layout.event_of(index) == (int(each.lfn[-1]), each.first_event)
        assert layout.inputs[layout.file_of(index)].lfn == each.lfn
    bounds = [layout.segment(number) for number in range(layout.n_segments)]
    assert [start for start, _ in bounds] == layout.offsets[:-1].tolist()
    assert all(len({layout.file_of(index) for index in range(start, stop)}) == 1 for start, stop in bounds)


def test_a_table_keeps_its_rows_when_it_grows():
    table = RangeTable(INPUTS, given=True)
    for batch in range(50):
        table.append(GivenRanges.pack([event_range(f"1-2-3-{batch}-{n}", n % 4, batch + 1) for n in range(7)], INPUTS))
        new = np.arange(7 * batch, 7 * batch + 7)
        assert (table.state[new] == RangeState.GIVEN).all()
        assert (table.node[new] == NO_NODE).all()
        table.move(new, RangeState.READY)
        table.move(new[:1], RangeState.LEASED, node=batch)
        table.attempt[new[1]] = 2
    assert len(table) == len(table.state) == 350
    assert table.node[::7].tolist() == list(range(50))
    assert table.attempt.sum() == 100
    assert table.counts.tolist() == np.bincount(table.state, minlength=len(RangeState)).tolist()
