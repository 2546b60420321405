"""What a task directory claims: its job, its ledger, its job report. Claims are read here and judged in `proof`.

Nothing here raises for a claim that is missing or damaged: that is a finding like any other, and the rest is still looked at.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from raythena.domain.errors import LedgerError, StorageError
from raythena.domain.job import Job
from raythena.domain.records import AttemptFailed
from raythena.domain.results import GroupReport, MergedOutput
from raythena.domain.upstream import InputTaken
from raythena.storage.ledger import Ledger
from raythena.storage.taskdir import TaskDirectory
from raythena.validation.concatenation import Concatenation, concatenations
from raythena.validation.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Reported:
    """One output as the job report tells it; None where it says nothing, or something that is no answer."""

    name: str
    guid: str | None
    size_bytes: int | None
    n_events: int | None
    checksum: str | None


@dataclass(frozen=True)
class Report:
    """The job report, as far as it can be checked."""

    outputs: tuple[Reported, ...]
    exit_code: int | None
    failed: frozenset[tuple[str, int]] | None
    """(LFN, event counted from 1) of the events it lists as failed; None when it has no such list."""


@dataclass(frozen=True)
class Recorded:
    """The ledger, as far as it can be checked."""

    merged: dict[tuple[int, int], MergedOutput] = field(default_factory=dict)
    """By number of the stream and of the output."""
    groups: tuple[GroupReport, ...] = ()
    """Of outputs not merged."""
    failures: dict[int, AttemptFailed] = field(default_factory=dict)
    """The final failure of every range given up."""
    concatenations: dict[int, Concatenation] = field(default_factory=dict)
    """What merger `concat` makes of an output's events; empty for other mergers."""
    inputs: tuple[InputTaken, ...] = ()
    """Files of the upstream task that were taken on, in order."""


def read_job(task: TaskDirectory) -> Job | Finding:
    """The job, or why it cannot be known."""
    try:
        return Job.from_dict(json.loads(task.job.read_bytes()))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"is no job: {type(error).__name__}: {error}"
    return Finding(
        "job-unreadable", Severity.ERROR, task.job.name, f"{task.job} {problem}; without the job nothing can be checked"
    )


def read_ledger(task: TaskDirectory, job: Job) -> Recorded | Finding:
    """The ledger's claims, or why they cannot be known."""
    try:
        with Ledger.read(task.ledger) as view:
            if view.fingerprint != job.fingerprint():
                text = f"the ledger belongs to the job {view.job_name!r} with other inputs or outputs"
                return Finding("ledger-foreign", Severity.ERROR, task.ledger.name, text)
            restored = view.restore()
            failures = {int(failure.range_index): failure for failure in view.given_up()}
            joined = concatenations(view) if job.merge.kind == "concat" and not job.streams else {}
    except (LedgerError, StorageError) as error:
        return Finding("ledger-unreadable", Severity.ERROR, task.ledger.name, str(error))
    merged = {(output.stream, int(output.output)): output for output in restored.merged}
    return Recorded(merged, restored.groups, failures, joined, restored.inputs)


def read_report(task: TaskDirectory, *, partial: bool) -> Report | Finding:
    """The job report's claims, or why they cannot be known."""
    try:
        document = json.loads(task.report.read_bytes())
        return _report_of(document)
    except FileNotFoundError:
        severity = Severity.NOTE if partial else Severity.ERROR
        return Finding("report-missing", severity, task.report.name, "there is no job report: the job did not come to an end")
    except OSError as error:
        problem = error.strerror
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    return Finding("report-unreadable", Severity.ERROR, task.report.name, f"the job report cannot be read: {problem}")


def _report_of(document: dict[str, Any]) -> Report:
    files = [file for kind in document["files"]["output"] for file in kind["subFiles"]]
    exit_code = document.get("exitCode")
    return Report(
        tuple(_reported(file) for file in files),
        exit_code if isinstance(exit_code, int) else None,
        _failed_of(document.get("raythena", {})),
    )


def _reported(file: dict[str, Any]) -> Reported:
    size_bytes, n_events = (value if isinstance(value, int) else None for value in (file.get("file_size"), file.get("nentries")))
    return Reported(str(file["name"]), file.get("file_guid"), size_bytes, n_events, file.get("checksum"))


def _failed_of(section: dict[str, Any]) -> frozenset[tuple[str, int]] | None:
    if "failed" not in section:
        return None
    return frozenset((str(entry["lfn"]), int(entry["event"])) for entry in section["failed"])
