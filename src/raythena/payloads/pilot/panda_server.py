"""What a pilot is answered: PanDA's side of the protocol, without the sockets. No I/O, no clock.

One `PandaServer` serves one pilot, from its first request to its last. `answer` takes a call and gives an `Answer`, or a `Hold`:
nothing can be said yet, ask again when something has changed or the time is up. What the pilot tells us is collected as `News`.

Rules, each learned from pilots:
- An empty list of ranges means "no more", for good. It is said when it is true: while draining, or when a pilot has waited so
  long that results would be stuck behind its question (one thread does all its talking, and while it waits for ranges it
  reports nothing). After it has been said once, this pilot gets no more ranges.
- A pilot gets more than it asks for, so that no core waits for a round trip of one or two seconds; but only as much as its
  cores compute in a known time, because what it has cannot be asked back.
- Ranges go out only for our job, and a token that comes back twice, or that we never gave, has no effect.
- Every answer is a success. A pilot takes minutes over a failure, and `tobekilled` or `softkill` lose results in every version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raythena.payloads.pilot.range_queue import InFlight, RangeQueue
from raythena.payloads.pilot.wire import BadRequest, Call, read_json

FINAL_STATES = frozenset({"finished", "failed"})
MAX_REPORTED = 100_000
"""Ranges in one update; PanDA's own limit."""
PART_OF_EVENT = 0.3
"""So long, in event times, a pilot that owes results may wait for ranges: with long events, starting another one costs more."""
_ADLER32 = re.compile(r"(?:ad:)?([0-9a-fA-F]{1,8})", re.ASCII)
_TEXT_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class HoldTimes:
    """How long a request for ranges may wait, in seconds. A pilot gives up after 120."""

    gather_s: float = 0.3
    """For as many ranges as it asked for, when there are fewer."""
    busy_s: float = 5.0
    """For any range, while the pilot owes results, which are stuck as long; longer when events are long."""
    dry_s: float = 1.0
    """The same, after ranges were asked back from us: the end of the job is near."""
    idle_s: float = 90.0
    """For any range, while the pilot owes nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The document to answer with, and the ranges that are in it."""

    document: dict[str, object]
    given: tuple[InFlight, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """Ask again at `until` (monotonic seconds), or when something has changed."""

    until: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The pilot reports an output. Nothing about it has been checked."""

    in_flight: InFlight
    path: str
    size_bytes: int | None
    adler32: int | None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The pilot reports what we knew from its log: it needs the file at `path` no more."""

    path: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The pilot reports that a range failed."""

    in_flight: InFlight
    reason: str


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something that should not happen, for the log."""

    text: str


News = Finished | Confirmed | GaveUp | Oddity


@dataclass(slots=True)
class JobRecord:
    """What the pilot has said of its job, for the job report. Times are monotonic seconds."""

    asked_at: float | None = None
    first_ranges_at: float | None = None
    no_more_at: float | None = None
    final_at: float | None = None
    last_request_at: float | None = None
    state: str = ""
    n_events: int = 0
    """Events the pilot says it has processed."""
    n_reported: int = 0
    """Ranges it reported finished."""
    attributes: dict[str, object] = field(default_factory=dict)
    """The last value of everything in its updates, but `metaData`."""
    metadata: str = ""
    """The payload's job report, as text."""


class PandaServer:
    """Answers one pilot."""

    def __init__(self, job: Mapping[str, object], range_queue: RangeQueue, cores: int, hold: HoldTimes) -> None:
        self._job = job
        self._panda_id = str(job["PandaID"])
        self._range_queue = range_queue
        self._cores = cores
        self._hold = hold
        self.record = JobRecord()
        self.batch_per_core = 1
        """Ranges in one answer, for each core."""
        self.event_s = 0.0
        """Mean time of an event; 0 while unknown."""
        self.draining = False
        """Say "no more" as soon as the pilot asks."""
        self.dry = False
        """Ranges were asked back and none came since."""
        self._alone = False
        self._news: list[News] = []
        self._endpoints: dict[str, Callable[[Call, float, float], Answer | Hold]] = {
            "getJob": self._get_job,
            "updateJob": self._update_job,
            "getEventRanges": self._get_event_ranges,
            "updateEventRanges": self._update_event_ranges,
            "getResourceTypes": self._get_resource_types,
        }

    @property
    def said_no_more(self) -> bool:
        """This pilot gets no more ranges."""
        return self.record.no_more_at is not None

    def take_news(self) -> list[News]:
        """What the pilot told since the last call, in order."""
        news, self._news = self._news, []
        return news

    def answer(self, call: Call, now: float, asked_at: float) -> Answer | Hold:
        """Answer a call that came at `asked_at`; what cannot be understood is answered politely."""
        self.record.last_request_at = now
        endpoint = self._endpoints.get(call.endpoint)
        if endpoint is None:
            return self._success(call, {})
        try:
            return endpoint(call, now, asked_at)
        except BadRequest as problem:
            self._news.append(Oddity(f"{call.endpoint}: {problem}"))
            return self._success(call, {})

    def _success(self, call: Call, document: dict[str, object], given: tuple[InFlight, ...] = ()) -> Answer:
        whole = {"StatusCode": 0, **document}
        if call.modern or not document:
            good = whole["StatusCode"] == 0
            whole |= {
                "success": good,
                "message": str(document.get("errorDialog", "")),
                "data": document if good and document else None,
            }
        return Answer(whole, given)

    # ---- the job

    def _get_job(self, call: Call, now: float, asked_at: float) -> Answer:
        if self.record.asked_at is not None or self.draining:
            return self._success(call, {"StatusCode": 20, "errorDialog": "no jobs in PanDA"})
        self.record.asked_at = now
        job = {**self._job, "StatusCode": 0}
        # newer pilots that name a number of jobs expect a list of them
        return self._success(call, {**job, "jobs": [job]} if call.modern and call.text("nJobs") else job)

    def _update_job(self, call: Call, now: float, asked_at: float) -> Answer:
        if self._is_of_another_job(call, "an update"):
            return self._success(call, {"command": "NULL"})
        record = self.record
        record.metadata = call.text("metaData") or record.metadata
        record.attributes.update({name: value for name, value in call.fields.items() if name != "metaData"})
        record.n_events = max(record.n_events, call.count("nEvents", 0))
        record.state = call.text("state")[:40] or record.state
        if record.state in FINAL_STATES and record.final_at is None:
            record.final_at = now
        return self._success(call, {"command": "NULL"})

    def _is_of_another_job(self, call: Call, what: str) -> bool:
        """Whether the request names another job than ours: then it has no effect."""
        for name in ("jobId", "pandaID", "PandaID"):
            if (job := call.text(name)) and job != self._panda_id:
                self._news.append(Oddity(f"{what} of job {job[:40]}; this is {self._panda_id}"))
                return True
        return False

    def _get_resource_types(self, call: Call, now: float, asked_at: float) -> Answer:
        return self._success(call, {"ResourceTypes": {"ResourceTypes": []}})

    # ---- ranges

    def _get_event_ranges(self, call: Call, now: float, asked_at: float) -> Answer | Hold:
        job = call.text("pandaID") or call.text("jobId")
        if job != self._panda_id:
            self._news.append(Oddity(f"ranges were asked for job {job[:40] or 'unknown'}; this is {self._panda_id}"))
            return self._success(call, {"eventRanges": []})
        if self.said_no_more or self.draining or self._must_be_alone():
            return self._no_more(call, now)
        waited_s = now - asked_at
        asked = max(1, call.count("nRanges", self._cores))
        if self._range_queue.waiting >= asked or self._range_queue.alone or waited_s >= self._hold.gather_s:
            self._alone = self._range_queue.alone
            in_flight_ranges = tuple(self._range_queue.give(max(asked, self._cores * self.batch_per_core), now))
            if in_flight_ranges:
                return self._hand_out(call, in_flight_ranges, now)
        limit_s = self._patience_s()
        if waited_s >= limit_s:
            return self._no_more(call, now)
        return Hold(asked_at + (self._hold.gather_s if waited_s < self._hold.gather_s else limit_s))

    def _must_be_alone(self) -> bool:
        """A suspect is to be computed alone, or is: this pilot takes nothing beside it."""
        return self._alone or (self._range_queue.alone and self._range_queue.out > 0)

    def _patience_s(self) -> float:
        hold = self._hold
        if self._range_queue.out == 0:
            return hold.idle_s
        return hold.dry_s if self.dry else max(hold.busy_s, min(hold.idle_s, PART_OF_EVENT * self.event_s))

    def _no_more(self, call: Call, now: float) -> Answer:
        if self.record.no_more_at is None:
            self.record.no_more_at = now
        return self._success(call, {"eventRanges": []})

    def _hand_out(self, call: Call, in_flight_ranges: tuple[InFlight, ...], now: float) -> Answer:
        if self.record.first_ranges_at is None:
            self.record.first_ranges_at = now
        return self._success(call, {"eventRanges": [wire_range(in_flight) for in_flight in in_flight_ranges]}, in_flight_ranges)

    # ---- results

    def _update_event_ranges(self, call: Call, now: float, asked_at: float) -> Answer:
        if self._is_of_another_job(call, "results"):
            return self._success(call, {"Returns": [], "Command": {}})
        told = call.fields.get("eventRanges")
        entries = read_json(told) if isinstance(told, str) else told
        if not isinstance(entries, list):
            raise BadRequest("eventRanges is no list")
        returns: list[bool] = []
        for entry in entries:
            ranges = entry.get("eventRanges", [entry]) if isinstance(entry, dict) else [entry]
            if not isinstance(ranges, list) or len(returns) + len(ranges) > MAX_REPORTED:
                raise BadRequest(f"eventRanges holds something else than up to {MAX_REPORTED} ranges")
            returns += [self._take_report(one) for one in ranges]
        return self._success(call, {"Returns": returns, "Command": {}})

    def _take_report(self, entry: Any) -> bool:
        """Take what the pilot says of one range; False: it has no effect."""
        token = entry.get("eventRangeID") if isinstance(entry, dict) else None
        if not isinstance(token, str):
            self._news.append(Oddity(f"a report without eventRangeID: {str(entry)[:200]}"))
            return False
        status = entry.get("eventStatus")
        if status not in ("finished", "failed", "fatal"):
            return True
        if self._range_queue.confirm(token):
            self.record.n_reported += status == "finished"
            self._news.append(Confirmed(str(entry.get("pfn", ""))))
            return True
        in_flight = self._range_queue.settle(token)
        if in_flight is None:
            story = "was reported before" if self._range_queue.was_settled(token) else "was never given to this pilot"
            self._news.append(Oddity(f"range {token[:80]} is reported {status}, but {story}"))
            return False
        self._news.append(self._verdict(in_flight, status, entry))
        return True

    def _verdict(self, in_flight: InFlight, status: str, entry: Mapping[str, Any]) -> News:
        if status == "finished":
            self.record.n_reported += 1
            path = entry.get("pfn")
            return Finished(
                in_flight, path if isinstance(path, str) else "", _size(entry.get("fsize")), _adler32(entry.get("adler32"))
            )
        reason = f"the pilot reports the range {status}, error code {str(entry.get('errorCode', 'none'))[:40]}"
        if detail := entry.get("errorDiag") or entry.get("message"):
            reason += f": {str(detail)[:_TEXT_LIMIT]}"
        return GaveUp(in_flight, reason)


def wire_range(in_flight: InFlight) -> dict[str, object]:
    """A range as AthenaMP takes it: `PFN` instead of `LFN`, no scope, no nested values."""
    what = in_flight.lease.event_range
    return {
        "eventRangeID": in_flight.token,
        "startEvent": what.first_event,
        "lastEvent": what.last_event,
        "GUID": what.guid,
        "PFN": what.pfn,
    }


def _size(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _adler32(value: object) -> int | None:
    found = _ADLER32.fullmatch(value) if isinstance(value, str) else None
    return int(found[1], 16) if found else None
