"""Single events in and out of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from raythena.demo import event_files
from raythena.demo.event_files import EventReader, OneEventWriter, write_events
from raythena.demo.tables import Event, Schema, read_table
from raythena.domain.errors import InvalidInput

SCHEMA = Schema("T", {"RunNumber": "u4", "EventNumber": "u8"}, {"a": {"x": "f4", "n": "u8"}, "b": {"y": "i4"}})


def event(number: int, rows_a: int = 2, rows_b: int = 1) -> Event:
    random = np.random.default_rng(number)
    a = {"x": random.normal(size=rows_a).astype("f4"), "n": random.integers(0, 2**63, rows_a).astype("u8")}
    return Event({"RunNumber": 5, "EventNumber": number}, {"a": a, "b": {"y": np.arange(rows_b, dtype="i4")}})


def same(one: Event, other: Event) -> bool:
    columns = [(values, other.groups[group][name]) for group, fields in one.groups.items() for name, values in fields.items()]
    return one.number == other.number and all(ours.tobytes() == theirs.tobytes() for ours, theirs in columns)


@pytest.fixture(scope="module")
def quick_writer() -> OneEventWriter:
    return OneEventWriter(SCHEMA)


@settings(max_examples=15)
@given(rows_a=st.integers(0, 5), rows_b=st.integers(0, 5), number=st.integers(1, 2**63))
def test_the_quick_writer_writes_what_the_other_one_does(
    quick_writer: OneEventWriter, tmp_path_factory: pytest.TempPathFactory, rows_a: int, rows_b: int, number: int
) -> None:
    directory = tmp_path_factory.mktemp("one")
    written = event(number, rows_a, rows_b)
    quick_writer.write(directory / "quick.root", written)
    write_events(directory / "slow.root", SCHEMA, [written])
    for name in ("quick.root", "slow.root"):
        assert same(read_table(directory / name, "T").event(0), written)
    with uproot.open(directory / "quick.root") as quick, uproot.open(directory / "slow.root") as slow:
        assert quick.file.uuid == slow.file.uuid


@pytest.mark.parametrize("block_events", [1, 3, 64])
def test_every_event_is_found_whatever_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_events: int) -> None:
    monkeypatch.setattr(event_files, "BLOCK_EVENTS", block_events)
    events = [event(number, rows_a=number % 3) for number in range(1, 8)]
    write_events(tmp_path / "t.root", SCHEMA, events)
    reader = EventReader("T")
    for number in (7, 1, 4, 3, 2, 6, 5):
        assert same(reader.event(str(tmp_path / "t.root"), number), events[number - 1])


def test_a_few_blocks_are_kept_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_files, "BLOCK_EVENTS", 1)
    read: list[int] = []

    def counting(path: Path, tree: str, start: int, stop: int) -> object:
        read.append(start)
        return read_table(path, tree, start, stop)

    monkeypatch.setattr(event_files, "read_table", counting)
    write_events(tmp_path / "t.root", SCHEMA, [event(number) for number in range(1, 8)])
    reader = EventReader("T")
    for number in (1, 2, 1, 2, 3, 4, 1, 5, 1):
        reader.event(str(tmp_path / "t.root"), number)
    assert read == [0, 1, 2, 3, 4, 0]


@pytest.mark.parametrize("number", [0, -1, 3, 64, 65, 1000])
def test_an_event_that_is_not_there_is_refused(tmp_path: Path, number: int) -> None:
    write_events(tmp_path / "t.root", SCHEMA, [event(1), event(2)])
    with pytest.raises(InvalidInput, match=f"there is no event {number}"):
        EventReader("T").event(str(tmp_path / "t.root"), number)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    write_events(tmp_path / "t.root", SCHEMA, [event(1)])
    with pytest.raises(InvalidInput, match="is not in the file"):
        EventReader("HITS").event(str(tmp_path / "t.root"), 1)
