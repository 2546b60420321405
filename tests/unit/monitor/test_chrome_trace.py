"""A trace: every result is a slice, and no core computes two events at a time."""

from __future__ import annotations

import itertools
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raythena.monitor.chrome_trace import trace_lines
from raythena.storage.range_records import RangeRecords, State
from raythena.testing.simulation.samples import small_job

N = 40


def traced(starts, walls, nodes, states):
    records = RangeRecords(small_job((N,), N))
    records.nodes = ["", "a.1", "b.1"]
    columns = records.columns
    columns["start"][:], columns["wall_s"][:], columns["node"][:], columns["state"][:] = starts, walls, nodes, states
    document = json.loads("\n".join(trace_lines(records, np.arange(N))))
    return [one for one in document["traceEvents"] if one["ph"] == "X"], document


@settings(deadline=None)
@given(
    st.lists(st.floats(1e9, 1e9 + 100), min_size=N, max_size=N),
    st.lists(st.floats(0.125, 30, width=32), min_size=N, max_size=N),
    st.lists(st.sampled_from([1, 2]), min_size=N, max_size=N),
    st.lists(st.sampled_from(list(State)), min_size=N, max_size=N),
)
def test_no_core_computes_two_events_at_a_time(starts, walls, nodes, states):
    slices, document = traced(starts, walls, nodes, states)
    assert len(slices) == sum(state in (State.STORED, State.MERGED) for state in states)
    by_core = {}
    for one in slices:
        by_core.setdefault((one["pid"], one["tid"]), []).append((one["ts"], one["ts"] + one["dur"]))
    for busy in by_core.values():
        busy.sort()
        assert all(end <= begin + 200 for (_, end), (begin, _) in itertools.pairwise(busy))
    named = {one["pid"] for one in document["traceEvents"] if one["ph"] == "M"}
    assert named == {one["pid"] for one in slices}


def test_cores_are_no_more_than_needed():
    slices, _ = traced(1e9 + np.arange(N), np.full(N, 1.9), np.ones(N, dtype=int), np.full(N, State.STORED))
    assert {one["tid"] for one in slices} == {1, 2}
    assert (slices[0]["ts"], slices[1]["ts"]) == (0.0, 1e6)
    assert slices[0]["args"]["state"] == "stored"


def test_nothing_computed_is_a_trace_too():
    assert traced(np.zeros(N), np.zeros(N), np.zeros(N, dtype=int), np.zeros(N))[1]["traceEvents"] == []
