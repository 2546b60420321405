from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.progress import Progress
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.domain.ranges import EventRange
from raythena.gateways.memory import PLUGIN, MemoryGateway
from raythena.runtime.gateway_interface import FinalOutput, GatewayContext, gateway_plugin
from raythena.runtime.session_end import SessionResult

JOB = Job("one", (InputFile("a", "/a", 0),), ("b",), PayloadSpec("python"), MergeSpec("none"), 1, ranges_given=True)
RANGES = [EventRange(f"7-8-9-{event}-1", "a", "/a", "", event, event) for event in range(1, 6)]
REPORT = RangeReport(3, (ReportedRange("7-8-9-1-1", RangeStatus.FINISHED),), DeliveredFile("/x.zip", 10, 0xAB))


class Line:
    """A coordinator that only listens."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.news = asyncio.Event()

    async def ranges_given(self, ranges):
        self._note([each.range_id for each in ranges])
        return len(ranges)

    def ranges_ended(self):
        self._note("ended")

    async def reports_acknowledged(self, numbers):
        self._note(list(numbers))

    def stop(self, reason, cause=None, by=None):
        self._note(reason)

    def _note(self, what):
        self.told.append(what)
        self.news.set()

    async def heard(self, count: int) -> list[object]:
        while len(self.told) < count:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 60)
        return self.told


def gateway(**options) -> MemoryGateway:
    options.setdefault("ranges", [asdict(each) for each in RANGES])
    return MemoryGateway(GatewayContext(JOB, "s", Path("/t"), options))


def conversation(memory: MemoryGateway, count: int, *tell) -> list[object]:
    """What the coordinator hears, `count` things, when the gateway is told `tell`."""

    async def talk() -> list[object]:
        line = Line()
        running = asyncio.create_task(memory.run(line))
        for method, argument in tell:
            getattr(memory, method)(argument)
        heard = await line.heard(count)
        running.cancel()
        return heard

    return asyncio.run(talk())


def test_ranges_come_out_in_order_and_then_no_more():
    heard = conversation(gateway(), 3, ("ranges_wanted", 3), ("ranges_wanted", 100), ("ranges_wanted", 1))
    assert heard == [[each.range_id for each in RANGES[:3]], [each.range_id for each in RANGES[3:]], "ended"]


def test_an_answer_may_hold_fewer_than_wanted():
    assert [len(answer) for answer in conversation(gateway(per_answer=2), 2, ("ranges_wanted", 5), ("ranges_wanted", 5))] == [
        2,
        2,
    ]


def test_reports_are_kept_and_acknowledged_by_number():
    memory = gateway()
    assert conversation(memory, 1, ("report_due", REPORT)) == [[3]]
    assert memory.reports == [REPORT]


def test_everything_told_is_in_the_journal(tmp_path):
    journal = tmp_path / "told"
    memory = gateway(journal=str(journal), acknowledge=False)
    memory.report_due(REPORT)
    memory.output_merged(FinalOutput("b", "/o/b", "G", 1, 2, 3))
    memory.progressed(Progress("one", "running", 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1.0, None, 1.0, 1.0))
    asyncio.run(memory.ended(SessionResult("complete", "", ExitCode.OK, memory.progress)))
    told = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [what for what, _ in told] == ["report", "output", "ended"]
    assert told[0][1]["archive"] == {"path": "/x.zip", "size_bytes": 10, "adler32": 0xAB}
    assert REPORT.archive.checksum == "000000ab"


def test_an_unknown_gateway_is_refused_by_name():
    with pytest.raises(InvalidInput, match="no gateway called 'pigeon'"):
        gateway_plugin("pigeon")
    assert PLUGIN.name == "memory"
