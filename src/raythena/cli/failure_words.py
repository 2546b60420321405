"""Why events failed, as people are told it by `run`, `status` and `report`: by cause, with whose fault it is and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from raythena.monitor.wording import printable

if TYPE_CHECKING:
    from pathlib import Path

    from raythena.domain.failure_causes import FailureCause
    from raythena.domain.ranges import RangeLayout
    from raythena.storage.ledger_view import LedgerView
    from raythena.storage.taskdir import TaskDirectory

CAUSES_SHOWN = 5


def failures_of(task: TaskDirectory) -> list[str]:
    """The lines about a task's failed events; none when none failed, or nothing can be read."""
    from raythena.domain.errors import RaythenaError
    from raythena.domain.job import Job
    from raythena.domain.ranges import RangeLayout
    from raythena.monitor.snapshot import read_json
    from raythena.storage.ledger_view import LedgerView

    try:
        job = Job.from_dict(read_json(task.job))
        with LedgerView.read(task.ledger) as view:
            return lines(causes_in(view), RangeLayout.of(job, view.chunks()), task.logs)
    except (RaythenaError, OSError, KeyError, TypeError, ValueError):
        return []  # whoever tells of failures has more important things to tell


def causes_in(view: LedgerView) -> list[FailureCause]:
    """The causes of all events given up. Raises LedgerCorrupt, StorageError."""
    from raythena.domain.failure_causes import causes_of

    return causes_of(view.given_up())


def lines(causes: Sequence[FailureCause], layout: RangeLayout, logs: Path) -> list[str]:
    """A few lines for each cause, the commonest first."""
    told = []
    for cause in causes[:CAUSES_SHOWN]:
        more = ", …" if cause.count > len(cause.events) else ""
        told.append(f"{cause.count:,} × {printable(cause.text) or str(cause.kind)}")
        told.append(f"    {cause.kind}, the fault of: {cause.fault.who} ({cause.fault.what})")
        told.append("    events  " + printable(", ".join(map(layout.range_id, cause.events))) + more)
        if place := log_of(cause.first.node, logs):
            told.append(f"    log     {place}")
        told.append(f"    do      {cause.fault.hint}")
    hidden = sum(cause.count for cause in causes[CAUSES_SHOWN:])
    return [*told, f"and {hidden:,} for {len(causes) - CAUSES_SHOWN:,} other causes"] if hidden else told


def log_of(node: str, logs: Path) -> str:
    """Where the logs of a node lie, of the latest session that it was in; empty when there are none."""
    found = sorted(logs.glob(f"*/{node}")) if node and "/" not in node else []
    return str(found[-1]) if found else ""
