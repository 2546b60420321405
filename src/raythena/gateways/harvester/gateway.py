"""The plug-in the coordinator runs: takes the messenger's turns, and keeps what is told current.

The coordinator's calls only put something in a basket; `run` empties it, and whatever touches the disk happens in a thread. The
disk may refuse for a while: what was to be written is written later, nothing is dropped.

An output of on-site merging is handed over in an order that is true at every step, should the next one never come: first
`state.json`, from which Harvester takes outputs when we are gone; then the attribute `xml`, after which PanDA no longer gives
the inputs to another job; then the dump.

Who beats the heartbeat knows that work proceeds: it is beaten when events were finished, outputs merged, or cores are busy (each
event has a time limit of its own), never just because time goes by.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raythena.domain.errors import InvalidInput, StorageError
from raythena.domain.gateway_talk import Talk
from raythena.domain.job import Job
from raythena.domain.progress import Progress
from raythena.domain.range_report import RangeReport, RangeStatus
from raythena.domain.scan.trial import POINTS_LFN
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.access_point import AccessPoint
from raythena.gateways.harvester.conversation import Patience
from raythena.gateways.harvester.deliverables import Deliverables
from raythena.gateways.harvester.harvester_config import FileNames
from raythena.gateways.harvester.messenger import JobIds, Messenger, News, RangesArrived, RangesEnded, ReportsTaken
from raythena.runtime.gateway_interface import CoordinatorLine, FinalOutput, GatewayContext, GatewayPlugin
from raythena.runtime.result_archive import results_in
from raythena.runtime.session_end import SessionResult
from raythena.runtime.talk_file import TalkFile
from raythena.storage.atomic import write_atomically
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

_BEAT_S = 10.0
_ATTRIBUTES_S = 60.0
_HURRIED_OUTCOMES = ("stopped",)


@dataclass(frozen=True, slots=True)
class HarvesterOptions:
    """Options of the gateway."""

    access_point: str
    """Absolute path."""
    names: dict[str, str] = field(default_factory=dict)
    """Fields of `FileNames`."""
    state_file: str = ""
    """Absolute path of `state.json`; empty: none is written."""
    patience_s: float = 300.0
    """How long Harvester may take to take the last reports in."""
    hurry_s: float = 8.0
    """The same when the job is stopped from outside."""
    waits: dict[str, float] = field(default_factory=dict)
    """Fields of `Patience`."""

    @classmethod
    def of(cls, options: dict[str, Any], source: str = "session") -> HarvesterOptions:
        """Check and build. Raises InvalidInput."""
        try:
            return cls(**options)
        except TypeError as problem:
            raise InvalidInput(source, "gateway.options", str(problem), expected="access_point and names") from problem


class HarvesterGateway:
    """See the module and `raythena.runtime.gateway_interface.Gateway`."""

    def __init__(self, context: GatewayContext) -> None:
        self._options = options = HarvesterOptions.of(context.options)
        job = context.job
        names = FileNames(**options.names)
        self._scan = is_scan(job)
        if self._scan:
            # what a dump of files and events says of losses Harvester drops; the file of updated events it takes as it is
            names = replace(names, event_status_dump_json_file=names.update_events_file)
        self._point = AccessPoint(Path(options.access_point), names)
        ids = JobIds(job.job_id, job.task_id, job.jobset_id)
        self._talk = TalkFile(
            TaskDirectory(context.task_directory),
            context.session,
            Talk("Harvester", options.access_point),
            time.monotonic,
            time.time,
        )
        pfns = {file.lfn: file.pfn for file in job.inputs}
        self._messenger = Messenger(self._point, ids, pfns, Patience(**options.waits), note=self._talk.note)
        self._given = job.ranges_given
        self._deliverables = None if job.ranges_given else Deliverables(job)
        self._basket: list[Callable[[], None]] = []
        self._losses_due: list[RangeReport] = []
        self._wake = asyncio.Event()
        self._turning = threading.Lock()
        self._state_due = False
        self._progress: Progress | None = None
        self._proof_of_work: tuple[int, ...] | None = None
        self._beat_at = self._attributes_at = float("-inf")
        self._beat_due = False

    # ---- told by the coordinator

    def ranges_wanted(self, count: int) -> None:
        """See `Gateway`."""
        self._put(lambda: self._messenger.want(count))

    def report_due(self, report: RangeReport) -> None:
        """See `Gateway`."""
        for each in report.ranges:
            if each.message:
                logger.info("event %s: %s: %s", each.range_id, each.status, each.message)
        if self._scan:
            self._losses_due.append(report)
            self._wake.set()
        else:
            self._put(lambda: self._messenger.tell(documents.report_entries(report), report.number))

    def output_merged(self, output: FinalOutput) -> None:
        """See `Gateway`."""
        if self._deliverables is None:
            return
        entries = self._deliverables.add(output)
        if entries:
            self._state_due = True
            self._put(lambda: self._messenger.tell(entries))

    def progressed(self, progress: Progress) -> None:
        """See `Gateway`."""
        proof = (progress.finished, progress.failed, progress.attempts_failed, progress.outputs_merged)
        at_work = progress.merging > 0 or any(node.busy for node in progress.nodes if node.state != "lost")
        moved = self._proof_of_work is not None and proof != self._proof_of_work
        self._beat_due = self._beat_due or at_work or moved
        self._proof_of_work = proof
        self._progress = progress

    def _put(self, what: Callable[[], None]) -> None:
        self._basket.append(what)
        self._wake.set()

    # ---- at work

    async def run(self, coordinator: CoordinatorLine) -> None:
        """See `Gateway`."""
        await asyncio.to_thread(self._talk.restore)
        while True:
            news, pause_s = await self._turn()
            for each in news:
                await self._pass_on(each, coordinator)
            await self._pause(pause_s)

    async def _turn(self) -> tuple[list[News], float]:
        self._wake.clear()
        basket, self._basket = self._basket, []
        for what in basket:
            what()
        await self._tell_losses()
        now = time.monotonic()
        await self._write_what_is_due(now)
        return await asyncio.to_thread(self._one_turn, now)

    async def _tell_losses(self) -> None:
        """Read the losses of finished points, and tell them. What cannot be read now is told later."""
        due, self._losses_due = self._losses_due, []
        for report in due:
            try:
                losses = await asyncio.to_thread(losses_in, report)
            except StorageError as problem:
                logger.error("%s", problem)
                self._losses_due.append(report)
            else:
                self._messenger.tell(documents.loss_entries(report, losses), report.number)

    def _one_turn(self, now: float) -> tuple[list[News], float]:
        """In a thread. One that was cancelled goes on, so the next one waits for it."""
        with self._turning:
            told = self._messenger.turn(now)
            self._talk.note_trouble(self._messenger.trouble)
            self._talk.write()
            return told

    def _write_talk(self) -> None:
        """In a thread, see `_one_turn`."""
        with self._turning:
            self._talk.write(ended=True)

    async def _pause(self, pause_s: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), pause_s)
        except TimeoutError:
            return

    async def _pass_on(self, news: News, coordinator: CoordinatorLine) -> None:
        match news:
            case RangesArrived():
                new = await coordinator.ranges_given(news.ranges)
                logger.info("%d of %d event ranges are new", new, len(news.ranges))
                await self._unless_refused("forget ranges", lambda: self._messenger.settled(news.claim))
            case RangesEnded():
                logger.info("Harvester has no more event ranges")
                coordinator.ranges_ended()
            case ReportsTaken():
                await coordinator.reports_acknowledged(news.numbers)

    async def _write_what_is_due(self, now: float) -> None:
        if self._state_due and self._deliverables is not None:
            await self._say_what_is_done(self._deliverables)
        if self._beat_due and now - self._beat_at >= _BEAT_S and await self._unless_refused("beat", self._point.beat):
            self._beat_due, self._beat_at = False, now
        progress = self._progress
        if progress is not None and now - self._attributes_at >= _ATTRIBUTES_S:
            values = {"nEvents": int(progress.finished), "coreCount": sum(node.cores for node in progress.nodes)}
            told: dict[str, int | str] = {name: value for name, value in values.items() if value}
            if told and await self._unless_refused("write attributes", lambda: self._point.write_attributes(told)):
                self._attributes_at = now

    async def _say_what_is_done(self, deliverables: Deliverables) -> None:
        # both of the same outputs: what is merged while they are written is due once more
        state, report = deliverables.state(), deliverables.report()
        self._state_due = said = False
        try:
            said = await self._unless_refused("say which inputs are done", lambda: self._write_what_is_done(state, report))
        finally:
            self._state_due = self._state_due or not said

    def _write_what_is_done(self, state: dict[str, object], report: str) -> None:
        """In a thread, see `_one_turn`."""
        with self._turning:
            if self._options.state_file:
                write_task_state(Path(self._options.state_file), state)
            self._point.write_attributes({"xml": report})

    async def _unless_refused(self, doing: str, what: Callable[[], None]) -> bool:
        try:
            await asyncio.to_thread(what)
        except StorageError as problem:
            logger.error("cannot %s: %s", doing, problem)
            return False
        return True

    # ---- the end

    async def ended(self, result: SessionResult) -> None:
        """Tell what is left to tell; where there is time, events once more, because an acknowledged report may be lost."""
        hurry = result.outcome in _HURRIED_OUTCOMES
        limit = time.monotonic() + (self._options.hurry_s if hurry else self._options.patience_s)
        await self._tell_the_rest(limit)
        if self._given and not hurry:
            self._messenger.tell_all_again()
            await self._tell_the_rest(limit)
        await asyncio.to_thread(self._write_talk)

    async def _tell_the_rest(self, limit: float) -> None:
        while True:
            _, pause_s = await self._turn()
            if self._messenger.reports.idle and not self._losses_due:
                return
            if time.monotonic() > limit:
                logger.warning("Harvester has not taken the last reports in")
                return
            await asyncio.sleep(min(pause_s, 1.0))


def is_scan(job: Job) -> bool:
    """Whether the event ranges of a job are points of a hyper-parameter scan."""
    return any(file.lfn == POINTS_LFN for file in job.inputs)


def losses_in(report: RangeReport) -> dict[str, float]:
    """The losses of finished points by the id of their range: the first objective of each. Raises StorageError."""
    finished = [each.range_id for each in report.ranges if each.status is RangeStatus.FINISHED]
    if report.archive is None:
        return {}
    results = results_in(Path(report.archive.path), finished)
    return {range_id: next(iter(result.values.values())) for range_id, result in zip(finished, results, strict=True)}


def write_task_state(path: Path, state: dict[str, object]) -> None:
    """Write `state.json`, whole or not at all. Raises StorageError."""
    write_atomically(path, json.dumps(state, indent=1))


def _check_options(options: dict[str, object], source: str) -> None:
    checked = HarvesterOptions.of(options, source)
    FileNames(**checked.names)
    Patience(**checked.waits)


PLUGIN = GatewayPlugin("harvester", HarvesterGateway, _check_options)
