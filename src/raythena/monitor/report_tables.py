"""Tables of a report as values: every column says what its figures are, so that pages, JSON and Parquet show the same thing.

Nothing here knows what a table is about; `task_tables` makes those of a task.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from raythena.domain.ranges import Indices
from raythena.monitor.range_table import pyarrow_module, write_parquet
from raythena.monitor.wording import duration, size
from raythena.storage.atomic import disk_errors, make_directory
from raythena.storage.range_records import RangeRecords

Cell = str | int | float | None
Row = tuple[Cell, ...]


class Kind(StrEnum):
    """What the cells of a column are, and so how they are written for people."""

    TEXT = "text"
    COUNT = "count"
    SECONDS = "seconds"
    BYTES = "bytes"
    SPEED = "speed"
    """Bytes per second."""
    RATE = "rate"
    """Of something per second."""
    SHARE = "share"
    """A fraction of 1."""
    FACTOR = "factor"
    """How many times as large."""
    TIME = "time"
    """Seconds since the epoch."""

    @property
    def is_number(self) -> bool:
        """Whether cells stand to the right."""
        return self not in (Kind.TEXT, Kind.TIME)


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `name` has the unit in it and stays the same; `title` is for people."""

    name: str
    title: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class ReportTable:
    """One table; a cell that does not apply is None."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    about: str = ""
    """A sentence on how to read it."""

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy: names, and rows in their order."""
        return {
            "title": self.title,
            "about": self.about,
            "columns": [{"name": column.name, "title": column.title, "kind": str(column.kind)} for column in self.columns],
            "rows": [list(row) for row in self.rows],
        }


def facts_table(name: str, title: str, facts: Iterable[tuple[str, Cell]], about: str = "") -> ReportTable:
    """A table of names and values, of different kinds; the values are text."""
    rows = tuple((fact, "" if value is None else str(value)) for fact, value in facts)
    return ReportTable(name, title, (Column("fact", "fact"), Column("value", "value")), rows, about)


def written(cell: Cell, kind: Kind) -> str:
    """A cell as people read it; empty for None."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    words = {
        Kind.COUNT: lambda: f"{cell:,}",
        Kind.SECONDS: lambda: duration(cell) if cell >= 0 else f"-{duration(-cell)}",
        Kind.BYTES: lambda: size(round(cell)),
        Kind.SPEED: lambda: f"{size(round(cell))}/s",
        Kind.RATE: lambda: f"{cell:.3g}/s",
        Kind.SHARE: lambda: f"{100 * cell:.1f} %",
        Kind.FACTOR: lambda: f"{cell:.2f} ×",
        Kind.TIME: lambda: f"{datetime.fromtimestamp(cell, UTC):%Y-%m-%d %H:%M:%S} UTC",
        Kind.TEXT: lambda: str(cell),
    }
    return words[kind]()


def write_tables(directory: Path, tables: Sequence[ReportTable], records: RangeRecords | None, indices: Indices) -> list[Path]:
    """Write each table, and these ranges, as a Parquet file of its name. Raises InvalidInput without pyarrow, StorageError."""
    pyarrow = pyarrow_module()
    from pyarrow import parquet

    make_directory(directory)
    paths = []
    for table in tables:
        fields = [(column.name, getattr(pyarrow, _arrow_type(column.kind))()) for column in table.columns]
        columns = {column.name: [row[place] for row in table.rows] for place, column in enumerate(table.columns)}
        path = directory / f"{table.name}.parquet"
        with disk_errors("write", path):
            parquet.write_table(pyarrow.Table.from_pydict(columns, schema=pyarrow.schema(fields)), path)
        paths.append(path)
    if records is not None:
        write_parquet(directory / "ranges.parquet", records, indices)
        paths.append(directory / "ranges.parquet")
    return paths


def _arrow_type(kind: Kind) -> str:
    if kind is Kind.TEXT:
        return "string"
    return "int64" if kind in (Kind.COUNT, Kind.BYTES) else "float64"
