"""The job report, `jobReport.json`: what became of a job, in the form ATLAS transforms report in (version 2.1.2).

Harvester hands it to PanDA, and PanDA's monitor shows it, so the outer shape is the transforms': exit code and message, files
with GUIDs and numbers of entries, resources. What that shape has no place for stands in a section of our own, `raythena`: the
events that failed and why, the events that were never finished, the sessions.

Rules: a pure function of what it is given, the clock included; an event is mentioned only when it is in no output, so a report
grows with failures, never with the job; ranges that were not finished are told as stretches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raythena.domain.core_time import Accounting
from raythena.domain.errors import ExitCode
from raythena.domain.job import Job
from raythena.domain.ranges import Indices, RangeLayout
from raythena.domain.records import AttemptFailed
from raythena.domain.results import MergedOutput
from raythena.domain.short_reason import short_reason
from raythena.domain.taxonomy import WITH_RESUME, Fault, of_failure

REPORT_VERSION = "2.1.2"
"""Of the transforms' format."""

MAX_MESSAGE = 500
"""Characters of a failure's message; PanDA keeps no more of an event's error."""

_DATA_TYPE = re.compile(r"[A-Z][A-Z0-9_]{2,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What the job cost, all sessions together."""

    cpu_s: float = 0.0
    """CPU seconds spent on the events that count."""
    core_s: float = 0.0
    """Seconds cores were busy with the events that count."""
    wall_s: float = 0.0
    """From the first event's start to the last event's end, gaps between sessions left out."""
    cores: int = 0
    occupancy: float = 0.0
    """Busy core-seconds over available ones, 0 to 1."""


@dataclass(frozen=True)
class ReportInput:
    """Everything a job report is made from."""

    job: Job
    exit_code: ExitCode
    verdict: str
    """One word: how the job ended."""
    message: str
    """One sentence for a person: why it ended that way."""
    created: str
    """Wall-clock time of the report, ISO 8601."""
    outputs: Sequence[MergedOutput] = ()
    failures: Iterable[AttemptFailed] = ()
    """Attempts after which an event was given up. Attempts that are not final are passed over."""
    unfinished: Indices = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Range indices, sorted, of events neither committed nor given up."""
    resources: ResourceUse = field(default_factory=ResourceUse)
    sessions: Sequence[Mapping[str, object]] = ()
    """One JSON-ready mapping per session, oldest first."""
    command_line: str = ""
    error: Fault | None = None
    """What is wrong, in the terms of the taxonomy; None when nothing is."""
    going_on: str = WITH_RESUME
    """How the task goes on, for whoever began it."""
    warnings: Sequence[str] = ()
    """What went wrong in the last session beyond single events."""
    ending: Mapping[str, object] | None = None
    """What an early end of the last session cost; None when it ended by itself."""
    layout: RangeLayout | None = None
    """The ranges, in a job to which they are given; None: what follows from the inputs."""

    payloads: Mapping[str, object] | None = None
    """What the payloads tell of themselves, see `domain.payload_account`; None when they tell nothing."""

    accounting: Accounting = field(default_factory=Accounting)
    """Where the core-seconds of all sessions went."""

    n_kept: int = 0
    """Events whose outputs are kept as they are, in a job that merges nothing."""

    @property
    def n_ranges(self) -> int:
        """Ranges of the job, as far as they are known."""
        return self.job.n_ranges if self.layout is None else len(self.layout)

    @property
    def n_merged(self) -> int:
        """Events in the outputs; in a job with streams each is in a file of every stream, and counts once."""
        return sum(file.n_events for file in self.outputs if file.stream == 0)


def build_report(given: ReportInput) -> dict[str, object]:
    """The job report as a JSON-ready tree."""
    layout = given.layout or RangeLayout.of(given.job)
    failures = [_failure(layout, failure) for failure in given.failures if failure.final]
    unfinished = _stretches(layout, given.unfinished)
    return {
        "name": str(given.job.source.get("transformation", "")).removesuffix(".py") or given.job.name,
        "reportVersion": REPORT_VERSION,
        "cmdLine": given.command_line,
        "created": given.created,
        "exitAcronym": given.exit_code.name,
        "exitCode": int(given.exit_code),
        "exitMsg": "OK" if given.exit_code is ExitCode.OK else given.message,
        "exitMsgExtra": _extra(len(failures), len(given.unfinished)),
        "executor": [_executor(given)],
        "files": {"input": _inputs(given.job), "output": _outputs(given.outputs)},
        "resource": _resource(given),
        "raythena": {
            "verdict": given.verdict,
            "message": given.message,
            "error": None if given.error is None else given.error.to_dict(given.going_on),
            "warnings": list(given.warnings),
            "job": _identity(given.job),
            "events": _counts(given, len(failures)),
            "incomplete_outputs": {file.lfn: len(file.missing) for file in given.outputs if file.missing},
            "failed": failures,
            "unfinished": unfinished,
            "resources": {
                "cpu_s": round(given.resources.cpu_s, 3),
                "core_s": round(given.resources.core_s, 3),
                "wall_s": round(given.resources.wall_s, 3),
                "cores": given.resources.cores,
                "occupancy": round(given.resources.occupancy, 4),
            },
            "accounting": given.accounting.to_dict(),
            "payloads": None if given.payloads is None else dict(given.payloads),
            "ending": None if given.ending is None else dict(given.ending),
            "sessions": [dict(session) for session in given.sessions],
        },
    }


def data_type(lfn: str) -> str:
    """The kind of data a file holds, by ATLAS's naming: the first part of its name in capitals, `HITS` in `HITS.1._0001.root`."""
    return next((part for part in lfn.split(".") if _DATA_TYPE.fullmatch(part)), "FILE")


def _failure(layout: RangeLayout, failure: AttemptFailed) -> dict[str, object]:
    file, event = layout.event_of(failure.range_index)
    lfn = layout.inputs[file].lfn
    fault = of_failure(failure.kind)
    return {
        "id": layout.range_id(failure.range_index),
        "lfn": lfn,
        "event": event,
        "kind": str(failure.kind),
        "who": str(fault.who),
        "code": fault.code,
        "hint": fault.hint,
        "message": short_reason(failure.message, MAX_MESSAGE),
        "attempts": failure.attempt,
        "node": failure.node,
    }


def _stretches(layout: RangeLayout, indices: Indices) -> list[dict[str, object]]:
    """Sorted range indices as stretches of consecutive events of one file."""
    if len(indices) == 0:
        return []
    files, events = layout.places_of(indices)
    breaks = np.flatnonzero((np.diff(events) != 1) | (np.diff(files) != 0)) + 1
    starts = np.concatenate(([0], breaks))
    ends = np.concatenate((breaks, [len(indices)])) - 1
    firsts, lasts = events[starts], events[ends]
    lfns = [layout.inputs[file].lfn for file in files[starts]]
    rows = zip(lfns, firsts.tolist(), lasts.tolist(), strict=True)
    return [{"lfn": lfn, "first_event": first, "last_event": last} for lfn, first, last in rows]


def _extra(failed: int, unfinished: int) -> str:
    told = [
        f"{count:,} {'event' if count == 1 else 'events'} {what}"
        for count, what in ((failed, "failed"), (unfinished, "not finished"))
        if count
    ]
    return ", ".join(told)


def _executor(given: ReportInput) -> dict[str, object]:
    """The one execution step there is, in the transforms' form."""
    inputs = sorted({data_type(file.lfn) for file in given.job.inputs if file.is_file})
    outputs = sorted({data_type(lfn) for lfn in given.job.promised})
    return {
        "name": "raythena",
        "rc": int(given.exit_code),
        "statusOK": given.exit_code is ExitCode.OK,
        "errMsg": "" if given.exit_code is ExitCode.OK else given.message,
        "exeConfig": {"script": f"raythena payload {given.job.payload.kind}", "inputs": inputs, "outputs": outputs},
        "metaData": {},
    }


def _inputs(job: Job) -> list[dict[str, object]]:
    files = [file for file in job.inputs if file.is_file]
    described = [(file.lfn, {"name": file.lfn, "file_guid": file.guid, "nentries": file.n_events}) for file in files]
    return _by_type(described, "input{}File")


def _outputs(outputs: Sequence[MergedOutput]) -> list[dict[str, object]]:
    return _by_type([(file.lfn, _output(file)) for file in sorted(outputs, key=lambda file: file.output)], "output{}File")


def _output(file: MergedOutput) -> dict[str, object]:
    return {
        "name": file.lfn,
        "file_guid": file.guid,
        "file_size": file.size_bytes,
        "nentries": file.n_events,
        "checksum": f"ad:{file.adler32:08x}",
    }


def _by_type(files: Sequence[tuple[str, dict[str, object]]], argument: str) -> list[dict[str, object]]:
    """Files grouped by their type, as a transform has one argument for each type."""
    groups: dict[str, list[dict[str, object]]] = {}
    for lfn, described in files:
        groups.setdefault(data_type(lfn), []).append(described)
    return [{"type": kind, "argName": argument.format(kind), "subFiles": group} for kind, group in groups.items()]


def _resource(given: ReportInput) -> dict[str, object]:
    used = given.resources
    processed = given.n_merged or given.n_kept
    available_s = used.wall_s * used.cores
    efficiency = used.cpu_s / available_s if available_s > 0 else 0.0
    step = {"cpuTime": round(used.cpu_s), "wallTime": round(used.wall_s), "nevents": processed, "mpworkers": used.cores}
    transform = {
        "cpuTime": round(used.cpu_s),
        "cpuTimeTotal": round(used.cpu_s),
        "wallTime": round(used.wall_s),
        "coreTime": round(used.core_s),
        "processedEvents": processed,
        "cpuEfficiency": round(efficiency, 4),
        "occupancy": round(used.occupancy, 4),
    }
    return {"executor": {"raythena": step}, "transform": transform}


def _identity(job: Job) -> dict[str, str]:
    return {
        "name": job.name,
        "task_id": job.task_id,
        "job_id": job.job_id,
        "jobset_id": job.jobset_id,
        "fingerprint": job.fingerprint(),
    }


def _counts(given: ReportInput, failed: int) -> dict[str, int]:
    total, unfinished = given.n_ranges, len(given.unfinished)
    merged = given.n_merged
    stored = total - merged - failed - unfinished
    return {"total": total, "merged": merged, "stored": stored, "failed": failed, "unfinished": unfinished}
