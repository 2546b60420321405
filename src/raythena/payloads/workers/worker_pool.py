"""The worker pool: a payload made of worker processes that speak the event-server protocol, one for each core.

Both shipped payloads are this pool with another way of starting a worker (`Spawner`). Its parts: `range_dispatch` decides who
gets what, `worker_supervisor` starts and ends workers, `output_intake` takes their outputs; here is what the agent calls and what
workers say.

Rules:
- The first range in a worker's queue is the one it computes, or the first few, if it computes several at a time. Whatever kills
  the worker is charged to one event alone (see `range_dispatch`); the ranges behind go back to the front of the backlog.
- A worker that breaks the protocol is killed: nothing it holds in memory can be trusted any more. A bad output or a failure
  it reports itself leaves it alive.
- Nothing per event but arithmetic: no task, timer or future.
- Nothing a worker does raises out of the pool. Only a payload that cannot be started at all is a `PayloadError`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from raythena.domain.errors import PayloadError
from raythena.domain.results import FailureKind
from raythena.domain.short_reason import storable_reason
from raythena.domain.worker_shape import WorkerShape
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.connection import socket_directory
from raythena.payloads.workers.memory_watch import MemoryWatch
from raythena.payloads.workers.output_intake import OutputIntake
from raythena.payloads.workers.protocol import (
    PROTOCOL_VERSION,
    DoneMessage,
    FailedMessage,
    ProtocolViolation,
    Ready,
    WorkerMessage,
    decode,
)
from raythena.payloads.workers.range_dispatch import RangeDispatch
from raythena.payloads.workers.slot import SlotState, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.payloads.workers.worker_supervisor import PoolParts, Spawner, WorkerSupervisor
from raythena.runtime.payload_interface import LeasedRange, PayloadContext, PayloadOutcome

REASON_LENGTH = 4000


class WorkerPool:
    """A `Payload` computed by worker processes. Subclasses say how a worker is started."""

    def __init__(self) -> None:
        self._outcomes = OutcomeQueue()
        self._slots: list[WorkerSlot] = []
        self._running = False

    def make_spawner(self, context: PayloadContext) -> Spawner:
        """How this payload starts its workers. Raises PayloadError or InvalidInput for options that cannot work."""
        raise NotImplementedError

    # ---- what the agent calls

    async def start(self, context: PayloadContext) -> None:
        """Start the workers; they may still be initialising on return. Raises PayloadError, InvalidInput."""
        self._clock = context.clock
        self._pace = Pace(context)
        context.scratch.mkdir(parents=True, exist_ok=True)
        context.log_dir.mkdir(parents=True, exist_ok=True)
        self.sockets = socket_directory(context.scratch)
        spawner = self.make_spawner(context)
        self._shape = shape = WorkerShape.of(context.options)
        if not shape.workers(context.cores):
            raise PayloadError(f"a worker has {shape.cores_per_worker} cores (cores_per_worker), the node only {context.cores}")
        self._slots = [
            WorkerSlot(number, context.log_dir / f"worker_{number}.log", shape.ranges_in_flight)
            for number in range(shape.workers(context.cores))
        ]
        self._dispatch = RangeDispatch(self._slots, self._pace, self._outcomes, context.clock, shape)
        self._intake = OutputIntake(self._pace, self._outcomes)
        memory = MemoryWatch(context, self._slots)
        parts = PoolParts(context, self._slots, self._pace, self._dispatch, self._intake, self._outcomes, memory)
        self._supervisor = WorkerSupervisor(parts, spawner, self.sockets, self)
        self._running = True
        try:
            await self._supervisor.start()
        except BaseException:
            await self.stop()
            raise

    @property
    def appetite(self) -> int:
        """Ranges the pool would take now so that no core waits."""
        if self._dispatch.closed:
            return 0
        places = len(self._slots) * self._shape.ranges_in_flight
        return max(0, places * self._pace.wanted_per_core * self._shape.events_per_range - len(self._outcomes))

    def feed(self, leases: Sequence[LeasedRange]) -> None:
        """Take ranges. Raises InternalError when one of them is held already."""
        self._outcomes.take_in(leases)
        self._dispatch.add(leases)

    def release(self, indices: Sequence[int]) -> None:
        """Hand ranges back that no worker has started; those queued in a worker are asked for."""
        if wanted := self._outcomes.held_of(indices):
            self._dispatch.take_back(wanted)

    async def poll(self, timeout_s: float) -> list[PayloadOutcome]:
        """What happened since the last call; waits at most `timeout_s`. Raises PayloadError once all outcomes are handed over."""
        return await self._outcomes.poll(timeout_s)

    def collected(self, stretches: Iterable[Path]) -> None:
        """The agent has copied these stretches (the spool's path, once for each): spools no longer needed are deleted."""
        self._intake.collected(stretches)

    async def drain(self, deadline_s: float) -> None:
        """Release what is not started and let running events end; those still running after `deadline_s` are released too."""
        self._dispatch.close()
        await self._supervisor.drain(deadline_s)

    async def stop(self) -> None:
        """Kill every process. What was running is lost. Safe to call twice."""
        if not self._running:
            return
        self._running = False
        self._dispatch.closed = True
        await self._supervisor.stop()
        await asyncio.to_thread(shutil.rmtree, self.sockets, ignore_errors=True)
        self._outcomes.close()

    # ---- what workers do

    def connected(self, slot: WorkerSlot, transport: asyncio.Transport) -> bool:
        """A worker has connected; False refuses it."""
        return self._supervisor.connected(slot, transport)

    def hung_up(self, slot: WorkerSlot) -> None:
        """A worker's connection has ended."""
        self._supervisor.hung_up(slot)

    def received(self, slot: WorkerSlot, lines: list[bytes]) -> None:
        """Lines from a worker, in order."""
        now = self._clock.monotonic_s()
        for line in lines:
            if slot.distrusted:
                break
            try:
                self._obey(slot, decode(line), now)
            except ProtocolViolation as problem:
                self._supervisor.break_off(slot, FailureKind.PROTOCOL, f"the worker broke the protocol: {problem}")
                break
        self._dispatch.fill(slot)

    def _obey(self, slot: WorkerSlot, message: WorkerMessage, now: float) -> None:
        if isinstance(message, Ready):
            self._welcome(slot, message, now)
            return
        if not slot.was_ready:
            raise ProtocolViolation("the first message must be ready")
        in_flight = slot.queue.pop(message.range, None)
        if in_flight is None:
            raise ProtocolViolation(self._dispatch.why_unknown(message.range))
        held_s = now - (now if in_flight.since is None else in_flight.since)
        slot.go_on(now, self._clock.wall_s())
        if isinstance(message, DoneMessage):
            if problem := self._intake.take(slot, in_flight, message, held_s):
                self._dispatch.failed(in_flight, FailureKind.BAD_OUTPUT, problem, held_s)
        elif isinstance(message, FailedMessage):
            slot.finished += 1
            reason = storable_reason(message.reason, REASON_LENGTH) or "the worker gave no reason"
            self._dispatch.failed(in_flight, FailureKind.REPORTED, reason, held_s)
        else:
            self._dispatch.handed_back(in_flight)

    def _welcome(self, slot: WorkerSlot, message: Ready, now: float) -> None:
        if slot.was_ready:
            raise ProtocolViolation("ready was said twice")
        if message.version != PROTOCOL_VERSION:
            raise ProtocolViolation(f"protocol version {message.version}; this is version {PROTOCOL_VERSION}")
        slot.was_ready = True
        slot.restarts.came_up()
        if slot.state is SlotState.STARTING:
            slot.lifecycle.enter(SlotState.READY, now)
