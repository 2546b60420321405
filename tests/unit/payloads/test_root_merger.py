"""Merging ROOT files is concatenation, whatever the trees hold, and a bad file is named."""

from __future__ import annotations

import re
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
from raythena.runtime.merger_interface import BadInputs, MergeContext, Merged
from raythena.storage.root import parts
from raythena.storage.root.schema import tree_schema

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
            assert sorted(file[tree].keys()) == sorted(names)
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
        monkeypatch.setattr(parts, "CHUNK_BYTES", chunk_bytes)
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
        monkeypatch.setattr(parts, "CHUNK_BYTES", 2000)
        path = write(tmp_path / "1.root", {"T": events(1, [3] * 500)})
        assert_concatenated([path, path], merge([path, path], tmp_path / "merged.root"), "T")

    def test_keeps_the_sum_of_memory_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parts, "CHUNK_BYTES", 200_000)
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
            (lambda columns: columns | {"flag": columns["EventNumber"]}, "branch 'flag' is uint64_t instead of bool"),
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
        with pytest.raises(MergeError, match=r"both\.root: holds tree 'U'"):
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


def one(path: Path, number: int = 1, **objects: Any) -> Path:
    """The output of one event: a tree `HITS`, and what else is to be in it."""
    with uproot.recreate(path) as file:
        for name, content in ({"HITS": tree(number)} | objects).items():
            if callable(content):
                content(file, name)
            else:
                file[name] = content
    return path


def tree(*numbers: int, **columns: Any) -> Callable[[Any, str], None]:
    """A TTree with a branch `EventNumber`."""

    def write_it(file: Any, name: str) -> None:
        data = {"EventNumber": np.array(numbers, dtype="u8")} | columns
        file.mktree(name, {key: np.dtype((column.dtype, column.shape[1:])) for key, column in data.items()}).extend(data)

    return write_it


def merge_events(inputs: list[Path], output: Path, **options: Any) -> Merged:
    """As in a job: every input has one event."""
    return merge_root(inputs, output, MergeContext(output.name, GUID, options, len(inputs)))


def faults_of(inputs: list[Path], output: Path, **options: Any) -> dict[int, str]:
    """What each input is charged with."""
    with pytest.raises(BadInputs) as refusal:
        merge_events(inputs, output, **options)
    first = min(refusal.value.faults)
    assert f"the first is {inputs[first]}: {refusal.value.faults[first]}" in str(refusal.value)
    return refusal.value.faults


class TestEvents:
    """Each input has one event; whoever has not is charged, and nobody else."""

    def test_are_counted(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), n) for n in range(5)]
        assert merge_events(inputs, tmp_path / "merged") == Merged("", 5)

    @pytest.mark.parametrize("count", [0, 2, 7])
    @pytest.mark.parametrize("position", [0, 2, 4])
    def test_none_or_several_in_one_file(self, tmp_path: Path, count: int, position: int) -> None:
        inputs = [one(tmp_path / str(n), n) for n in range(5)]
        one(inputs[position], HITS=tree(*range(count)))
        said = f"tree 'HITS' has {count} entries, where one event has 1"
        assert faults_of(inputs, tmp_path / "merged") == {position: said}

    def test_two_wrongs_do_not_make_it_right(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), HITS=tree(*range(count))) for n, count in enumerate((1, 0, 1, 2))]
        assert faults_of(inputs, tmp_path / "merged").keys() == {1, 3}

    def test_all_at_fault_are_named_each_with_its_own(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), n) for n in range(6)]
        inputs[1].write_bytes(inputs[1].read_bytes()[:-100])
        one(inputs[3], HITS=tree(3, flag=np.array([True])))
        inputs[4].write_bytes(b"no")
        faults = faults_of(inputs, tmp_path / "merged")
        assert faults[1].startswith("is cut short")
        assert faults[3] == "tree 'HITS' differs: branch 'flag' is new"
        assert faults[4] == "is no ROOT file"
        assert len(faults) == 3

    def test_the_odd_one_out_is_charged_even_if_it_comes_first(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), n) for n in range(4)]
        one(inputs[0], HITS=tree(0, flag=np.array([True])))
        assert faults_of(inputs, tmp_path / "merged") == {0: "tree 'HITS' differs: branch 'flag' is new"}

    def test_a_branch_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        def events_of(number: int) -> Callable[[Any, str], None]:
            return tree(number, energy=np.full((1, 500), number, dtype="f8"), time=np.full((1, 500), 0.5))

        inputs = [one(tmp_path / str(n), HITS=events_of(n)) for n in range(3)]
        with uproot.open(inputs[1]) as file:
            seek = int(file["HITS"]["time"].member("fBasketSeek")[0])
        content = bytearray(inputs[1].read_bytes())
        content[seek + 90 : seek + 200] = b"?" * 110
        inputs[1].write_bytes(content)
        (fault,) = faults_of(inputs, tmp_path / "merged").values()
        assert fault.startswith("branch 'time' of tree 'HITS' cannot be read: ")

    def test_an_object_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), n, energy=np.histogram([1.0], bins=400, range=(0, 4))) for n in range(3)]
        with uproot.open(inputs[1]) as file:
            at = file.key("energy").fSeekKey + file.key("energy").fKeylen
        content = bytearray(inputs[1].read_bytes())
        content[at : at + 60] = b"?" * 60
        inputs[1].write_bytes(content)
        ((position, fault),) = faults_of(inputs, tmp_path / "merged").items()
        assert position == 1
        assert fault.startswith("'energy' cannot be read: ")

    def test_a_tree_somebody_names_is_counted(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), HITS=tree(*range(n)), mine=tree(n)) for n in range(3)]
        assert faults_of(inputs, tmp_path / "merged").keys() == {0, 2}
        assert merge_events(inputs, tmp_path / "merged", tree="mine") == Merged("", 3)
        assert merge_events(inputs, tmp_path / "merged", tree="none") == Merged("", None, is_countable=False)

    def test_where_it_is_not_clear_what_counts_nothing_is_merged(self, tmp_path: Path) -> None:
        path = one(tmp_path / "1", HITS=tree(1), MORE=tree(1))
        merge_events([path], tmp_path / "merged")
        with uproot.recreate(path) as file:
            tree(1)(file, "one"), tree(1)(file, "two")
        with pytest.raises(MergeError, match="which tree counts the events is not clear: it holds one, two") as refusal:
            merge_events([path], tmp_path / "merged")
        assert not isinstance(refusal.value, BadInputs)
        assert "merge.options.tree" in str(refusal.value)

    def test_a_tree_in_a_directory(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), HITS=lambda file, name: file.mkdir("empty"), **{"a/b/EVNT": tree(n)}) for n in range(3)]
        assert merge_events(inputs, tmp_path / "merged") == Merged("", 3)
        with uproot.open(tmp_path / "merged") as file:
            assert file["a/b/EVNT"]["EventNumber"].array().tolist() == [0, 1, 2]
            assert "empty" in file.keys(cycle=False)

    def test_of_several_cycles_the_last(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), 77) for n in range(3)]
        for n, path in enumerate(inputs):
            with uproot.update(path) as file:
                tree(n)(file, "HITS")
        merge_events(inputs, tmp_path / "merged")
        with uproot.open(tmp_path / "merged") as file:
            assert file["HITS"]["EventNumber"].array().tolist() == [0, 1, 2]


NTUPLE: dict[str, Any] = {
    "EventNumber": np.array([1], dtype="u8"),
    "flag": np.array([True]),
    "small": np.array([250], dtype="u1"),
    "matrix": np.zeros((1, 3, 2), dtype="f4"),
    "word": ["some words"],
    "hits": ak.Array([[{"pt": np.float32(1.5), "cell": np.uint16(7)}]]),
    "lists": ak.Array([[[1, 2], [], [3]]]),
    "record": ak.Array([{"x": 1, "y": 2.5}]),
}


def ntuple(number: int, **columns: Any) -> dict[str, Any]:
    return NTUPLE | {"EventNumber": np.array([number], dtype="u8")} | columns


class TestRNTuples:
    """What uproot writes by default."""

    def test_are_concatenated_with_types_as_they_were(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), HITS=ntuple(n, hits=ak.Array([[{"pt": 0.5 * n, "cell": 1}] * n]))) for n in range(1, 5)]
        assert merge_events(inputs, tmp_path / "merged") == Merged("", 4)
        with uproot.open(tmp_path / "merged") as file:
            merged = file["HITS"]
            assert merged.classname == "ROOT::RNTuple"
            with uproot.open(inputs[0]) as first:
                assert tree_schema(merged) == tree_schema(first["HITS"])
            parts_read = [uproot.open(path)["HITS"].arrays() for path in inputs]
            assert merged.arrays().tolist() == ak.concatenate(parts_read).tolist()

    def test_in_chunks_of_any_size(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parts, "CHUNK_BYTES", 1000)
        inputs = [one(tmp_path / str(n), HITS=ntuple(n)) for n in range(30)]
        merge_events(inputs, tmp_path / "merged")
        with uproot.open(tmp_path / "merged") as file:
            assert file["HITS"].arrays()["EventNumber"].tolist() == list(range(30))

    @pytest.mark.parametrize("count", [0, 2])
    def test_without_an_event_or_with_two(self, tmp_path: Path, count: int) -> None:
        inputs = [one(tmp_path / str(n), HITS={"EventNumber": np.arange(1)}) for n in range(3)]
        with uproot.recreate(inputs[1]) as file:
            made = file.mkrntuple("HITS", {"EventNumber": "int64"})
            if count:
                made.extend({"EventNumber": np.arange(count)})
        assert faults_of(inputs, tmp_path / "merged") == {1: f"tree 'HITS' has {count} entries, where one event has 1"}

    def test_with_other_fields(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), HITS=ntuple(n)) for n in range(4)]
        one(inputs[1], HITS=ntuple(1, small=np.array([1.0])))
        one(inputs[3], HITS=tree(3))
        assert faults_of(inputs, tmp_path / "merged") == {
            1: "tree 'HITS' differs: branch 'small' is double instead of std::uint8_t",
            3: "tree 'HITS' differs: it is a TTree instead of a ROOT::RNTuple",
        }

    def test_a_field_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        columns = {"EventNumber": np.arange(1), "energy": rng.integers(0, 9, size=(1, 5000)).astype("f8")}
        inputs = [one(tmp_path / str(n), HITS=columns) for n in range(3)]
        content = inputs[2].read_bytes()
        middle = len(content) // 2  # of the compressed energies, which are nearly all of the file
        inputs[2].write_bytes(content[:middle] + b"?" * 200 + content[middle + 200 :])
        ((position, fault),) = faults_of(inputs, tmp_path / "merged").items()
        assert position == 2
        assert fault.startswith("field 'energy' of 'HITS' cannot be read: ")


BY_ROOT = Path(__file__).parents[2] / "fixtures" / "root" / "written_by_root"
"""Written by ROOT itself, with `tests/root/write_fixtures.py`."""
REFUSED = {
    "vector": "branch 'vec' of tree 'reco/HITS', of type std::vector<float>, cannot be merged by merger 'root'",
    "nested_vector": "branch 'vecvec' of tree 'reco/HITS', of type std::vector<std::vector<uint32_t>>, cannot be merged",
    "text": "branch 'words' of tree 'reco/HITS', of type std::string, cannot be merged",
    "packed": "branch 'd32' of tree 'reco/HITS', of type Double32_t, cannot be merged",
    "leaves": "branch 'point' of tree 'reco/HITS', of type struct {float x; float y;}, cannot be merged",
    "momentum": "branch 'momentum' of tree 'reco/HITS', of type TLorentzVector, cannot be merged",
    "list_of_arrays": "branch 'pairs' of tree 'reco/HITS', of type float[][2], cannot be merged",
    "wide_counter": "branch 'wide' of tree 'reco/HITS' is counted by 'nwide' of type int64_t",
    "alias": "tree 'reco/HITS' carries aliases, an index, friends or other objects",
    "user_info": "tree 'reco/HITS' carries aliases, an index, friends or other objects",
    "tntuple": "tree 'points' is a TNtuple, of which merger 'root' would make a TTree",
    "parameter": "object 'par' of class TParameter<double> cannot be merged",
    "graph": "object 'graph' of class TGraph cannot be merged",
    "fitted": "histogram 'fitted' has functions attached, which cannot be kept",
}


class TestBesideTheTree:
    """Histograms are added, texts kept, all else is refused by its name."""

    def test_histograms_are_added(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        samples = [rng.normal(size=(2, 100)) for _ in range(3)]
        inputs = [
            one(
                tmp_path / str(n),
                n,
                one_d=np.histogram(sample[0], bins=10, range=(-3, 3)),
                **{"plots/two_d": np.histogram2d(sample[0], sample[1], bins=(4, 5), range=((-3, 3), (-2, 2)))},
            )
            for n, sample in enumerate(samples)
        ]
        merge_events(inputs, tmp_path / "merged")
        together = np.concatenate(samples, axis=1)
        with uproot.open(tmp_path / "merged") as file:
            assert file["one_d"].values().tolist() == np.histogram(together[0], bins=10, range=(-3, 3))[0].tolist()
            expected = np.histogram2d(together[0], together[1], bins=(4, 5), range=((-3, 3), (-2, 2)))[0]
            assert file["plots/two_d"].values().tolist() == expected.tolist()
            singles = [uproot.open(path)["one_d"] for path in inputs]
            for member in ("fEntries", "fTsumw", "fTsumwx", "fTsumwx2"):
                assert file["one_d"].member(member) == pytest.approx(sum(single.member(member) for single in singles))
            assert file["HITS"].num_entries == 3

    def test_a_histogram_with_other_axes_is_its_events_fault(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), n, h=np.histogram([1.0], bins=5, range=(0, 5))) for n in range(4)]
        one(inputs[2], 2, h=np.histogram([1.0], bins=5, range=(0, 6)))
        (fault,) = faults_of(inputs, tmp_path / "merged").items()
        assert fault == (2, "'h' is a TH1D of 5 bins from 0 to 6 instead of a TH1D of 5 bins from 0 to 5")

    def test_texts_are_kept_if_they_are_the_same(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), n, geometry="ATLAS-R3") for n in range(3)]
        merge_events(inputs, tmp_path / "merged")
        with uproot.open(tmp_path / "merged") as file:
            assert str(file["geometry"]) == "ATLAS-R3"
        one(inputs[2], 2, geometry="ATLAS-R2")
        with pytest.raises(MergeError, match="object 'geometry' is 'ATLAS-R2', in other inputs 'ATLAS-R3'"):
            merge_events(inputs, tmp_path / "merged")

    def test_the_guid_of_an_input_is_not_kept(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), n, GUID=f"of input {n}") for n in range(3)]
        merge_events(inputs, tmp_path / "merged")
        with uproot.open(tmp_path / "merged") as file:
            assert str(file["GUID"]) == GUID

    @pytest.mark.parametrize(("name", "said"), REFUSED.items(), ids=REFUSED)
    def test_what_cannot_be_kept_is_refused_by_name(self, name: str, said: str) -> None:
        sample = BY_ROOT / f"{name}.root"
        with pytest.raises(MergeError, match=re.escape(said)) as refusal:
            merge_root.check_sample(sample, MergeContext("x", GUID, {}, 1))
        assert not isinstance(refusal.value, BadInputs)
        assert str(sample) in str(refusal.value)
        assert "`hadd`" in str(refusal.value)

    def test_an_object_that_only_some_have(self, tmp_path: Path) -> None:
        inputs = [one(tmp_path / str(n), n, h=np.histogram([1.0])) for n in range(3)]
        one(inputs[1], 1)
        assert faults_of(inputs, tmp_path / "merged") == {1: "has no TH1D of 10 bins from 0.5 to 1.5 'h'"}


class TestWrittenByRoot:
    """Files as ROOT itself writes them: a tree of two cycles in a directory, every type of number, titles."""

    def test_numbers_titles_and_signs_are_kept(self, tmp_path: Path) -> None:
        inputs = [BY_ROOT / f"numbers.{number}.root" for number in (1, 2, 3)]
        for path in inputs:
            merge_root.check_sample(path, MergeContext("x", GUID, {}, 1))
        assert merge_events(inputs, tmp_path / "merged") == Merged("", 3)
        with uproot.open(tmp_path / "merged") as file, uproot.open(inputs[0]) as first:
            merged, original = file["reco/HITS"], first["reco/HITS"]
            assert {branch.name: (branch.typename, branch.title) for branch in merged.branches} == {
                branch.name: (branch.typename, branch.title) for branch in original.branches
            }
            assert merged.title == "hits of one event"
            assert merged["list_uL"].count_branch.name == "nrow"
            assert merged["cells"].count_branch.interpretation.to_dtype == np.dtype("u4")
        assert_concatenated(inputs, tmp_path / "merged", "reco/HITS")

    def test_rntuples_of_its_own(self, tmp_path: Path) -> None:
        inputs = [BY_ROOT / f"rntuple.{number}.root" for number in (1, 2, 3)]
        merge_root.check_sample(inputs[0], MergeContext("x", GUID, {}, 1))
        assert merge_events(inputs, tmp_path / "merged") == Merged("", 3)
        with uproot.open(tmp_path / "merged") as file:
            expected = [{"EventNumber": number, "pt": [number + 0.5], "word": f"event {number}"} for number in (1, 2, 3)]
            assert file["HITS"].arrays().tolist() == expected

    def test_histograms_of_every_kind_are_added(self, tmp_path: Path) -> None:
        inputs = [BY_ROOT / f"histograms.{number}.root" for number in (1, 2, 3)]
        merge_events(inputs, tmp_path / "merged")
        with uproot.open(tmp_path / "merged") as file:
            names = file.keys(cycle=False, filter_classname="/T(H|Profile).*/")
            assert len(names) == 10
            for name in names:
                singles = [uproot.open(path)[name] for path in inputs]
                assert file[name].classname == singles[0].classname
                if file[name].classname != "TProfile":
                    assert np.array_equal(file[name].values(flow=True), sum(single.values(flow=True) for single in singles))
                assert file[name].member("fEntries") == 3
            assert np.array_equal(file["weighted"].variances(), sum(uproot.open(path)["weighted"].variances() for path in inputs))
            assert list(file["labelled"].axis().labels()) == ["all", "good"]
            assert file["profile"].values().tolist() == [1.0, 2.5, 0.0, 0.0, 0.0]
            assert file["hTH1C"].values().sum() == 6


class Stored:
    """An output that is no file."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self) -> bytes:
        return self.content


@pytest.mark.parametrize("compression", [None, uproot.ZLIB(1)], ids=["plain", "compressed"])
def test_outputs_that_are_no_files_are_merged_like_files(tmp_path: Path, compression: Any) -> None:
    counts = ([3], [0], [5], [1000], [2])
    inputs = [
        write(tmp_path / str(number), {"HITS": events(number, count)}, compression=compression)
        for number, count in enumerate(counts)
    ]
    context = MergeContext("stored", GUID, {}, len(inputs))
    stored = merge_root.merge_stored([Stored(path.read_bytes()) for path in inputs], tmp_path / "stored", context)
    assert stored == Merged("", len(inputs))
    assert_concatenated(inputs, tmp_path / "stored", "HITS")


def test_of_outputs_that_are_no_files_those_at_fault_are_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good", {"HITS": events(1, [3])}).read_bytes()
    two = write(tmp_path / "two", {"HITS": events(1, [3, 4])}).read_bytes()
    inputs = [Stored(content) for content in (good, two, good, good[:-1], b"", b"text")]
    with pytest.raises(BadInputs) as refusal:
        merge_root.merge_stored(inputs, tmp_path / "out", MergeContext("out", GUID, {}, len(inputs)))
    assert list(refusal.value.faults) == [1, 3, 4, 5]
    assert "cut short" in refusal.value.faults[3]


def test_inputs_that_look_alike_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [write(tmp_path / str(number), {"HITS": events(number, [3])}, compression=None) for number in range(6)]
    opened = []
    real = root.root.opened
    monkeypatch.setattr(root.root, "opened", lambda source: opened.append(source) or real(source))
    merge(inputs, tmp_path / "merged")
    assert len(opened) == 2  # the first input, and what was made of all
    assert_concatenated(inputs, tmp_path / "merged", "HITS")
