"""A twin is read as uproot would read it, or not at all."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from raythena.storage.root.columns import Branch, Chunk
from raythena.storage.root.fast_reader import RootLayout, learn

TYPES: dict[str, Any] = {
    "EventNumber": np.dtype("u8"),
    "vertex": np.dtype(("f4", (3,))),
    "hit": ak.types.from_datashape("var * {x: float32, n: int16}", highlevel=False),
}
BRANCHES = (
    Branch("EventNumber", np.dtype("u8")),
    Branch("vertex", np.dtype(("f4", (3,)))),
    Branch("hit_x", np.dtype("f4"), "nhit"),
    Branch("hit_n", np.dtype("i2"), "nhit"),
)


def write(path: Path, seed: int, counts: tuple[int, ...] = (3,), name: str = "T", **options: Any) -> Path:
    rng = np.random.default_rng(seed)
    rows = ak.unflatten(rng.normal(size=sum(counts)), np.array(counts))
    columns = {
        "EventNumber": np.array([seed + i for i in range(len(counts))], dtype="u8"),
        "vertex": rng.normal(size=(len(counts), 3)).astype("f4"),
        "hit": ak.zip({"x": ak.values_astype(rows, "f4"), "n": ak.values_astype(rows * 100, "i2")}),
    }
    with uproot.recreate(path, **({"compression": None} | options)) as file:
        file.mktree(name, TYPES, initial_basket_capacity=1).extend(columns)
    return path


def through_uproot(path: Path) -> dict[str, list[Any]]:
    with uproot.open(path) as file:
        tree = file["T"]
        return {branch.name: tree[branch.name].array().tolist() for branch in BRANCHES}


def as_lists(chunk: Chunk) -> dict[str, list[Any]]:
    columns = {}
    for branch, rows in zip(BRANCHES, chunk, strict=True):
        values = rows.values if rows.counts is None else ak.unflatten(rows.values, rows.counts)
        columns[branch.name] = values.tolist()
    return columns


@pytest.fixture
def layout(tmp_path: Path) -> RootLayout:
    learnt = learn(write(tmp_path / "model", 1), BRANCHES)
    assert learnt is not None
    return learnt


@pytest.mark.parametrize("rows", [0, 1, 3, 1000])
def test_a_file_with_other_numbers_is_read(tmp_path: Path, layout: RootLayout, rows: int) -> None:
    path = write(tmp_path / "other", 2**40 + 7, (rows,))
    chunk = layout.read(path.read_bytes())
    assert chunk is not None
    assert as_lists(chunk) == through_uproot(path)
    assert [rows.values.dtype for rows in chunk] == [branch.dtype.base for branch in BRANCHES]


def test_files_with_several_events_are_twins_of_each_other(tmp_path: Path) -> None:
    layout = learn(write(tmp_path / "model", 1, (2, 0, 5)), BRANCHES)
    other = write(tmp_path / "other", 2, (0, 9, 1))
    assert layout is not None
    chunk = layout.read(other.read_bytes())
    assert chunk is not None
    assert as_lists(chunk) == through_uproot(other)


@pytest.mark.parametrize(
    "stranger",
    [
        lambda path: write(path, 2, (3, 3)),
        lambda path: write(path, 2, name="U"),
        lambda path: write(path, 2, (2000,), compression=uproot.ZLIB(1)),
    ],
    ids=["other number of events", "other name", "compressed"],
)
def test_a_stranger_is_left_to_uproot(tmp_path: Path, layout: RootLayout, stranger: Callable[[Path], Path]) -> None:
    assert layout.read(stranger(tmp_path / "other").read_bytes()) is None


def test_another_branch_name_or_type_is_no_twin(tmp_path: Path, layout: RootLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ak.types.from_datashape("var * {x: float32, n: int32}", highlevel=False)
    monkeypatch.setitem(TYPES, "hit", other)
    assert layout.read(write(tmp_path / "type", 1).read_bytes()) is None
    monkeypatch.undo()
    content = (tmp_path / "model").read_bytes()
    (tmp_path / "name").write_bytes(content.replace(b"hit_x", b"hit_y"))
    assert layout.read((tmp_path / "name").read_bytes()) is None


def test_files_of_two_trees_cannot_be_learnt(tmp_path: Path, layout: RootLayout) -> None:
    path = write(tmp_path / "two", 1)
    with uproot.update(path) as file:
        file.mktree("U", {"x": np.dtype("f4")}).extend({"x": np.zeros(1, dtype="f4")})
    assert learn(path, BRANCHES) is None
    assert layout.read(path.read_bytes()) is None


def test_damage_is_never_read_differently_from_uproot(tmp_path: Path, layout: RootLayout) -> None:
    """Every byte but those of the data themselves: what uproot refuses or reads otherwise must not pass as a twin."""
    content = write(tmp_path / "good", 5, (4,)).read_bytes()
    rng = np.random.default_rng(9)
    read = 0
    for place in rng.choice(len(content), 400, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / "damaged"
        path.write_bytes(bytes(damaged))
        try:
            chunk = layout.read(path.read_bytes())
        except Exception:  # noqa: BLE001 - a refusal by uproot, whatever its type, is a right answer here
            continue
        if chunk is not None:
            read += 1
            assert as_lists(chunk) == through_uproot(path)
    assert read > 20


@pytest.mark.parametrize("kept", [0, 10, 100, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_no_twin(tmp_path: Path, layout: RootLayout, kept: float) -> None:
    content = write(tmp_path / "good", 5, (400,)).read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    chunk: Chunk | None = None
    with contextlib.suppress(OSError, ValueError, struct.error, IndexError, AssertionError, uproot.DeserializationError):
        chunk = layout.read((tmp_path / "cut").read_bytes())
    assert chunk is None
