"""From the ledger to the job report: gathers what `domain.report` needs."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from raythena.domain.core_time import account
from raythena.domain.errors import ExitCode, RaythenaError
from raythena.domain.job import NO_MERGE, Job
from raythena.domain.node_name import NodeName
from raythena.domain.payload_account import FILE_NAME, PayloadAccount, together
from raythena.domain.ranges import Indices, RangeLayout
from raythena.domain.report_document import ReportInput, ResourceUse, build_report
from raythena.domain.taxonomy import WITH_RESUME, EndCause, of_end
from raythena.engine.commands import Finish
from raythena.runtime.core_time_file import kept_by_life, read_sessions
from raythena.storage.ledger import Ledger, LedgerSummary, NodeTotals
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the session ended, and what it knew of its nodes."""

    finish: Finish
    exit_code: ExitCode
    cores_per_node: int
    """Of the largest node; the ledger does not know how many cores a node had."""
    error: RaythenaError | None = None
    """What made going on pointless."""
    warnings: tuple[str, ...] = ()
    command_line: str = ""
    """The command that began the session."""
    going_on: str = WITH_RESUME
    """How the task goes on after it."""


def job_report(job: Job, ledger: Ledger, summary: LedgerSummary, verdict: Verdict, task: TaskDirectory) -> dict[str, object]:
    """The report on all the ledger and the accounts among the task's logs know, all sessions together. Raises StorageError."""
    restored = ledger.restore()
    return build_report(
        ReportInput(
            job=job,
            exit_code=verdict.exit_code,
            verdict=str(verdict.finish.outcome),
            message=verdict.finish.reason,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            outputs=restored.merged,
            failures=ledger.given_up(),
            unfinished=_unfinished(ledger, restored.failed),
            resources=_resources(summary, verdict.cores_per_node),
            sessions=_sessions(summary),
            command_line=verdict.command_line,
            error=of_end(str(verdict.finish.outcome), verdict.finish.cause, verdict.error),
            going_on=verdict.going_on,
            warnings=verdict.warnings,
            ending=_ending(verdict.finish),
            payloads=together(payload_accounts(task.logs)),
            accounting=account(read_sessions(task), kept_by_life(summary)),
            layout=RangeLayout.of(job, restored.given) if job.ranges_given else None,
            n_kept=summary.events if job.merge.kind == NO_MERGE else 0,
        )
    )


def payload_accounts(logs: Path) -> list[PayloadAccount]:
    """The accounts that are there and can be read, one for each life of each node."""
    accounts = []
    for path in sorted(logs.glob(f"*/*/{FILE_NAME}")):
        try:
            accounts.append(PayloadAccount.from_dict(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, RecursionError) as problem:
            logger.warning("%s is left out of the job report: %s", path, problem)
    return accounts


def _ending(finish: Finish) -> dict[str, object] | None:
    """What an early end cost, in seconds of cores; None for a job that ended by itself."""
    loss = finish.loss
    if finish.cause is EndCause.NONE:
        return None
    return {
        "cause": str(finish.cause),
        "drain_s": round(loss.drain_s, 3),
        "core_s_thrown_away": round(loss.core_s, 3),
        "events_cut_off": loss.events_cut_off,
        "walltime_left_s": None if loss.left_s is None else round(loss.left_s, 3),
    }


def _unfinished(ledger: Ledger, failed: Indices) -> Indices:
    """Ranges neither stored nor given up, sorted."""
    settled = np.zeros(ledger.n_ranges, dtype=bool)
    settled[failed] = True
    for chunk in ledger.iter_events():
        settled[chunk.events["range"]] = True
    return np.flatnonzero(~settled)


def _resources(summary: LedgerSummary, cores_per_node: int) -> ResourceUse:
    spans = [_span(nodes, cores_per_node) for nodes in _by_session(summary).values()]
    wall_s = sum(wall for wall, _ in spans)
    available_s = sum(wall * cores for wall, cores in spans)
    cores = max((cores for _, cores in spans), default=0)
    occupancy = min(1.0, summary.wall_s / available_s) if available_s > 0 else 0.0
    return ResourceUse(summary.cpu_s, summary.wall_s, wall_s, cores, occupancy)


def _by_session(summary: LedgerSummary) -> dict[int, list[NodeTotals]]:
    sessions: dict[int, list[NodeTotals]] = defaultdict(list)
    for node in summary.nodes:
        sessions[node.session].append(node)
    return sessions


def _span(nodes: list[NodeTotals], cores_per_node: int) -> tuple[float, int]:
    """Seconds from the first event to the last one, and cores; incarnations of one node are counted once."""
    places = {NodeName.parse(node.node).host for node in nodes}
    return max(node.last_end for node in nodes) - min(node.first_start for node in nodes), len(places) * cores_per_node


def _sessions(summary: LedgerSummary) -> list[dict[str, object]]:
    nodes = _by_session(summary)
    return [
        {
            "name": session.name,
            "host": session.host,
            "batch_job": session.batch_job,
            "version": session.version,
            "began_at": session.began_at,
            "ended_at": session.ended_at,
            "verdict": session.verdict,
            "events": sum(node.events for node in nodes.get(session.number, ())),
            "nodes": [node.node for node in nodes.get(session.number, ())],
        }
        for session in summary.sessions
    ]
