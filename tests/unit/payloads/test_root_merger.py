"""Merging ROOT files is concatenation, whatever the trees hold, and a bad file is named."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raythena.domain.errors import InvalidInput, MergeError
from raythena.payloads.mergers import root
from raythena.payloads.mergers.root import merge_root
from raythena.runtime.merger_interface import MergeContext

GUID = "0B6C2D2E-6E0B-4E5C-8A4C-5B1B6A1C7D11"
TYPES: dict[str, Any] = {
    "EventNumber": np.dtype("u8"),
    "flag": np.dtype("?"),
    "vertex": np.dtype(("f4", (3,))),
    "track": ak.types.from_datashape("var * {pt: float32, n: int32}", highlevel=False),
    "loose": ak.types.from_datashape("var * float64", highlevel=False),
}


def events(first: int, counts: Any) -> dict[str, Any]:
    """Columns of `len(counts)` events, of which event i has `counts[i]` rows."""
    rng = np.random.default_rng(first)
    n, total = len(counts), sum(counts)
    counts = np.array(counts, dtype=np.int64)
    lists = ak.unflatten(rng.normal(size=total), counts)
    track = ak.zip({"pt": ak.values_astype(lists, "f4"), "n": ak.values_astype(lists * 100, "i4")})
    return {
        "EventNumber": np.arange(first, first + n, dtype="u8"),
        "flag": np.arange(n) % 2 == 0,
        "vertex": rng.normal(size=(n, 3)).astype("f4"),
        "track": track,
        "loose": ak.unflatten(rng.normal(size=total), counts),
    }


def write(path: Path, trees: dict[str, dict[str, Any]], **options: Any) -> Path:
    with uproot.recreate(path, **options) as file:
        for name, columns in trees.items():
            tree = file.mktree(name, {key: TYPES[key] for key in columns})
            if len(columns["EventNumber"]):
                tree.extend(columns)
    return path


def merge(inputs: list[Path], output: Path, **options: Any) -> Path:
    merge_root(inputs, output, MergeContext(output.name, GUID, options))
    return output


def assert_concatenated(inputs: list[Path], merged: Path, tree: str) -> None:
    with uproot.open(merged) as file:
        found, names = file[tree].arrays(), file[tree].keys()
    parts = []
    for path in inputs:
        with uproot.open(path) as file:
            assert file[tree].keys() == names
            assert file[tree].typenames() == uproot.open(merged)[tree].typenames()
            parts.append(file[tree].arrays())
    expected = ak.concatenate(parts)
    assert len(found) == len(expected)
    for name in names:
        assert ak.array_equal(found[name], expected[name], dtype_exact=True)


class TestConcatenation:
    """What comes out is what went in, one after the other."""

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=5).filter(any))
    def test_of_anything(self, tmp_path: Path, files: list[list[int]]) -> None:
        inputs = [write(tmp_path / f"{n}.root", {"T": events(100 * n, counts)}) for n, counts in enumerate(files)]
        filled = [path for path, counts in zip(inputs, files, strict=True) if counts]
        assert_concatenated(filled, merge(inputs, tmp_path / "merged.root"), "T")

    @pytest.mark.parametrize("chunk_bytes", [1, 500, 10**6])
    def test_of_many_single_events_in_chunks_of_any_size(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
    ) -> None:
        monkeypatch.setattr(root, "CHUNK_BYTES", chunk_bytes)
        inputs = [write(tmp_path / f"{n}", {"T": events(n, [n % 5])}, compression=None) for n in range(25)]
        assert_concatenated(inputs, merge(inputs, tmp_path / "merged.root"), "T")

    def test_of_several_trees_each_for_itself(self, tmp_path: Path) -> None:
        inputs = [
            write(tmp_path / f"{n}.root", {"T": events(n, [1, 2]), "U": {"EventNumber": np.arange(n + 1, dtype="u8")}})
            for n in range(3)
        ]
        merged = merge(inputs, tmp_path / "merged.root")
        assert_concatenated(inputs, merged, "T")
        assert_concatenated(inputs, merged, "U")

    def test_of_a_file_read_in_steps(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(root, "CHUNK_BYTES", 2000)
        path = write(tmp_path / "1.root", {"T": events(1, [3] * 500)})
        assert_concatenated([path, path], merge([path, path], tmp_path / "merged.root"), "T")

    def test_of_lists_without_a_counter(self, tmp_path: Path) -> None:
        """`std::vector` columns get a counter: only the values can be kept."""
        path = write(tmp_path / "1.root", {"T": events(1, [2, 0, 1])})
        with uproot.open(merge([path], tmp_path / "merged.root")) as file:
            assert file["T"]["loose"].array().tolist() == uproot.open(path)["T"]["loose"].array().tolist()

    def test_keeps_the_sum_of_memory_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(root, "CHUNK_BYTES", 200_000)
        path = write(tmp_path / "1.root", {"T": events(1, [2000])}, compression=None)
        peaks = []
        for n in (30, 120):
            tracemalloc.start()
            merge([path] * n, tmp_path / "merged.root")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0]


class TestIdentity:
    """GUID and compression."""

    def test_guid_is_inside(self, tmp_path: Path) -> None:
        path = write(tmp_path / "1.root", {"T": events(1, [1])})
        with uproot.open(merge([path], tmp_path / "merged.root")) as file:
            assert str(file["GUID"]) == GUID
            assert str(file.file.uuid).upper() == GUID

    @pytest.mark.parametrize("compression", ["zstd", "zlib", "lz4", "none"])
    def test_compression_is_a_choice(self, tmp_path: Path, compression: str) -> None:
        path = write(tmp_path / "1.root", {"T": events(1, [50] * 100)})
        merged = merge([path], tmp_path / "merged.root", compression=compression)
        with uproot.open(merged) as file:
            assert type(file.file.compression) is (root.COMPRESSIONS[compression] if compression != "none" else type(None))
            assert (file["T"].compressed_bytes < file["T"].uncompressed_bytes) == (compression != "none")
        assert_concatenated([path], merged, "T")

    @pytest.mark.parametrize("options", [{"compression": "rar"}, {"level": 0}, {"level": "high"}, {"level": True}])
    def test_wrong_options_are_refused(self, tmp_path: Path, options: dict[str, Any]) -> None:
        path = write(tmp_path / "1.root", {"T": events(1, [1])})
        with pytest.raises(InvalidInput, match=r"merge\.options"):
            merge([path], tmp_path / "merged.root", **options)

    def test_something_else_than_a_guid_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MergeError, match="is not a GUID"):
            merge_root([], tmp_path / "merged.root", MergeContext("merged.root", "seven", {}))


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda columns: {key: column for key, column in columns.items() if key != name}


class TestBadInputs:
    """Every refusal names the file."""

    @pytest.mark.parametrize("position", [0, 1, 2])
    @pytest.mark.parametrize(
        "content", [b"", b"not ROOT", b"root", bytes(1000), lambda good: good[:-200], lambda good: good[: len(good) // 2]]
    )
    def test_unreadable(self, tmp_path: Path, position: int, content: bytes | Callable[[bytes], bytes]) -> None:
        inputs = [write(tmp_path / f"{n}.root", {"T": events(n, [100])}) for n in range(3)]
        bad = inputs[position]
        bad.write_bytes(content if isinstance(content, bytes) else content(bad.read_bytes()))
        with pytest.raises(MergeError, match=rf"{position}\.root: "):
            merge(inputs, tmp_path / "merged.root")

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MergeError, match=r"gone\.root"):
            merge([tmp_path / "gone.root"], tmp_path / "merged.root")

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (without("flag"), "branch 'flag' is missing"),
            (lambda columns: columns | {"flag": columns["EventNumber"]}, "branch 'flag' is uint64 instead of bool"),
            (lambda columns: dict(reversed(columns.items())), "another order"),
        ],
    )
    def test_another_schema(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], dict[str, Any]], problem: str
    ) -> None:
        first = write(tmp_path / "1.root", {"T": events(1, [1])})
        changed = change(events(2, [1]))
        if changed.get("flag") is not None and changed["flag"].dtype == np.dtype("u8"):
            monkeypatch.setitem(TYPES, "flag", np.dtype("u8"))
        second = write(tmp_path / "2.root", {"T": changed})
        with pytest.raises(MergeError, match=problem) as refusal:
            merge([first, second], tmp_path / "merged.root")
        assert "2.root" in str(refusal.value)

    def test_a_branch_too_many(self, tmp_path: Path) -> None:
        first = write(tmp_path / "1.root", {"T": without("flag")(events(1, [1]))})
        second = write(tmp_path / "2.root", {"T": events(2, [1])})
        with pytest.raises(MergeError, match=r"2\.root.*branch 'flag' is new"):
            merge([first, second], tmp_path / "merged.root")

    def test_trees_that_are_not_everywhere(self, tmp_path: Path) -> None:
        both = write(tmp_path / "both.root", {"T": events(1, [1]), "U": events(1, [1])})
        one = write(tmp_path / "one.root", {"T": events(2, [1])})
        with pytest.raises(MergeError, match=r"one\.root: has no tree 'U'"):
            merge([both, one], tmp_path / "merged.root")
        with pytest.raises(MergeError, match=r"both\.root: holds a tree 'U'"):
            merge([one, both], tmp_path / "merged.root")

    def test_no_tree_at_all(self, tmp_path: Path) -> None:
        with uproot.recreate(tmp_path / "text.root") as file:
            file["words"] = "nothing to merge"
        with pytest.raises(MergeError, match=r"text\.root: holds no tree"):
            merge([tmp_path / "text.root"], tmp_path / "merged.root")

    def test_a_column_that_cannot_be_copied(self, tmp_path: Path) -> None:
        with uproot.recreate(tmp_path / "text.root") as file:
            file.mktree("T", {"word": "string"}).extend({"word": ["a", "b"]})
        with pytest.raises(MergeError, match=r"text\.root: branch 'word'.*cannot be merged"):
            merge([tmp_path / "text.root"], tmp_path / "merged.root")
