"""What a task directory says about its job right now, without disturbing whoever is working in it.

`status.json` is replaced about once a second while a coordinator lives; what it says is only as good as its age. Where it is
missing or unusable the ledger is asked instead, which knows what was finished but not what is going on.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.progress import NodeProgress, Progress
from raythena.storage.taskdir import TaskDirectory

STALE_AFTER_S = 15.0
"""A running job writes every second; one that was silent for this long is stuck, cut off or dead."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of `status.json`."""

    progress: Progress
    written_at: float
    """Wall-clock seconds since the epoch."""
    host: str
    pid: int
    verdict: str
    exit_code: int | None
    """None until the job has ended."""

    @property
    def ended(self) -> bool:
        """Whether this session has ended."""
        return self.progress.phase == "ended"

    def age_s(self, now: float) -> float:
        """Seconds since it was written; never negative, clocks of two hosts differ."""
        return max(0.0, now - self.written_at)

    def stale(self, now: float, alive: Callable[[int], bool] | None = None) -> str:
        """Why a running job's snapshot is not to be trusted; empty when it is."""
        if self.ended:
            return ""
        if self.host == socket.gethostname() and not (alive or process_alive)(self.pid):
            return f"its coordinator (process {self.pid} on {self.host}) is gone"
        if self.age_s(now) > STALE_AFTER_S:
            return f"its coordinator (process {self.pid} on {self.host}) has been silent since"
        return ""


def open_task(path: Path) -> TaskDirectory:
    """The task directory at `path`. Raises InvalidInput when there is none."""
    task = TaskDirectory(path)
    if not path.is_dir():
        problem = "is not a directory" if path.exists() else "does not exist"
        raise InvalidInput(str(path), "", problem, expected="the directory of a task")
    if not any(file.exists() for file in (task.job, task.status, task.ledger)):
        raise InvalidInput(str(path), "", "is no task directory", expected="job.json, status.json or ledger.sqlite in it")
    return task


def read_snapshot(path: Path) -> Snapshot | None:
    """The snapshot in `path`; None when there is none. Raises InvalidInput for anything else."""
    document = read_json(path)
    if document is None:
        return None
    try:
        return _snapshot(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(str(path), "", f"is no status of a job: {error}", hint="Was it written by this version?") from None


def read_job(task: TaskDirectory) -> Job:
    """The job of a task. Raises InvalidInput when there is none, or it cannot be read."""
    document = read_json(task.job)
    if document is None:
        raise InvalidInput(str(task.job), "", "does not exist", expected="the job as it was accepted")
    try:
        return Job.from_dict(document)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(str(task.job), "", f"is no job: {error}", hint="Was it written by this version?") from None


def read_json(path: Path) -> Any:
    """The JSON document in `path`; None when there is no such file. Raises InvalidInput when it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:  # ValueError: not JSON, or not UTF-8
        raise InvalidInput(str(path), "", f"not JSON: {error}") from None
    except OSError as error:
        raise InvalidInput(str(path), "", f"cannot be read: {error.strerror}") from None


def process_alive(pid: int) -> bool:
    """Whether a process of this machine has the id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _snapshot(document: dict[str, Any]) -> Snapshot:
    known = {field.name for field in fields(Progress)}
    values = {name: value for name, value in document.items() if name in known}
    values["nodes"] = tuple(NodeProgress(**node) for node in document.get("nodes", ()))
    exit_code = document.get("exit_code")
    return Snapshot(
        progress=Progress(**values),
        written_at=float(document["written_at"]),
        host=str(document.get("host", "")),
        pid=int(document.get("pid", 0)),
        verdict=str(document.get("verdict", "")),
        exit_code=None if exit_code is None else int(exit_code),
    )
