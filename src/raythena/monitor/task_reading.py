"""All that a report of a task is made of, read once: the ledger, the job, the job report, the accounts of core time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raythena.domain.core_time import Accounting, account
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.monitor.activity import Activity
from raythena.monitor.snapshot import read_job, read_json
from raythena.runtime.core_time_file import kept_by_life, read_sessions
from raythena.storage.ledger_view import LedgerSummary, LedgerView
from raythena.storage.range_records import RangeRecords
from raythena.storage.taskdir import TaskDirectory


@dataclass(frozen=True, slots=True)
class ReportedTask:
    """All that a report is made of."""

    task: TaskDirectory
    job: Job
    records: RangeRecords
    activity: Activity
    summary: LedgerSummary
    accounting: Accounting
    job_report: Mapping[str, object]
    """Empty when none has been written."""

    @property
    def ended(self) -> bool:
        """Whether there is a verdict."""
        return "exitCode" in self.job_report

    @property
    def verdict(self) -> str:
        """How the job ended, in a few words."""
        if not self.ended:
            return "not ended: no job report yet"
        return f"{self.job_report.get('exitMsg') or 'ended'} (exit code {self.job_report['exitCode']})"


def read_reported(task: TaskDirectory) -> ReportedTask:
    """Read a task. Raises InvalidInput where there is nothing to report, LedgerError, StorageError."""
    job = read_job(task)
    if not task.ledger.exists():
        raise InvalidInput(str(task.ledger), "", "does not exist", hint="The job has not begun; there is nothing to report")
    records, activity = RangeRecords(job), Activity()
    with LedgerView.read(task.ledger) as view:
        records.update(view, activity.add)
        summary = view.summary()
    report = read_json(task.report)
    accounting = account(read_sessions(task), kept_by_life(summary))
    return ReportedTask(task, job, records, activity, summary, accounting, report if isinstance(report, dict) else {})
