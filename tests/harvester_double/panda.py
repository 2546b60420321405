"""The truth about one job: its events, the files handed over, what was said of it."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ATTRIBUTES: dict[str, type] = {
    "pilotErrorCode": int, "pilotErrorDiag": str, "exeErrorCode": int, "exeErrorDiag": str, "transExitCode": int,
    "jobMetrics": str, "nEvents": int, "coreCount": int, "maxRSS": int, "maxVMEM": int, "maxSWAP": int, "maxPSS": int,
    "avgRSS": int, "avgVMEM": int, "avgSWAP": int, "avgPSS": int, "totRBYTES": int, "totWBYTES": int,
    "cpuConsumptionTime": int, "cpuConsumptionUnit": str, "pilotTiming": str, "startTime": str, "endTime": str, "node": str,
    "batchID": str, "stdout": str, "pilotLog": str, "xml": str,
}  # fmt: skip


HARVESTERS_OWN = "00000000-0000-4000-8000-000000000000"
"""GUID of the log archives Harvester makes."""


@dataclass
class Event:
    """One event range."""

    process_id: int
    lfn: str
    guid: str
    number: int
    attempt: int = 3
    state: str = "ready"
    finished: int = 0
    """How often it was told to be finished."""
    path: str = ""


@dataclass
class PandaDouble:
    """One job. `events`: (LFN, GUID, number of events) of each input, empty where the site cuts its inputs itself."""

    document: dict[str, Any]
    inputs: list[tuple[str, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.complaints: list[str] = []
        self.events: list[Event] = []
        for lfn, guid, count in self.inputs:
            self.events += [Event(len(self.events) + n, lfn, guid, n) for n in range(1, count + 1)]
        for process_id, event in enumerate(self.events, start=1):
            event.process_id = process_id
        self.staged: dict[str, dict[str, Any]] = {}
        self.transfers = 0
        self.attributes: dict[str, Any] = {}
        self.rejected = False
        self.metadata: dict[str, Any] | None = None
        self.status = "running"

    @property
    def panda_id(self) -> int:
        return int(self.document["PandaID"])

    def complain(self, text: str) -> None:
        self.complaints.append(text)

    # ---- events

    def acquire(self, count: int) -> list[dict[str, Any]]:
        """At most `count` ranges that are ready."""
        ready = [event for event in self.events if event.state == "ready"][:count]
        for event in ready:
            event.state = "sent"
        return [self._wire(event) for event in ready]

    def range_id(self, event: Event) -> str:
        """What the event is called, in the attempt it is in."""
        return f"{self.document['taskID']}-{self.panda_id}-7000-{event.process_id}-{event.attempt}"

    def _wire(self, event: Event) -> dict[str, Any]:
        return {
            "eventRangeID": self.range_id(event),
            "startEvent": event.number,
            "lastEvent": event.number,
            "LFN": event.lfn,
            "GUID": event.guid,
            "scope": "mc23_13p6TeV",
        }

    def update_event(self, range_id: str, status: str, path: str) -> None:
        """What Harvester passes on; a second telling never comes this far."""
        process_id, attempt = (int(part) for part in range_id.split("-")[3:5])
        event = self.events[process_id - 1]
        if attempt != event.attempt:
            self.complain(f"{range_id}: an attempt that is over")
        elif status == "failed":
            event.attempt -= 1
            event.state = "ready" if event.attempt > 0 else "given up"
        else:
            event.state, event.path = "finished", path
            event.finished += 1

    def unfinished(self) -> list[Event]:
        return [event for event in self.events if event.state != "finished"]

    # ---- files

    def stage(self, entry: dict[str, Any], kind: str) -> None:
        """Take a file over: it must be what was said of it."""
        path = Path(entry["path"])
        self.transfers += 1
        if not path.is_file():
            self.complain(f"{path} is not there")
            return
        data = path.read_bytes()
        if len(data) != entry["fsize"] or f"{zlib.adler32(data):08x}" != entry["chksum"]:
            self.complain(f"{path} is not what was said of it: {entry}")
        about = {key: entry[key] for key in ("path", "fsize", "chksum", "guid")} | {"kind": kind}
        if self.staged.setdefault(path.name, about) != about:
            self.complain(f"{path.name} is staged a second time, as {about}")

    # ---- the job

    def update_job(self, attributes: dict[str, Any]) -> None:
        """Typed, or this and every later update is refused."""
        for name, value in attributes.items():
            if ATTRIBUTES.get(name) is not type(value) and (name, value) != ("xml", None):
                self.rejected = True
                self.complain(f"attribute {name}={value!r} is refused")
        if not self.rejected:
            self.attributes.update(attributes)

    def end(self, status: str, metadata: dict[str, Any] | None) -> None:
        """The job's last update: the output report decides what is registered, and which inputs are done."""
        self.status, self.metadata = status, metadata
        self.registered: dict[str, dict[str, Any]] = {}
        self.skipped: list[str] = []
        self.no_output: list[str] = []
        self.diagnosis = ""
        self.logs_replaced = 0
        self.inputs_done: list[str] = []
        if "onSiteMerging" in self.document:
            self._register(self._output_report())
            done = [lfn for lfn in self._listed("inFiles") if lfn not in self.skipped]
            self.inputs_done = done if self.status == "finished" else []

    def _listed(self, key: str) -> list[str]:
        return [lfn for lfn in self.document.get(key, "").split(",") if lfn]

    def _output_report(self) -> dict[str, Any]:
        told = self.attributes.get("xml")
        if told is not None:
            report: dict[str, Any] = json.loads(told)
            return report
        staged = {lfn: {"guid": e["guid"], "fsize": e["fsize"], "adler32": e["chksum"]} for lfn, e in self.staged.items()}
        # logs of several workers of one job are numbered, and PanDA knows that
        return {re.sub(r"\._\d+$", "", lfn): about for lfn, about in staged.items()}

    def _register(self, report: dict[str, Any]) -> None:
        """What PanDA's adder does for a job with on-site merging, file by file."""
        inputs, expected, log = self._listed("inFiles"), self._listed("outFiles"), self.document.get("logFile")
        self.skipped = [lfn for lfn in inputs if lfn in report]
        failed = self.status == "failed"
        for lfn in expected:
            if failed and lfn != log:
                continue
            if lfn in report:
                self.registered[lfn] = report[lfn]
                self._check_registered(lfn, report[lfn])
            elif lfn in self._listed("allowNoOutput"):
                self.no_output.append(lfn)
            else:
                self.status, self.diagnosis = "failed", f"expected output {lfn} is missing"
        for lfn in report.keys() - {*inputs, *expected}:
            self.status = "failed"
            self.complain(f"{lfn} was produced inconsistently with the job")
        if self.status == "failed":
            self.registered = {lfn: about for lfn, about in self.registered.items() if lfn == log}

    def _check_registered(self, lfn: str, about: dict[str, Any]) -> None:
        staged = {re.sub(r"\._\d+$", "", name): entry for name, entry in self.staged.items()}
        if not re.fullmatch("[0-9a-f]{8}", about["adler32"]) or not isinstance(about["fsize"], int):
            self.complain(f"{lfn}: {about} is no description of a file")
        elif lfn not in staged:
            self.complain(f"{lfn} is registered and was never staged")
        elif staged[lfn]["guid"] == HARVESTERS_OWN:
            self.logs_replaced += 1  # the report of ours was lost; no worker can know
        elif (staged[lfn]["fsize"], staged[lfn]["chksum"]) != (about["fsize"], about["adler32"]):
            self.complain(f"{lfn} is registered as {about}, and what was staged is another file")
