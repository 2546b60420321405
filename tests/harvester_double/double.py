"""What Harvester's agents do to an access point, on a clock they are handed; see the package."""

from __future__ import annotations

import copy
import heapq
import itertools
import json
import random
import re
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harvester_double.panda import HARVESTERS_OWN, PandaDouble


@dataclass(frozen=True)
class Races:
    """Each can be switched on by itself. Probabilities are per occasion."""

    torn_writes: bool = False
    """Files appear in two pieces, with time between them."""
    slow_removal: bool = False
    """Requests are removed long after they were answered."""
    late_files: bool = False
    """Ranges become visible long after they were written, when the request is gone already."""
    forgotten_requests: bool = False
    """A request is removed without an answer."""
    prefetch: bool = False
    """Ranges are there before they are asked for; the first answer holds more than was asked for."""
    lost_reports: bool = False
    """A report is acknowledged, then lost; never the same entry twice."""
    restarts: bool = False
    """Harvester dies between taking a dump in and acknowledging it."""
    slow: bool = False
    """Harvester is away for a while, now and then."""

    @classmethod
    def all(cls) -> Races:
        return cls(**{each.name: True for each in fields(cls)})


@dataclass(frozen=True)
class Clockwork:
    """Seconds between things, in a double's own time."""

    monitor_s: float = 20.0
    feed_s: float = 8.0
    delay_s: float = 15.0
    """The longest any race keeps something back."""


class HarvesterDouble:
    """Harvester's agents at one access point. Call `step` often; the clock is the caller's."""

    def __init__(
        self,
        access_point: Path,
        panda: PandaDouble,
        races: Races | None = None,
        seed: int = 0,
        clockwork: Clockwork | None = None,
        *,
        map_type: str = "OneToOne",
    ) -> None:
        self.access_point = access_point
        self.passes_attributes = map_type == "OneToOne"
        self.panda = panda
        self._races = races or Races()
        self._dice = random.Random(seed)
        self._pace = clockwork or Clockwork()
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._started = False
        self._feeding = False
        self._first_answer = True
        self._known_events: set[str] = set()
        self._known_files: set[str] = set()
        self._archives: dict[str, frozenset[str]] = {}
        self._lost_once: set[str] = set()
        self.happened: dict[str, int] = {}
        """How often each race occurred."""

    # ---- the clock

    def step(self, now: float) -> None:
        """Do everything that is due."""
        if not self._started:
            self._started = True
            self._at(now, self._monitor)
            if self._races.prefetch and self.panda.events:
                self._prefetch(self._dice.randint(0, 10))
        while self._agenda and self._agenda[0][0] <= now:
            _, _, what = heapq.heappop(self._agenda)
            what(now)

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), what))

    def _occurs(self, race: str, chance: float = 0.3) -> bool:
        if not getattr(self._races, race) or self._dice.random() >= chance:
            return False
        self.happened[race] = self.happened.get(race, 0) + 1
        return True

    def _delay(self) -> float:
        return self._dice.uniform(0.1, self._pace.delay_s)

    def has_lost(self, path: str) -> bool:
        """Whether a report of this file was acknowledged and lost: what is there then is Harvester's own."""
        return path in self._lost_once

    def elsewhere(self, access_point: Path) -> HarvesterDouble:
        """One that knows what this one knows, at a copy of the access point: for asking what would be if the job ended now."""
        other = copy.copy(self)
        other.access_point, other.panda = access_point, copy.deepcopy(self.panda)
        other._agenda = []
        for name in ("_known_events", "_known_files", "_archives", "_lost_once", "happened"):
            setattr(other, name, copy.copy(getattr(self, name)))
        return other

    # ---- before the job

    def submit(self, document: dict[str, Any], task_directory: Path | None = None) -> None:
        """What is there when the batch job starts."""
        self.access_point.mkdir(parents=True, exist_ok=True)
        panda_id = str(document["PandaID"])
        (self.access_point / "HPCJobs.json").write_text(json.dumps({panda_id: document}))
        (self.access_point / "worker_pandaids.json").write_text(json.dumps([int(panda_id)]))
        if task_directory is not None:
            task_directory.mkdir(parents=True, exist_ok=True)
            (self.access_point / "task_workdir_path.txt").write_text(str(task_directory))

    def bind_late(self, document: dict[str, Any]) -> None:
        """Give the job once it is asked for, in two pieces."""

        def look(now: float) -> None:
            request = self.access_point / "worker_requestjob.json"
            if not request.exists():
                self._at(now + self._pace.feed_s / 4, look)
                return
            if json.loads(request.read_text()) != {"nJobs": 1}:
                self.panda.complain(f"a wish for a job reads {request.read_text()}")
            text = json.dumps({str(document["PandaID"]): document})
            self._write("HPCJobs.json", text, now, lambda at: request.unlink(missing_ok=True))

        self._at(0.0, look)

    # ---- ranges

    def _look_for_request(self, now: float) -> None:
        request = self.access_point / "worker_requestevents.json"
        if self._feeding or not request.exists():
            return
        if self._occurs("forgotten_requests", 0.15):
            request.unlink()
            return
        asked = self._request(request)
        self._feeding = True
        self._at(now + self._dice.uniform(0.1, self._pace.feed_s), lambda at: self._answer(asked, at))

    def _request(self, request: Path) -> int:
        document = json.loads(request.read_text())
        ((panda_id, wish),) = document.items()
        expected = {
            "pandaID": self.panda.panda_id,
            "taskID": self.panda.document["taskID"],
            "jobsetID": self.panda.document["jobsetID"],
        }
        said = {key: wish.get(key) for key in expected}
        if panda_id != str(self.panda.panda_id) or said != expected or type(wish.get("nRanges")) is not int or len(wish) != 4:
            self.panda.complain(f"a wish for ranges reads {document}")
        return int(wish["nRanges"])

    def _prefetch(self, count: int) -> None:
        """Ranges that are there before anybody asks."""
        if count:
            text = json.dumps({str(self.panda.panda_id): self.panda.acquire(count)})
            (self.access_point / "JobsEventRanges.json").write_text(text)

    def _answer(self, asked: int, now: float) -> None:
        """Write ranges, then remove the request, whichever request that is by then."""
        request = self.access_point / "worker_requestevents.json"
        answered = _identity(request)
        if self._first_answer and self._races.prefetch:
            asked *= 2
        self._first_answer = False
        ranges = self.access_point / "JobsEventRanges.json"
        if ranges.exists():
            self.panda.complain("ranges nobody has read yet are written over")
        text = json.dumps({str(self.panda.panda_id): self.panda.acquire(asked)})

        def remove(at: float) -> None:
            self._feeding = False
            if _identity(request) not in (None, answered):
                self.panda.complain("a request is removed unseen, with the answered one")
            request.unlink(missing_ok=True)

        def done(at: float) -> None:
            if self._occurs("slow_removal"):
                self._at(at + self._delay(), remove)
            else:
                remove(at)

        if self._occurs("late_files"):
            # the file exists, but the worker's machine does not see it yet
            hidden = self.access_point.with_name(self.access_point.name + ".unseen")
            hidden.write_text(text)
            self._at(now + self._delay(), lambda at: self._appear(hidden, ranges))
            done(now)
        else:
            self._write("JobsEventRanges.json", text, now, done)

    def _appear(self, hidden: Path, ranges: Path) -> None:
        if ranges.exists():
            self.panda.complain("ranges nobody has read yet are written over")
        hidden.rename(ranges)

    def _write(self, name: str, text: str, now: float, then: Callable[[float], None]) -> None:
        """Not atomic, as Harvester does it."""
        stream = (self.access_point / name).open("w")
        if not self._occurs("torn_writes"):
            with stream:
                stream.write(text)
            then(now)
            return
        cut = self._dice.randint(0, len(text) - 1)
        stream.write(text[:cut])
        stream.flush()

        def finish(at: float) -> None:
            with stream:
                stream.write(text[cut:])
            then(at)

        self._at(now + self._delay(), finish)

    # ---- reports

    def _monitor(self, now: float) -> None:
        """One cycle of the monitor, and of those who look for requests."""
        self._look_for_request(now)
        self._look_for_dump()
        self.read_attributes()
        away = self._delay() * 4 if self._occurs("slow", 0.05) else 0.0
        self._at(now + away + self._dice.uniform(0.2, 1.0) * self._pace.monitor_s, self._monitor)

    def _look_for_dump(self) -> None:
        dump, read = self.access_point / "event_status.dump.json", self.access_point / "event_status.dump.json.read"
        if not read.exists():
            if not dump.exists():
                return
            dump.rename(read)
        entries = self._load(read)
        if entries is None:
            read.unlink()
            return
        if self._occurs("restarts", 0.1):
            return
        self._take(entries)
        read.rename(f"{read}.{next(self._order)}")

    def _load(self, read: Path) -> list[dict[str, Any]] | None:
        try:
            document = json.loads(read.read_text())
        except json.JSONDecodeError:
            self.panda.complain("a dump is no JSON; Harvester deletes it")
            return None
        if set(document) != {str(self.panda.panda_id)}:
            self.panda.complain(f"a dump is for {list(document)}")
        entries: list[dict[str, Any]] = [entry for each in document.values() for entry in each]
        for entry in entries:
            self._check(entry)
        ids = [entry["eventRangeID"] for entry in entries if "eventRangeID" in entry]
        if len(ids) != len(set(ids)):
            self.panda.complain("an event is told twice in one dump")
        return entries

    def _check(self, entry: dict[str, Any]) -> None:
        known = {"eventRangeID", "eventStatus", "path", "type", "fsize", "chksum", "guid"}
        odd = set(entry) - known
        if odd:
            self.panda.complain(f"entries have no {odd}")
        if "path" not in entry:
            if entry.get("eventStatus") != "failed":
                self.panda.complain(f"no output, and not failed: {entry}")
            return
        about_event = entry["type"] in ("es_output", "zip_output")
        if entry["type"] not in ("es_output", "zip_output", "output", "log") or about_event != ("eventRangeID" in entry):
            self.panda.complain(f"{entry} is of no known type")
        if type(entry.get("fsize")) is not int or not re.fullmatch("[0-9a-f]{8}", str(entry.get("chksum"))):
            self.panda.complain(f"size or checksum is missing: {entry}")
        if about_event and entry.get("eventStatus") != "finished":
            self.panda.complain(f"an output, and not finished: {entry}")

    def _take(self, entries: list[dict[str, Any]]) -> None:
        """Into the database, which may fail; then on to PanDA and to the storage."""
        self._check_archives(entries)
        keys = {entry.get("eventRangeID") or entry["path"] for entry in entries}
        if not keys & self._lost_once and self._occurs("lost_reports"):
            self._lost_once |= keys
            return
        for entry in entries:
            if "path" in entry:
                name = Path(entry["path"]).name
                # once for each event that refers to it, as Harvester does
                if name not in self._known_files or (
                    entry["type"] == "zip_output" and entry["eventRangeID"] not in self._known_events
                ):
                    self._known_files.add(name)
                    self.panda.stage(entry, entry["type"])
            if "eventRangeID" in entry and entry["eventRangeID"] not in self._known_events:
                self._known_events.add(entry["eventRangeID"])
                self.panda.update_event(entry["eventRangeID"], entry["eventStatus"], entry.get("path", ""))

    def _check_archives(self, entries: list[dict[str, Any]]) -> None:
        by_path: dict[str, set[str]] = {}
        for entry in entries:
            if entry.get("type") == "zip_output":
                by_path.setdefault(entry["path"], set()).add(entry["eventRangeID"])
        for path, ids in by_path.items():
            if self._archives.setdefault(path, frozenset(ids)) != ids:
                self.panda.complain(f"{path} is told in pieces")

    def read_attributes(self) -> None:
        """Every cycle, whatever is there. With OneToMany nothing of it goes any further."""
        path = self.access_point / "worker_attributes.json"
        try:
            told = json.loads(path.read_text())
            if self.passes_attributes:
                self.panda.update_job(told)
        except FileNotFoundError:
            return
        except json.JSONDecodeError:
            self.panda.complain("the attributes are torn")

    # ---- after the job

    def worker_ended(self, exit_code: int, batch: str = "") -> None:
        """The batch job is over: post-processing, the last dump, the last update.

        `batch` is Slurm's word for how it ended; by default what follows from the exit code.
        """
        state = batch or ("COMPLETED" if exit_code == 0 else "FAILED")
        point = self.access_point
        if (point / "event_status.dump.json").exists():
            self.panda.complain("a dump nobody had read is written over by post-processing")
            (point / "event_status.dump.json").unlink()
        if (point / "event_status.dump.json.read").exists():
            self._look_for_dump()
        self._post_process()
        self.read_attributes()
        report = point / "jobReport.json"
        metadata = json.loads(report.read_text()) if report.exists() and self.passes_attributes else None
        # as its monitor for Slurm has it: the exit code counts for nothing where the walltime was over
        self.panda.end("finished" if state in ("COMPLETED", "TIMEOUT", "PREEMPTED") else "failed", metadata)

    def _post_process(self) -> None:
        """Take what `state.json` lists; make a log where the worker has not."""
        entries: list[dict[str, Any]] = []
        if not any(entry["kind"] == "log" for entry in self.panda.staged.values()):
            log = self.access_point / self.panda.document.get("logFile", "log.tgz")
            with tarfile.open(log, "w:gz") as archive:
                for path in sorted(self.access_point.glob("*.json")):
                    archive.add(path, path.name)
            entries.append(_described(log, "log"))
        workdir = self.access_point / "task_workdir_path.txt"
        state = Path(workdir.read_text()) / "state.json" if workdir.exists() else None
        if state is not None and state.exists():
            merged: dict[str, dict[str, Any]] = json.loads(state.read_text())["merged"]
            entries += [{**about, "type": "output"} for outputs in merged.values() for about in outputs.values()]
        unique = {entry["path"]: entry for entry in entries}
        for entry in unique.values():
            name = Path(entry["path"]).name
            if name not in self._known_files:
                self._known_files.add(name)
                self.panda.stage(entry, entry["type"])


def _described(path: Path, kind: str) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "path": str(path),
        "type": kind,
        "fsize": len(data),
        "chksum": f"{zlib.adler32(data):08x}",
        "guid": HARVESTERS_OWN,
    }


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
