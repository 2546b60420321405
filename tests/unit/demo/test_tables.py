"""Tables survive the way into a ROOT file and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from raythena.demo.tables import Schema, Table, group_of, read_scalars, read_table, write_table
from raythena.domain.errors import InvalidInput

SCHEMA = Schema("T", {"EventNumber": "u8", "w": "f4"}, {"a": {"x": "f4", "n": "i4"}, "b": {"y": "f8"}})


def table_of(counts_a: list[int], counts_b: list[int]) -> Table:
    rng = np.random.default_rng(len(counts_a))
    n = len(counts_a)
    a = group_of([{"x": rng.normal(size=c), "n": rng.integers(0, 99, c)} for c in counts_a], SCHEMA.groups["a"])
    b = group_of([{"y": rng.normal(size=c)} for c in counts_b], SCHEMA.groups["b"])
    return Table({"EventNumber": np.arange(n, dtype="u8") + 2**60, "w": rng.normal(size=n).astype("f4")}, {"a": a, "b": b})


def assert_same(one: Table, other: Table) -> None:
    assert one.scalars.keys() == other.scalars.keys()
    for name, column in one.scalars.items():
        assert column.dtype == other.scalars[name].dtype
        assert np.array_equal(column, other.scalars[name])
    for name, group in one.groups.items():
        assert np.array_equal(group.offsets, other.groups[name].offsets)
        for field, column in group.fields.items():
            assert column.tobytes() == other.groups[name].fields[field].tobytes()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("counts", [([3], [1]), ([0, 2, 0], [0, 0, 0]), ([5, 0, 1], [2, 2, 0]), ([0], [0])])
def test_what_is_written_is_read(tmp_path: Path, counts: tuple[list[int], list[int]], compressed: bool) -> None:
    table = table_of(*counts)
    write_table(tmp_path / "t.root", SCHEMA, table, compressed=compressed)
    assert_same(table, read_table(tmp_path / "t.root", "T"))
    assert [path.name for path in tmp_path.iterdir()] == ["t.root"]


def test_a_stretch_of_events_and_single_columns(tmp_path: Path) -> None:
    table = table_of([1, 2, 3, 4], [0, 1, 0, 1])
    write_table(tmp_path / "t.root", SCHEMA, table)
    assert_same(table.taken(np.array([1, 2])), read_table(tmp_path / "t.root", "T", 1, 3))
    assert read_scalars(tmp_path / "t.root", "T", ["EventNumber"])["EventNumber"].tolist() == [2**60 + n for n in range(4)]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.data())
def test_taken_events_are_those_events(counts: list[int], data: st.DataObject) -> None:
    table = table_of(counts, counts[::-1])
    chosen = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1))
    taken = table.taken(np.array(chosen))
    for place, event in enumerate(chosen):
        assert taken.scalars["EventNumber"][place] == table.scalars["EventNumber"][event]
        assert np.array_equal(taken.groups["a"].rows(place)["x"], table.groups["a"].rows(event)["x"])
        assert np.array_equal(taken.groups["b"].rows(place)["y"], table.groups["b"].rows(event)["y"])


def test_trees_in_directories_and_rntuples_are_read_alike(tmp_path: Path) -> None:
    table = table_of([1, 0, 2], [3, 1, 0])
    with uproot.recreate(tmp_path / "ntuple.root") as file:
        file["deep/T"] = table.scalars | {name: group.as_awkward() for name, group in table.groups.items()}
    assert_same(read_table(tmp_path / "ntuple.root", SCHEMA.tree), table)
    assert_same(read_table(tmp_path / "ntuple.root", SCHEMA.tree, 1, 3), table.taken(np.array([1, 2])))


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    table = table_of([1], [1])
    del table.groups["b"]
    with pytest.raises(KeyError):
        write_table(tmp_path / "t.root", SCHEMA, table)
    assert list(tmp_path.iterdir()) == []


def test_another_tree_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "t.root", SCHEMA, table_of([1], [1]))
    with pytest.raises(InvalidInput, match="HITS"):
        read_table(tmp_path / "t.root", "HITS")


@pytest.mark.parametrize("keep", [0, 50, 300, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "t.root"
    write_table(path, SCHEMA, table_of([400] * 20, [100] * 20))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(InvalidInput, match=r"t\.root"):
        read_table(path, "T")
