"""Small jobs and results, for tests and simulations.

Everything here is a value made from a few numbers; nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from raythena.domain.event_range import EventRange
from raythena.domain.ids import OutputNumber
from raythena.domain.job import NO_MERGE, InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.outputs import OutputMap
from raythena.domain.results import ENTRY_DTYPE, Entries, GroupReport, MergedOutput


def small_job(events_per_input: Sequence[int] = (6, 6), events_per_output: int = 4, name: str = "job") -> Job:
    """A job whose inputs have so many events each, cut into outputs of `events_per_output`."""
    inputs = tuple(InputFile(f"EVNT.{n}.root", f"/data/EVNT.{n}.root", count) for n, count in enumerate(events_per_input))
    n_outputs = OutputMap.plan(events_per_input, events_per_output).n_outputs
    outputs = tuple(f"HITS.{n}.root" for n in range(n_outputs))
    return Job(name, inputs, outputs, PayloadSpec("simulated"), MergeSpec(), events_per_output)


def given_job(n_inputs: int = 3, name: str = "given") -> Job:
    """A job whose ranges are handed out by somebody else."""
    inputs = tuple(InputFile(f"EVNT.{n}.root", f"/data/EVNT.{n}.root", 0, guid=f"GUID{n}") for n in range(n_inputs))
    return Job(name, inputs, ("HITS.root",), PayloadSpec("simulated"), MergeSpec(NO_MERGE), 1, ranges_given=True)


def given_range(job: Job, number: int, first_event: int | None = None) -> EventRange:
    """The `number`-th range somebody hands out, from 0; inputs take turns, ids are of PanDA's form."""
    which, event = number % len(job.inputs), first_event or number // len(job.inputs) + 1
    file = job.inputs[which]
    return EventRange(f"24706191-5013009653-{24039149400 + which}-{event}-5", file.lfn, file.pfn, file.guid, event, event)


def entries_of(ranges: Iterable[int], wall_s: float = 1.0, start: float = 0.0) -> Entries:
    """Results of these ranges, each of 100 bytes, after `wall_s` seconds of computing from `start` on."""
    indices = np.fromiter(ranges, dtype=np.int64)
    entries = np.zeros(len(indices), dtype=ENTRY_DTYPE)
    entries["range"] = indices
    entries["size"] = 100
    entries["attempt"] = 1
    entries["wall_s"] = wall_s
    entries["start"] = start
    return entries


def group_of(name: str, node: str, output: int, ranges: Iterable[int], wall_s: float = 1.0) -> GroupReport:
    """A durable group of results of one node."""
    entries = entries_of(ranges, wall_s)
    return GroupReport(name, node, OutputNumber(output), f"groups/{name}.zip", 100 * len(entries), 1, entries)


def merged_of(job: Job, output: int, n_events: int, missing: tuple[int, ...] = ()) -> MergedOutput:
    """A merged output of `job` holding `n_events` events."""
    lfn = job.outputs[output]
    return MergedOutput(OutputNumber(output), lfn, f"outputs/{lfn}", f"GUID-{output}", 100 * n_events, 1, n_events, missing)
