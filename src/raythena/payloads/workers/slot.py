"""One slot of the worker pool: a core, and the worker process that sits on it at the moment.

Theory of operation. A slot lives as long as the pool; its workers come and go. Each worker (each *incarnation*) has a listening
socket, a scratch directory and a stretch of the log file of its own, so nothing a dead one left behind can be mistaken for its
successor's.

    EMPTY ──spawn──> STARTING ──`ready`──> READY ──> ENDING ──exit and end of its messages──> EMPTY
                         └──────────────────────────────^

A slot only keeps the books; the pool decides.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from raythena.payloads.last_words import end_of
from raythena.payloads.workers.output_inspection import OutputInspector
from raythena.runtime.payload_interface import LeasedRange

TAIL_LINES = 24
TAIL_BYTES = 2500


class SlotState(Enum):
    """Where the slot's worker stands."""

    EMPTY = "empty"
    """No worker; one may be started at `WorkerSlot.respawn_at`."""
    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"
    """Told to end, killed, or gone already: what it still says is not relied on."""


@dataclass(slots=True)
class InFlight:
    """One range on its way through a worker."""

    lease: LeasedRange
    token: str
    sent_at: float
    recalled: bool = False
    announced: bool = False


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """What a new worker is told."""

    number: int
    socket: Path
    scratch: Path
    log: Path


@dataclass(slots=True)
class WorkerSlot:
    """Books of one slot. Times are monotonic seconds unless they say otherwise."""

    number: int
    log: Path
    state: SlotState = SlotState.EMPTY
    incarnation: int = 0
    pid: int | None = None
    transport: asyncio.Transport | None = None
    listener: asyncio.AbstractServer | None = None
    inspector: OutputInspector | None = None
    queue: dict[str, InFlight] = field(default_factory=dict)
    """Ranges sent, oldest first; the first is the one being computed."""
    current_since: float = 0.0
    current_at: float = 0.0
    """The same moment, wall-clock seconds since the epoch."""
    state_since: float = 0.0
    respawn_at: float = 0.0
    log_start: int = 0
    finished: int = 0
    """Results of this incarnation."""
    was_ready: bool = False
    runs_without_result: int = 0
    """Incarnations in a row that ended without a single result."""
    failed_starts: int = 0
    """Incarnations in a row that ended before they were ready."""
    status: int | None = None
    """Exit status of the worker, once it is known."""
    hung_up: bool = False
    """The worker's connection has ended."""
    distrusted: bool = False
    """Nothing this worker says counts any more."""
    trouble: str = ""
    """Why it could not even be started."""

    def begin(self) -> None:
        """Open the books of the next incarnation."""
        self.incarnation += 1
        self.pid, self.status, self.inspector, self.trouble = None, None, None, ""
        self.hung_up, self.was_ready, self.distrusted, self.finished = False, False, False, 0

    def enter(self, state: SlotState, now: float) -> None:
        """Change state."""
        self.state = state
        self.state_since = now

    def current(self) -> InFlight | None:
        """The range the worker is computing, as far as can be known."""
        return next(iter(self.queue.values()), None)

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
