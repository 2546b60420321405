"""A worker without a cluster, for millions of made-up histories: the real messenger in the real access point, nothing computed.

It keeps what a coordinator keeps in its ledger (`Memory`), may die at any step, and then starts again with that alone.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from harvester_double.double import HarvesterDouble
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.domain.ranges import EventRange
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.access_point import AccessPoint
from raythena.gateways.harvester.config import FileNames
from raythena.gateways.harvester.messenger import JobIds, Messenger, RangesArrived, RangesEnded, ReportsTaken


@dataclass
class Memory:
    """What is durable."""

    ranges: dict[str, EventRange] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)
    open_reports: dict[int, RangeReport] = field(default_factory=dict)
    reports: int = 0
    computed_twice: int = 0


class Worker:
    """One life after another. `run` goes on until everything is told and taken."""

    def __init__(self, point: Path, double: HarvesterDouble, seed: int, *, kills: float = 0.0) -> None:
        self._point = AccessPoint(point, FileNames())
        self._double = double
        self._dice = random.Random(seed)
        self._kills = kills
        self._panda_id = str(double.panda.panda_id)
        self._ids = JobIds(self._panda_id, str(double.panda.document["taskID"]), str(double.panda.document["jobsetID"]))
        self._pfn_of = {lfn: f"/data/{lfn}" for lfn, _, _ in double.panda.inputs}
        self.memory = Memory()
        self.lives = 0
        self.now = 0.0

    def run(self, limit_s: float = 200_000.0) -> None:
        """To the end, in virtual time. Fails when there is none."""
        while not self._live(limit_s):
            assert self.now < limit_s, f"no end: {self.memory}"

    def _live(self, limit_s: float) -> bool:
        """One life; whether it was the last."""
        self.lives += 1
        messenger = Messenger(self._point, self._ids, self._pfn_of, max_entries=self._dice.choice([3, 20, 1000]))
        for number, report in self.memory.open_reports.items():
            messenger.tell(documents.report_entries(report), number)
        ended = waiting = told_again = False
        next_turn = self.now
        while self.now < limit_s:
            self.now += 0.2 if self._dice.random() < 0.5 else self._dice.uniform(0.2, 3.0)
            self._double.step(self.now)
            if self.now < next_turn:
                continue
            if self._dice.random() < self._kills:
                return False
            left = self._left()
            if not ended and not waiting and len(left) < 5:
                messenger.want(self._dice.randint(1, 12))
                waiting = True
            news, pause_s = messenger.turn(self.now)
            next_turn = self.now + pause_s
            for each in news:
                match each:
                    case RangesArrived():
                        waiting = False
                        self.memory.ranges |= {one.range_id: one for one in each.ranges}
                        if self._dice.random() < self._kills:
                            return False
                        messenger.settled(each.claim)
                    case RangesEnded():
                        ended = True
                    case ReportsTaken():
                        for number in each.numbers:
                            self.memory.open_reports.pop(number, None)
            if left and self._dice.random() < 0.3:
                self._compute(messenger, left[: self._dice.randint(1, 8)])
            elif ended and not left and messenger.reports.idle and not self.memory.open_reports:
                if told_again:
                    return True
                messenger.tell_all_again()
                told_again = True
        return False

    def _left(self) -> list[str]:
        return [range_id for range_id in self.memory.ranges if range_id not in self.memory.computed]

    def _compute(self, messenger: Messenger, ids: list[str]) -> None:
        self.memory.reports += 1
        number = self.memory.reports
        kind = self._dice.choice(["archive", "archive", "files", "files", "failed"])
        if kind == "archive":
            ranges = tuple(ReportedRange(each, RangeStatus.FINISHED) for each in ids)
            report = RangeReport(number, ranges, self._file(f"premerge-{number}.zip"))
        elif kind == "files":
            ranges = tuple(ReportedRange(each, RangeStatus.FINISHED, self._file(f"HITS.{each}")) for each in ids)
            report = RangeReport(number, ranges)
        else:
            report = RangeReport(number, tuple(ReportedRange(each, RangeStatus.FATAL, message="no") for each in ids[:1]))
        self.memory.computed |= {each.range_id for each in report.ranges}
        self.memory.open_reports[number] = report
        messenger.tell(documents.report_entries(report), number)

    def _file(self, name: str) -> DeliveredFile:
        path = self._point.directory / "outputs" / name
        path.parent.mkdir(exist_ok=True)
        data = name.encode()
        path.write_bytes(data)
        return DeliveredFile(str(path), len(data), zlib.adler32(data))
