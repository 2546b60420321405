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
from raythena.gateways.harvester.harvester_config import FileNames
from raythena.gateways.harvester.messenger import JobIds, Messenger, News, RangesArrived, RangesEnded, ReportsTaken


@dataclass
class Memory:
    """What is durable."""

    ranges: dict[str, EventRange] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)
    open_reports: dict[int, RangeReport] = field(default_factory=dict)
    reports: int = 0


class _Killed(Exception):
    """The worker is gone, at this very step."""


class Worker:
    """One life after another. `run` goes on until everything is told and taken."""

    def __init__(self, point: Path, double: HarvesterDouble, seed: int, *, kills: float = 0.0) -> None:
        self._point = AccessPoint(point, FileNames())
        self._double = double
        self._dice = random.Random(seed)
        self._kills = kills
        panda = double.panda
        self._ids = JobIds(str(panda.panda_id), str(panda.document["taskID"]), str(panda.document["jobsetID"]))
        self._pfn_of = {lfn: f"/data/{lfn}" for lfn, _, _ in panda.inputs}
        self.memory = Memory()
        self.lives = 0
        self.now = 0.0

    def run(self, limit_s: float = 200_000.0) -> None:
        """To the end, in virtual time. Fails when there is none."""
        while True:
            self.lives += 1
            try:
                self._live(limit_s)
            except _Killed:
                continue
            return

    def _live(self, limit_s: float) -> None:
        """One life, to the end."""
        self._messenger = Messenger(self._point, self._ids, self._pfn_of, max_entries=self._dice.choice([3, 20, 1000]))
        for number, report in self.memory.open_reports.items():
            self._messenger.tell(documents.report_entries(report), number)
        self._ended = self._waiting = told_again = False
        next_turn = self.now
        while True:
            self.now += 0.2 if self._dice.random() < 0.5 else self._dice.uniform(0.2, 3.0)
            assert self.now < limit_s, f"no end: {self.memory}"
            self._double.step(self.now)
            if self.now < next_turn:
                continue
            next_turn = self.now + self._turn()
            left = self._left()
            if left and self._dice.random() < 0.3:
                self._compute(left[: self._dice.randint(1, 8)])
            elif self._ended and not left and self._messenger.reports.idle and not self.memory.open_reports:
                if told_again:
                    return
                self._messenger.tell_all_again()
                told_again = True

    def _maybe_die(self) -> None:
        if self._dice.random() < self._kills:
            raise _Killed

    def _turn(self) -> float:
        self._maybe_die()
        if not self._ended and not self._waiting and len(self._left()) < 5:
            self._messenger.want(self._dice.randint(1, 12))
            self._waiting = True
        news, pause_s = self._messenger.turn(self.now)
        for each in news:
            self._hear(each)
        return pause_s

    def _hear(self, news: News) -> None:
        match news:
            case RangesArrived():
                self._waiting = False
                self._maybe_die()
                self.memory.ranges |= {one.range_id: one for one in news.ranges}
                self._maybe_die()
                self._messenger.settled(news.claim)
            case RangesEnded():
                self._ended = True
            case ReportsTaken():
                self._maybe_die()
                for number in news.numbers:
                    self.memory.open_reports.pop(number, None)

    def _left(self) -> list[str]:
        return [range_id for range_id in self.memory.ranges if range_id not in self.memory.computed]

    def _compute(self, ids: list[str]) -> None:
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
        self._messenger.tell(documents.report_entries(report), number)

    def _file(self, name: str) -> DeliveredFile:
        path = self._point.directory / "outputs" / name
        path.parent.mkdir(exist_ok=True)
        data = name.encode()
        path.write_bytes(data)
        return DeliveredFile(str(path), len(data), zlib.adler32(data))
