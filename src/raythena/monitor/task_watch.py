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
from raythena.domain.results import MergedOutput
from raythena.monitor.activity import Activity, heat_cells
from raythena.monitor.range_story import story_of, tail_of
from raythena.monitor.snapshot import Snapshot, read_job, read_snapshot
from raythena.runtime.core_time_file import read_sessions
from raythena.storage.ledger_view import LedgerView
from raythena.storage.range_records import SORTABLE, RangeQuery, RangeRecords, RangeSearch
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

MOST_ROWS = 500
"""Of a page of a table, whatever is asked for."""
_SHORTEST_PAUSE_S = 2.0
_PAUSE_FACTOR = 20.0
_LOG_BYTES = 64_000
_MOST_LOGS = 2000

Document = dict[str, object]


class TaskWatch:
    """One task directory, looked at again and again. `clock` is monotonic seconds, `wall` seconds since the epoch."""

    def __init__(self, task: TaskDirectory, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._task = task
        self._clock = clock
        self._wall = wall
        self._job = read_job(task)
        self._records = RangeRecords(self._job)
        self._search = RangeSearch(self._records)
        self._activity = Activity()
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
        return {"job": job.name, "panda_id": job.job_id, "task_id": job.task_id, "version": self.version}

    def _status(self, snapshot: Snapshot) -> Document:
        progress = {name: value for name, value in snapshot.progress.to_dict().items() if name != "nodes"}
        now = self._wall()
        ended = {"ended": snapshot.ended, "verdict": snapshot.verdict, "exit_code": snapshot.exit_code}
        age = {"stale": snapshot.stale(now), "age_s": snapshot.age_s(now), "nodes": len(snapshot.progress.nodes)}
        return {**progress, **ended, **age, "finished": snapshot.progress.finished}

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
        return {"count": len(latest), "promised": len(self._job.outputs), "offset": offset, "rows": [_merge(row) for row in rows]}

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

    def logs(self) -> Document:
        """The log files there are, the latest first."""
        found = sorted((path for path in self._task.logs.rglob("*.log") if path.is_file()), key=_changed_at, reverse=True)
        names = [path.relative_to(self._task.logs).as_posix() for path in found[:_MOST_LOGS]]
        return {"logs": names, "count": len(found)}

    def log(self, name: str) -> Document:
        """The end of a log file. Raises InvalidInput for one that is not among the task's."""
        logs = self._task.logs.resolve()
        path = (logs / name).resolve()
        if not path.is_relative_to(logs) or path.suffix != ".log" or not path.is_file():
            raise InvalidInput("logs", "name", "is no log of the task", expected="a name from the list of logs")
        return {"name": name, "text": tail_of(path, _LOG_BYTES)}

    def _accounting(self) -> Accounting:
        return account(read_sessions(self._task))

    def _cores(self) -> dict[str, int]:
        return {node.host: node.cores for node in self._accounting().nodes}


def _merge(merged: MergedOutput) -> Document:
    speed = merged.size_bytes / merged.wall_s if merged.wall_s > 0 else None
    facts = {"lfn": merged.lfn, "events": merged.n_events, "missing": len(merged.missing), "size_bytes": merged.size_bytes}
    return {**facts, "guid": merged.guid, "wall_s": merged.wall_s, "bytes_per_s": speed}


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
