"""Several tasks, or the allocations of a task, side by side: a column for each, and one for all together.

The figures are those of `task_figures`; what a reader makes of a difference is the reader's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raythena.monitor.report_drawings import shares
from raythena.monitor.report_tables import Cell, Column, Kind, ReportTable, written
from raythena.monitor.task_figures import Extent, figures
from raythena.monitor.task_reading import ReportedTask

TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What stands side by side, by name."""

    extents: Mapping[str, Extent]
    as_one: Extent | None = None

    @classmethod
    def of_tasks(cls, tasks: Sequence[ReportedTask], *, together: bool) -> Comparison:
        """Task directories, named as they are; those with the same name by numbers too."""
        extents: dict[str, Extent] = {}
        for read in tasks:
            extents[_unused(read.task.root.name, extents)] = Extent.of_task(read)
        return cls(extents, Extent.together(list(extents.values())) if together else None)

    @classmethod
    def of_allocations(cls, tasks: Sequence[ReportedTask]) -> Comparison:
        """Every allocation of some tasks, oldest first, and all of them as one."""
        extents: dict[str, Extent] = {}
        sessions = [(session, read) for read in tasks for session in read.summary.sessions]
        for session, read in sorted(sessions, key=lambda entry: entry[0].began_at):
            extents[_unused(session.name, extents)] = Extent.of_allocation(read, session)
        return cls(extents, Extent.together([Extent.of_task(read) for read in tasks]))

    def cells(self) -> dict[str, tuple[Kind, list[Cell]]]:
        """For each figure its kind and a cell for each column, the last one for all together where that is asked for."""
        columns = [figures(extent) for extent in (*self.extents.values(), *([self.as_one] if self.as_one else []))]
        kinds = {name: kind for column in columns for name, (_, kind) in column.items()}
        return {name: (kind, [column.get(name, (None, kind))[0] for column in columns]) for name, kind in kinds.items()}

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [*self.extents, *([TOGETHER] if self.as_one else [])]

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy: figures by name, each with a value for every column."""
        told = {name: {"kind": str(kind), "values": cells} for name, (kind, cells) in self.cells().items()}
        return {"columns": self.names, "figures": told}


def comparison_table(comparison: Comparison) -> ReportTable:
    """The comparison for people: a row for each figure, how much larger than the first behind each value."""
    rows = []
    for name, (kind, cells) in comparison.cells().items():
        first, *others = cells
        rows.append((name, written(first, kind), *(_beside(cell, first, kind) for cell in others)))
    columns = (Column("figure", "figure"), *(Column(name, name) for name in comparison.names))
    return ReportTable("comparison", "Side by side", columns, tuple(rows), "In brackets: how many times the first column.")


def comparison_drawing(comparison: Comparison) -> str:
    """Shares of core time, a bar for each column, as HTML."""
    extents = [*comparison.extents.values(), *([comparison.as_one] if comparison.as_one else [])]
    return "".join(
        shares(extent.accounting.core_s, extent.accounting.allocated_s, f"Shares of core time: {name}")
        for name, extent in zip(comparison.names, extents, strict=True)
    )


def _beside(cell: Cell, first: Cell, kind: Kind) -> str:
    words = written(cell, kind)
    if isinstance(cell, str) or isinstance(first, str) or cell is None or not first or cell == first:
        return words
    return f"{words} ({cell / first:.2f} ×)"


def _unused(name: str, taken: Mapping[str, object]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
