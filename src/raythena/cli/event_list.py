"""Every event of a task as one row: where it was computed, what it cost, what became of it.

Rows come in the order of commits, then those given up, then those nobody has finished; one chunk of the ledger is in memory
at a time.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import TextIO

import numpy as np
import numpy.typing as npt

from raythena.domain.given_ranges import GivenRanges
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeLayout
from raythena.domain.records import AttemptFailed
from raythena.storage.ledger_view import EventChunk, LedgerView

COLUMNS = (
    "range_id",
    "lfn",
    "event",
    "output",
    "state",
    "node",
    "session",
    "attempt",
    "started_at",
    "wall_s",
    "cpu_s",
    "size_bytes",
    "adler32",
    "reason",
    "message",
)
"""`state` is `merged`, `stored`, `failed` or `open`; `started_at` is in seconds since the epoch; events count from 1."""

Row = tuple[object, ...]


def event_rows(job: Job, view: LedgerView) -> Iterator[Row]:
    """One row of `COLUMNS` per event of the job."""
    names = _Names(job, view.chunks())
    merged = np.zeros(names.n_outputs, dtype=bool)
    merged[[output.output for output in view.outputs()]] = True
    seen = np.zeros(names.n_ranges, dtype=bool)
    for chunk in view.iter_events():
        seen[chunk.events["range"]] = True
        yield from _committed(chunk, names, merged)
    for failure in view.given_up():
        if not seen[failure.range_index]:
            seen[failure.range_index] = True
            yield _given_up(failure, names)
    for name in names.of(np.flatnonzero(~seen)):
        yield (*name, "open", *[""] * (len(COLUMNS) - 5))


def write_csv(stream: TextIO, rows: Iterable[Row]) -> None:
    """A header line and one line per event."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)


def write_json_lines(stream: TextIO, rows: Iterable[Row]) -> None:
    """One JSON object per line; cells that do not apply are left out."""
    for row in rows:
        document = {name: cell for name, cell in zip(COLUMNS, row, strict=True) if cell != ""}
        stream.write(json.dumps(document, separators=(",", ":")) + "\n")


class _Names:
    """Range indices to the names people know."""

    def __init__(self, job: Job, chunks: Iterable[GivenRanges]) -> None:
        self._layout = RangeLayout.of(job, chunks)
        events = [] if job.ranges_given else [file.n_events for file in job.inputs]
        self._map = OutputMap.plan(events, job.events_per_output)
        self._lfns = [file.lfn for file in job.inputs]
        self._outputs = job.outputs

    @property
    def n_ranges(self) -> int:
        return len(self._layout)

    @property
    def n_outputs(self) -> int:
        return self._map.n_outputs

    def of(self, indices: npt.NDArray[np.integer]) -> Iterator[tuple[str, str, int, str]]:
        """For each range: its id, LFN of the input, event in it, LFN of the output."""
        files, events = self._layout.places_of(indices.astype(np.int64))
        if self._layout.given:
            for index, file, event in zip(indices.tolist(), files.tolist(), events.tolist(), strict=True):
                yield self._layout.range_id(index), self._lfns[file], event, ""
            return
        outputs = self._map.outputs_of(indices)
        for file, event, output in zip(files.tolist(), events.tolist(), outputs.tolist(), strict=True):
            lfn = self._lfns[file]
            yield f"{lfn}-{event}", lfn, event, self._outputs[output] if output < len(self._outputs) else str(output)


def _committed(chunk: EventChunk, names: _Names, merged: npt.NDArray[np.bool_]) -> Iterator[Row]:
    events = chunk.events
    columns = ("output", "node", "session", "attempt", "start", "wall_s", "cpu_s", "size", "adler32")
    cells = zip(names.of(events["range"].astype(np.int64)), *(events[column].tolist() for column in columns), strict=True)
    for name, output, node, session, attempt, start, wall_s, cpu_s, size, adler32 in cells:
        state = "merged" if output < len(merged) and merged[output] else "stored"
        figures = (round(start, 6), round(wall_s, 6), round(cpu_s, 6), size, f"{adler32:08x}")
        yield (*name, state, chunk.nodes[node], session, attempt, *figures, "", "")


def _given_up(failure: AttemptFailed, names: _Names) -> Row:
    (name,) = names.of(np.array([failure.range_index]))
    blanks = ("", "", "", "")
    return (*name, "failed", failure.node, "", failure.attempt, round(failure.at, 6), *blanks, str(failure.kind), failure.message)
