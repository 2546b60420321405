"""The merger `hadd` with ROOT's own hadd, and the merger `root` compared with it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from raythena.domain.errors import MergeError
from raythena.payloads.mergers.root import merge_root
from raythena.payloads.mergers.transform import HADD
from raythena.runtime.merger_interface import BadInputs, MergeContext, Merged

BY_ROOT = Path(__file__).parents[1] / "fixtures" / "root" / "written_by_root"
GUID = "0B6C2D2E-6E0B-4E5C-8A4C-5B1B6A1C7D11"
HADD_ONLY = sorted(path.stem for path in BY_ROOT.iterdir() if path.stem.isidentifier())
"""Files with something that merger `root` refuses, each by the name of what it is."""
Merge = Callable[..., Merged]


@pytest.fixture
def hadd(root_bin: Path, tmp_path: Path) -> Merge:
    """Merge with ROOT's hadd: inputs, output."""

    def merge(inputs: list[Path], output: Path, **options: Any) -> Merged:
        work = tmp_path / f"work-{output.name}"
        work.mkdir()
        around = {"environment": {"PATH": f"{root_bin}:/usr/bin:/bin"}, **options}
        return HADD(inputs, output, MergeContext("merged.root", GUID, around, len(inputs), work, tmp_path / output.name))

    return merge


def files(kind: str) -> list[Path]:
    return [BY_ROOT / f"{kind}.{number}.root" for number in (1, 2, 3)]


def with_uproot(path: Path, tree: str = "HITS", **columns: Any) -> Path:
    with uproot.recreate(path) as file:
        data = {name: np.asarray(column) for name, column in columns.items()}
        file.mktree(tree, {name: column.dtype for name, column in data.items()}).extend(data)
    return path


def assert_same_trees(one: Path, other: Path) -> None:
    with uproot.open(one) as file, uproot.open(other) as another:
        trees = file.keys(cycle=False, filter_classname=["TTree", "ROOT::RNTuple"])
        assert trees
        assert sorted(trees) == sorted(another.keys(cycle=False, filter_classname=["TTree", "ROOT::RNTuple"]))
        for tree in trees:
            mine, theirs = file[tree], another[tree]
            assert sorted(mine.keys()) == sorted(theirs.keys())
            assert mine.typenames() == theirs.typenames()
            for name in mine.keys():  # noqa: SIM118 (a tree is no mapping)
                assert ak.array_equal(mine[name].array(), theirs[name].array(), dtype_exact=True), name


@pytest.mark.parametrize("kind", ["numbers", "rntuple", "histograms"])
def test_both_mergers_make_the_same_of_the_trees(hadd: Merge, tmp_path: Path, kind: str) -> None:
    assert hadd(files(kind), tmp_path / "theirs") == Merged("", 3)
    assert merge_root(files(kind), tmp_path / "ours", MergeContext("ours", GUID, {}, 3)) == Merged("", 3)
    assert_same_trees(tmp_path / "ours", tmp_path / "theirs")


def test_both_mergers_make_the_same_of_histograms(hadd: Merge, tmp_path: Path) -> None:
    hadd(files("histograms"), tmp_path / "theirs")
    merge_root(files("histograms"), tmp_path / "ours", MergeContext("ours", GUID, {}, 3))
    with uproot.open(tmp_path / "ours") as ours, uproot.open(tmp_path / "theirs") as theirs:
        names = theirs.keys(cycle=False, filter_classname="/T(H|Profile).*/")
        assert len(names) == 10
        for name in names:
            mine, other = ours[name], theirs[name]
            assert mine.classname == other.classname
            assert np.array_equal(mine.values(flow=True), other.values(flow=True)), name
            assert np.allclose(mine.variances(flow=True), other.variances(flow=True), equal_nan=True), name
            figures = {key: value for key, value in other.all_members.items() if key == "fEntries" or key.startswith("fTsum")}
            assert {key: mine.member(key) for key in figures} == pytest.approx(figures), name
            for axis, expected in zip(mine.axes, other.axes, strict=True):
                assert axis.edges().tolist() == expected.edges().tolist()
                assert axis.labels() == expected.labels()


@pytest.mark.parametrize("kind", HADD_ONLY)
def test_what_merger_root_refuses_is_merged_by_hadd(hadd: Merge, tmp_path: Path, kind: str) -> None:
    path = BY_ROOT / f"{kind}.root"
    with pytest.raises(MergeError, match="`hadd`"):
        merge_root([path], tmp_path / "ours", MergeContext("ours", GUID, {}, 1))
    assert hadd([path, path], tmp_path / "theirs") == Merged("", 2)


def test_nothing_is_missing_in_the_list_of_what_is_refused() -> None:
    assert len(HADD_ONLY) == 14


@pytest.mark.parametrize("kind", ["numbers", "histograms"])
def test_root_reads_what_merger_root_writes(hadd: Merge, tmp_path: Path, kind: str) -> None:
    merge_root(files(kind), tmp_path / "ours", MergeContext("ours", GUID, {}, 3))
    subprocess.run([hadd_of(hadd), "again", "ours"], cwd=tmp_path, check=True, capture_output=True)
    assert_same_trees(tmp_path / "ours", tmp_path / "again")


def hadd_of(merge: Merge) -> str:
    (root_bin,) = [cell.cell_contents for cell in merge.__closure__ or () if isinstance(cell.cell_contents, Path)][:1]
    return str(root_bin / "hadd")


def test_an_abort_of_hadd_is_caught_whatever_it_leaves(hadd: Merge, tmp_path: Path) -> None:
    """RNTuples of uproot's make hadd of ROOT 6.40 abort; what it leaves opens well and has nothing in it."""
    inputs = []
    for number in range(3):
        inputs.append(tmp_path / str(number))
        with uproot.recreate(inputs[-1]) as file:
            file["HITS"] = {"EventNumber": np.array([number])}
    with pytest.raises(MergeError, match=r"hadd was killed by signal 6|hadd ended with exit code 134") as problem:
        hadd(inputs, tmp_path / "merged")
    assert "the end of its output: " in str(problem.value)
    assert not isinstance(problem.value, BadInputs)
    left = tmp_path / "work-merged" / "merged.root"
    assert uproot.open(left).keys() == []
    with pytest.raises(MergeError, match="is not as the inputs are: has no tree 'HITS'"):
        hadd(inputs, tmp_path / "hidden", wrapper=["bash", "-c", '"$@"; exit 0', "bash"])
    assert not (tmp_path / "hidden").exists()


@pytest.mark.parametrize(
    ("columns", "fault", "kept"),
    [
        ({"a": [7]}, "tree 'HITS' differs: branch 'b' is missing", 1),
        ({"a": [7], "b": [7.0]}, "tree 'HITS' differs: branch 'b' is double instead of int64_t", 1),
        ({"a": [7], "b": [7], "c": [7]}, "tree 'HITS' differs: branch 'c' is new", 2),
        ({"a": [7, 8], "b": [7, 8]}, "tree 'HITS' has 2 entries, where one event has 1", 3),
    ],
    ids=["missing", "type", "new", "two"],
)
def test_inputs_hadd_itself_would_take_without_a_word(
    hadd: Merge, tmp_path: Path, columns: dict[str, Any], fault: str, kept: int
) -> None:
    good, bad = with_uproot(tmp_path / "good", a=[7], b=[7]), with_uproot(tmp_path / "bad", **columns)
    done = subprocess.run([hadd_of(hadd), "by-itself", "good", "bad"], cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode == 0
    with uproot.open(tmp_path / "by-itself") as file:
        assert file["HITS"].num_entries == kept
    with pytest.raises(BadInputs) as refusal:
        hadd([good, bad], tmp_path / "merged")
    assert refusal.value.faults == {1: fault}


def test_the_first_event_shows_whether_hadd_can_do_it(root_bin: Path, tmp_path: Path) -> None:
    context = MergeContext("x", GUID, {"environment": {"PATH": f"{root_bin}:/usr/bin:/bin"}}, 1, tmp_path, tmp_path / "sample")
    HADD.check_sample(BY_ROOT / "vector.root", context)
    with uproot.recreate(tmp_path / "ntuple") as file:
        file["HITS"] = {"EventNumber": np.array([1])}
    with pytest.raises(MergeError, match="hadd "):
        HADD.check_sample(tmp_path / "ntuple", context)
