"""The gateway of scans: points as they are wanted, results taken once, and a new life that goes on where the old one was."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import pytest
from scan_runs import SPACE, parabola

from raythena.domain.errors import StorageError
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.domain.scan.trial import Point, TrialResult
from raythena.runtime.gateway_interface import GatewayContext, HistoryReader, TaskHistory
from raythena.tune.scan_gateway import PLUGIN, ScanGateway

DOCUMENT = {
    "name": "parabola",
    "space": SPACE,
    "budget": {"points": 12},
    "search": {"method": "tpe", "seed": 7, "parallel": 3},
    "trial": {"python": "m:f"},
}
FILE = InputFile("parabola.points", "/scan.yaml", 0)


class Line:
    """A coordinator that wants `count` points whenever it has fewer, and computes what it gets."""

    def __init__(self, directory: Path, gateway: ScanGateway, stop_after: int = 1000) -> None:
        self._directory = directory
        self._gateway = gateway
        self._stop_after = stop_after
        self.given: list = []
        self.reports: list[RangeReport] = []
        self.acknowledged: list[int] = []
        self.over = asyncio.Event()

    async def ranges_given(self, ranges):
        self.given.extend(ranges)
        self._gateway.ranges_wanted(2)
        for each in ranges:
            self.compute(each)
        return len(ranges)

    def compute(self, each):
        point = Point.from_text(each.point)
        number = len(self.reports) + 1
        if point.number % 5 == 0:
            report = RangeReport(number, (ReportedRange(each.range_id, RangeStatus.FATAL, None, "no good"),))
        else:
            report = RangeReport(number, (ReportedRange(each.range_id, RangeStatus.FINISHED),), self._archive(each, point))
        self.reports.append(report)
        if len(self.reports) <= self._stop_after:
            self._gateway.report_due(report)
        else:
            self.over.set()

    def _archive(self, each, point) -> DeliveredFile:
        path = self._directory / f"{each.range_id}.zip"
        result = TrialResult(point.number, point.parameters, {"loss": parabola(point.parameters)}, wall_s=0.5)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"trial.{each.range_id}", result.to_bytes())
        return DeliveredFile(str(path), path.stat().st_size, 0)

    def ranges_ended(self):
        self.over.set()

    async def reports_acknowledged(self, numbers):
        self.acknowledged.extend(numbers)

    def stop(self, reason, cause=None, by=None):
        raise AssertionError(reason)


def gateway(directory: Path, **keys) -> ScanGateway:
    job = Job("parabola", (FILE,), ("trial",), PayloadSpec("trial"), MergeSpec("none"), 1, ranges_given=True)
    options = {"scan": {**DOCUMENT, **keys}, "source": "scan.yaml"}
    return ScanGateway(GatewayContext(job, "session", directory, options))


async def run(directory: Path, history: TaskHistory, stop_after: int = 1000, **keys) -> Line:
    made = gateway(directory, **keys)
    made.resumed(history)
    line = Line(directory, made, stop_after)
    working = asyncio.create_task(made.run(line))
    made.ranges_wanted(2)
    done, _ = await asyncio.wait(
        [working, asyncio.create_task(line.over.wait())], timeout=60, return_when=asyncio.FIRST_COMPLETED
    )
    assert done, "the gateway hangs"
    if working in done:
        await working
    await asyncio.sleep(0.05)
    working.cancel()
    return line


NOTHING = TaskHistory((), (), frozenset())


def points_of(line: Line) -> list[Point]:
    return [Point.from_text(each.point) for each in line.given]


def test_a_scan_from_its_first_point_to_its_last(tmp_path):
    line = asyncio.run(run(tmp_path, NOTHING))
    assert [point.number for point in points_of(line)] == list(range(1, 13))
    assert [each.range_id for each in line.given] == [f"point-{number}" for number in range(1, 13)]
    assert {(each.lfn, each.pfn, each.first_event) for each in line.given} == {
        (FILE.lfn, FILE.pfn, number) for number in range(1, 13)
    }
    assert sorted(line.acknowledged)[:10] == list(range(1, 11))


@pytest.mark.parametrize("died_after", [0, 1, 4, 5, 9])
def test_a_new_life_proposes_what_the_old_one_would_have(tmp_path, died_after):
    undisturbed = points_of(asyncio.run(run(tmp_path, NOTHING)))
    first = asyncio.run(run(tmp_path, NOTHING, stop_after=died_after))
    settled = first.reports[:died_after]
    failed = {each.ranges[0].range_id for each in settled if each.archive is None}
    history = TaskHistory(first.given, [each for each in settled if each.archive], frozenset(failed))

    async def second_life() -> Line:
        made = gateway(tmp_path)
        made.resumed(history)
        line = Line(tmp_path, made)
        working = asyncio.create_task(made.run(line))
        for report in first.reports[died_after:]:  # what was in the ledger, or computed meanwhile
            made.report_due(report)
        made.ranges_wanted(2)
        await asyncio.wait_for(line.over.wait(), 60)
        working.cancel()
        return line

    second = asyncio.run(second_life())
    assert points_of(first) + points_of(second) == undisturbed


def test_it_reads_histories():
    assert isinstance(gateway(Path("/nowhere")), HistoryReader)


def test_results_that_cannot_be_read_end_the_job(tmp_path):
    archive = DeliveredFile(str(tmp_path / "gone.zip"), 1, 0)
    report = RangeReport(1, (ReportedRange("point-1", RangeStatus.FINISHED),), archive)
    with pytest.raises(StorageError, match=r"cannot read the results of trials in .*gone\.zip"):
        asyncio.run(run(tmp_path, TaskHistory((), [report], frozenset())))


def test_an_earlier_scan_is_known_from_the_start(tmp_path):
    old = [
        TrialResult(number, {"x": number / 20}, {"loss": abs(number / 20 - 0.5)}).to_bytes().decode() for number in range(1, 20)
    ]
    keys = {
        "space": {"x": {"method": "uniform", "low": 0, "high": 1}},
        "budget": {"points": 3},
        "objective": {"loss": "minimize"},
    }

    def first_points(warm):
        job = Job("parabola", (FILE,), ("trial",), PayloadSpec("trial"), MergeSpec("none"), 1, ranges_given=True)
        made = ScanGateway(GatewayContext(job, "s", tmp_path, {"scan": {**DOCUMENT, **keys}, "warm": warm}))
        policy = made._rebuilt(None).policy
        return [policy.propose().parameters["x"] for _ in range(3)]

    assert max(abs(x - 0.5) for x in first_points(old)) < 0.3
    assert first_points([]) != first_points(old)


def test_options_are_checked_before_anything_is_started():
    assert PLUGIN.check_options is not None
    PLUGIN.check_options({"scan": DOCUMENT}, "session")
