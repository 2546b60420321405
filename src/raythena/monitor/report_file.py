"""A report as one HTML file that opens anywhere: tables and drawings in it, records as Parquet, the script that queries them.

Everything but the search among records is there without the script. Rules: nothing is loaded from elsewhere and nothing leads
there; foreign text is escaped wherever it stands, and what would turn or hide it is made visible; only the script that is
written here may run, which the file says to the browser by its checksum.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from importlib.resources import files

import numpy as np

from raythena.domain.ranges import Indices
from raythena.monitor.range_table import parquet_bytes
from raythena.monitor.report_tables import Cell, Column, ReportTable, written
from raythena.monitor.wording import visible
from raythena.storage.range_records import RangeRecords, State

MOST_RANGES = 1_000_000
ROWS_SHOWN = 500
"""Of a table until all are asked for; all of them are in the file."""


@dataclass(frozen=True, slots=True)
class CarriedRanges:
    """Event-range records that travel in the file."""

    parquet: bytes
    carried: int
    of: int
    given: bool = False
    """Whether ids were given from outside; if not, they follow from file and event, which is quicker than reading them."""

    @classmethod
    def of_task(cls, records: RangeRecords, most: int) -> CarriedRanges:
        """All, or where there are more than `most` those that failed, then those with failed attempts, then the slowest.

        Raises InvalidInput where pyarrow is not installed.
        """
        indices = chosen_ranges(records, most)
        return cls(parquet_bytes(records, indices), len(indices), len(records), records.layout.given)


@dataclass(frozen=True, slots=True)
class ReportFile:
    """What stands in a file."""

    title: str
    tables: Sequence[ReportTable]
    lines: Sequence[str] = ()
    """Sentences at the top."""
    drawings: dict[str, str] = field(default_factory=dict)
    """HTML that stands above the table of a name."""
    ranges: CarriedRanges | None = None

    def html(self) -> bytes:
        """The file."""
        style, script = _page_file("report.css"), _page_file("text.js") + _page_file("report.js")
        reader = _page_file("hyparquet.js") if self.ranges else ""
        policy = (
            f"default-src 'none'; script-src {_hash(script)} {_hash(reader)}; style-src {_hash(style)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        )
        head = (
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}"><meta name="color-scheme" content="light dark">'
            f"<title>{_text(self.title)}</title><style>{style}</style>"
        )
        sections = "".join(_section(table, self.drawings.get(table.name, "")) for table in self.tables)
        names = [(table.name, table.title) for table in self.tables] + ([("ranges", "Event ranges")] if self.ranges else [])
        content = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in names)
        data = _as_json({table.name: table.to_dict() for table in self.tables})
        body = (
            f"<header><h1>{_text(self.title)}</h1>{''.join(f'<p>{_text(line)}</p>' for line in self.lines)}</header>"
            f'<nav aria-label="Parts of the report"><ul>{content}</ul></nav><main>{sections}{self._search()}</main>'
            f'<script type="application/json" id="tables">{data}</script>{self._data()}'
        )
        scripts = f"<script>{reader}</script><script>{script}</script>" if reader else f"<script>{script}</script>"
        document = f'<!doctype html><html lang="en"><head>{head}</head><body>{body}{scripts}</body></html>\n'
        return document.encode("utf-8", "replace")

    def _search(self) -> str:
        if self.ranges is None:
            return ""
        carried = self.ranges
        rest = "" if carried.carried == carried.of else _LEFT_OUT
        about = f"<p>{carried.carried:,} of {carried.of:,} event ranges are in this file.{rest}</p>"
        search = about + _page_file("report-search.html")
        return f'<section id="ranges" aria-labelledby="ranges-title"><h2 id="ranges-title">Event ranges</h2>{search}</section>'

    def _data(self) -> str:
        if self.ranges is None:
            return ""
        ids = "given" if self.ranges.given else "derived"
        content = b64encode(self.ranges.parquet).decode()
        return f'<script type="application/octet-stream" id="parquet" data-ids="{ids}">{content}</script>'


_LEFT_OUT = " Those that failed come first, then those of which an attempt failed, then the slowest; the task directory has all."


def chosen_ranges(records: RangeRecords, most: int) -> Indices:
    """The ranges that are carried where there may be only so many, in the order of events."""
    if len(records) <= most:
        return np.arange(len(records), dtype=np.int64)
    columns = records.columns
    importance = columns["wall_s"].astype(np.float64)
    importance[columns["failure"] > 0] += 1e9
    importance[columns["state"] == State.FAILED] += 1e10
    chosen: Indices = np.argpartition(importance, len(importance) - most)[len(importance) - most :]
    return np.sort(chosen)


def _section(table: ReportTable, drawing: str) -> str:
    about = f"<p>{_text(table.about)}</p>" if table.about else ""
    return (
        f'<section id="{table.name}" aria-labelledby="{table.name}-title"><h2 id="{table.name}-title">{escape(table.title)}</h2>'
        f"{about}{drawing}{_table(table)}</section>"
    )


def _table(table: ReportTable) -> str:
    if not table.rows:
        return "<p>None.</p>"
    head = "".join(f'<th scope="col">{_text(column.title)}</th>' for column in table.columns)
    body = "".join(_row(table.columns, row) for row in table.rows[:ROWS_SHOWN])
    hidden = len(table.rows) - ROWS_SHOWN
    more = f'<button data-more="{table.name}">Show {hidden:,} more</button> ' if hidden > 0 else ""
    title = escape(table.title)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Rows of: {title}"><table id="{table.name}-rows">'
        f'<caption class="hidden">{title}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p>{more}<button data-save="{table.name}">Save as JSON</button></p>'
    )


def _row(columns: Sequence[Column], row: Sequence[Cell]) -> str:
    cells = "".join(
        f'<td class="number">{_text(written(cell, column.kind))}</td>'
        if column.kind.is_number
        else f"<td>{_text(written(cell, column.kind))}</td>"
        for column, cell in zip(columns, row, strict=True)
    )
    return f"<tr>{cells}</tr>"


def _text(text: str) -> str:
    return escape(visible(text))


def _as_json(document: object) -> str:
    """JSON that no HTML parser finds an end of a script in."""
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _page_file(name: str) -> str:
    return (files("raythena.monitor") / "page" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
