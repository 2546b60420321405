"""Which worker gets which range, and where a range goes that comes back from one.

Rules:
- A range is in exactly one place: the backlog, among the suspects, the queue of one slot, or on its way to the agent.
- What comes back from a worker that is gone goes to the front of the backlog, in order: it has waited longest.
- Consecutive events of a file that were not tried before are given to a worker at once, as one range of at most
  `events_per_range`; fewer where that would leave another worker with nothing.
- A failure is charged to one event. Where it may have been any of several, because they were one range or were computed side by
  side, none is charged: they become *suspects*, each of which is computed alone, with nothing else in its worker.
- Once closed, nothing is handed out any more, and whatever comes back is released.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from raythena.domain.results import FailureKind
from raythena.domain.short_reason import short_reason
from raythena.domain.worker_shape import WorkerShape
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.protocol import CANCEL_CHUNK, CancelMessage, RangeMessage, encode
from raythena.payloads.workers.slot import InFlight, SlotState, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.clock import Clock
from raythena.runtime.payload_interface import Failed, LeasedRange, Released

_REMARK_LENGTH = 400


class RangeDispatch:
    """The ranges of one worker pool."""

    def __init__(
        self, slots: Sequence[WorkerSlot], pace: Pace, outcomes: OutcomeQueue, clock: Clock, shape: WorkerShape | None = None
    ) -> None:
        self._slots = slots
        self._pace = pace
        self._outcomes = outcomes
        self._clock = clock
        self._shape = shape or WorkerShape()
        self._backlog: deque[LeasedRange] = deque()
        self._suspects: deque[LeasedRange] = deque()
        """To be computed alone."""
        self._tokens = 0
        self.closed = False

    # ---- from the agent

    def add(self, leases: Iterable[LeasedRange]) -> None:
        """Ranges are to be computed."""
        side_by_side = self._shape.ranges_in_flight > 1
        for lease in leases:  # what failed before would, in bad company, be put down to the others again
            (self._suspects if side_by_side and lease.attempt > 1 else self._backlog).append(lease)
        self.settle()

    def take_back(self, wanted: set[int]) -> None:
        """Release those of the ranges that wait here, and ask workers for those they have not started."""
        self._backlog = self._without(self._backlog, wanted)
        self._suspects = self._without(self._suspects, wanted)
        for slot in self._slots:
            self._recall(slot, wanted)

    def _without(self, waiting: deque[LeasedRange], wanted: set[int]) -> deque[LeasedRange]:
        kept: deque[LeasedRange] = deque()
        for lease in waiting:
            if lease.index in wanted:
                self._outcomes.finish(Released(lease.index))
            else:
                kept.append(lease)
        return kept

    def close(self) -> None:
        """Release everything that waits, from now on as soon as it comes."""
        self.closed = True
        self.settle()

    # ---- to workers

    def settle(self) -> None:
        """Bring every range where it belongs after the backlog has changed."""
        if self.closed:
            for waiting in (self._backlog, self._suspects):
                while waiting:
                    self._outcomes.finish(Released(waiting.popleft().index))
            return
        for slot in sorted(self._slots, key=lambda slot: len(slot.queue)):
            self.fill(slot)

    def fill(self, slot: WorkerSlot) -> None:
        """Fill a worker's queue, in one write, once it is half empty; a backlog that runs out is shared fairly."""
        if slot.state is not SlotState.READY or self.closed:
            return
        now = self._clock.monotonic_s()
        if self._suspects and not slot.queue:
            lines = [self._issue(slot, (self._suspects.popleft(),), now, alone=True)]
        else:
            lines = []
            for _ in range(self._wanted(slot)):
                if self._backlog:
                    lines.append(self._issue(slot, self._next_range(), now))
        if lines:
            slot.go_on(now, self._clock.wall_s())
            assert slot.transport is not None  # noqa: S101
            slot.transport.write(b"".join(lines))

    def _wanted(self, slot: WorkerSlot) -> int:
        """How many more ranges a worker is to have."""
        if not self._backlog or any(in_flight.alone for in_flight in slot.current()):
            return 0
        if slot.number < len(self._suspects):
            return 0  # the first few workers finish what they have, and take the suspects
        slots = len(self._slots)
        in_flight = slot.ranges_in_flight
        waiting = -(-len(self._backlog) // self._size())
        ahead = min(self._pace.ahead, max(0, waiting - slots * in_flight) // slots)
        if len(slot.queue) > in_flight - 1 + (1 + ahead) // 2:
            return 0
        return min(in_flight + ahead - len(slot.queue), waiting)

    def _size(self) -> int:
        """Events of a range that is put together now: so few that there is one for every place that has none."""
        most = self._shape.events_per_range
        if most == 1:
            return 1
        places = len(self._slots) * self._shape.ranges_in_flight
        free = sum(max(0, slot.ranges_in_flight - len(slot.queue)) for slot in self._slots if slot.state is SlotState.READY)
        return max(1, min(most, -(-len(self._backlog) // (free or places))))

    def _next_range(self) -> tuple[LeasedRange, ...]:
        """The next of the backlog, with those that continue it."""
        size = self._size()
        leases = [self._backlog.popleft()]
        while self._backlog and len(leases) < size and _continues(leases[-1], self._backlog[0]):
            leases.append(self._backlog.popleft())
        return tuple(leases)

    def _issue(self, slot: WorkerSlot, leases: tuple[LeasedRange, ...], now: float, *, alone: bool = False) -> bytes:
        self._tokens += 1
        token = str(self._tokens)
        slot.queue[token] = InFlight(leases, token, now, alone)
        what, last = leases[0].event_range, leases[-1].event_range
        range_id = what.range_id if len(leases) == 1 else f"{what.range_id}..{last.last_event}"
        seeds = tuple(seed for lease in leases for seed in lease.event_range.seeds)
        events = (what.first_event, last.last_event, leases[0].attempt, seeds, what.point)
        return encode(RangeMessage(token, range_id, what.lfn, what.pfn, what.guid, *events))

    def _recall(self, slot: WorkerSlot, wanted: set[int]) -> None:
        """Ask a worker for the ranges behind those it computes that have a wanted event."""
        recalled: list[InFlight] = []
        for in_flight in slot.waiting():
            mine = wanted.intersection(lease.index for lease in in_flight.leases)
            if mine:
                in_flight.recalled |= mine
                recalled.append(in_flight)
        if slot.transport is not None:
            for start in range(0, len(recalled), CANCEL_CHUNK):
                tokens = [in_flight.token for in_flight in recalled[start : start + CANCEL_CHUNK]]
                slot.transport.write(encode(CancelMessage(tokens)))

    # ---- back from workers

    def handed_back(self, in_flight: InFlight) -> None:
        """A worker has handed back a range it had not started."""
        self._put_back([in_flight])
        if self.closed:
            self.settle()

    def reclaim(self, slot: WorkerSlot) -> None:
        """Take everything from a worker that is not to be trusted any more, or gone."""
        held = list(slot.queue.values())
        slot.queue.clear()
        self._put_back(held)
        self.settle()

    def _put_back(self, held: Sequence[InFlight]) -> None:
        """To the front, in order; what is wanted back is released."""
        for in_flight in held:
            for lease in in_flight.leases:
                if lease.index in in_flight.recalled:
                    self._outcomes.finish(Released(lease.index))
        for in_flight in reversed(held):
            kept = [lease for lease in in_flight.leases if lease.index not in in_flight.recalled]
            (self._suspects if in_flight.alone else self._backlog).extendleft(reversed(kept))

    # ---- failures

    def failed(self, in_flight: InFlight, kind: FailureKind, text: str, held_s: float) -> None:
        """A range that has left its worker's queue has failed: it is charged, or its events are tried one by one."""
        if len(in_flight.leases) == 1:
            self._outcomes.finish(Failed(in_flight.leases[0].index, kind, text, held_s))
        else:
            self._suspect([in_flight], text)
            self.settle()

    def charge(self, slot: WorkerSlot, in_flight: InFlight, kind: FailureKind, text: str) -> None:
        """One of the ranges a worker computes has failed."""
        del slot.queue[in_flight.token]
        now = self._clock.monotonic_s()
        self.failed(in_flight, kind, text, now - (now if in_flight.since is None else in_flight.since))

    def charge_current(self, slot: WorkerSlot, kind: FailureKind, text: str) -> bool:
        """What the worker was computing has failed: the one range is charged, or several become suspects; False: it had none."""
        current = slot.current()
        if len(current) == 1:
            self.charge(slot, current[0], kind, text)
        elif current:
            for in_flight in current:
                del slot.queue[in_flight.token]
            self._suspect(current, text)
        return bool(current)

    def _suspect(self, ranges: Sequence[InFlight], text: str) -> None:
        """One of the events of these ranges made them fail, nobody knows which."""
        leases = [lease for in_flight in ranges for lease in in_flight.leases]
        self._suspects.extend(leases)
        first = leases[0].event_range.range_id
        told = f"{len(leases)} events are tried one by one, from {first} on, because computing them at once failed: {text}"
        self._outcomes.remark(short_reason(told, _REMARK_LENGTH))

    def why_unknown(self, token: str) -> str:
        """In words, why a result for this range is none: it was reported before, or never given out."""
        known = token.isascii() and token.isdigit() and int(token) <= self._tokens
        story = "was reported before, or taken from this worker" if known else "was never given out"
        return f"a result for range {token[:80]!r}, which {story}"


def _continues(lease: LeasedRange, following: LeasedRange) -> bool:
    """Whether both may lie in one range: single events of one file in a row, neither of them tried before, no points."""
    before, after = lease.event_range, following.event_range
    fresh = lease.attempt == following.attempt == 1
    single = before.first_event == before.last_event and after.first_event == after.last_event and not before.point
    return fresh and single and after.first_event == before.last_event + 1 and after.lfn == before.lfn
