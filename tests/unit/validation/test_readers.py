"""Event numbers as the files have them; a refusal where they are damaged; an honest None where nobody can tell."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import uproot
from task_kit import root

from raythena.domain.errors import InvalidInput
from raythena.validation import event_numbers, readers


def written(path: Path, **trees: dict[str, np.ndarray]) -> Path:
    with uproot.recreate(path) as file:
        for name, columns in trees.items():
            file.mktree(name, {column: values.dtype for column, values in columns.items()}).extend(columns)
    return path


NUMBERS = np.asarray([7, 3, 5], dtype=np.int64)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("branch", ["EventNumber", "eventNumber", "EventInfo.EventNumber"])
def test_root_branches_of_any_integer_type(tmp_path: Path, dtype: str, branch: str) -> None:
    path = written(tmp_path / "x.root", SomeTree={"weight": np.ones(3), branch: NUMBERS.astype(dtype)})
    numbers = event_numbers(path)
    assert numbers is not None
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [7, 3, 5]


def test_the_collection_tree_is_believed_before_others(tmp_path: Path) -> None:
    path = written(
        tmp_path / "x.root",
        Another={"EventNumber": NUMBERS},
        CollectionTree={"EventNumber": NUMBERS + 1},
        POOLCollectionTree={"Token": np.zeros(3, dtype=np.int32), "EventNumber": NUMBERS + 2},
    )
    assert event_numbers(path).tolist() == [9, 5, 7]  # type: ignore[union-attr]


def test_root_without_event_numbers_is_nobodys(tmp_path: Path) -> None:
    assert event_numbers(written(tmp_path / "x.root", Histogram={"bin": NUMBERS})) is None


def test_trees_in_directories_and_rntuples_are_read_too(tmp_path: Path) -> None:
    path = written(tmp_path / "x.root", **{"reco/pass1/HITS": {"EventNumber": NUMBERS}, "Other": {"bin": NUMBERS}})
    assert event_numbers(path).tolist() == [7, 3, 5]  # type: ignore[union-attr]
    with uproot.recreate(tmp_path / "y.root") as file:
        file["anything"] = {"EventNumber": NUMBERS, "weight": np.ones(3)}  # an RNTuple: what uproot makes of this by default
        file["more"] = {"bin": NUMBERS[:2]}
    assert event_numbers(tmp_path / "y.root").tolist() == [7, 3, 5]  # type: ignore[union-attr]


def test_of_several_cycles_the_last_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "x.root", HITS={"EventNumber": NUMBERS})
    with uproot.update(path) as file:
        file.mktree("HITS", {"EventNumber": "int64"}).extend({"EventNumber": NUMBERS[:1]})
    assert event_numbers(path).tolist() == [7]  # type: ignore[union-attr]


@pytest.mark.parametrize("length", [4, 50, 150])
def test_damaged_root(tmp_path: Path, length: int) -> None:
    root(tmp_path / "x.root", [1, 2])
    (tmp_path / "x.root").write_bytes((tmp_path / "x.root").read_bytes()[:length])
    with pytest.raises(InvalidInput, match=r"x\.root: its events cannot be read"):
        event_numbers(tmp_path / "x.root")


def test_event_numbers_that_are_none(tmp_path: Path) -> None:
    path = written(tmp_path / "x.root", HITS={"EventNumber": np.asarray([1.5, 2.0])})
    with pytest.raises(InvalidInput, match="EventNumber: is float64"):
        event_numbers(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        event_numbers(tmp_path / "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"event": 1}\n{"event": 2, "more": [1, {"event": 9}]}\n', [1, 2]),
        ('{"EventNumber": 10, "event": 1}\n{"event": 2}', [10, 2]),
        ('{"event": 1}\n', [1]),
        ("", None),
        ("plain text\n", None),
        ('{"other": 1}\n', None),
        ("[1, 2]\n", None),
    ],
)
def test_lines_of_json(tmp_path: Path, text: str, expected: list[int] | None) -> None:
    (tmp_path / "x").write_text(text)
    numbers = event_numbers(tmp_path / "x")
    assert (None if numbers is None else numbers.tolist()) == expected


@pytest.mark.parametrize("second", ['{"event": ', "garbage", '{"other": 1}', '{"event": "two"}', '{"event": 1.5}', "\0\0"])
def test_damaged_lines_of_json(tmp_path: Path, second: str) -> None:
    (tmp_path / "x").write_text('{"event": 1}\n' + second + "\n")
    with pytest.raises(InvalidInput, match="its events cannot be read"):
        event_numbers(tmp_path / "x")


def test_lines_longer_and_files_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_BLOCK_BYTES", 64)
    lines = [f'{{"event": {index}, "pad": "{"x" * (index % 150)}"}}' for index in range(500)]
    (tmp_path / "x").write_text("\n".join(lines))
    assert event_numbers(tmp_path / "x").tolist() == list(range(500))  # type: ignore[union-attr]


def read_csv(path: Path) -> np.ndarray | None:
    return np.loadtxt(path, dtype=np.int64, ndmin=1) if path.suffix == ".csv" else None


def test_a_plug_in_reads_what_we_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Offered(EntryPoint):
        def load(self) -> object:
            return read_csv

    def offered(*, group: str) -> list[EntryPoint]:
        asked.append(group)
        return [Offered("csv", "module:read_csv", group)]

    monkeypatch.setattr(readers, "entry_points", offered)
    (tmp_path / "x.csv").write_text("4\n2\n")
    assert event_numbers(tmp_path / "x.csv").tolist() == [4, 2]  # type: ignore[union-attr]
    root(tmp_path / "x.root", [1])
    assert event_numbers(tmp_path / "x.root").tolist() == [1]  # type: ignore[union-attr]
    assert set(asked) == {"raythena.event_readers"}
    (tmp_path / "bad.csv").write_text("no number")
    with pytest.raises(InvalidInput, match="ValueError"):
        event_numbers(tmp_path / "bad.csv")
