"""One slot of the worker pool: a core, and the worker process that sits on it at the moment.

Theory of operation. A slot lives as long as the pool; its workers come and go. Each worker (each *incarnation*) has a listening
socket, a scratch directory and a stretch of the log file of its own, so nothing a dead one left behind can be mistaken for its
successor's.

    EMPTY ──spawn──> STARTING ──`ready`──> READY ──> ENDING ──exit and end of its messages──> EMPTY
                         └──────────────────────────────^

`TRANSITIONS` is the same as a table. A slot is a record; who changes it is said at its fields.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path

from raythena.payloads.last_words import end_of
from raythena.payloads.lifecycle import Lifecycle
from raythena.payloads.restart_backoff import BackOff, RestartPolicy
from raythena.payloads.workers.output_inspection import OutputInspector
from raythena.runtime.payload_interface import LeasedRange

TAIL_LINES = 24
TAIL_BYTES = 2500
MAX_FAILED_STARTS = 3
"""Workers of one slot dying in a row before they are ready, while no other is ready, before the payload is given up."""
BACK_OFF = BackOff(first_s=0.2, longest_s=5.0, free=1)


class SlotState(Enum):
    """Where the slot's worker stands."""

    EMPTY = "empty"
    """No worker; one may be started at `WorkerSlot.respawn_at`."""
    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"
    """Told to end, killed, or gone already: what it still says is not relied on."""


TRANSITIONS = {
    SlotState.EMPTY: frozenset({SlotState.STARTING}),
    SlotState.STARTING: frozenset({SlotState.READY, SlotState.ENDING, SlotState.EMPTY}),  # EMPTY: it could not be started
    SlotState.READY: frozenset({SlotState.ENDING}),
    SlotState.ENDING: frozenset({SlotState.ENDING, SlotState.EMPTY}),  # ENDING: killed, after it was told to end
}


@dataclass(slots=True)
class InFlight:
    """One range on its way through a worker: a lease, or several of consecutive events."""

    leases: tuple[LeasedRange, ...]
    token: str
    sent_at: float
    alone: bool = False
    """Nothing else is given to the worker beside it."""
    recalled: set[int] = field(default_factory=set)
    """Those of its leases that are wanted back."""
    announced: bool = False
    since: float | None = None
    """When the worker began it, as far as can be known; None: it waits."""
    at: float = 0.0
    """The same moment, wall-clock seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """What a new worker is told."""

    number: int
    socket: Path
    scratch: Path
    log: Path


class WorkerSlot:
    """One slot and the worker on it. Times are monotonic seconds unless they say otherwise."""

    def __init__(self, number: int, log: Path, ranges_in_flight: int = 1) -> None:
        self.number = number
        self.log = log
        self.ranges_in_flight = ranges_in_flight
        """Ranges its worker computes at a time."""
        self.lifecycle: Lifecycle[SlotState] = Lifecycle(f"worker slot {number}", TRANSITIONS, SlotState.EMPTY)
        self.restarts = RestartPolicy(BACK_OFF, MAX_FAILED_STARTS)
        self.respawn_at = 0.0
        self.incarnation = 0
        self.queue: dict[str, InFlight] = {}
        """Ranges sent, oldest first; the first `ranges_in_flight` are those being computed."""
        self.transport: asyncio.Transport | None = None
        self.listener: asyncio.AbstractServer | None = None
        self.log_start = 0
        self._reset()

    def _reset(self) -> None:
        """Everything that concerns one incarnation alone."""
        self.pid: int | None = None
        self.spawn: SpawnRequest | None = None
        """What its worker was told."""
        self.inspector: OutputInspector | None = None
        self.finished = 0
        """Results of this incarnation."""
        self.was_ready = False
        self.status: int | None = None
        """Exit status of the worker, once it is known."""
        self.hung_up = False
        """The worker's connection has ended."""
        self.distrusted = False
        """Nothing this worker says counts any more."""
        self.trouble = ""
        """Why it could not even be started."""

    @property
    def state(self) -> SlotState:
        """Where its worker stands."""
        return self.lifecycle.state

    def begin(self) -> None:
        """The next incarnation."""
        self.incarnation += 1
        self._reset()

    def current(self) -> list[InFlight]:
        """The ranges the worker is computing, as far as can be known."""
        return list(islice(self.queue.values(), self.ranges_in_flight))

    def waiting(self) -> list[InFlight]:
        """The ranges that wait in the worker behind those."""
        return list(islice(self.queue.values(), self.ranges_in_flight, None))

    def go_on(self, now: float, wall_now: float) -> None:
        """Ranges were sent, or answered: those that are computed now and were not before begin."""
        for in_flight in self.current():
            if in_flight.since is None:
                in_flight.since, in_flight.at = now, wall_now

    @property
    def current_since(self) -> float:
        """When the oldest of the ranges it is computing began; 0 when there is none."""
        return min((in_flight.since or 0.0 for in_flight in self.current()), default=0.0)

    def exit_summary(self) -> str:
        """How the worker ended, with the last lines of its log."""
        if self.trouble:
            return self.trouble
        tail = tail_of(self.log, self.log_start)
        return f"{describe_status(self.status)}" + (f"; last lines of its log: {tail}" if tail else "; its log is empty")


def tail_of(log: Path, start: int) -> str:
    """The last lines of a log from byte `start` on, on one line; empty when there are none."""
    lines = end_of(log, TAIL_BYTES, start).splitlines()
    return " | ".join([line.rstrip() for line in lines if line.strip()][-TAIL_LINES:])


def describe_status(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "closed its connection"
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"killed by signal {-status}"
