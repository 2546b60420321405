"""The contents of the files that go through an access point, as values; nothing here touches a disk.

What we write is built here, what Harvester writes is read here. The order of keys is that of files seen in the wild, so that a
person can compare them; Harvester does not care.

Facts that are easily got wrong:
- sizes and checksums are always given, because Harvester's monitor reads every byte of a file to find out what is missing;
- `fatal` never leaves Harvester, so an event nobody can compute is told as `failed`: PanDA counts its attempts down;
- only typed and known attributes: PanDA refuses a job's every later update after one it does not like.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from raythena.domain.errors import InternalError, InvalidInput
from raythena.domain.job import InputFile
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.domain.short_reason import short_reason

Entry = dict[str, Any]
"""One entry of an event status dump."""

LEAST_LOSS = 2.2250738585072014e-308
"""What a loss of 0 is told as."""

_GUID_NAMESPACE = uuid.UUID("0b8f6c55-6d0f-5a3e-9d0b-6a5d8f5a7c11")


def event_request(panda_id: str, task_id: str, jobset_id: str, count: int) -> dict[str, object]:
    """`worker_requestevents.json`: a wish for `count` more ranges."""
    return {
        panda_id: {"pandaID": _number(panda_id), "taskID": _number(task_id), "jobsetID": _number(jobset_id), "nRanges": count}
    }


def job_request() -> dict[str, object]:
    """`worker_requestjob.json`: a wish for a job, where jobs are bound late."""
    return {"nJobs": 1}


def _number(text: str) -> int | None:
    return int(text) if text else None


# ---- event status dump


def report_entries(report: RangeReport) -> list[Entry]:
    """What became of some ranges. An archive and all its events come out together, and must stay together."""
    return [_range_entry(each, report.archive) for each in report.ranges]


def _range_entry(each: ReportedRange, archive: DeliveredFile | None) -> Entry:
    if each.status is not RangeStatus.FINISHED:
        return {"eventRangeID": each.range_id, "eventStatus": RangeStatus.FAILED.value}
    file = archive or each.file
    if file is None:
        raise InternalError(f"the range {each.range_id} is finished and has no output")
    return {
        "eventRangeID": each.range_id,
        "eventStatus": RangeStatus.FINISHED.value,
        "path": file.path,
        "fsize": file.size_bytes,
        "chksum": file.checksum,
        "type": "zip_output" if archive else "es_output",
        "guid": path_guid(file.path),
    }


def loss_entries(report: RangeReport, losses: Mapping[str, float]) -> list[Entry]:
    """What became of points of a scan, for the file of updated events: only there does Harvester keep a loss.

    A loss of exactly 0 is for iDDS one that is missing, for some of its searches at least; the smallest number there is is not.
    """
    return [
        {"eventRangeID": each.range_id, "eventStatus": RangeStatus.FINISHED.value, "loss": losses[each.range_id] or LEAST_LOSS}
        if each.status is RangeStatus.FINISHED
        else {"eventRangeID": each.range_id, "eventStatus": RangeStatus.FAILED.value}
        for each in report.ranges
    ]


def file_entry(kind: str, path: str, guid: str, size_bytes: int, adler32: int) -> Entry:
    """A final output or a log: `kind` is `output` or `log`."""
    return {"path": path, "guid": guid, "fsize": size_bytes, "type": kind, "chksum": f"{adler32:08x}"}


def path_guid(path: str) -> str:
    """A GUID for a file that has none: the same for the same path, so that telling it again changes nothing."""
    return str(uuid.uuid5(_GUID_NAMESPACE, path))


def dump(panda_id: str, entries: Iterable[Entry]) -> dict[str, object]:
    """`event_status.dump.json`. What would be in it twice is in it once: Harvester would send it twice."""
    kept: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        kept[entry.get("eventRangeID", ""), "" if "eventRangeID" in entry else entry["path"]] = entry
    return {panda_id: list(kept.values())}


def bundles(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries of a dump, cut where they may be cut: whatever refers to one archive stays together."""
    by_archive: dict[str, list[Entry]] = {}
    found: list[list[Entry]] = []
    for entry in entries:
        if entry.get("type") != "zip_output":
            found.append([entry])
        elif entry["path"] in by_archive:
            by_archive[entry["path"]].append(entry)
        else:
            by_archive[entry["path"]] = [entry]
            found.append(by_archive[entry["path"]])
    return found


# ---- on-site merging


def task_state(outputs: Mapping[str, Entry], inputs_of: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """`state.json`: finished outputs (entries by LFN) under each input they were made from."""
    merged: dict[str, dict[str, Entry]] = {}
    for lfn, entry in outputs.items():
        described = {"path": entry["path"], "guid": entry["guid"], "fsize": entry["fsize"], "chksum": entry["chksum"]}
        for name in inputs_of[lfn]:
            merged.setdefault(name, {})[lfn] = described
    return {"merged": merged}


def output_report(finished: Iterable[tuple[str, Entry]], skipped: Iterable[InputFile]) -> str:
    """The attribute `xml`: all that a job hands over, as JSON text (the name is older than the format).

    An input listed there counts as skipped: PanDA gives it to another job. Every other input of a job that PanDA takes for
    finished counts as done. Only a queue with OneToOne lets the report through.
    """
    files: dict[str, dict[str, object]] = {
        lfn: {"guid": entry["guid"], "fsize": entry["fsize"], "adler32": entry["chksum"]} for lfn, entry in finished
    }
    files |= {file.lfn: {"guid": file.guid} for file in skipped}
    return json.dumps(files)


def nothing_done(specification: Mapping[str, object]) -> str | None:
    """The output report of a job with on-site merging of which nothing is done, from its specification as it stands.

    None for other jobs, and for what names no inputs: the specification has not been checked yet.
    """
    lfns, guids = specification.get("inFiles"), specification.get("GUID")
    merged_here = specification.get("onSiteMerging") or specification.get("esmergeSpec")
    if not merged_here or not isinstance(lfns, str):
        return None
    given = guids.split(",") if isinstance(guids, str) else []
    named = zip_longest(lfns.split(","), given, fillvalue="")
    return json.dumps({lfn.strip(): {"guid": guid.strip()} for lfn, guid in named if lfn.strip()})


# ---- attributes

ATTRIBUTE_TYPES: Mapping[str, type] = {
    **dict.fromkeys(("pilotErrorCode", "exeErrorCode", "transExitCode", "nEvents", "coreCount", "cpuConsumptionTime"), int),
    **{f"{what}{kind}": int for what in ("max", "avg") for kind in ("RSS", "VMEM", "SWAP", "PSS")},
    **{f"{what}{kind}": int for what in ("tot", "rate") for kind in ("RCHAR", "WCHAR", "RBYTES", "WBYTES")},
    **dict.fromkeys(
        (
            "pilotErrorDiag",
            "exeErrorDiag",
            "jobMetrics",
            "cpuConsumptionUnit",
            "pilotTiming",
            "startTime",
            "endTime",
            "node",
            "batchID",
            "stdout",
            "pilotLog",
            "xml",
        ),
        str,
    ),
}
"""What PanDA accepts of a worker. `jobStatus` is not among it on purpose: said too early it loses events or outputs."""

MAX_DIAG_CHARACTERS = 500


Attributes = Mapping[str, int | str | None]
"""What PanDA is told of a worker. Only `xml` may be None: Harvester then makes the output report itself, from what was staged."""


def attributes(values: Attributes) -> dict[str, int | str | None]:
    """`worker_attributes.json`. Raises InternalError for an attribute PanDA does not know, or of another type."""
    for name, value in values.items():
        wanted = ATTRIBUTE_TYPES.get(name)
        if wanted is None:
            raise InternalError(f"PanDA knows no worker attribute {name}")
        if not _accepted(name, value):
            raise InternalError(f"the worker attribute {name} is {value!r}, PanDA wants {wanted.__name__}")
    return {
        name: short_reason(value, MAX_DIAG_CHARACTERS) if isinstance(value, str) and name.endswith("Diag") else value
        for name, value in values.items()
    }


def known_attributes(document: object) -> dict[str, int | str | None]:
    """Of a `worker_attributes.json`, whoever wrote it, what PanDA accepts."""
    told = document if isinstance(document, dict) else {}
    return {name: value for name, value in told.items() if _accepted(name, value)}


def _accepted(name: str, value: object) -> bool:
    return type(value) is ATTRIBUTE_TYPES.get(name) or (name == "xml" and value is None)


# ---- what Harvester writes


def ranges_of_job(document: object, panda_id: str, source: str) -> list[object]:
    """The ranges of our job in a `JobsEventRanges.json`; empty: there are no more. Raises InvalidInput when it is not for us."""
    if not isinstance(document, dict) or panda_id not in document:
        keys = ", ".join(document) if isinstance(document, dict) else type(document).__name__
        raise InvalidInput(
            source, "", f"holds no ranges of our job (it holds: {keys or 'nothing'})", expected=f"the key {panda_id}"
        )
    ranges = document[panda_id]
    if not isinstance(ranges, list):
        raise InvalidInput(source, panda_id, f"is {type(ranges).__name__}", expected="a list of ranges")
    return ranges
