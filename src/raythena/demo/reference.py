"""The same events without Raythena: one plain process, one event after the other; then both are compared bit by bit.

`compare` is what proves that cutting a job into events, spreading them over nodes and merging the pieces changed nothing: same
events, same order, every number of every event identical. It says where the first difference is.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.demo import aod, hits, reconstruction, simulation
from raythena.demo.event_files import write_events
from raythena.demo.tables import Column, Schema, read_scalars, read_table
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeTable

EVENTS_AT_A_TIME = 500
"""Events of each side that are in memory during a comparison."""

Identities = npt.NDArray[np.uint64]
"""(run number, event number) of some events, shape (n, 2)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found. `problem` is the first difference in words, empty when there is none."""

    events: int
    """Events compared, all their columns included."""
    columns: int
    problem: str = ""

    @property
    def identical(self) -> bool:
        """Whether both sides hold the same."""
        return not self.problem

    def __str__(self) -> str:
        return self.problem or f"identical: {self.events} events, {self.columns} columns, bit by bit"


@dataclass(frozen=True, slots=True)
class Reference:
    """The files of a reference, in the order of the job's outputs."""

    hits: list[Path]
    aod: list[Path]


def compute_reference(job: Job, directory: Path) -> Reference:
    """Simulate and reconstruct the job's events in one process of its own; new files in `directory`. Raises InvalidInput."""
    # A process of its own: what the libraries say on standard output must not get into ours, which may be for JSON.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_silence) as pool:
        return pool.submit(_computed, job, directory).result()


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)


def _computed(job: Job, directory: Path) -> Reference:
    simulated = simulate_reference(job, directory)
    return Reference(simulated, reconstruct_reference(simulated, directory))


def simulate_reference(job: Job, directory: Path) -> list[Path]:
    """Simulate the job's events in this process, one output file after the other; returns the files. Raises InvalidInput."""
    directory.mkdir(parents=True, exist_ok=True)
    state = simulation.setup(job.payload.options.get("options", {}))
    ranges = RangeTable(job.inputs)
    outputs = OutputMap.plan([file.n_events for file in job.inputs], job.events_per_output)
    written = [directory / lfn for lfn in job.outputs]
    for number, path in enumerate(written):
        chosen = [ranges.event_range(index) for index in range(*outputs.interval(number))]
        write_events(path, hits.SCHEMA, [state.event(one.pfn, one.first_event) for one in chosen])
    return written


def reconstruct_reference(hits_files: Sequence[Path], directory: Path) -> list[Path]:
    """Reconstruct all events of HITS files in this process, an AOD file for each; returns the files. Raises InvalidInput."""
    state = reconstruction.setup({})
    written = [directory / path.name.replace(hits.SCHEMA.tree, aod.SCHEMA.tree) for path in hits_files]
    with tempfile.TemporaryDirectory(prefix="raythena-demo-") as scratch:
        for path, output in zip(hits_files, written, strict=True):
            numbers = range(1, len(_identities([path], hits.SCHEMA)) + 1)
            write_events(output, aod.SCHEMA, [state.event(str(path), number, Path(scratch)) for number in numbers])
    return written


def compare(merged_files: Sequence[Path], reference_files: Sequence[Path], schema: Schema = hits.SCHEMA) -> Comparison:
    """Compare merged files with those of the reference, both in the order given. Raises InvalidInput for bad files."""
    if problem := order_problem(_identities(merged_files, schema), _identities(reference_files, schema)):
        return Comparison(0, 0, problem)
    compared, columns = 0, 0
    for found, expected in zip(_events(merged_files, schema), _events(reference_files, schema), strict=True):
        if problem := _difference(found, expected):
            return Comparison(compared, columns, f"event {expected['EventNumber']}: {problem}")
        compared, columns = compared + 1, len(expected)
    return Comparison(compared, columns)


def order_problem(found: Identities, expected: Identities) -> str:
    """The first place where two sequences of events are not the same, and what happened there; empty when nowhere."""
    if np.array_equal(found, expected):
        return ""
    shared = min(len(found), len(expected))
    differs = np.flatnonzero((found[:shared] != expected[:shared]).any(axis=1))
    place = int(differs[0]) if len(differs) else shared
    if place < len(expected) and not _among(expected[place : place + 1], found)[0]:
        return f"event {expected[place, 1]} is missing (position {place})"
    if place >= len(found):
        return f"the output ends after {len(found)} events instead of {len(expected)}"
    if _among(found[place : place + 1], found[:place])[0]:
        return f"event {found[place, 1]} is there twice, again at position {place}"
    if not _among(found[place : place + 1], expected)[0]:
        return f"event {found[place, 1]} does not belong there (position {place})"
    return f"event {found[place, 1]} is at position {place}, where event {expected[place, 1]} should be"


def _among(some: Identities, others: Identities) -> npt.NDArray[np.bool_]:
    """Which of `some` occur in `others`."""
    return np.isin(_as_one(some), _as_one(others))


def _as_one(identities: Identities) -> npt.NDArray[np.void]:
    pair = np.dtype([("run", "<u8"), ("event", "<u8")])
    return np.ascontiguousarray(identities).view(pair).ravel()


def _identities(files: Sequence[Path], schema: Schema) -> Identities:
    pairs = [read_scalars(path, schema.tree, ("RunNumber", "EventNumber")) for path in files]
    columns = [np.stack((pair["RunNumber"], pair["EventNumber"]), axis=1).astype(np.uint64) for pair in pairs]
    return np.concatenate([*columns, np.empty((0, 2), dtype=np.uint64)])


def _events(files: Sequence[Path], schema: Schema) -> Iterator[dict[str, Column]]:
    """Every event of the files with all its columns; those of groups are called `group_field`."""
    for path in files:
        start = 0
        while True:
            table = read_table(path, schema.tree, start, start + EVENTS_AT_A_TIME)
            for index in range(table.n_events):
                event = table.event(index)
                columns = {f"{name}_{one}": rows for name, group in event.groups.items() for one, rows in group.items()}
                yield event.scalars | columns
            if table.n_events < EVENTS_AT_A_TIME:
                break
            start += EVENTS_AT_A_TIME


def _difference(found: dict[str, Column], expected: dict[str, Column]) -> str:
    if found.keys() != expected.keys():
        return f"columns differ: {', '.join(sorted(found.keys() ^ expected.keys()))}"
    for name, values in expected.items():
        if found[name].dtype != values.dtype:
            return f"{name} is {found[name].dtype} instead of {values.dtype}"
        if found[name].shape != values.shape:
            return f"{name} has {found[name].size} values instead of {values.size}"
        if found[name].tobytes() != values.tobytes():
            row = int(np.flatnonzero(np.atleast_1d(found[name] != values))[:1].sum())
            return f"{name}[{row}] is {np.atleast_1d(found[name])[row]!r} instead of {np.atleast_1d(values)[row]!r}"
    return ""
