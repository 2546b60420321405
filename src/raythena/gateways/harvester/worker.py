"""A worker's time in its access point, from the first look for a job to the last word: what the command does around a session.

Everything the command needs of Harvester is here, so that it knows nothing of files. Waiting is done in small steps on a clock
that is handed in.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from raythena.domain.errors import InvalidInput, RaythenaError
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.panda import PandaJob
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.access_point import AccessPoint, Torn, read_json_file
from raythena.gateways.harvester.conversation import Pace, Patience, Sight
from raythena.gateways.harvester.deliverables import Deliverables
from raythena.gateways.harvester.documents import Entry
from raythena.gateways.harvester.gateway import write_task_state
from raythena.gateways.harvester.harvester_config import MapType
from raythena.gateways.harvester.jobs import SpecificationSearch, load_harvester_job
from raythena.gateways.harvester.last_word import Ending, LastWord, bare_report, last_word
from raythena.gateways.harvester.log_archive import make_log_archive
from raythena.gateways.harvester.messenger import JobIds, Messenger
from raythena.runtime.gateway_interface import FinalOutput
from raythena.runtime.session_config import GatewaySpec
from raythena.storage.ledger_view import LedgerView
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

_BEAT_S = 10.0
_NO_ERROR: Mapping[str, int | str] = {"pilotErrorCode": 0, "pilotErrorDiag": "", "exeErrorCode": 0, "exeErrorDiag": ""}

T = TypeVar("T")


@dataclass
class HarvesterWorker:
    """One start of a worker. `worker_id` may be empty; `patience_s`: how long Harvester may take at the end."""

    point: AccessPoint
    map_type: MapType = MapType.ONE_TO_ONE
    worker_id: str = ""
    patience_s: float = 300.0
    patience: Patience = field(default_factory=Patience)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    allow_event_loss: bool = False
    """Take a job of which nobody can tell PanDA what was not done."""
    job: Job | None = None
    task: Path | None = None

    # ---- the job

    def wait_for_job(self, payload: PayloadSpec, merge: MergeSpec | None, *, late_binding: bool) -> Job:
        """The job, as soon as it is there. Raises InvalidInput, StorageError."""
        if not self.point.directory.is_dir():
            raise InvalidInput(str(self.point.directory), "", "is no directory", expected="the access point of a worker")
        self._take_back_errors()
        search = SpecificationSearch(self.point, late_binding, self.patience, self._nothing_is_done_yet)
        pace = Pace(self.patience)
        beat_at = self.clock()
        while (found := search.turn(self.clock())) is None:
            if self.clock() - beat_at > _BEAT_S:
                self.point.beat()
                beat_at = self.clock()
            self.sleep(pace.pause_s(Sight(), ()))
        job = load_harvester_job(found, self.point.directory, payload, merge)
        self._refuse_what_cannot_be_told(job, found)
        self.job = job
        return job

    def _take_back_errors(self) -> None:
        """Attributes of an earlier start stick in PanDA. Errors among them are not true any more, and are told to be none."""
        told_before = _NO_ERROR.keys() & self.point.attributes()
        if told_before:
            self.point.write_attributes({name: _NO_ERROR[name] for name in sorted(told_before)})

    def _nothing_is_done_yet(self, specification: object) -> None:
        """Killed from now on, PanDA must not take an input for done; what an earlier start has told stands."""
        report = documents.nothing_done(_only_entry(specification))
        if report is not None and "xml" not in self.point.attributes():
            self.point.write_attributes({"xml": report})

    def _refuse_what_cannot_be_told(self, job: Job, specification: Path) -> None:
        missing = () if job.ranges_given else PandaJob.model_validate(job.source).may_be_missing
        if missing and self.map_type is MapType.ONE_TO_MANY and not self.allow_event_loss:
            raise InvalidInput(
                str(specification),
                f"{job.job_id}.allowNoOutput",
                f"lets {len(missing)} outputs be missing, in a queue with mapType OneToMany: should the batch job be ended "
                "before its last word, PanDA takes every input for done, computed or not, and no worker can tell it otherwise",
                expected="a queue with mapType OneToOne, or a task without allowNoOutput",
                hint="--allow-event-loss takes such jobs all the same",
            )

    def choose_task_directory(self, base: Path | None) -> Path:
        """The directory of this job: below `base`, where an earlier start worked, where Harvester says, or in the access point.

        Each job has its own, because jobs of one task run side by side and their `state.json` must not be mixed up; Harvester
        is told where it is. Raises StorageError.
        """
        if self.job is None:
            raise InvalidInput(str(self.point.directory), "", "no job was found yet")
        said = self.point.task_directory()
        name = self.job.job_id
        if base is not None:
            self.task = base.absolute() / name
        elif (worked := self.point.remembered_task()) is not None:
            self.task = worked
        elif said is not None:
            self.task = said if said.name == name else said / name
        else:
            self.task = self.point.directory.absolute() / f"task-{name}"
        self.point.remember_task(self.task)
        if not self.job.ranges_given:
            if said != self.task:
                # outputs an earlier start has listed elsewhere are found no more, so they are not told of either
                self.point.write_attributes({"xml": documents.output_report((), self.job.inputs)})
                self.point.set_task_directory(self.task)
            self._say_what_is_done(self._unless_refused("read the ledger", self._deliverables))
        return self.task

    def _say_what_is_done(self, deliverables: Deliverables | None) -> None:
        """What must be true if nothing is said after this: outputs where Harvester takes them from, then which inputs they do."""
        state = self._state_file
        if deliverables is None or state is None:
            return
        if state.parent.is_dir():
            write_task_state(state, deliverables.state())
        self.point.write_attributes({"xml": deliverables.report()})

    def gateway(self, hurry_s: float) -> GatewaySpec:
        """What connects the session to Harvester."""
        state = "" if self._state_file is None else str(self._state_file)
        options: dict[str, object] = {
            "access_point": str(self.point.directory),
            "names": self.point.names.to_dict(),
            "state_file": state,
            "patience_s": self.patience_s,
            "hurry_s": hurry_s,
            "waits": asdict(self.patience),
        }
        return GatewaySpec("harvester", options)

    @property
    def _state_file(self) -> Path | None:
        if self.job is None or self.job.ranges_given or self.task is None:
            return None
        return self.task / self.point.names.task_work_state_file

    # ---- the end

    def end(self, ending: Ending, limit_s: float | None = None) -> LastWord:
        """Say the last word: outputs, log, job report, attributes, in this order. At most `limit_s` are spent on waiting.

        What the disk refuses is said in the log and left out: the exit code still has to come.
        """
        limit = self.clock() + (self.patience_s if limit_s is None else limit_s)
        deliverables = self._unless_refused("read the ledger", self._deliverables)
        self._unless_refused("say which inputs are done", lambda: self._say_what_is_done(deliverables))
        log = self._unless_refused("make the log archive", self._log)
        self._unless_refused("tell Harvester of the log", lambda: self._tell(deliverables, log, limit))
        word = last_word(ending, self.job, deliverables, log, self.map_type)
        self._unless_refused("write the job report", lambda: self._write_report(word, ending))
        self._unless_refused("write attributes", lambda: self.point.write_attributes(word.attributes))
        return word

    def _deliverables(self) -> Deliverables | None:
        """What is merged, from the ledger."""
        if self.job is None or self.job.ranges_given:
            return None
        deliverables = Deliverables(self.job)
        if self.task is None or not TaskDirectory(self.task).ledger.exists():
            return deliverables
        with LedgerView.read(TaskDirectory(self.task).ledger) as ledger:
            for merged in ledger.outputs():
                path = str(self.task / merged.path)
                output = FinalOutput(merged.lfn, path, merged.guid, merged.size_bytes, merged.adler32, merged.n_events)
                deliverables.add(output)
        return deliverables

    def _log(self) -> tuple[str, Entry] | None:
        """(LFN, entry) of the log archive; None when nobody has a name for it."""
        about = self._specification()
        lfn = about.get("logFile")
        named = isinstance(lfn, str) and lfn not in ("", "NULL") and "/" not in lfn
        several = self.map_type is MapType.ONE_TO_MANY
        told = self._told_log()
        if told is not None or not named or (several and not self.worker_id):
            # Harvester's own archive takes what is called so
            make_log_archive(self.point.path("log.raythena.tgz"), self.point.directory, self.task)
            return told
        name = f"{lfn}._{self.worker_id}" if several else str(lfn)
        made = make_log_archive(self.point.path(name), self.point.directory, self.task)
        guid = str(about.get("logGUID") or "") or documents.path_guid(str(made.path))
        return name, documents.file_entry("log", str(made.path), guid, made.size_bytes, made.adler32)

    def _told_log(self) -> tuple[str, Entry] | None:
        """The log an earlier start has told of: Harvester may have it already, so it must stay what was said of it."""
        for entries in self.point.told():
            for entry in entries:
                if entry.get("type") == "log" and Path(entry["path"]).is_file():
                    return Path(entry["path"]).name, entry
        return None

    def _specification(self) -> dict[str, object]:
        """What is known of the job, even if it was refused."""
        try:
            document, _ = read_json_file(self.point.own("job", self.point.names.job_spec_file))
        except Torn:
            return {}
        return _only_entry(document)

    def _tell(self, deliverables: Deliverables | None, log: tuple[str, Entry] | None, limit: float) -> None:
        """Outputs and log. Nothing may wait to be read when the worker ends: Harvester writes over it."""
        about = self._specification()
        if "PandaID" not in about:
            return
        messenger = Messenger(self.point, JobIds(str(about["PandaID"])), {}, self.patience)
        entries = [] if deliverables is None else list(deliverables.ready.values())
        entries += [] if log is None else [log[1]]
        if entries:
            messenger.tell(entries)
        while True:
            _, pause_s = messenger.turn_reports()
            seen = self.point.look()
            if messenger.reports.idle and not seen.dump:
                return
            if self.clock() > limit:
                logger.warning("Harvester has not taken the last report in")
                return
            self.point.beat()
            self.sleep(min(pause_s, 1.0))

    def _write_report(self, word: LastWord, ending: Ending) -> None:
        report: object = None
        if self.task is not None:
            try:
                report, _ = read_json_file(TaskDirectory(self.task).report)
            except Torn:
                report = None
        self.point.write_job_report(report if isinstance(report, dict) else bare_report(word, ending))

    def _unless_refused(self, doing: str, what: Callable[[], T]) -> T | None:
        try:
            return what()
        except RaythenaError as problem:
            logger.error("cannot %s: %s", doing, problem)
            return None


def _only_entry(document: object) -> dict[str, object]:
    """The one job of a specification; empty where it is none, or several."""
    inner = next(iter(document.values()), None) if isinstance(document, dict) and len(document) == 1 else None
    return inner if isinstance(inner, dict) else {}
