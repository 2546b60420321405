"""Points of a scan through Harvester: what arrives as what, and what iDDS hears of losses."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path

import pytest
from access_point_kit import IDS, PANDA_ID, access_point

from harvester_double.idds import IddsDouble, ScanHarvester
from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.job import PayloadSpec
from raythena.domain.panda import parse_panda_jobs, to_given_job
from raythena.domain.panda_ranges import parse_event_ranges
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.domain.scan.trial import POINTS_LFN, Point, TrialResult
from raythena.gateways.harvester.documents import LEAST_LOSS, loss_entries
from raythena.gateways.harvester.gateway import HarvesterGateway, is_scan
from raythena.gateways.harvester.jobs import load_harvester_job
from raythena.runtime.gateway_interface import GatewayContext

TRIAL = PayloadSpec("trial", {"command": ["train"]})
DOCUMENT = {
    "PandaID": int(PANDA_ID),
    "taskID": int(IDS.task_id),
    "jobsetID": 0,
    "isHPO": True,
    "inFiles": "train.root",
    "GUID": "NULL",
}
PFN = f"/run/{POINTS_LFN}"


def job(**keys):
    (panda_job,) = parse_panda_jobs({**DOCUMENT, **keys}, "HPCJobs.json").values()
    return to_given_job(panda_job, TRIAL, place=FieldPath("HPCJobs.json", "", panda_job.document), input_directory="/run")


def ranges(*events) -> tuple:
    return parse_event_ranges(json.dumps({PANDA_ID: events}), "JobsEventRanges.json", {POINTS_LFN: PFN})[PANDA_ID]


def event(point, number=7):
    return {"eventRangeID": f"{IDS.task_id}-{PANDA_ID}-1234-{number}-5", "LFN": "pseudo_lfn", "hp_point": point}


# ---- points


def test_a_point_is_the_parameters_of_what_idds_says():
    (each,) = ranges(event({"id": "7", "parameters": {"x": 0.5}, "loss": None}))
    assert Point.from_text(each.point) == Point(7, {"x": 0.5})
    assert (each.lfn, each.pfn, each.first_event) == (POINTS_LFN, PFN, 7)
    assert each.range_id == f"{IDS.task_id}-{PANDA_ID}-1234-7-5", "the id comes back as it was"


def test_in_a_scan_with_segments_it_is_a_pair():
    (each,) = ranges(event({"id": 7, "parameters": ["model_a", {"x": 0.5}], "loss": None}))
    assert Point.from_text(each.point).parameters == ["model_a", {"x": 0.5}]


def test_a_loss_that_idds_has_is_kept():
    (each,) = ranges(event({"id": 7, "parameters": {"x": 0.5}, "loss": 0.25}))
    assert Point.from_text(each.point).known == 0.25


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ({"id": 7}, "hp_point.parameters: is null; expected parameters by name"),
        ({"id": 7, "parameters": "x=1"}, "parameters: is 'x=1'"),
        ({"id": 7, "parameters": ["a"]}, "expected parameters by name, or a segment"),
        ({"id": 7, "parameters": {}, "loss": "bad"}, "hp_point.loss: is 'bad'; expected a number"),
        (None, "'pseudo_lfn' is no input file of the job"),
    ],
)
def test_what_is_no_point_is_refused(point, told):
    with pytest.raises(InvalidInput, match=told):
        ranges(event(point))


def test_the_job_of_a_scan_has_points_for_input(tmp_path):
    found = job()
    assert is_scan(found)
    assert found.ranges_given
    assert [file.lfn for file in found.inputs] == [POINTS_LFN]
    assert (found.job_id, found.task_id) == (PANDA_ID, IDS.task_id)
    (tmp_path / "HPCJobs.json").write_text(json.dumps({PANDA_ID: DOCUMENT}))
    assert is_scan(load_harvester_job(tmp_path / "HPCJobs.json", tmp_path, TRIAL, None)), "training data need not be files here"


def test_a_scan_needs_the_payload_for_trials():
    (panda_job,) = parse_panda_jobs(DOCUMENT, "HPCJobs.json").values()
    with pytest.raises(InvalidInput, match="isHPO: is set, and the payload is 'python'; expected the payload 'trial'"):
        to_given_job(panda_job, PayloadSpec("python"), place=FieldPath("HPCJobs.json", "", panda_job.document))


# ---- losses


def finished(number: int, range_id: str, loss: float, directory: Path) -> RangeReport:
    path = directory / f"{number}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"trial.{range_id}", TrialResult(7, {"x": 1}, {"loss": loss}).to_bytes())
    return RangeReport(number, (ReportedRange(range_id, RangeStatus.FINISHED),), DeliveredFile(str(path), 1, 1))


def test_losses_are_numbers_and_never_quite_zero():
    report = RangeReport(1, tuple(ReportedRange(each, RangeStatus.FINISHED) for each in "abc"), DeliveredFile("/a.zip", 1, 1))
    entries = loss_entries(report, {"a": 0.25, "b": 0.0, "c": -0.0})
    assert [entry["loss"] for entry in entries] == [0.25, LEAST_LOSS, LEAST_LOSS]
    assert {entry["eventStatus"] for entry in entries} == {"finished"}
    assert float(str(LEAST_LOSS)) == LEAST_LOSS > 0.0
    given_up = RangeReport(2, (ReportedRange("d", RangeStatus.FATAL, None, "no data"),))
    assert loss_entries(given_up, {}) == [{"eventRangeID": "d", "eventStatus": "failed"}]


class Line:
    """A coordinator that computes every point at once: the square of x; the third fails."""

    def __init__(self, gateway, directory):
        self.gateway, self.directory = gateway, directory
        self.given, self.acknowledged, self.ended, self.reports = [], [], asyncio.Event(), 0

    async def ranges_given(self, found):
        self.given += found
        for each in found:
            self.reports += 1
            point = Point.from_text(each.point)
            if point.number == 3:
                self.gateway.report_due(RangeReport(self.reports, (ReportedRange(each.range_id, RangeStatus.FATAL, None, "no"),)))
            else:
                self.gateway.report_due(finished(self.reports, each.range_id, point.parameters["x"] ** 2, self.directory))
        if found:
            self.gateway.ranges_wanted(5)
        return len(found)

    def ranges_ended(self):
        self.ended.set()

    async def reports_acknowledged(self, numbers):
        self.acknowledged += numbers


def play(directory, idds, disturb=lambda harvester, line: None):
    point = access_point(directory / "point")
    options = {"access_point": str(point.directory), "names": point.names.to_dict()}
    gateway = HarvesterGateway(GatewayContext(job(), "s", directory, options))
    harvester = ScanHarvester(point.directory, PANDA_ID, IDS.task_id, idds)
    line = Line(gateway, directory)

    async def session():
        running = asyncio.create_task(gateway.run(line))
        gateway.ranges_wanted(5)
        async with asyncio.timeout(60):
            while not (line.ended.is_set() and len(line.acknowledged) == line.reports):
                disturb(harvester, line)
                harvester.step()
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(session())
    return harvester, line


def test_a_scan_steered_by_idds_from_its_first_point_to_its_last(tmp_path):
    idds = IddsDouble.of([{"x": x} for x in (0.5, 0.0, 2.0, 3.0, 4.0, 5.0)])
    harvester, line = play(tmp_path, idds)
    assert [Point.from_text(each.point).number for each in line.given] == list(range(6))
    assert idds.told == {"0": [0.25], "1": [LEAST_LOSS], "2": [4.0], "4": [16.0], "5": [25.0]}, "one value for each point, once"
    assert idds.unevaluated() == ["3"], "only what failed is without a loss"
    assert harvester.statuses["3"] == ["failed"]
    assert all(statuses == ["finished"] for point, statuses in harvester.statuses.items() if point != "3")
    assert not (harvester.point / "event_status.dump.json").exists(), "there Harvester would drop the losses"


def test_a_result_that_cannot_be_read_yet_is_told_later(tmp_path):
    idds = IddsDouble.of([{"x": 2.0}])
    waits = {"turns": 0}

    def hide(harvester, line):
        waits["turns"] += 1
        archive, hidden = tmp_path / "1.zip", tmp_path / "hidden"
        if waits["turns"] < 60 and archive.exists():
            archive.rename(hidden)
        elif waits["turns"] >= 60 and hidden.exists():
            hidden.rename(archive)

    play(tmp_path, idds, hide)
    assert idds.told == {"0": [4.0]}
