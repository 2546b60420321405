"""What a diagnosis is made of, read from a task directory: whatever there is, while a job runs, after it, or after it died."""

from __future__ import annotations

from dataclasses import replace

from raythena.domain.core_time import account
from raythena.monitor.diagnosis import Evidence
from raythena.monitor.snapshot import read_job, read_json, read_snapshot
from raythena.runtime.core_time_file import kept_by_life, read_sessions
from raythena.storage.ledger_view import LedgerView
from raythena.storage.range_records import RangeRecords
from raythena.storage.taskdir import TaskDirectory


def read_evidence(task: TaskDirectory, now: float) -> Evidence:
    """What is recorded at `now`, in seconds since the epoch. Raises InvalidInput, LedgerError, StorageError.

    A job report of an earlier session is no evidence while a later one runs, or after it died.
    """
    snapshot = read_snapshot(task.status)
    silent = "" if snapshot is None else snapshot.stale(now)
    report = read_json(task.report) if snapshot is None or snapshot.ended else None
    job_report = report if isinstance(report, dict) else {}
    evidence = Evidence(snapshot=snapshot, silent=silent, job_report=job_report, accounting=account(read_sessions(task)))
    return _with_ledger(evidence, task) if task.ledger.exists() else evidence


def _with_ledger(evidence: Evidence, task: TaskDirectory) -> Evidence:
    records = RangeRecords(read_job(task))
    with LedgerView.read(task.ledger, whole=False) as view:
        records.update(view)
        summary = view.summary()
    return replace(
        evidence,
        accounting=account(read_sessions(task), kept_by_life(summary)),
        n_events=len(records),
        failures=tuple(records.causes),
        attempts_failed=summary.attempts_failed,
    )
