"""iDDS and Harvester for hyper-parameter scans, as read in their code (August 2026): points, losses, and the way between.

What Harvester does with such a job that it does not with others: each event range gets `hp_point`, iDDS's whole object; a loss in
the file of updated events becomes the last part of a URL, is removed, and the event is told to PanDA. The dump of events and
files loses it. iDDS reads the loss with `float`, and takes whatever that accepts; the last one told wins.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml


def write_scan_job(directory: Path, program: str) -> Path:
    """The access point of a scan that iDDS steers, PandaID 4321 of task 99; beside it `payload.yaml`, which runs this program."""
    (directory / "evaluate.py").write_text(program)
    payload = {"kind": "trial", "options": {"command": [sys.executable, str(directory / "evaluate.py")]}}
    (directory / "payload.yaml").write_text(yaml.safe_dump({"payload": payload}))
    point = directory / "point"
    point.mkdir()
    log = {"outFiles": "scan.log.tgz", "logFile": "scan.log.tgz", "logGUID": "G", "scopeLog": "user"}
    document = {"PandaID": 4321, "taskID": 99, "jobsetID": 0, "isHPO": True, "inFiles": "pseudo_lfn", "GUID": "NULL", **log}
    (point / "HPCJobs.json").write_text(json.dumps({"4321": document}))
    return point


@dataclass
class IddsDouble:
    """Points by id, and every loss that was ever told."""

    points: dict[str, dict[str, Any]]
    is_over = True
    """It makes no more points than it has."""
    told: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: list[Any]) -> IddsDouble:
        return cls({str(number): {"id": number, "parameters": each, "loss": None} for number, each in enumerate(parameters)})

    def get(self, point_id: str) -> dict[str, Any]:
        """`get_hp_point`: Harvester compares ids as text."""
        return {**self.points[point_id], "id": point_id}

    def put(self, point_id: str, url_part: str) -> None:
        """`update_hp_point`. Raises ValueError where iDDS answers 500."""
        loss = float(url_part)
        self.points[point_id]["loss"] = loss
        self.told.setdefault(point_id, []).append(loss)

    def unevaluated(self) -> list[str]:
        """What the predefined searches of iDDS still wait for: no loss, or one of exactly 0."""
        return [point_id for point_id, point in self.points.items() if not point["loss"]]


class Steering(Protocol):
    """What Harvester asks whoever steers a scan."""

    points: Collection[str]
    """Ids of the points there are by now."""
    is_over: bool
    """There will be no more of them."""

    def get(self, point_id: str) -> dict[str, Any]: ...

    def put(self, point_id: str, url_part: str) -> None: ...


class ScanHarvester:
    """One job of a scan in one access point; `step` does everything that is due, at once."""

    def __init__(self, point: Path, panda_id: str, task_id: str, idds: Steering, batch: int = 4) -> None:
        self.point = point
        self.panda_id = panda_id
        self.task_id = task_id
        self.idds = idds
        self.batch = batch
        self.statuses: dict[str, list[str]] = {}
        """What PanDA was told of every event."""
        self.staged: list[str] = []
        """Types of files taken over."""
        self._handed_out = 0

    def range_id(self, point_id: str) -> str:
        return f"{self.task_id}-{self.panda_id}-1234-{point_id}-5"

    def step(self) -> None:
        self._feed()
        self._take_updates()
        self._take_dump()

    def _take_dump(self) -> None:
        dump = self.point / "event_status.dump.json"
        if dump.exists():
            self.staged += [entry["type"] for entry in json.loads(dump.read_text())[self.panda_id]]
            dump.unlink()

    def _feed(self) -> None:
        request, ranges = self.point / "worker_requestevents.json", self.point / "JobsEventRanges.json"
        if not request.exists() or ranges.exists():
            return
        try:
            asked = json.loads(request.read_text())[self.panda_id]["nRanges"]
        except ValueError:
            return
        ids = list(self.idds.points)[self._handed_out : self._handed_out + min(asked, self.batch)]
        if not ids and not self.idds.is_over:
            return  # not now; that is not never
        self._handed_out += len(ids)
        hidden = self.point / ".ranges"
        hidden.write_text(json.dumps({self.panda_id: [self.event(point_id) for point_id in ids]}))
        hidden.rename(ranges)
        request.unlink()

    def event(self, point_id: str) -> dict[str, Any]:
        place = {"eventRangeID": self.range_id(point_id), "LFN": "pseudo_lfn", "GUID": None, "scope": None}
        return {**place, "startEvent": int(point_id), "lastEvent": int(point_id), "hp_point": self.idds.get(point_id)}

    def _take_updates(self) -> None:
        updates = self.point / "worker_updateevents.json"
        read = updates.with_name(updates.name + ".read")
        if not updates.exists():
            return
        updates.rename(read)
        for event in json.loads(read.read_text())[self.panda_id]:
            point_id = event["eventRangeID"].split("-")[3]
            if "loss" in event:
                self.idds.put(point_id, str(event["loss"]))
            self.statuses.setdefault(point_id, []).append(event["eventStatus"])
        read.unlink()
