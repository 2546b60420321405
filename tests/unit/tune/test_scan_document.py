"""A scan as the page that watches it is told: the best first, so many and no more, ready for JSON."""

from __future__ import annotations

import json

from raythena.cli.monitor_command import _reader_of_scan
from raythena.domain.scan.scan_file import parse_scan
from raythena.domain.scan.trial import Point, TrialReport, TrialResult
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.simulation.samples import small_job
from raythena.tune.scan_document import MOST_POINTS, scan_document
from raythena.tune.scan_results import ScanResults, TrialRow

DOCUMENT = {
    "name": "net",
    "space": {"rate": {"method": "uniform", "low": 0, "high": 1}},
    "budget": {"points": 9},
    "trial": {"python": "m:f"},
}


def results(points, **keys):
    rows = []
    for number in range(1, points + 1):
        reports = tuple(TrialReport(float(step), number + 1.0 / step, 0.1) for step in (1, 2))
        result = TrialResult(number, {"rate": 0.5}, {"loss": float(abs(number - 3))}, number == 2, reports, 1.0)
        rows.append(TrialRow(Point(number, {"rate": 0.5}), "stopped early" if number == 2 else "finished", result))
    rows.append(TrialRow(Point(points + 1, {"rate": 0.1}), "failed", reason="no\n<i>data</i>"))
    return ScanResults(parse_scan({**DOCUMENT, **keys}, "scan.yaml"), tuple(rows))


def test_everything_is_told():
    told = json.loads(json.dumps(scan_document(results(5))))
    assert told["counts"] == {"finished": 4, "stopped early": 1, "failed": 1, "open": 0}
    assert (told["count"], told["best"], told["objective"], told["maximise"]) == (6, [3], "loss", False)
    assert told["rows"][0][0] == 3
    assert told["rows"][1][-1] == "no <i>data</i>"
    assert told["history"] == [[1, 2.0], [3, 0.0], [4, 1.0], [5, 2.0]]
    assert [(curve["number"], curve["best"]) for curve in told["curves"] if curve["best"]] == [(3, True)]
    assert all(curve["steps"] == [1.0, 2.0] for curve in told["curves"])


def test_of_many_points_the_best_and_the_latest_are_told():
    told = scan_document(results(MOST_POINTS + 10))
    assert (len(told["rows"]), told["count"]) == (MOST_POINTS, MOST_POINTS + 11)
    assert [row[0] for row in told["rows"][:2]] == [3, MOST_POINTS + 11]


def test_only_a_scan_is_read_as_one(tmp_path):
    task, job = TaskDirectory(tmp_path), small_job((6,), 6)
    task.job.write_text(json.dumps(job.to_dict()))
    assert _reader_of_scan(task) is None
    task.job.write_text(json.dumps(job.to_dict() | {"source": DOCUMENT}))
    assert _reader_of_scan(task) is not None
