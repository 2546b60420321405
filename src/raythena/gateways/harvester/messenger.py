"""Both desks and the access point put together: one turn looks, decides, acts, and says what came of it.

Turns are taken one after the other, by whoever has time (the gateway in a thread, the command at its end, a test). A disk that
refuses is no end: what could not be done is still to be done at the next turn.

A messenger keeps no truth. Ranges stay in the access point until `settled`; reports are kept by whoever told them until they are
acknowledged. Both are told again after a restart, and both bear it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from raythena.domain.errors import StorageError
from raythena.domain.gateway_talk import Saying
from raythena.domain.panda_ranges import parse_event_ranges
from raythena.domain.ranges import EventRange
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.access_point import AccessPoint, Torn
from raythena.gateways.harvester.conversation import (
    Acknowledged,
    Bundle,
    ClaimRanges,
    Pace,
    Patience,
    PublishDump,
    RangeRequests,
    ReadRanges,
    ReportPublisher,
    WriteRequest,
)
from raythena.gateways.harvester.documents import Entry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobIds:
    """What PanDA calls the job; empty where it has no number."""

    panda_id: str
    task_id: str = ""
    jobset_id: str = ""


# ---- what comes of a turn


@dataclass(frozen=True, slots=True)
class RangesArrived:
    """Ranges to be handed on. Call `Messenger.settled(claim)` when they are safe."""

    claim: str
    ranges: tuple[EventRange, ...]


@dataclass(frozen=True, slots=True)
class RangesEnded:
    """There are no more."""


@dataclass(frozen=True, slots=True)
class ReportsTaken:
    """Harvester has taken these reports in."""

    numbers: tuple[int, ...]


News = RangesArrived | RangesEnded | ReportsTaken


class Messenger:
    """Talks to Harvester for one job. `pfn_of`: the path of every input by LFN. Touches nothing until the first turn.

    `note` is told what was said, and about how many ranges, or events and files.
    """

    def __init__(
        self,
        point: AccessPoint,
        ids: JobIds,
        pfn_of: Mapping[str, str],
        patience: Patience | None = None,
        max_entries: int = 20_000,
        *,
        note: Callable[[Saying, int], object] | None = None,
    ) -> None:
        self._point = point
        self._ids = ids
        self._pfn_of = pfn_of
        self._patience = patience or Patience()
        self._pace = Pace(self._patience)
        self._ranges: RangeRequests | None = None
        self.reports = ReportPublisher(max_entries)
        self._max_entries = max_entries
        self._wanted = 0
        self._warned = 0
        self.trouble = ""
        """What keeps us from talking now."""
        self._note = note or _ignore
        self._in_dump = 0

    def want(self, count: int) -> None:
        """About `count` more ranges are wanted."""
        self._wanted = count

    def tell(self, entries: Iterable[Entry], number: int | None = None) -> None:
        """Something for Harvester, to be told as a whole; `number` comes back in `ReportsTaken`."""
        self.reports.add(Bundle(tuple(entries), number))

    def tell_all_again(self, at_most: int = 200_000) -> None:
        """Tell everything once more: what Harvester has taken in may still be lost, and what is not lost it drops.

        Files of outputs and logs are left out, they are told in other ways as well. More than `at_most` events are not told
        again: Harvester would take longer than anybody waits.
        """
        latest: dict[str, Entry] = {}
        for entries in self._point.told():
            latest |= {entry["eventRangeID"]: entry for entry in entries if "eventRangeID" in entry}
            if len(latest) > at_most:
                logger.warning("more than %d events were told, too many to tell them once more", at_most)
                return
        for bundle in documents.bundles(list(latest.values())):
            self.tell(bundle)

    def turn(self, now: float) -> tuple[list[News], float]:
        """Look, decide, act. What came of it, and seconds until the next turn. `now` is monotonic, in seconds."""
        news: list[News] = []
        seen = self._point.look()
        acted: list[object] = []
        try:
            requests = self._requests(now)
            self._range_turn(requests, now, acted, news)
            self._report_turn(acted, news)
            self.trouble = ""
        except StorageError as problem:
            if str(problem) != self.trouble:
                logger.error("the access point refuses: %s", problem)
            self.trouble = str(problem)
        return news, self._pace.pause_s(seen, acted)

    def turn_reports(self) -> tuple[list[News], float]:
        """A turn that leaves ranges alone, for who only has something to tell. Raises StorageError."""
        news: list[News] = []
        acted: list[object] = []
        seen = self._point.look()
        self._report_turn(acted, news)
        return news, self._pace.pause_s(seen, acted)

    def settled(self, claim: str) -> None:
        """Ranges that arrived are safe elsewhere."""
        self._point.drop_claim(claim)

    def _requests(self, now: float) -> RangeRequests:
        if self._ranges is None:
            self._ranges = RangeRequests(self._patience, self._point.claims(), asked=self._point.has_asked(), now=now)
        if self._wanted:
            self._ranges.want(self._wanted)
            self._wanted = 0
        return self._ranges

    def _range_turn(self, requests: RangeRequests, now: float, acted: list[object], news: list[News]) -> None:
        for action in requests.step(self._point.look(), now):
            acted.append(action)
            match action:
                case ClaimRanges():
                    claim = self._point.claim_ranges()
                    if claim is not None:
                        requests.claimed(claim, now)
                case ReadRanges():
                    self._read(requests, action.name, now, news)
                case WriteRequest():
                    ids = self._ids
                    self._point.write_request(documents.event_request(ids.panda_id, ids.task_id, ids.jobset_id, action.count))
                    logger.info("asked Harvester for %d event ranges", action.count)
                    self._note(Saying.ASKED, action.count)
        for warning in requests.warnings[self._warned :]:
            logger.warning("%s", warning)
        self._warned = len(requests.warnings)

    def _read(self, requests: RangeRequests, claim: str, now: float, news: list[News]) -> None:
        source = str(self._point.own("ranges", claim))
        try:
            document, text = self._point.read_claim(claim)
        except Torn:
            if requests.was_torn(claim, now):
                self._point.drop_claim(claim)
            return
        listed = documents.ranges_of_job(document, self._ids.panda_id, source)
        ranges = parse_event_ranges(text, source, self._pfn_of)[self._ids.panda_id]
        logger.info("Harvester gave %d event ranges", len(listed))
        self._note(Saying.GIVEN, len(listed))
        if ranges:
            news.append(RangesArrived(claim, ranges))
        else:
            self._point.drop_claim(claim)
            news.append(RangesEnded())
        requests.was_read(claim, len(ranges))

    def _report_turn(self, acted: list[object], news: list[News]) -> None:
        for action in self.reports.step(self._point.look()):
            acted.append(action)
            match action:
                case Acknowledged():
                    self._note(Saying.ACKNOWLEDGED, self._in_dump)
                    news.append(ReportsTaken(action.numbers))
                case PublishDump():
                    self._publish(action.entries)

    def _publish(self, entries: Sequence[Entry]) -> None:
        try:
            done = self._point.publish(self._ids.panda_id, entries)
        except StorageError:
            self.reports.was_refused()
            raise
        if done:
            self.reports.published()
            logger.info("told Harvester of %d events and files", len(entries))
            self._in_dump = len(entries)
            self._note(Saying.TOLD, len(entries))
        else:
            self.reports.was_refused()


def _ignore(what: Saying, items: int) -> None:
    """Nobody keeps account."""
