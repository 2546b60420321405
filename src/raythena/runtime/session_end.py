"""The end of a session: what is written down for those who come after.

The job report says what became of the job (all sessions of the task together), the session's result what the command that ran
it prints and exits with. Staging is swept: what the ledger does not know is left from processes that died before they could
report.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from raythena.domain.errors import ExitCode, RaythenaError
from raythena.domain.node_name import NodeName
from raythena.domain.progress import Progress
from raythena.domain.taxonomy import BY_ANOTHER_JOB, WITH_RESUME, Fault, of_end, of_exit_code
from raythena.engine.commands import Finish, Outcome
from raythena.runtime.job_report import Verdict, job_report
from raythena.runtime.session_config import SessionConfig
from raythena.storage.atomic import write_atomically
from raythena.storage.ledger import Ledger
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

_EXIT_CODES = {
    Outcome.COMPLETE: ExitCode.OK,
    Outcome.INCOMPLETE: ExitCode.INCOMPLETE,
    Outcome.UNMERGED: ExitCode.MERGE,
    Outcome.STOPPED: ExitCode.STOPPED,
    Outcome.ABORTED: ExitCode.ABORTED,
}


@dataclass(frozen=True, slots=True)
class SessionResult:
    """How a session ended, for the command that ran it."""

    outcome: str
    reason: str
    exit_code: ExitCode
    progress: Progress
    core_s: float = 0.0
    """Core-seconds spent on committed events in this session."""
    cpu_s: float = 0.0
    """CPU seconds spent on committed events, all sessions together."""
    span_s: float = 0.0
    """From the first event's start to the last one's end, in this session."""
    cores: int = 0
    error: Fault | None = None
    """What is wrong, in the terms of the taxonomy; None when nothing is."""

    @classmethod
    def unrecorded(cls, finish: Finish, progress: Progress, cause: RaythenaError) -> SessionResult:
        """The result when even the report could not be written."""
        error = of_exit_code(cause.exit_code)
        return cls(str(finish.outcome), finish.reason, cause.exit_code, progress, error=error)


def write_report(
    config: SessionConfig, ledger: Ledger, finish: Finish, progress: Progress, cause: RaythenaError | None
) -> SessionResult:
    """Write the job report and close the session in the ledger. Raises StorageError."""
    directory = TaskDirectory(Path(config.task_directory))
    exit_code = cause.exit_code if cause is not None else _EXIT_CODES[finish.outcome]
    summary = ledger.summary()
    ledger.end_session(str(finish.outcome), time.time())
    cores_per_node = max((node.cores for node in progress.nodes), default=1)
    going_on = WITH_RESUME if config.gateway is None else BY_ANOTHER_JOB
    verdict = Verdict(finish, exit_code, cores_per_node, cause, progress.warnings, config.command_line, going_on)
    report = job_report(config.job, ledger, summary, verdict, directory)
    write_atomically(directory.report, json.dumps(report, indent=1))
    # results that were brought along were computed in an earlier session, by no incarnation of this one
    nodes = [
        node
        for node in summary.nodes
        if summary.sessions[node.session - 1].name == config.session and NodeName.parse(node.node).incarnation
    ]
    span_s = max((node.last_end for node in nodes), default=0.0) - min((node.first_start for node in nodes), default=0.0)
    return SessionResult(
        str(finish.outcome),
        finish.reason,
        exit_code,
        progress,
        sum(node.wall_s for node in nodes),
        summary.cpu_s,
        span_s,
        sum({NodeName.parse(node.name).host: node.cores for node in progress.nodes if node.finished}.values()),
        of_end(str(finish.outcome), finish.cause, cause),
    )


def sweep_staging(config: SessionConfig, ledger: Ledger) -> None:
    """Remove from staging, from the merges' temporary directory and from where outputs are delivered whatever the ledger does not
    know."""
    directory = TaskDirectory(Path(config.task_directory))
    needed = {directory.root / group.path for group in ledger.restore().groups}
    needed.update(directory.root / merged.path for merged in ledger.outputs())
    temporary = directory.outputs / ".merging"
    delivered = Path(config.delivery.directory or directory.staging)
    for base in (directory.staging, temporary, directory.replacing, *(delivered / session.name for session in ledger.sessions())):
        paths = sorted(base.rglob("*"), reverse=True) if base.is_dir() else []
        for path in paths:
            _remove(path, needed)
    for base in (temporary, directory.replacing):
        if base.is_dir():
            _remove(base, needed)


def _remove(path: Path, needed: set[Path]) -> None:
    if path.parent in needed:  # an output of a group that is a directory
        return
    try:
        if not path.is_dir() or path.is_symlink():
            if path not in needed:
                path.unlink(missing_ok=True)
        elif not any(path.iterdir()):
            path.rmdir()
    except OSError as problem:
        logger.warning("cannot remove %s: %s", path, problem)
