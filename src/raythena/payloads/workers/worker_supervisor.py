"""The workers of a pool from start to end: one for each slot, replaced when it dies, hangs or talks nonsense.

Rules:
- Whatever kills a worker is charged to the event it was computing, and to no other; where it may have been any of several, each
  is tried alone.
- A slot is empty again once its worker's exit is known and its connection has ended: until then messages may still come.
- Whether and when another worker is started says `restart_backoff`. Only workers that never become ready end the payload.
- One timer looks at all slots.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from raythena.domain.errors import PayloadError
from raythena.domain.results import FailureKind
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.connection import Connection, Listener
from raythena.payloads.workers.memory_watch import MemoryWatch
from raythena.payloads.workers.output_inspection import OutputInspector
from raythena.payloads.workers.output_intake import OutputIntake
from raythena.payloads.workers.protocol import DrainMessage, encode
from raythena.payloads.workers.range_dispatch import RangeDispatch
from raythena.payloads.workers.slot import SlotState, SpawnRequest, WorkerSlot, describe_status
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import PayloadContext
from raythena.runtime.process_guard_main import EXEC_FAILED_STATUS

LOG = logging.getLogger(__name__)
TICK_MIN_S, TICK_MAX_S = 0.02, 0.1
_HANGS = "no result after {:.1f} s; the time limit is {:.1f} s"
GRACE_S = 2.0
"""Between the end of a worker's connection and the end of its process, either way round."""


class Spawner(Protocol):
    """A way of starting workers."""

    async def start(self) -> None:
        """Prepare. Raises PayloadError."""

    async def spawn(self, spawn: SpawnRequest, on_exit: Callable[[int], None]) -> int:
        """Start a worker; its process id. `on_exit` is told its status once.

        Raises PayloadError when no worker can ever be started, OSError when another try may succeed.
        """

    def failed_start(self, spawn: SpawnRequest, how: str) -> PayloadError | None:
        """Who else than the program is to blame for a worker that died before it was ready; None: nobody."""

    def kill(self, pid: int) -> None:
        """Kill a worker with its process group."""

    async def stop(self) -> None:
        """Kill everything that was started. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class PoolParts:
    """What the parts of one pool share."""

    context: PayloadContext
    slots: Sequence[WorkerSlot]
    pace: Pace
    dispatch: RangeDispatch
    intake: OutputIntake
    outcomes: OutcomeQueue
    memory: MemoryWatch


class WorkerSupervisor:
    """Starts and ends workers. `listener` hears what they say; their sockets lie in `sockets`."""

    def __init__(self, parts: PoolParts, spawner: Spawner, sockets: Path, listener: Listener) -> None:
        self._parts = parts
        self._context, self._clock = parts.context, parts.context.clock
        self._spawner = spawner
        self._sockets = sockets
        self._listener = listener
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        limit_s = min(self._context.min_time_limit_s, self._context.first_time_limit_s)
        self._tick_s = min(TICK_MAX_S, max(TICK_MIN_S, limit_s / 10))
        self._draining = False
        self._running = True

    async def start(self) -> None:
        """Begin to start workers. Raises PayloadError."""
        await self._spawner.start()
        self._parts.memory.start(self.break_off)
        self._tick()

    async def stop(self) -> None:
        """Kill every process. Safe to call twice."""
        self._running = False
        self._parts.memory.stop()
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._spawner.stop()
        for slot in self._parts.slots:
            self._disconnect(slot)

    async def drain(self, deadline_s: float) -> None:
        """Have workers finish what they compute and exit; those that run after `deadline_s` seconds are killed."""
        self._draining = True
        for slot in self._parts.slots:
            if slot.state is SlotState.READY and slot.transport is not None:
                slot.transport.write(encode(DrainMessage()))
            elif slot.state is SlotState.STARTING:
                self.end(slot)
        deadline = self._clock.monotonic_s() + deadline_s
        while self._busy_slots() and self._clock.monotonic_s() < deadline:
            await self._clock.sleep(TICK_MIN_S)
        for slot in self._busy_slots():
            self.end(slot)
            self._parts.dispatch.reclaim(slot)

    def _busy_slots(self) -> list[WorkerSlot]:
        return [slot for slot in self._parts.slots if slot.state is not SlotState.EMPTY]

    # ---- looking after them

    def _tick(self) -> None:
        """Look at every slot: start workers that are due, notice hanging ones, announce long events."""
        now = self._clock.monotonic_s()
        for slot in self._parts.slots:
            self._look_after(slot, now)
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _look_after(self, slot: WorkerSlot, now: float) -> None:
        if slot.state is SlotState.EMPTY:
            wanted = now >= slot.respawn_at and not self._draining and self._parts.outcomes.fatal is None
            if wanted and self._parts.memory.has_room():
                slot.lifecycle.enter(SlotState.STARTING, now)
                self._run(self._populate(slot))
        elif slot.state is SlotState.ENDING:
            self._insist(slot, now)
        elif slot.state is SlotState.STARTING:
            limit_s = self._context.first_time_limit_s
            if slot.pid is not None and now - slot.lifecycle.since > limit_s:
                LOG.warning("worker %d said nothing for %.0f s after its start and is killed", slot.number, limit_s)
                self.end(slot)
        else:
            self._watch(slot, now)

    def _watch(self, slot: WorkerSlot, now: float) -> None:
        """Announce what the worker computes, and kill it when one of that takes too long."""
        limit_s = self._parts.pace.time_limit_s
        for in_flight in slot.current():
            if not in_flight.announced:
                in_flight.announced = True
                self._parts.outcomes.started(in_flight.leases[0].index, in_flight.at)
            took_s = now - (now if in_flight.since is None else in_flight.since)
            if took_s > limit_s:
                self._parts.dispatch.charge(slot, in_flight, FailureKind.HANG, _HANGS.format(took_s, limit_s))
                self._put_away(slot)
                return

    def _insist(self, slot: WorkerSlot, now: float) -> None:
        """A worker that should have ended: kill it, and stop waiting for messages nobody can send any more."""
        if now - slot.lifecycle.since < GRACE_S:
            return
        if slot.status is None and slot.pid is not None:
            self._spawner.kill(slot.pid)
        elif slot.transport is not None:
            slot.transport.abort()

    # ---- the start of a worker

    async def _populate(self, slot: WorkerSlot) -> None:
        """Start a worker on an empty slot."""
        slot.begin()
        incarnation = slot.incarnation
        try:
            spawn = await self._prepare(slot)
            slot.spawn = spawn
            pid = await self._spawner.spawn(spawn, partial(self._exited, slot, incarnation))
        except PayloadError as problem:
            self.give_up(problem)
            return
        except OSError as problem:
            slot.trouble = f"could not be started: {problem}"
            self._exited(slot, incarnation, EXEC_FAILED_STATUS)
            return
        if slot.incarnation == incarnation and slot.status is None:
            slot.pid = pid
            self._parts.memory.came(pid)
            slot.lifecycle.since = self._clock.monotonic_s()
            if self._draining or slot.state is SlotState.ENDING:
                self._spawner.kill(pid)

    async def _prepare(self, slot: WorkerSlot) -> SpawnRequest:
        """Give the next worker a directory and a socket of its own."""
        name = f"w{slot.number}-{slot.incarnation}"
        scratch = self._context.scratch / name
        scratch.mkdir(exist_ok=True)
        slot.inspector = OutputInspector(scratch, self._context.job.stream_names if self._context.job else ())
        if slot.log.exists():
            slot.log_start = slot.log.stat().st_size
        path = self._sockets / name
        loop = asyncio.get_running_loop()
        slot.listener = await loop.create_unix_server(partial(Connection, self._listener, slot), str(path), backlog=4)
        return SpawnRequest(slot.number, path, scratch, slot.log)

    def connected(self, slot: WorkerSlot, transport: asyncio.Transport) -> bool:
        """A worker has connected; False refuses it."""
        if slot.transport is not None or not self._running:
            return False
        slot.transport = transport
        self._close_listener(slot)
        return True

    # ---- the end of a worker

    def break_off(self, slot: WorkerSlot, kind: FailureKind, text: str) -> None:
        """Charge what the worker computes and kill it."""
        if not self._parts.dispatch.charge_current(slot, kind, text):
            LOG.warning("worker %d, without a range: %s", slot.number, text)
        self._put_away(slot)

    def _put_away(self, slot: WorkerSlot) -> None:
        self.end(slot)
        self._parts.dispatch.reclaim(slot)

    def end(self, slot: WorkerSlot) -> None:
        """Kill the slot's worker; the rest follows when its exit is known."""
        slot.lifecycle.enter(SlotState.ENDING, self._clock.monotonic_s())
        slot.distrusted = True
        if slot.pid is not None and slot.status is None:
            self._spawner.kill(slot.pid)

    def hung_up(self, slot: WorkerSlot) -> None:
        """A worker's connection has ended."""
        slot.hung_up = True
        slot.transport = None
        self._note_end(slot)

    def _exited(self, slot: WorkerSlot, incarnation: int, status: int) -> None:
        if slot.incarnation == incarnation and self._running:
            slot.status = status
            if slot.transport is None:
                slot.hung_up = True
            self._note_end(slot)

    def _note_end(self, slot: WorkerSlot) -> None:
        """The connection has ended, or the process, or both: with both, the slot is empty."""
        if not self._running or slot.state is SlotState.EMPTY:
            return
        if slot.status is None or not slot.hung_up:
            if slot.state is not SlotState.ENDING:
                slot.lifecycle.enter(SlotState.ENDING, self._clock.monotonic_s())
            return
        if not (self._draining and slot.status == 0):
            self._parts.dispatch.charge_current(slot, *self._parts.memory.cause_of_death(slot))
        self._vacate(slot)
        self._parts.dispatch.reclaim(slot)

    def _vacate(self, slot: WorkerSlot) -> None:
        """The worker is gone: decide when its successor comes, or that none will."""
        now = self._clock.monotonic_s()
        self._disconnect(slot)
        slot.lifecycle.enter(SlotState.EMPTY, now)
        slot.respawn_at = now + slot.restarts.ended(came_up=slot.was_ready, had_result=slot.finished > 0)
        blamed = self._blamed(slot)
        if slot.restarts.is_exhausted and not any(other.state is SlotState.READY for other in self._parts.slots):
            failed = slot.restarts.failed_starts
            text = f"{failed} workers in a row died before they were ready; the last one: {blamed or slot.exit_summary()}"
            self.give_up((type(blamed) if blamed else PayloadError)(f"{text} (log: {slot.log})"))
        elif not slot.was_ready:
            LOG.warning("worker %d died before it was ready: %s", slot.number, slot.exit_summary())
        self._parts.intake.worker_gone(slot)

    def _blamed(self, slot: WorkerSlot) -> PayloadError | None:
        """Who else than the program is to blame for a worker that never was ready."""
        if slot.was_ready or slot.spawn is None or slot.trouble:
            return None
        return self._spawner.failed_start(slot.spawn, describe_status(slot.status))

    def give_up(self, problem: PayloadError) -> None:
        """The payload is beyond repair: everything held goes back, then `poll` raises."""
        if self._parts.outcomes.give_up(problem):
            self._parts.dispatch.close()
            for slot in self._parts.slots:
                self._parts.dispatch.reclaim(slot)
                if slot.state in (SlotState.STARTING, SlotState.READY):
                    self.end(slot)

    def _disconnect(self, slot: WorkerSlot) -> None:
        if slot.transport is not None:
            slot.transport.abort()
            slot.transport = None
        self._close_listener(slot)

    def _close_listener(self, slot: WorkerSlot) -> None:
        if slot.listener is not None:
            slot.listener.close()
            slot.listener = None
            (self._sockets / f"w{slot.number}-{slot.incarnation}").unlink(missing_ok=True)

    def _run(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            self.give_up(PayloadError(f"a worker could not be started, through a defect of the worker pool: {problem!r}"))
