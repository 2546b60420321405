"""Files cast from a template are files as uproot writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raythena.storage.root.columns import Branch
from raythena.storage.root.fast_reader import learn
from raythena.storage.root.fast_writer import RootTemplate, template_of

TYPES: dict[str, Any] = {
    "EventNumber": np.dtype("u8"),
    "vertex": np.dtype(("f4", (3,))),
    "hit": ak.types.from_datashape("var * {x: float32, n: int16}", highlevel=False),
    "loose": ak.types.from_datashape("var * float64", highlevel=False),
}
BRANCHES = (
    Branch("EventNumber", np.dtype("u8")),
    Branch("vertex", np.dtype(("f4", (3,)))),
    Branch("hit_x", np.dtype("f4"), "nhit"),
    Branch("hit_n", np.dtype("i2"), "nhit"),
    Branch("loose", np.dtype("f8"), "nloose"),
)
IDENTITY = UUID("0b6c2d2e-6e0b-4e5c-8a4c-5b1b6a1c7d11")


def event(seed: int, hits: int, loose: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "EventNumber": np.array([seed], dtype="u8"),
        "vertex": rng.normal(size=(1, 3)).astype("f4"),
        "hit_x": rng.normal(size=hits).astype("f4"),
        "hit_n": rng.integers(-99, 99, hits).astype("i2"),
        "loose": rng.normal(size=loose),
    }


def rows_of(events: list[dict[str, Any]], name: str) -> ak.Array:
    counts = np.array([len(one[name]) for one in events], dtype=np.int64)
    return ak.unflatten(np.concatenate([one[name] for one in events]), counts)


def through_uproot(path: Path, events: list[dict[str, Any]], **options: Any) -> Path:
    columns = {
        "EventNumber": np.concatenate([one["EventNumber"] for one in events]),
        "vertex": np.concatenate([one["vertex"] for one in events]),
        "hit": ak.zip({"x": rows_of(events, "hit_x"), "n": rows_of(events, "hit_n")}),
        "loose": rows_of(events, "loose"),
    }
    with uproot.recreate(path, **({"compression": None} | options)) as file:
        file.mktree("T", TYPES).extend(columns)
    return path


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> RootTemplate:
    return template_of(through_uproot(tmp_path_factory.mktemp("mould") / "model.root", [event(1, 1, 1)]), BRANCHES)


def members(path: Path) -> dict[str, Any]:
    """What the file says about its tree and branches, places apart."""
    with uproot.open(path) as file:
        tree = file["T"]
        said: dict[str, Any] = {name: tree.member(name) for name in ("fEntries", "fTotBytes", "fZipBytes")}
        for branch in tree.branches:
            leaf = branch.member("fLeaves")[0]
            said[branch.name] = [branch.member(name) for name in ("fEntries", "fTotBytes", "fZipBytes", "fEntryNumber")]
            said[branch.name] += [branch.member("fBasketBytes").tolist(), leaf.member("fMinimum"), leaf.member("fMaximum")]
        return said


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**63), hits=st.integers(0, 2000), loose=st.integers(0, 20))
def test_a_cast_file_says_and_holds_what_uproot_would_write(
    tmp_path: Path, template: RootTemplate, seed: int, hits: int, loose: int
) -> None:
    one = event(seed, hits, loose)
    cast = tmp_path / "cast.root"
    cast.write_bytes(template.cast(one, IDENTITY))
    expected = through_uproot(tmp_path / "expected.root", [one])
    assert members(cast) == members(expected)
    with uproot.open(cast) as file, uproot.open(expected) as other:
        assert file.file.uuid == IDENTITY
        for name in other["T"].keys():  # noqa: SIM118 - a tree is no dictionary
            assert file["T"][name].array().tolist() == other["T"][name].array().tolist()


def test_casting_leaves_nothing_in_the_mould(template: RootTemplate) -> None:
    first = template.cast(event(1, 5, 5), IDENTITY)
    template.cast(event(2, 500, 0), uuid4())
    assert template.cast(event(1, 5, 5), IDENTITY) == first


def test_cast_files_are_twins(tmp_path: Path, template: RootTemplate) -> None:
    for seed in (1, 2):
        (tmp_path / f"{seed}.root").write_bytes(template.cast(event(seed, seed, 3), IDENTITY))
    layout = learn(tmp_path / "1.root", BRANCHES)
    assert layout is not None
    chunk = layout.read((tmp_path / "2.root").read_bytes())
    assert chunk is not None
    for branch, rows in zip(BRANCHES, chunk, strict=True):
        assert np.array_equal(rows.values, event(2, 2, 3)[branch.name])


def test_a_cast_file_can_be_written_to(tmp_path: Path, template: RootTemplate) -> None:
    """Its list of free stretches and its end are right: what is added destroys nothing."""
    path, one = tmp_path / "cast.root", event(3, 50, 2)
    path.write_bytes(template.cast(one, IDENTITY))
    with uproot.update(path) as file:
        file["words"] = "x" * 5000
        file.mktree("U", {"y": np.dtype("f8")}).extend({"y": np.arange(1000.0)})
    with uproot.open(path) as file:
        assert str(file["words"]) == "x" * 5000
        assert file["U"]["y"].array().tolist() == np.arange(1000.0).tolist()
        assert file["T"]["hit_x"].array()[0].tolist() == one["hit_x"].tolist()
        assert file["T"]["loose"].array()[0].tolist() == one["loose"].tolist()


def test_columns_that_share_a_counter_must_agree(template: RootTemplate) -> None:
    with pytest.raises(ValueError, match="hit_n has 2 rows, others 3"):
        template.cast(event(1, 3, 1) | {"hit_n": np.zeros(2, dtype="i2")}, IDENTITY)


def test_a_column_too_few_is_noticed(template: RootTemplate) -> None:
    with pytest.raises(KeyError, match="vertex"):
        template.cast({name: column for name, column in event(1, 3, 1).items() if name != "vertex"}, IDENTITY)


def test_only_one_entry_is_a_model(tmp_path: Path) -> None:
    two = through_uproot(tmp_path / "two.root", [event(1, 1, 1), event(2, 1, 1)])
    with pytest.raises(ValueError, match="is no model"):
        template_of(two, BRANCHES)


def test_a_model_has_all_the_branches(tmp_path: Path) -> None:
    one = through_uproot(tmp_path / "one.root", [event(1, 1, 1)])
    with pytest.raises(ValueError, match="is no model"):
        template_of(one, (*BRANCHES, Branch("nobody", np.dtype("f4"))))
