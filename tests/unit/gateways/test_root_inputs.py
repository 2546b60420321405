from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import uproot

from raythena.domain.errors import InvalidInput
from raythena.gateways.root_inputs import count_root_events
from raythena.storage.root.contents import EVENT_TREES

ALWAYS_THE_SAME = Path(__file__).parents[2] / "fixtures" / "root" / "EVNT.500-events.root"
"""A file written once: what uproot writes today differs from what it writes tomorrow, and so would what damage does to it."""


def write(path: Path, **trees: int) -> Path:
    with uproot.recreate(path) as file:
        for name, entries in trees.items():
            file.mktree(name, {"EventNumber": "int64"})
            if entries:
                file[name].extend({"EventNumber": np.arange(entries)})
    return path


@pytest.mark.parametrize("tree", EVENT_TREES)
def test_the_trees_of_convention_are_counted(tmp_path, tree):
    path = write(tmp_path / "a.root", **{"MetaData": 3, tree: 17, "Other": 5})
    assert count_root_events(path) == 17


def test_the_collection_is_trusted_more_than_the_data(tmp_path):
    assert count_root_events(write(tmp_path / "a.root", CollectionTree=5, POOLCollectionTree=6)) == 6


def test_a_tree_that_is_alone_needs_no_convention(tmp_path):
    assert count_root_events(write(tmp_path / "a.root", whatever=9)) == 9


def test_the_tree_that_is_named_is_counted(tmp_path):
    assert count_root_events(write(tmp_path / "a.root", EVNT=9, mine=4), "mine") == 4


def test_trees_in_directories_and_rntuples_count(tmp_path):
    assert count_root_events(write(tmp_path / "a.root", **{"reco/EVNT": 9, "reco/Other": 4})) == 9
    assert count_root_events(write(tmp_path / "a.root", **{"reco/mine": 9, "reco/Other": 4}), "reco/mine") == 9
    with uproot.recreate(tmp_path / "b.root") as file:
        file["EVNT"] = {"EventNumber": np.arange(6)}  # an RNTuple: what uproot makes of this by default
    assert count_root_events(tmp_path / "b.root") == 6


def test_odd_characters_in_a_path_mean_nothing(tmp_path):
    directory = tmp_path / "a:b [1] * é"
    directory.mkdir()
    assert count_root_events(write(directory / "x.root:EVNT.root", EVNT=2)) == 2


def test_a_tree_written_in_several_turns_is_counted_once(tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("EVNT", {"x": "float32"})
        for _ in range(3):
            file["EVNT"].extend({"x": np.zeros(100, dtype=np.float32)})
    assert count_root_events(path) == 300


@pytest.mark.parametrize(
    "case",
    [
        ({"one": 1, "two": 2}, None, "tree", "which tree counts the events is not clear: it holds one, two", "Say `tree:`"),
        ({}, None, "tree", "it holds no tree at all", "POOLCollectionTree"),
        ({"EVNT": 4}, "EVTN", "tree", "no tree called 'EVTN'", "Did you mean 'EVNT'?"),
        ({"EVNT": 0}, None, "EVNT", "holds no events", "at least one entry"),
    ],
)
def test_a_file_that_cannot_be_counted_is_refused(tmp_path, case):
    trees, asked, field, problem, remedy = case
    path = write(tmp_path / "a.root", **trees)
    with pytest.raises(InvalidInput) as refusal:
        count_root_events(path, asked)
    assert (refusal.value.source, refusal.value.field) == (str(path), field)
    assert problem in refusal.value.problem
    assert remedy in f"{refusal.value.expected} {refusal.value.hint}"


@pytest.mark.parametrize("contents", [b"", b"roo", b"not a root file at all", b"\x00" * 1000])
def test_what_is_no_root_file_is_refused(tmp_path, contents):
    path = tmp_path / "a.root"
    path.write_bytes(contents)
    with pytest.raises(InvalidInput, match="no ROOT file"):
        count_root_events(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        count_root_events(tmp_path / "a.root")


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    whole = write(tmp_path / "whole.root", EVNT=500).read_bytes()
    path = tmp_path / "cut.root"
    for size_bytes in [*range(4, len(whole), len(whole) // 50), len(whole) - 1]:
        path.write_bytes(whole[:size_bytes])
        with pytest.raises(InvalidInput, match=r"is cut short|damaged") as refusal:
            count_root_events(path)
        assert refusal.value.source == str(path)


def test_a_garbled_file_is_refused_or_counted_never_more(tmp_path):
    whole = ALWAYS_THE_SAME.read_bytes()
    dice = random.Random(7)
    refused = 0
    for turn in range(60):
        data = bytearray(whole)
        for _ in range(20):
            data[dice.randrange(4, len(data))] = dice.randrange(256)
        path = tmp_path / f"{turn}.root"
        path.write_bytes(data)
        try:
            count_root_events(path)
        except InvalidInput as refusal:
            assert refusal.source == str(path)
            refused += 1
    assert refused > 0
