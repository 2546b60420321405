"""One idea of what a ROOT file holds and which of it counts events, whatever wrote the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from raythena.domain.errors import InvalidInput
from raythena.storage.root.contents import (
    EVENT_TREES,
    NoEventTree,
    NotRoot,
    RootFileError,
    contents,
    count_by_convention,
    count_events,
    event_branch,
    event_tree,
    opened,
)


def write(path: Path, ttrees: dict[str, int] | None = None, rntuples: dict[str, int] | None = None, branch: str = "x") -> Path:
    """A file with trees of so many entries; one called `...#` has a branch `EventNumber`."""
    with uproot.recreate(path) as file:
        for name, count in (ttrees or {}).items():
            column = "EventNumber" if name.endswith("#") else branch
            file.mktree(name, {column: "int64"}).extend({column: np.arange(count)})
        for name, count in (rntuples or {}).items():
            file[name] = {"EventNumber" if name.endswith("#") else branch: np.arange(count)}
    return path


def chosen(path: Path, asked: str | None = None) -> str:
    with opened(path) as file:
        return event_tree(file, asked)


@pytest.mark.parametrize("tree", EVENT_TREES)
@pytest.mark.parametrize("kind", ["ttrees", "rntuples"])
def test_convention_knows_it_as_ttree_and_as_rntuple(tmp_path: Path, tree: str, kind: str) -> None:
    path = write(tmp_path / "x", **{kind: {"MetaData": 3, tree: 17, "Other": 5}})  # type: ignore[arg-type]
    assert (chosen(path), count_events(path), count_by_convention(path)) == (tree, 17, 17)


@pytest.mark.parametrize(
    ("ttrees", "rntuples", "expected"),
    [
        ({"a/b/EVNT": 4, "a/Other": 9}, {}, "a/b/EVNT"),
        ({"a/EVNT": 4, "EVNT": 9}, {}, "EVNT"),
        ({"a/CollectionTree": 4, "b/CollectionTree": 4, "c/EVNT": 5}, {}, "c/EVNT"),
        ({"a/whatever": 4}, {}, "a/whatever"),
        ({}, {"whatever": 4}, "whatever"),
        ({"one#": 4, "two": 4}, {"three": 4}, "one#"),
        ({"one": 4}, {"two#": 4, "three": 1}, "two#"),
        ({"CollectionTree": 4, "one#": 4}, {}, "CollectionTree"),
    ],
)
def test_it_is_found_wherever_it_is(tmp_path: Path, ttrees: dict[str, int], rntuples: dict[str, int], expected: str) -> None:
    assert chosen(write(tmp_path / "x", ttrees, rntuples)) == expected


@pytest.mark.parametrize(
    ("ttrees", "problem"),
    [
        ({}, "it holds no tree at all"),
        ({"one": 1, "d/two": 1}, "is not clear: it holds d/two, one"),
        ({"one#": 1, "two#": 1}, "is not clear"),
        ({"a/EVNT": 1, "b/EVNT": 1}, "is not clear"),
    ],
)
def test_it_is_never_guessed(tmp_path: Path, ttrees: dict[str, int], problem: str) -> None:
    path = write(tmp_path / "x", ttrees)
    with pytest.raises(NoEventTree, match=problem) as refusal:
        count_events(path)
    assert set(refusal.value.trees) == set(ttrees)
    assert count_by_convention(path) is None


def test_who_names_a_tree_gets_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x", {"EVNT": 1, "a/mine": 2, "b/theirs": 3, "c/theirs": 4})
    assert [chosen(path, asked) for asked in ("EVNT", "mine", "a/mine", "b/theirs")] == ["EVNT", "a/mine", "a/mine", "b/theirs"]
    for asked in ("theirs", "nothing", "a"):
        with pytest.raises(NoEventTree, match=f"no tree called '{asked}'"):
            chosen(path, asked)


def test_the_only_tree_of_a_file_of_unknown_origin_may_count_something_else(tmp_path: Path) -> None:
    assert count_by_convention(write(tmp_path / "x", {"summary#": 1})) is None


def test_of_several_cycles_the_last_is_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "x", {"EVNT": 5})
    with uproot.update(path) as file:
        file["EVNT"] = "what was a tree is a text now"
        file.mktree("T", {"EventNumber": "int64"}).extend({"EventNumber": np.arange(2)})
        file.mktree("T", {"EventNumber": "int64"}).extend({"EventNumber": np.arange(3)})
    with opened(path) as file:
        assert contents(file) == {"EVNT": "TObjString", "T": "TTree"}
    assert (chosen(path), count_events(path)) == ("T", 3)


@pytest.mark.parametrize("name", ["EventNumber", "eventnumber", "EventInfo.EventNumber"])
def test_the_branch_with_the_numbers(tmp_path: Path, name: str) -> None:
    with opened(write(tmp_path / "x", {"T": 1}, branch=name)) as file:
        assert event_branch(file, "T") == name
    with opened(write(tmp_path / "x", {"T": 1}, {"U#": 1})) as file:
        assert (event_branch(file, "T"), event_branch(file, "U#")) == (None, "EventNumber")


@pytest.mark.parametrize("content", [b"", b"roo", b"root mean square: 3", b"PK\3\4", bytes(1000)])
def test_what_is_no_root_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(NotRoot, match="is no ROOT file"):
        count_events(tmp_path / "x")
    assert count_by_convention(tmp_path / "x") is None


@pytest.mark.parametrize("kind", ["ttrees", "rntuples"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    whole = write(tmp_path / "whole", **{kind: {"EVNT": 500}}).read_bytes()  # type: ignore[arg-type]
    path = tmp_path / "cut"
    for size_bytes in [*range(4, len(whole), len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:size_bytes])
        for counting in (count_events, count_by_convention):
            with pytest.raises(RootFileError, match=r"is cut short|damaged"):
                counting(path)


def test_a_file_that_was_never_closed_is_refused(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "x", {"EVNT": 5}).read_bytes())
    content[12:16] = bytes(4)
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(RootFileError, match="damaged"):
        count_events(tmp_path / "x")


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(RootFileError, match="cannot be read: No such file"):
        count_events(tmp_path / "x")


def test_errors_of_our_own_pass(tmp_path: Path) -> None:
    def work(file: Any) -> None:
        raise InvalidInput("job", "", f"no use for {len(contents(file))} trees")

    with pytest.raises(InvalidInput, match="no use for 1 trees"), opened(write(tmp_path / "x", {"EVNT": 5})) as file:
        work(file)
