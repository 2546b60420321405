"""The comparison with the reference finds whatever could have gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.demo import aod, hits
from raythena.demo.event_files import OneEventWriter
from raythena.demo.reference import compare, compute_reference, order_problem
from raythena.demo.simulation import Simulation
from raythena.demo.tables import Group, Schema, Table, read_table, write_table
from raythena.domain.job import Job
from raythena.payloads.mergers.root import merge_root
from raythena.runtime.merger_interface import MergeContext


@pytest.fixture
def table(hits_files: list[Path]) -> Table:
    return read_table(hits_files[0], "HITS")


def written(directory: Path, table: Table, schema: Schema = hits.SCHEMA) -> list[Path]:
    write_table(directory / "HITS.changed.root", schema, table)
    return [directory / "HITS.changed.root"]


def test_the_reference_holds_every_event_once_in_order(demo_job: Job, hits_files: list[Path]) -> None:
    assert [path.name for path in hits_files] == list(demo_job.outputs)
    numbers = [read_table(path, "HITS").scalars["EventNumber"].tolist() for path in hits_files]
    assert numbers == [[1, 2, 3, 4], [5, 6], [7, 8, 9, 10], [11, 12]]


def test_merged_single_events_are_identical_to_the_reference(
    demo_job: Job, simulation: Simulation, hits_files: list[Path], tmp_path: Path
) -> None:
    writer = OneEventWriter(hits.SCHEMA)
    for number in (3, 1, 4, 2):
        writer.write(tmp_path / f"{number}.root", simulation.event(demo_job.inputs[0].pfn, number))
    singles = [tmp_path / f"{number}.root" for number in (1, 2, 3, 4)]
    merge_root(singles, tmp_path / "merged.root", MergeContext("merged.root", "0B6C2D2E-6E0B-4E5C-8A4C-5B1B6A1C7D11", {}))
    comparison = compare([tmp_path / "merged.root"], hits_files[:1])
    assert comparison.identical
    assert comparison.events == 4
    assert str(comparison) == "identical: 4 events, 20 columns, bit by bit"


def test_a_process_of_its_own_computes_the_same_and_says_nothing(
    demo_job: Job, hits_files: list[Path], aod_files: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    four_events = (replace(demo_job.inputs[0], n_events=4),)
    reference = compute_reference(replace(demo_job, inputs=four_events, outputs=demo_job.outputs[:1]), tmp_path)
    assert compare(reference.hits, hits_files[:1], hits.SCHEMA).identical
    assert compare(reference.aod, aod_files[:1], aod.SCHEMA).identical
    assert [path.name for path in reference.aod] == ["AOD.000001.root"]
    assert capfd.readouterr().out == ""


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
    table: Table, hits_files: list[Path], tmp_path: Path, events: list[int], problem: str
) -> None:
    changed = written(tmp_path, table.taken(np.array(events, dtype=np.int64))) if events else []
    comparison = compare(changed, hits_files[:1])
    assert not comparison.identical
    assert comparison.problem == problem


def test_a_foreign_event_is_found(hits_files: list[Path]) -> None:
    problem = compare(hits_files[:2], hits_files[:1]).problem
    assert problem == "event 5 does not belong there (position 4)"


def last_bit(column: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    changed = column.copy()
    changed.view("u4")[-1] ^= 1  # of eight bytes, one of the upper half
    return changed


def zero_sign(column: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    changed = column.copy()
    changed[-1] = np.nan
    return changed


@pytest.mark.parametrize(
    ("group", "field"), [("measurement", "local0"), ("measurement", "sensor"), ("particle", "vz"), ("particle", "n_hits")]
)
def test_a_single_bit_is_found(table: Table, hits_files: list[Path], tmp_path: Path, group: str, field: str) -> None:
    changed_fields = table.groups[group].fields | {field: last_bit(table.groups[group].fields[field])}
    groups = table.groups | {group: Group(table.groups[group].offsets, changed_fields)}
    problem = compare(written(tmp_path, Table(table.scalars, groups)), hits_files[:1]).problem
    assert problem.startswith(f"event 4: {group}_{field}[")


def test_rows_that_moved_to_another_event_are_found(table: Table, hits_files: list[Path], tmp_path: Path) -> None:
    particles = table.groups["particle"]
    offsets = particles.offsets.copy()
    offsets[1] += 1
    groups = table.groups | {"particle": Group(offsets, particles.fields)}
    problem = compare(written(tmp_path, Table(table.scalars, groups)), hits_files[:1]).problem
    assert problem.startswith("event 1: particle_")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda groups: {**groups, "particle": {k: v for k, v in groups["particle"].items() if k != "vz"}}, "particle_vz"),
        (
            lambda groups: {**groups, "measurement": {**groups["measurement"], "local0": "f8"}},
            "measurement_local0 is float64",
        ),
    ],
)
def test_another_schema_is_found(
    table: Table, hits_files: list[Path], tmp_path: Path, change: Callable[..., dict[str, dict[str, str]]], problem: str
) -> None:
    schema = Schema("HITS", hits.SCHEMA.scalars, change(dict(hits.SCHEMA.groups)))
    groups = {
        name: Group(table.groups[name].offsets, {k: table.groups[name].fields[k].astype(code) for k, code in fields.items()})
        for name, fields in schema.groups.items()
    }
    assert problem in compare(written(tmp_path, Table(table.scalars, groups), schema), hits_files[:1]).problem


@given(st.lists(st.integers(0, 6), max_size=6), st.lists(st.integers(0, 6), unique=True, max_size=6))
def test_no_problem_means_the_same_sequence(found: list[int], expected: list[int]) -> None:
    ours, theirs = (np.array([(1, n) for n in numbers], dtype=np.uint64).reshape(-1, 2) for numbers in (found, expected))
    assert (order_problem(ours, theirs) == "") == (found == expected)
