"""What the page is told about a task: documents of plain values, made from the task directory and nothing else.

Counts and nodes come from `status.json`, which the coordinator replaces every second; records come from a private copy of the
ledger, which is looked at anew only when somebody asks and never for more than a twentieth of the time. Rules: nothing is
written below the task directory; foreign text is passed on as text, and whoever shows it must treat it so; one thread at a time,
but for `header`, which may be asked for while another one looks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from raythena.domain.core_time import Accounting, account
from raythena.domain.errors import InvalidInput, RaythenaError
from raythena.domain.job import Job
from raythena.monitor.activity import Activity, heat_cells
from raythena.monitor.core_tracks import cores_of
from raythena.monitor.range_story import story_of, tail_of
from raythena.monitor.snapshot import Snapshot, read_job, read_snapshot
from raythena.monitor.task_tables import MERGE_COLUMNS, merge_row
from raythena.monitor.wording import verdict_so_far
from raythena.runtime.core_time_file import read_sessions
from raythena.runtime.talk_file import read_talks
from raythena.storage.ledger_view import LedgerView
from raythena.storage.range_records import SORTABLE, RangeQuery, RangeRecords, RangeSearch
from raythena.storage.taskdir import TALK, TaskDirectory

logger = logging.getLogger(__name__)

MOST_ROWS = 500
"""Of a page of a table, whatever is asked for."""
_SHORTEST_PAUSE_S = 2.0
_PAUSE_FACTOR = 20.0
_LOG_BYTES = 64_000
_LOG_SUFFIXES = frozenset({".log", ".out", ".err"})
_LOG_NAMES = frozenset({"pilotlog.txt", "payload.stdout", "payload.stderr"})
_MOST_LOGS = 2000

_MERGE_NAMES = [column.name for column in MERGE_COLUMNS]
MOST_SLICES = 20_000
"""Events of a node that are shown on its cores at once."""

Document = dict[str, object]


class TaskWatch:
    """One task directory, looked at again and again. `clock` is monotonic seconds, `wall` seconds since the epoch.

    `read_scan` reads the points of a job that is a hyper-parameter scan; None: it is none.
    """

    def __init__(
        self,
        task: TaskDirectory,
        clock: Callable[[], float],
        wall: Callable[[], float],
        read_scan: Callable[[], Document] | None = None,
    ) -> None:
        self._task = task
        self._clock = clock
        self._wall = wall
        self._read_scan = read_scan
        self._scan: tuple[int, Document] | None = None
        """Of which version, and what it said."""
        self._job = read_job(task)
        self._records = RangeRecords(self._job)
        self._search = RangeSearch(self._records)
        self._activity = Activity()
        self._talks = self._job.ranges_given
        """Whether there is something to tell about whoever hands ranges out."""
        self._due_at = float("-inf")
        self._seen: tuple[object, ...] = ()
        self._problem = "the records are being read"
        self.version = 0
        """Counts looks at the ledger that found something new."""

    # ---- looking

    def look(self) -> None:
        """Take in what is new in the ledger, if it is time to."""
        began = self._clock()
        if began < self._due_at:
            return
        try:
            self._read_ledger()
            self._problem = ""
        except RaythenaError as problem:  # a ledger caught in the middle of something is looked at again, a damaged one told of
            self._problem = str(problem)
        self._talks = self._talks or any(self._task.logs.glob(f"*/{TALK}"))
        self._due_at = self._clock() + max(_SHORTEST_PAUSE_S, _PAUSE_FACTOR * (self._clock() - began))

    def _read_ledger(self) -> None:
        stamp = tuple(_stamp(path) for path in (self._task.ledger, self._task.ledger.with_name("ledger.sqlite-wal")))
        if stamp == self._seen:
            return
        if stamp[0] is None:
            raise InvalidInput(str(self._task.ledger), "", "does not exist", hint="The job has not begun")
        with LedgerView.read(self._task.ledger, whole=False) as view:
            if self._records.update(view, self._activity.add):
                self.version += 1
                self._search.forget()
        self._seen = stamp

    # ---- documents

    def header(self) -> Document:
        """What is at the top of the page, and changes every second."""
        try:
            snapshot = read_snapshot(self._task.status)
        except InvalidInput as problem:
            return {**self._identity(), "status": None, "problem": str(problem)}
        if snapshot is None:
            return {**self._identity(), "status": None, "problem": "the job has not reported its status yet"}
        return {**self._identity(), "status": self._status(snapshot), "problem": self._problem}

    def _identity(self) -> Document:
        job = self._job
        ids = {"panda_id": job.job_id, "task_id": job.task_id, "jobset_id": job.jobset_id, "queue": _queue_of(job)}
        return {"job": job.name, **ids, "scan": self._read_scan is not None, "talks": self._talks, "version": self.version}

    def _status(self, snapshot: Snapshot) -> Document:
        progress = {name: value for name, value in snapshot.progress.to_dict().items() if name != "nodes"}
        now = self._wall()
        ended = {"ended": snapshot.ended, "verdict": snapshot.verdict, "exit_code": snapshot.exit_code}
        age = {"stale": snapshot.stale(now), "age_s": snapshot.age_s(now), "nodes": len(snapshot.progress.nodes)}
        so_far = verdict_so_far(snapshot.progress, ended=snapshot.ended)
        return {**progress, **ended, **age, "finished": snapshot.progress.finished, "so_far": so_far}

    def overview(self) -> Document:
        """Counts of records, core time, causes of failures, throughput and durations."""
        accounting = self._accounting()
        activity = self._activity
        used = activity.used
        return {
            "counts": self._records.counts(),
            "attempts_failed": self._records.attempts_failed,
            "core_time": {"allocated_s": accounting.allocated_s, "core_s": accounting.core_s, "accounted": accounting.accounted},
            "thrown_away": accounting.thrown_away,
            "began_at": activity.began_at,
            "width_s": activity.width_s,
            "finished": activity.finished[:used].tolist(),
            "event_times": activity.event_times(),
        }

    def failures(self) -> Document:
        """Why ranges were given up."""
        return {
            "causes": [
                {
                    "count": cause.count,
                    "kind": str(cause.kind),
                    "text": cause.text,
                    "who": str(cause.fault.who),
                    "what": cause.fault.what,
                    "hint": cause.fault.hint,
                    "events": [{"index": index, "id": self._records.layout.range_id(index)} for index in cause.events],
                }
                for cause in self._records.causes
            ]
        }

    def ranges(self, query: RangeQuery, offset: int, limit: int) -> Document:
        """A page of the event-range records. Raises InvalidInput for an order that is none."""
        if query.sort and query.sort not in SORTABLE:
            raise InvalidInput("ranges", "sort", f"no order by {query.sort!r}", expected="one of " + ", ".join(SORTABLE))
        count, indices = self._search.page(query, offset, min(max(limit, 1), MOST_ROWS))
        return {"count": count, "offset": offset, "rows": [asdict(self._records.record(index)) for index in indices]}

    def story(self, index: int) -> Document:
        """Everything about one range. Raises InvalidInput when there is no such range; LedgerCorrupt, StorageError."""
        if not 0 <= index < len(self._records):
            raise InvalidInput("ranges", "index", f"no range {index}", expected=f"a number below {len(self._records)}")
        with LedgerView.read(self._task.ledger, whole=False) as view:
            lines = story_of(self._task, view, self._records, index)
        return {"record": asdict(self._records.record(index)), "lines": [asdict(line) for line in lines]}

    def merges(self, offset: int, limit: int) -> Document:
        """A page of the outputs that are merged, the latest first."""
        latest = self._records.merged[::-1]
        rows = latest[max(0, offset) :][: min(max(limit, 1), MOST_ROWS)]
        told = [dict(zip(_MERGE_NAMES, merge_row(self._records, row), strict=True)) for row in rows]
        return {"count": len(latest), "promised": len(self._job.promised), "offset": offset, "rows": told}

    def nodes(self) -> Document:
        """Every node: its state, and what it did with its cores."""
        snapshot = read_snapshot(self._task.status)
        alive = {} if snapshot is None else {node.name: asdict(node) for node in snapshot.progress.nodes}
        lives = [
            {
                "session": node.session,
                "host": node.host,
                "cores": node.cores,
                "allocated_s": node.allocated_s,
                "core_s": dict(node.core_s),
            }
            for node in self._accounting().nodes
        ]
        return {"nodes": list(alive.values()), "core_time": lives}

    def occupancy(self) -> tuple[Document, bytes]:
        """The heat map: what its rows and columns are, and a byte for each cell, 255 for a node whose cores are all busy."""
        activity = self._activity
        cells = heat_cells(activity, self._cores())
        about: Document = {
            "hosts": activity.hosts(),
            "columns": activity.used,
            "began_at": activity.began_at,
            "width_s": activity.width_s,
        }
        return about, cells.tobytes()

    def scan(self) -> Document:
        """Points and curves of a scan. Raises InvalidInput for a job that is none, LedgerError, StorageError."""
        if self._read_scan is None:
            raise InvalidInput("scan", "", "the job is no hyper-parameter scan")
        if self._scan is None or self._scan[0] != self.version:
            self._scan = self.version, self._read_scan()
        return self._scan[1]

    def harvester(self) -> Document:
        """What was said between the job and whoever hands ranges out: by the gateways' own accounts, and by the ledger."""
        talks = [{"session": name, **asdict(talk)} for name, talk in read_talks(self._task)]
        return {"talks": talks, "given": self._records.given, "acknowledged": self._records.acknowledged}

    def cores(self, host: str, begins: float, ends: float) -> Document:
        """What the cores of a node did between two times: each event on one. Too many are only counted: look more closely."""
        indices = self._records.computed_on(host, begins, ends)
        count = len(indices)
        if count > MOST_SLICES:
            return {"host": host, "count": count, "cores": 0, "slices": []}
        columns = self._records.columns
        starts, walls = columns["start"][indices].tolist(), columns["wall_s"][indices].tolist()
        places = cores_of(zip(starts, walls, strict=True))
        slices = [list(one) for one in zip(places, starts, walls, indices.tolist(), strict=True)]
        return {"host": host, "count": count, "cores": max(places, default=0), "slices": slices}

    def logs(self) -> Document:
        """The log files there are, the latest first."""
        found = [path for path in self._task.logs.rglob("*") if _is_log(path) and path.is_file()]
        found.sort(key=_changed_at, reverse=True)
        names = [path.relative_to(self._task.logs).as_posix() for path in found[:_MOST_LOGS]]
        return {"logs": [{"name": name, "of": _whose(name)} for name in names], "count": len(found)}

    def log(self, name: str) -> Document:
        """The end of a log file. Raises InvalidInput for one that is not among the task's."""
        logs = self._task.logs.resolve()
        path = (logs / name).resolve()
        if not path.is_relative_to(logs) or not _is_log(path) or not path.is_file():
            raise InvalidInput("logs", "name", "is no log of the task", expected="a name from the list of logs")
        return {"name": name, "text": tail_of(path, _LOG_BYTES)}

    def _accounting(self) -> Accounting:
        return account(read_sessions(self._task))

    def _cores(self) -> dict[str, int]:
        return {node.host: node.cores for node in self._accounting().nodes}


def _is_log(path: Path) -> bool:
    """Logs of ours, and what payloads and pilots leave beside them."""
    return path.suffix in _LOG_SUFFIXES or path.name in _LOG_NAMES


def _whose(name: str) -> str:
    """Whose log it is: those of agents and of what they run lie in a directory for each node."""
    parts = name.split("/")
    if len(parts) < 3:
        return "coordinator"
    return "nodes" if len(parts) == 3 and parts[2] == "agent.log" else "payloads"


def _queue_of(job: Job) -> str:
    """The PanDA queue, where the job's document names one."""
    named = job.source.get("computingSite")
    return named if isinstance(named, str) else ""


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
