"""Results that count as a trace in Chrome's form: a process for each node, a thread for each of its cores, a slice for each one.

On which core an event was follows from `core_tracks`. Form: "Trace Event Format", complete events (`X`) and names (`M`); times in
microseconds since the first event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from raythena.domain.ranges import Indices
from raythena.monitor.core_tracks import CoreTracks
from raythena.storage.range_records import RangeRecords, State

_BLOCK = 65536


def trace_lines(records: RangeRecords, indices: Indices) -> Iterator[str]:
    """The lines of a JSON document that Perfetto and Chrome open, of those of the ranges that have a result."""
    columns = records.columns
    states = columns["state"][indices]
    computed = indices[(states == State.STORED) | (states == State.MERGED)]
    origin = float(columns["start"][computed].min()) if len(computed) else 0.0
    yield '{"displayTimeUnit": "ms", "traceEvents": ['
    separator = ""
    for line in _events(records, computed, origin):
        yield separator + json.dumps(line, separators=(",", ":"))
        separator = ","
    yield "]}"


def _events(records: RangeRecords, computed: Indices, origin: float) -> Iterator[dict[str, object]]:
    columns = records.columns
    nodes = columns["node"][computed]
    for node in np.unique(nodes).tolist():
        yield {"ph": "M", "name": "process_name", "pid": node, "args": {"name": records.nodes[node]}}
        mine = computed[nodes == node]
        mine = mine[np.argsort(columns["start"][mine], kind="stable")]
        yield from _slices(records, mine, node, origin)


def _slices(records: RangeRecords, mine: Indices, node: int, origin: float) -> Iterator[dict[str, object]]:
    tracks = CoreTracks()
    for at in range(0, len(mine), _BLOCK):
        stretch = mine[at : at + _BLOCK]
        (block,) = records.blocks(stretch, size=_BLOCK)
        starts, walls = (records.columns[name][stretch].tolist() for name in ("start", "wall_s"))
        for place, (start, wall_s) in enumerate(zip(starts, walls, strict=True)):
            core = tracks.place(start, wall_s)
            about = {name: block[name][place] for name in ("state", "attempt", "output", "session")}
            times = {"ts": round(1e6 * (start - origin), 1), "dur": round(1e6 * wall_s, 1)}
            yield {"ph": "X", "name": block["range_id"][place], "cat": "event", "pid": node, "tid": core, **times, "args": about}
