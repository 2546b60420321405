"""A scan for the page that watches it: how the points stand, the best of them, how the search went, learning curves.

Of very many trials the best and an even selection of the others are told, and how many there are; tables with all of them are
`raythena tune`'s own.
"""

from __future__ import annotations

from raythena.domain.short_reason import short_reason
from raythena.tune.scan_page import drawn_of
from raythena.tune.scan_results import ScanResults, points_table

MOST_POINTS = 1000
_STATES = ("finished", "stopped early", "failed", "open")
_MAX_REASON = 300


def scan_document(results: ScanResults) -> dict[str, object]:
    """Plain values, ready for JSON."""
    objective = results.scan.objectives[0]
    columns, rows = points_table(results)
    best = [each.number for each in results.best()]
    ordered = sorted(rows, key=lambda row: (row[0] not in best, -_number(row[0])))[:MOST_POINTS]
    finished = sorted(results.finished, key=lambda result: result.number)
    curves = [
        {
            "number": result.number,
            "best": result.number in best,
            "steps": [report.step for report in result.reports],
            "values": [report.value for report in result.reports],
        }
        for result in drawn_of(results)
        if len(result.reports) > 1
    ]
    return {
        "name": results.scan.name,
        "objective": objective.name,
        "maximise": objective.sign < 0,
        "counts": {state: results.count(state) for state in _STATES},
        "count": len(rows),
        "columns": columns,
        "rows": [[short_reason(cell, _MAX_REASON) if isinstance(cell, str) else cell for cell in row] for row in ordered],
        "best": best,
        "history": [[result.number, result.values[objective.name]] for result in finished],
        "curves": curves,
    }


def _number(cell: object) -> int:
    return cell if isinstance(cell, int) else 0
