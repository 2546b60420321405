"""What tasks and allocations are compared by: a few figures of each, and of several taken as one.

Sums are kept, and figures made of them in the end, so that a rate of several is not the mean of their rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from raythena.domain.core_time import Accounting
from raythena.domain.node_name import NodeName
from raythena.monitor.core_time_words import in_words
from raythena.monitor.report_tables import Cell, Kind
from raythena.monitor.task_reading import ReportedTask
from raythena.storage.ledger_view import NodeTotals, SessionRecord

Figures = dict[str, tuple[Cell, Kind]]
"""By name; a figure that is not known is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What is added when several are taken as one; counts and bytes are whole numbers.

    None: nobody knows, as of a single allocation what is told only of the task.
    """

    events: float | None = None
    merged: float | None = None
    failed: float | None = None
    open: float | None = None
    attempts_failed: float | None = None
    outputs_merged: float | None = None
    outputs: float | None = None
    event_bytes: float | None = None
    merge_s: float | None = None
    allocations: float | None = 1


@dataclass(frozen=True, slots=True)
class Extent:
    """A task, one allocation of it, or several of either."""

    sums: Sums
    nodes: tuple[NodeTotals, ...]
    accounting: Accounting

    @classmethod
    def of_task(cls, read: ReportedTask) -> Extent:
        """A whole task."""
        summary = read.summary
        sums = Sums(
            events=summary.n_ranges,
            merged=summary.events_merged,
            failed=summary.failed,
            open=read.records.counts()["open"],
            attempts_failed=sum(summary.attempts_failed.values()),
            outputs_merged=summary.outputs_merged,
            outputs=len(read.job.promised),
            event_bytes=summary.event_bytes,
            merge_s=sum(merged.wall_s for merged in read.records.merged),
            allocations=len(summary.sessions),
        )
        return cls(sums, summary.nodes, read.accounting)

    @classmethod
    def of_allocation(cls, read: ReportedTask, session: SessionRecord) -> Extent:
        """One allocation of a task: what its nodes did."""
        nodes = tuple(node for node in read.summary.nodes if node.session == session.number)
        accounts = tuple(node for node in read.accounting.nodes if node.session == session.name)
        return cls(Sums(), nodes, Accounting(accounts))

    @classmethod
    def together(cls, parts: Sequence[Extent]) -> Extent:
        """Several as one."""
        sums = Sums(**{field.name: _added([getattr(part.sums, field.name) for part in parts]) for field in fields(Sums)})
        nodes = tuple(node for part in parts for node in part.nodes)
        return cls(sums, nodes, Accounting(tuple(node for part in parts for node in part.accounting.nodes)))


def figures(extent: Extent) -> Figures:
    """The figures of a task or an allocation, in the order in which they are shown."""
    sums, nodes, allocated_s = extent.sums, extent.nodes, extent.accounting.allocated_s
    finished, wall_s = sum(node.events for node in nodes), sum(node.wall_s for node in nodes)
    first, last = min((node.first_start for node in nodes), default=0.0), max((node.last_end for node in nodes), default=0.0)
    shares = {in_words(name): (seconds / allocated_s, Kind.SHARE) for name, seconds in extent.accounting.core_s.items()}
    return {
        "events": (sums.events, Kind.COUNT),
        "finished": (finished, Kind.COUNT),
        "merged": (sums.merged, Kind.COUNT),
        "failed": (sums.failed, Kind.COUNT),
        "open": (sums.open, Kind.COUNT),
        "attempts failed": (sums.attempts_failed, Kind.COUNT),
        "outputs merged": (sums.outputs_merged, Kind.COUNT),
        "outputs promised": (sums.outputs, Kind.COUNT),
        "bytes of events": (sums.event_bytes, Kind.BYTES),
        "allocations": (sums.allocations, Kind.COUNT),
        "nodes": (len({NodeName.parse(node.node).host for node in nodes}), Kind.COUNT),
        "first to last event": (last - first if finished else None, Kind.SECONDS),
        "events per second": (_ratio(finished, last - first), Kind.RATE),
        "an event": (_ratio(wall_s, finished), Kind.SECONDS),
        "CPU time of an event": (_ratio(sum(node.cpu_s for node in nodes), finished), Kind.SECONDS),
        "merging": (sums.merge_s, Kind.SECONDS),
        "allocated core time": (allocated_s or None, Kind.SECONDS),
        "accounted for": (extent.accounting.accounted if allocated_s else None, Kind.SHARE),
        **(shares if allocated_s else {}),
    }


def _ratio(value: float, of: float) -> float | None:
    return value / of if of > 0 else None


def _added(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
