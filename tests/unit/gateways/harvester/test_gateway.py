"""The plug-in between a coordinator and an access point: what it passes on, what it keeps, how it ends."""

import asyncio
import json

import pytest
from access_point_kit import IDS, PANDA_ID, access_point, document, put, some_ranges

from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.gateways.harvester.gateway import PLUGIN, HarvesterGateway
from raythena.runtime.gateway_interface import GatewayContext, gateway_plugin
from raythena.runtime.session_end import SessionResult
from raythena.runtime.talk_file import read_talks
from raythena.storage.taskdir import TaskDirectory


class Line:
    """The coordinator's side, remembering."""

    def __init__(self, point):
        self.point = point
        self.given, self.kept, self.acknowledged, self.ended = [], [], [], False

    async def ranges_given(self, ranges):
        self.kept.append(self.point.claims())
        self.given += ranges
        return len(ranges)

    def ranges_ended(self):
        self.ended = True

    async def reports_acknowledged(self, numbers):
        self.acknowledged += numbers


def given_job():
    lfns = document("events")["inFiles"].split(",")
    inputs = tuple(InputFile(lfn, f"/run/inputs/{lfn}", 0) for lfn in lfns)
    return Job(
        "panda", inputs, ("HITS.1.root",), PayloadSpec("python"), MergeSpec("none"), 1,
        job_id=PANDA_ID, task_id=IDS.task_id, jobset_id=IDS.jobset_id, ranges_given=True,
    )  # fmt: skip


@pytest.fixture
def point(tmp_path):
    return access_point(tmp_path / "point")


def made(point, **options):
    told = {"access_point": str(point.directory), "names": point.names.to_dict(), **options}
    return HarvesterGateway(GatewayContext(given_job(), "s", point.directory / "task", told))


def failed(number, *ids):
    return RangeReport(number, tuple(ReportedRange(each, RangeStatus.FAILED, message="broken") for each in ids))


async def until(condition, limit_s=60.0):
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 (files have no events)
            await asyncio.sleep(0.01)


def run_with(gateway, line, play):
    async def both():
        running = asyncio.create_task(gateway.run(line))
        try:
            await play()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(both())


def test_it_is_registered():
    assert gateway_plugin("harvester") is PLUGIN


def test_ranges_and_reports_pass_through(point):
    gateway, line = made(point), Line(point)
    request, dump = point.directory / "worker_requestevents.json", point.directory / "event_status.dump.json"

    async def play():
        gateway.ranges_wanted(3)
        await until(request.exists)
        put(point, "JobsEventRanges.json", some_ranges(3))
        request.unlink()
        await until(lambda: line.given)
        gateway.report_due(failed(7, line.given[0].range_id))
        await until(dump.exists)
        assert line.acknowledged == []
        dump.rename(f"{dump}.read")
        await asyncio.sleep(0.3)
        assert line.acknowledged == []
        dump.with_name(dump.name + ".read").rename(f"{dump}.read.1")
        await until(lambda: line.acknowledged)
        gateway.ranges_wanted(3)
        await until(request.exists)
        put(point, "JobsEventRanges.json", {PANDA_ID: []})
        await until(lambda: line.ended)

    run_with(gateway, line, play)
    assert [each.pfn for each in line.given] == [given_job().inputs[0].pfn] * 3
    # what the ranges came in was there while they were handed over, and not after
    assert [len(kept) for kept in line.kept] == [1]
    assert point.claims() == []
    assert line.acknowledged == [7]
    gateway._write_talk()
    ((_, talk),) = read_talks(TaskDirectory(point.directory / "task"))
    said = {str(what): (one.times, one.items) for what, one in talk.said.items()}
    assert said == {"asked": (2, 6), "given": (2, 3), "told": (1, 1), "acknowledged": (1, 1)}
    assert talk.place == str(point.directory)


def test_ranges_of_a_file_that_is_no_input_end_the_job(point):
    gateway = made(point)
    wrong = some_ranges(1)
    wrong[PANDA_ID][0]["LFN"] = "OTHER.root"
    put(point, "JobsEventRanges.json", wrong)
    with pytest.raises(InvalidInput, match=r"OTHER\.root"):
        asyncio.run(gateway.run(Line(point)))


def result(outcome, code):
    return SessionResult(outcome, "because", code, None)


def test_at_the_end_everything_is_told_and_told_again(point):
    """Harvester knows what it has taken in, and drops it; what was lost on its way it hears now."""
    gateway = made(point)
    dump = point.directory / "event_status.dump.json"
    taken = []

    async def harvester():
        while True:
            if dump.exists():
                taken.append([entry["eventRangeID"] for entry in json.loads(dump.read_text())[PANDA_ID]])
                dump.rename(f"{dump}.read.{len(taken)}")
            await asyncio.sleep(0.01)

    async def play():
        taking = asyncio.create_task(harvester())
        gateway.report_due(failed(1, "a"))
        archive = DeliveredFile("/run/one.zip", 10, 1)
        gateway.report_due(RangeReport(2, tuple(ReportedRange(each, RangeStatus.FINISHED) for each in "bc"), archive))
        await gateway.ended(result("complete", ExitCode.OK))
        taking.cancel()

    asyncio.run(play())
    assert [sorted(each) for each in taken] == [["a", "b", "c"], ["a", "b", "c"]]


def test_a_harvester_that_is_away_is_not_waited_for_for_ever(point, caplog):
    gateway = made(point, patience_s=0.1, hurry_s=0.1)
    gateway.report_due(failed(1, "a"))
    asyncio.run(gateway.ended(result("complete", ExitCode.OK)))
    assert "has not taken the last reports in" in caplog.text
    assert (point.directory / "event_status.dump.json").exists()


def test_a_disk_that_refuses_is_tried_again(point, caplog):
    gateway, line = made(point, waits={"invisible_s": 0.1}), Line(point)
    (point.directory / ".raythena").write_text("in the way")

    async def play():
        gateway.ranges_wanted(3)
        await until(lambda: "the access point refuses" in caplog.text)
        (point.directory / ".raythena").unlink()
        await until((point.directory / "worker_requestevents.json").exists)

    run_with(gateway, line, play)


def test_options_that_are_none_are_refused():
    with pytest.raises(InvalidInput):
        PLUGIN.check_options({"access_pint": "/x"}, "session")
