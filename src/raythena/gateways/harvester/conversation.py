"""What to do next in an access point, decided without touching it.

Harvester and we talk through files, without locks, on file systems that show a change to the other side when they please. Two
conversations go on, each with a desk of its own that is shown what is there (`Sight`) and answers with what to do:

`RangeRequests`    we write a request; Harvester writes ranges, then removes the request; we rename the ranges away. So
               - no request is written while one is there: Harvester removes it unseen, together with the one it has answered;
               - no request is written while ranges are there unread: Harvester would write over them;
               - a request that is gone without an answer was removed unseen, and is written again, but only after a while:
                 the answer may be there already, not visible yet;
               - ranges taken away may still be written to: what cannot be read is read again later.
`ReportPublisher`   we publish a dump; Harvester renames it, takes it in, and renames it once more. So
               - no dump is published while one is there, or is being taken in;
               - it is acknowledged when both names are gone. What has to be told meanwhile goes into the next one.

Both say when they want to be asked again; they look less often while nothing changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from raythena.gateways.harvester.documents import Entry


@dataclass(frozen=True, slots=True)
class Sight:
    """Which of the files are there, at one look."""

    request: bool = False
    """Our request for ranges."""
    ranges: bool = False
    """Ranges nobody has taken yet."""
    dump: bool = False
    """An event status dump Harvester has not seen yet."""
    dump_read: bool = False
    """One that it is taking in."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds."""

    invisible_s: float = 45.0
    """Until a file another machine has written is seen by all (network file systems remember for so long what was not there)."""
    settle_s: float = 1.0
    """Between the end of one request and the next one."""
    torn_s: float = 120.0
    """Until what cannot be read counts as cut short for good."""
    first_poll_s: float = 0.2
    last_poll_s: float = 5.0
    """Between two looks: right after a change, and when nothing has changed for long."""


# ---- actions


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """Ask for ranges."""

    count: int


@dataclass(frozen=True, slots=True)
class ClaimRanges:
    """Rename the ranges away, to be read in peace; the answer is `RangeRequests.claimed`."""


@dataclass(frozen=True, slots=True)
class ReadRanges:
    """Read ranges that were claimed; the answer is `RangeRequests.was_read` or `was_torn`."""

    name: str


@dataclass(frozen=True, slots=True)
class PublishDump:
    """Tell Harvester, unless a dump is there; the answer is `ReportPublisher.published` or `was_refused`."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Harvester has taken these reports in."""

    numbers: tuple[int, ...]


RangeAction = WriteRequest | ClaimRanges | ReadRanges
ReportAction = PublishDump | Acknowledged


# ---- ranges


@dataclass(slots=True)
class _Claim:
    """Ranges taken away and not read yet."""

    name: str
    since: float
    again_at: float = 0.0
    pause_s: float = 0.2


class RangeRequests:
    """Requests and their answers.

    From an earlier start: `left_over`, names of claimed ranges it did not get to, and `asked`, whether a request of it is without
    an answer (which may be there, not visible yet).
    """

    def __init__(self, patience: Patience, left_over: Sequence[str] = (), *, asked: bool = False, now: float = 0.0) -> None:
        self._patience = patience
        self._wanted = 0
        self._ended = False
        self._claims = deque(_Claim(name, now) for name in left_over)
        self._asked = asked
        self._answered = False
        self._gone_since: float | None = None
        self.warnings: list[str] = []
        """What a person should know, in order."""

    @property
    def waiting(self) -> bool:
        """Whether something is still to come that was asked for."""
        return not self._ended and (self._asked or self._wanted > 0 or bool(self._claims))

    def want(self, count: int) -> None:
        """About `count` ranges are wanted."""
        self._wanted = max(1, count)

    def step(self, seen: Sight, now: float) -> list[RangeAction]:
        """What to do, given what is there."""
        actions: list[RangeAction] = []
        self._follow_request(seen, now)
        if seen.ranges:
            actions.append(ClaimRanges())
        actions += [ReadRanges(claim.name) for claim in self._claims if claim.again_at <= now]
        if self._may_ask(seen):
            self._asked, self._answered, self._gone_since = True, False, None
            actions.append(WriteRequest(self._wanted))
        return actions

    def _may_ask(self, seen: Sight) -> bool:
        quiet = not (self._asked or seen.request or seen.ranges or self._claims)
        return self._wanted > 0 and not self._ended and quiet

    def _follow_request(self, seen: Sight, now: float) -> None:
        """Whether the open request is over: Harvester has removed it, and the answer came or will not come any more."""
        if seen.request:
            # also one that an earlier start has written
            self._asked, self._gone_since = True, None
        elif self._asked:
            self._gone_since = now if self._gone_since is None else self._gone_since
            gone_s = now - self._gone_since
            if gone_s >= (self._patience.settle_s if self._answered else self._patience.invisible_s):
                if not self._answered:
                    self.warnings.append("Harvester removed a request for event ranges without an answer; asking again")
                self._asked = False

    def claimed(self, name: str, now: float) -> None:
        """Ranges were renamed to `name`."""
        self._claims.append(_Claim(name, now))
        self._answered = True

    def was_read(self, name: str, count: int) -> None:
        """A claim held `count` ranges, which have been handed on; none: there are no more."""
        self._drop(name)
        self._wanted = 0
        self._ended = self._ended or count == 0

    def was_torn(self, name: str, now: float) -> bool:
        """A claim could not be read. Whether to give it up: it has been so for too long."""
        claim = next(each for each in self._claims if each.name == name)
        if now - claim.since > self._patience.torn_s:
            self._drop(name)
            self.warnings.append(f"{name} has been cut short for {now - claim.since:.0f} s; going on without it")
            return True
        claim.again_at, claim.pause_s = now + claim.pause_s, min(2 * claim.pause_s, self._patience.last_poll_s)
        return False

    def _drop(self, name: str) -> None:
        self._claims = deque(claim for claim in self._claims if claim.name != name)


# ---- reports


@dataclass(frozen=True, slots=True)
class Bundle:
    """Entries that must be in one dump. `number` is None when nobody waits for an acknowledgement."""

    entries: tuple[Entry, ...]
    number: int | None = None


@dataclass(slots=True)
class _Dump:
    """A dump on its way."""

    bundles: tuple[Bundle, ...]
    published: bool = False


class ReportPublisher:
    """Reports on their way to Harvester. A dump has at most `max_entries`, unless a single bundle has more."""

    def __init__(self, max_entries: int = 20_000) -> None:
        self._max_entries = max_entries
        self._queue: deque[Bundle] = deque()
        self._dump: _Dump | None = None

    def add(self, bundle: Bundle) -> None:
        """Something to tell."""
        self._queue.append(bundle)

    @property
    def idle(self) -> bool:
        """Everything told has been taken in."""
        return not self._queue and self._dump is None

    @property
    def taken(self) -> bool:
        """Nothing waits to be published. A dump may still be there, or be on its way in."""
        return not self._queue

    def step(self, seen: Sight) -> list[ReportAction]:
        """What to do, given what is there."""
        actions: list[ReportAction] = []
        pending = seen.dump or seen.dump_read
        if self._dump is not None and self._dump.published and not pending:
            numbers = tuple(bundle.number for bundle in self._dump.bundles if bundle.number is not None)
            self._dump = None
            actions.append(Acknowledged(numbers))
        if self._dump is None and self._queue and not pending:
            self._dump = _Dump(self._next_bundles())
            actions.append(PublishDump(tuple(entry for bundle in self._dump.bundles for entry in bundle.entries)))
        return actions

    def published(self) -> None:
        """The dump is there for Harvester to see."""
        if self._dump is not None:
            self._dump.published = True

    def was_refused(self) -> None:
        """A dump nobody had seen was there after all: tried again later."""
        if self._dump is not None:
            self._queue.extendleft(reversed(self._dump.bundles))
            self._dump = None

    def _next_bundles(self) -> tuple[Bundle, ...]:
        taken: list[Bundle] = []
        size = 0
        while self._queue and (not taken or size + len(self._queue[0].entries) <= self._max_entries):
            size += len(self._queue[0].entries)
            taken.append(self._queue.popleft())
        return tuple(taken)


# ---- when to look again


@dataclass(slots=True)
class Pace:
    """Pauses between two looks: short after a change, then longer and longer."""

    patience: Patience
    _pause_s: float = field(init=False)
    _last: object = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._pause_s = self.patience.first_poll_s

    def pause_s(self, seen: Sight, actions: Iterable[object]) -> float:
        """Seconds until the next look, after a look that showed `seen` and led to `actions`."""
        if seen != self._last or any(actions):
            self._pause_s = self.patience.first_poll_s
        else:
            self._pause_s = min(1.5 * self._pause_s, self.patience.last_poll_s)
        self._last = seen
        return self._pause_s
