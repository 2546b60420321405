"""Task directories as a job leaves them, honest or not."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import add
from pathlib import Path

import numpy as np
import uproot

from raythena.domain.errors import ExitCode
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.outputs import OutputMap
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged, Record
from raythena.domain.report_document import ReportInput, build_report
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport, MergedOutput
from raythena.storage.atomic import adler32_of
from raythena.storage.ledger import Ledger
from raythena.storage.taskdir import TaskDirectory

INPUTS, EVENTS_PER_INPUT, EVENTS_PER_OUTPUT = 3, 20, 10
EVENTS = INPUTS * EVENTS_PER_INPUT
Writer = Callable[[Path, Sequence[int]], None]


def jsonlines(path: Path, numbers: Sequence[int]) -> None:
    path.write_text("".join(json.dumps({"event": number, "payload": "x" * 20}) + "\n" for number in numbers))


def root(path: Path, numbers: Sequence[int], tree: str = "HITS") -> None:
    with uproot.recreate(path) as file:
        columns = {"RunNumber": "int32", "EventNumber": "uint64", "energy": "float32"}
        file.mktree(tree, columns).extend(
            {
                "RunNumber": np.full(len(numbers), 7, dtype=np.int32),
                "EventNumber": np.asarray(numbers, dtype=np.uint64),
                "energy": np.ones(len(numbers), dtype=np.float32),
            }
        )


def opaque(path: Path, numbers: Sequence[int]) -> None:
    """What no reader understands: `piece` of each event, one behind the other."""
    path.write_bytes(b"".join(map(piece, numbers)))


def piece(number: int) -> bytes:
    """The output of one event; no two are alike, some are empty but for a byte."""
    return b"\0" + number.to_bytes(4, "big") * (number % 5)


def event_number(index: int) -> int:
    """Of the event with a range index: unique over the job, and not in the order of counting."""
    return 1000 + 7 * index


def numbers_of(start: int, stop: int) -> list[int]:
    return [event_number(index) for index in range(start, stop)]


def interval(output: int) -> tuple[int, int]:
    return output * EVENTS_PER_OUTPUT, (output + 1) * EVENTS_PER_OUTPUT


def make_task(
    directory: Path,
    *,
    write: Writer = jsonlines,
    failed: Sequence[int] = (),
    contents: Mapping[int, Sequence[int]] | None = None,
    unmerged: Sequence[int] = (),
    recorded_guids: Mapping[int, str] | None = None,
    message: str = "the payload gave up",
    exit_code: ExitCode | None = None,
    merge: str = "concat",
    merge_options: Mapping[str, str] | None = None,
    first_event: int | None = None,
) -> TaskDirectory:
    """A finished task of 60 events in 3 inputs and 6 outputs.

    `contents` replaces the events really written into some outputs, behind the back of everybody: sizes and checksums recorded
    are those of the file as it is. With `first_event` there are no input files, and events have the numbers from there on.
    """
    task = TaskDirectory(directory / "task")
    task.outputs.mkdir(parents=True)
    job = _job(directory, write, MergeSpec(merge, dict(merge_options or {})))
    if first_event is not None:
        job = replace(job, inputs=(InputFile("study", "", EVENTS, first_event=first_event, seed=1),))
    task.job.write_text(json.dumps(job.to_dict()))
    merged = []
    for output in range(OutputMap.plan([file.n_events for file in job.inputs], EVENTS_PER_OUTPUT).n_outputs):
        start, stop = interval(output)
        number = event_number if first_event is None else partial(add, first_event)
        honest = [number(index) for index in range(start, stop) if index not in failed]
        if output in unmerged or not honest:
            continue
        path = task.outputs / job.outputs[output]
        write(path, (contents or {}).get(output, honest))
        guid = (recorded_guids or {}).get(output, f"GUID-{output}")
        missing = tuple(index for index in failed if start <= index < stop)
        sizes = (path.stat().st_size, adler32_of(path), len(honest))
        merged.append(MergedOutput(output, path.name, f"outputs/{path.name}", guid, *sizes, missing, 0.5))
    failures = [AttemptFailed(index, 3, "node1", FailureKind.CRASH, message, True, 10.0) for index in failed]
    with Ledger.create(task.ledger, job) as ledger:
        ledger.commit(_records(merged, failures))
    code = exit_code if exit_code is not None else (ExitCode.INCOMPLETE if failed else ExitCode.OK)
    unfinished = np.asarray([index for output in unmerged for index in range(*interval(output))], dtype=np.int64)
    report = ReportInput(job, code, "ended", "", "2026-01-01T00:00:00", merged, failures, unfinished)
    task.report.write_text(json.dumps(build_report(report)))
    return task


def _job(directory: Path, write: Writer, merge: MergeSpec) -> Job:
    inputs = []
    for file in range(INPUTS):
        path = directory / f"EVNT.{file + 1}"
        write(path, numbers_of(file * EVENTS_PER_INPUT, (file + 1) * EVENTS_PER_INPUT))
        inputs.append(InputFile(path.name, str(path), EVENTS_PER_INPUT, guid=f"IN-{file}"))
    outputs = tuple(f"HITS.{output + 1}" for output in range(EVENTS // EVENTS_PER_OUTPUT))
    return Job("study", tuple(inputs), outputs, PayloadSpec("python"), merge, EVENTS_PER_OUTPUT)


def _records(merged: Sequence[MergedOutput], failures: Sequence[AttemptFailed]) -> list[Record]:
    lost = {failure.range_index for failure in failures}
    records: list[Record] = list(failures)
    for output in merged:
        entries = np.zeros(output.n_events, dtype=ENTRY_DTYPE)
        entries["range"] = [index for index in range(*interval(output.output)) if index not in lost]
        pieces = [piece(event_number(index)) for index in entries["range"].tolist()]
        entries["size"], entries["adler32"] = [len(each) for each in pieces], [zlib.adler32(each) for each in pieces]
        name = f"g{output.output}"
        records += [GroupStored(GroupReport(name, "node1", output.output, f"staging/{name}.zip", 1, 1, entries))]
        records += [OutputMerged(output, (name,))]
    return records
