"""The same events without Raythena: simulated one after the other in this process, then compared bit by bit.

`compare` is what proves that cutting a job into events, spreading them over nodes and merging the pieces changed nothing: same
events, same order, every number of every event identical. It says where the first difference is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raythena.demo import hits
from raythena.demo.simulation import setup
from raythena.demo.tables import Column, Table, read_scalars, read_table
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


def simulate_reference(job: Job, directory: Path, every: int = 1) -> list[Path]:
    """Simulate the job's events in this process, one output file after the other, into new files in `directory`.

    `every` = k simulates each k-th event only. Returns the files, those without any event left out. Raises InvalidInput.
    """
    directory.mkdir(parents=True, exist_ok=True)
    simulation = setup(job.payload.options.get("options", {}))
    ranges = RangeTable(job.inputs)
    outputs = OutputMap.plan([file.n_events for file in job.inputs], job.events_per_output)
    written = []
    for number, lfn in enumerate(job.outputs):
        start, stop = outputs.interval(number)
        chosen = [ranges.event_range(index) for index in range(start, stop) if index % every == 0]
        if chosen:
            written.append(directory / lfn)
            hits.write_hits(written[-1], [simulation.event(one.pfn, one.first_event) for one in chosen], compressed=True)
    return written


def compare(merged_files: Sequence[Path], reference_files: Sequence[Path], *, sampled: bool = False) -> Comparison:
    """Compare merged HITS with those of the reference, both in the order of the files given.

    `sampled`: the reference holds only some of the events; the others are not looked at. Raises InvalidInput for bad files.
    """
    merged, reference = _identities(merged_files), _identities(reference_files)
    wanted = _among(merged, reference) if sampled else np.ones(len(merged), dtype=bool)
    if problem := order_problem(merged[wanted], reference):
        return Comparison(0, 0, problem)
    compared, columns = 0, 0
    ours = (event for event, looked_at in zip(_events(merged_files), wanted, strict=True) if looked_at)
    for found, expected in zip(ours, _events(reference_files), strict=True):
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


def _identities(files: Sequence[Path]) -> Identities:
    pairs = [read_scalars(path, hits.SCHEMA.tree, ("RunNumber", "EventNumber")) for path in files]
    columns = [np.stack((pair["RunNumber"], pair["EventNumber"]), axis=1).astype(np.uint64) for pair in pairs]
    return np.concatenate([*columns, np.empty((0, 2), dtype=np.uint64)])


def _events(files: Sequence[Path]) -> Iterator[dict[str, Column]]:
    """Every event of the files with all its columns; those of groups are called `group_field`."""
    for path in files:
        start = 0
        while True:
            table = read_table(path, hits.SCHEMA.tree, start, start + EVENTS_AT_A_TIME)
            for event in range(table.n_events):
                yield _one_event(table, event)
            if table.n_events < EVENTS_AT_A_TIME:
                break
            start += EVENTS_AT_A_TIME


def _one_event(table: Table, event: int) -> dict[str, Any]:
    columns = {name: values[event] for name, values in table.scalars.items()}
    for group, content in table.groups.items():
        columns |= {f"{group}_{name}": values for name, values in content.rows(event).items()}
    return columns


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
