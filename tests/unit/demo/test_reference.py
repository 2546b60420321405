"""The comparison with the reference finds whatever could have gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.demo import hits, simulation
from raythena.demo.reference import compare, order_problem, simulate_reference
from raythena.demo.tables import Group, Schema, Table, read_table, write_table
from raythena.domain.job import Job
from raythena.payloads.mergers.root import merge_root
from raythena.runtime.merger_interface import MergeContext


@pytest.fixture
def table(reference_files: list[Path]) -> Table:
    return read_table(reference_files[0], "HITS")


def written(directory: Path, table: Table, schema: Schema = hits.SCHEMA) -> list[Path]:
    write_table(directory / "HITS.changed.root", schema, table)
    return [directory / "HITS.changed.root"]


def test_the_reference_holds_every_event_once_in_order(demo_job: Job, reference_files: list[Path]) -> None:
    assert [path.name for path in reference_files] == list(demo_job.outputs)
    numbers = [read_table(path, "HITS").scalars["EventNumber"].tolist() for path in reference_files]
    assert numbers == [[1, 2, 3, 4], [5, 6], [7, 8, 9, 10], [11, 12]]


def test_merged_single_events_are_identical_to_the_reference(demo_job: Job, reference_files: list[Path], tmp_path: Path) -> None:
    model = simulation.setup({"cost": 0.5})
    singles = []
    for number in (3, 1, 4, 2):
        hits.write_hits(tmp_path / f"{number}.root", [model.event(demo_job.inputs[0].pfn, number)], compressed=False)
    singles = [tmp_path / f"{number}.root" for number in (1, 2, 3, 4)]
    merge_root(singles, tmp_path / "merged.root", MergeContext("merged.root", "0B6C2D2E-6E0B-4E5C-8A4C-5B1B6A1C7D11", {}))
    comparison = compare([tmp_path / "merged.root"], reference_files[:1])
    assert comparison.identical
    assert comparison.events == 4
    assert str(comparison) == "identical: 4 events, 10 columns, bit by bit"


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([0, 1, 3], "event 3 is missing (position 2)"),
        ([0, 1, 2], "event 4 is missing (position 3)"),
        ([0, 2, 1, 3], "event 3 is at position 1, where event 2 should be"),
        ([0, 1, 1, 2, 3], "event 2 is there twice, again at position 2"),
        ([0, 1, 2, 3, 3], "event 4 is there twice, again at position 4"),
        ([], "event 1 is missing (position 0)"),
    ],
)
def test_lost_swapped_and_doubled_events_are_found(
    table: Table, reference_files: list[Path], tmp_path: Path, events: list[int], problem: str
) -> None:
    changed = written(tmp_path, table.taken(np.array(events, dtype=np.int64))) if events else []
    comparison = compare(changed, reference_files[:1])
    assert not comparison.identical
    assert comparison.problem == problem


def test_a_foreign_event_is_found(reference_files: list[Path]) -> None:
    problem = compare(reference_files[:2], reference_files[:1]).problem
    assert problem == "event 5 does not belong there (position 4)"


def last_bit(column: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    changed = column.copy()
    changed.view("u4")[-1] ^= 1
    return changed


def zero_sign(column: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    changed = column.copy()
    changed[-1] = np.nan
    return changed


@pytest.mark.parametrize(("group", "field"), [("cell", "energy"), ("cell", "id"), ("track", "z0"), ("track", "n_hits")])
def test_a_single_bit_is_found(table: Table, reference_files: list[Path], tmp_path: Path, group: str, field: str) -> None:
    changed_fields = table.groups[group].fields | {field: last_bit(table.groups[group].fields[field])}
    groups = table.groups | {group: Group(table.groups[group].offsets, changed_fields)}
    problem = compare(written(tmp_path, Table(table.scalars, groups)), reference_files[:1]).problem
    assert problem.startswith(f"event 4: {group}_{field}[")


def test_rows_that_moved_to_another_event_are_found(table: Table, reference_files: list[Path], tmp_path: Path) -> None:
    cells = table.groups["cell"]
    offsets = cells.offsets.copy()
    offsets[1] += 1
    groups = table.groups | {"cell": Group(offsets, cells.fields)}
    problem = compare(written(tmp_path, Table(table.scalars, groups)), reference_files[:1]).problem
    assert problem.startswith("event 1: cell_")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda scalars, groups: {**groups, "track": {k: v for k, v in groups["track"].items() if k != "d0"}}, "track_d0"),
        (lambda scalars, groups: {**groups, "cell": {**groups["cell"], "energy": "f8"}}, "cell_energy is float64"),
    ],
)
def test_another_schema_is_found(
    table: Table, reference_files: list[Path], tmp_path: Path, change: Callable[..., dict[str, dict[str, str]]], problem: str
) -> None:
    schema = Schema("HITS", hits.SCHEMA.scalars, change(hits.SCHEMA.scalars, dict(hits.SCHEMA.groups)))
    groups = {
        name: Group(table.groups[name].offsets, {k: table.groups[name].fields[k].astype(code) for k, code in fields.items()})
        for name, fields in schema.groups.items()
    }
    assert problem in compare(written(tmp_path, Table(table.scalars, groups), schema), reference_files[:1]).problem


def test_a_sample_is_compared_with_its_events_only(demo_job: Job, reference_files: list[Path], tmp_path: Path) -> None:
    sample = simulate_reference(demo_job, tmp_path, every=5)
    assert compare(reference_files, sample, sampled=True).events == 3
    assert compare(reference_files, sample).problem == "event 2 does not belong there (position 1)"
    assert "event 11 is missing" in compare(reference_files[:3], sample, sampled=True).problem


@given(st.lists(st.integers(0, 6), max_size=6), st.lists(st.integers(0, 6), unique=True, max_size=6))
def test_no_problem_means_the_same_sequence(found: list[int], expected: list[int]) -> None:
    ours, theirs = (np.array([(1, n) for n in numbers], dtype=np.uint64).reshape(-1, 2) for numbers in (found, expected))
    assert (order_problem(ours, theirs) == "") == (found == expected)
