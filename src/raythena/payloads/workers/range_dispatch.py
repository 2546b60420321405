"""Which worker gets which range, and where a range goes that comes back from one.

Rules:
- A range is in exactly one place: the backlog, the queue of one slot, or on its way to the agent as an outcome.
- What comes back from a worker that is gone goes to the front of the backlog, in order: it has waited longest.
- Once closed, nothing is handed out any more, and whatever comes back is released.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from raythena.domain.results import FailureKind
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.protocol import CANCEL_CHUNK, CancelMessage, RangeMessage, encode
from raythena.payloads.workers.slot import InFlight, SlotState, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.clock import Clock
from raythena.runtime.payload_interface import Failed, LeasedRange, Released


class RangeDispatch:
    """The ranges of one worker pool."""

    def __init__(self, slots: Sequence[WorkerSlot], pace: Pace, outcomes: OutcomeQueue, clock: Clock) -> None:
        self._slots = slots
        self._pace = pace
        self._outcomes = outcomes
        self._clock = clock
        self._backlog: deque[LeasedRange] = deque()
        self._tokens = 0
        self.closed = False

    # ---- from the agent

    def add(self, leases: Iterable[LeasedRange]) -> None:
        """Ranges are to be computed."""
        self._backlog.extend(leases)
        self.settle()

    def take_back(self, wanted: set[int]) -> None:
        """Release those of the ranges that wait here, and ask workers for those they have not started."""
        waiting, self._backlog = self._backlog, deque()
        for lease in waiting:
            if lease.index in wanted:
                self._outcomes.finish(Released(lease.index))
            else:
                self._backlog.append(lease)
        for slot in self._slots:
            self._recall(slot, [in_flight for in_flight in _behind_current(slot) if in_flight.lease.index in wanted])

    def close(self) -> None:
        """Release everything that waits, from now on as soon as it comes."""
        self.closed = True
        self.settle()

    # ---- to workers

    def settle(self) -> None:
        """Bring every range where it belongs after the backlog has changed."""
        if self.closed:
            while self._backlog:
                self._outcomes.finish(Released(self._backlog.popleft().index))
            return
        for slot in sorted(self._slots, key=lambda slot: len(slot.queue)):
            self.fill(slot)

    def fill(self, slot: WorkerSlot) -> None:
        """Fill a worker's queue, in one write, once it is half empty; a backlog that runs out is shared fairly."""
        if slot.state is not SlotState.READY or not self._backlog or self.closed:
            return
        slots = len(self._slots)
        ahead = min(self._pace.ahead, max(0, len(self._backlog) - slots) // slots)
        if len(slot.queue) > (1 + ahead) // 2:
            return
        now = self._clock.monotonic_s()
        if not slot.queue:
            slot.current_since, slot.current_at = now, self._clock.wall_s()
        count = min(1 + ahead - len(slot.queue), len(self._backlog))
        lines = [self._issue(slot, self._backlog.popleft(), now) for _ in range(count)]
        assert slot.transport is not None  # noqa: S101
        slot.transport.write(b"".join(lines))

    def _issue(self, slot: WorkerSlot, lease: LeasedRange, now: float) -> bytes:
        self._tokens += 1
        token = str(self._tokens)
        slot.queue[token] = InFlight(lease, token, now)
        what = lease.event_range
        events = (what.first_event, what.last_event, lease.attempt, what.seeds, what.point)
        return encode(RangeMessage(token, what.range_id, what.lfn, what.pfn, what.guid, *events))

    def _recall(self, slot: WorkerSlot, recalled: list[InFlight]) -> None:
        for in_flight in recalled:
            in_flight.recalled = True
        if slot.transport is not None:
            for start in range(0, len(recalled), CANCEL_CHUNK):
                tokens = [in_flight.token for in_flight in recalled[start : start + CANCEL_CHUNK]]
                slot.transport.write(encode(CancelMessage(tokens)))

    # ---- back from workers

    def handed_back(self, in_flight: InFlight) -> None:
        """A worker has handed back a range it had not started."""
        if in_flight.recalled or self.closed:
            self._outcomes.finish(Released(in_flight.lease.index))
        else:
            self._backlog.appendleft(in_flight.lease)

    def reclaim(self, slot: WorkerSlot) -> None:
        """Take everything from a worker that is not to be trusted any more, or gone."""
        held = list(slot.queue.values())
        slot.queue.clear()
        for in_flight in held:
            if in_flight.recalled:
                self._outcomes.finish(Released(in_flight.lease.index))
        self._backlog.extendleft(in_flight.lease for in_flight in reversed(held) if not in_flight.recalled)
        self.settle()

    def charge_current(self, slot: WorkerSlot, kind: FailureKind, text: str) -> bool:
        """The range the worker was computing has failed; False when there was none."""
        in_flight = slot.current()
        if in_flight is None:
            return False
        del slot.queue[in_flight.token]
        self._outcomes.finish(Failed(in_flight.lease.index, kind, text, self._clock.monotonic_s() - slot.current_since))
        return True

    def why_unknown(self, token: str) -> str:
        """In words, why a result for this range is none: it was reported before, or never given out."""
        known = token.isascii() and token.isdigit() and int(token) <= self._tokens
        story = "was reported before, or taken from this worker" if known else "was never given out"
        return f"a result for range {token[:80]!r}, which {story}"


def _behind_current(slot: WorkerSlot) -> list[InFlight]:
    return list(slot.queue.values())[1:]
