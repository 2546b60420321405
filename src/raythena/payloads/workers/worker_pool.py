"""The worker pool: a payload made of worker processes that speak the event-server protocol, one for each core.

Both shipped payloads are this pool with another way of starting a worker (`Spawner`). The pool hands out ranges, checks results,
measures time limits, and replaces workers that die, hang or talk nonsense.

Rules:
- A range is in exactly one place: the backlog, the queue of one slot, or on its way to the agent as an outcome.
- The first range in a worker's queue is the one it computes. Whatever kills the worker is charged to that range alone; the ones
  behind it go back to the front of the backlog.
- A worker that breaks the protocol is killed: nothing it holds in memory can be trusted any more. A bad output or a failure
  it reports itself leaves it alive.
- Nothing per event but arithmetic: no task, timer or future. One timer looks at all slots.
- Nothing a worker does raises out of the pool. Only a payload that cannot be started at all is a `PayloadError`.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from raythena.domain.errors import InternalError, PayloadError
from raythena.domain.results import FailureKind
from raythena.payloads.workers.connection import Connection, socket_directory
from raythena.payloads.workers.output_inspection import BadOutput, OutputInspector, Spool
from raythena.payloads.workers.protocol import (
    CANCEL_CHUNK,
    PROTOCOL_VERSION,
    CancelMessage,
    DoneMessage,
    DrainMessage,
    FailedMessage,
    ProtocolViolation,
    RangeMessage,
    Ready,
    WorkerMessage,
    decode,
    encode,
)
from raythena.payloads.workers.slot import InFlight, SlotState, SpawnRequest, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext, PayloadOutcome, Released, Started
from raythena.runtime.process_guard_main import EXEC_FAILED_STATUS

LOG = logging.getLogger(__name__)
TICK_MIN_S, TICK_MAX_S = 0.02, 0.1
GRACE_S = 2.0
"""Between the end of a worker's connection and the end of its process, either way round."""
FAILED_STARTS_LIMIT = 3
"""Workers of one slot dying in a row before they are ready, while no other is ready, before the payload is given up."""
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.05, 5.0
REASON_LENGTH = 4000


class Spawner(Protocol):
    """A way of starting workers."""

    async def start(self) -> None:
        """Prepare. Raises PayloadError."""

    async def spawn(self, spawn: SpawnRequest, on_exit: Callable[[int], None]) -> int:
        """Start a worker; its process id. `on_exit` is told its status once.

        Raises PayloadError when no worker can ever be started, OSError when another try may succeed.
        """

    def kill(self, pid: int) -> None:
        """Kill a worker with its process group."""

    async def stop(self) -> None:
        """Kill everything that was started. Safe to call twice."""


class WorkerPool:
    """A `Payload` computed by worker processes. Subclasses say how a worker is started."""

    def __init__(self) -> None:
        self._slots: list[WorkerSlot] = []
        self._backlog: deque[LeasedRange] = deque()
        self._held: set[int] = set()
        self._outcomes: list[PayloadOutcome] = []
        self._waiter: asyncio.Future[None] | None = None
        self._spools: dict[Path, Spool] = {}
        self._tokens = 0
        self._fatal: PayloadError | None = None
        self._draining = False
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def make_spawner(self, context: PayloadContext) -> Spawner:
        """How this payload starts its workers. Raises PayloadError or InvalidInput for options that cannot work."""
        raise NotImplementedError

    # --- the payload's face ---------------------------------------------------------------------------------------------------

    async def start(self, context: PayloadContext) -> None:
        """Start one worker for each core; they may still be initialising on return. Raises PayloadError, InvalidInput."""
        self._context = context
        self._pace = Pace(context)
        context.scratch.mkdir(parents=True, exist_ok=True)
        context.log_dir.mkdir(parents=True, exist_ok=True)
        self.sockets = socket_directory(context.scratch)
        self._spawner = self.make_spawner(context)
        self._slots = [WorkerSlot(number, context.log_dir / f"worker_{number}.log") for number in range(context.cores)]
        self._tick_s = min(TICK_MAX_S, max(TICK_MIN_S, min(context.min_time_limit_s, context.first_time_limit_s) / 10))
        self._running = True
        try:
            await self._spawner.start()
        except BaseException:
            await self.stop()
            raise
        self._tick()

    @property
    def appetite(self) -> int:
        """Ranges the pool would take now so that no core waits."""
        if self._draining or self._fatal or not self._running:
            return 0
        return max(0, len(self._slots) * self._pace.wanted_per_core - len(self._held))

    def feed(self, leases: Sequence[LeasedRange]) -> None:
        """Take ranges. Raises InternalError when one of them is held already."""
        for lease in leases:
            if lease.index in self._held:
                raise InternalError(f"range {lease.index} was fed to a payload that still holds it")
            self._held.add(lease.index)
        self._backlog.extend(leases)
        self._settle()

    def release(self, indices: Sequence[int]) -> None:
        """Hand ranges back that no worker has started; those queued in a worker are asked for."""
        wanted = self._held.intersection(indices)
        if not wanted:
            return
        waiting, self._backlog = self._backlog, deque()
        for lease in waiting:
            if lease.index in wanted:
                self._finish(Released(lease.index))
            else:
                self._backlog.append(lease)
        for slot in self._slots:
            self._recall(slot, [in_flight for in_flight in _behind_current(slot) if in_flight.lease.index in wanted])
        self._wake()

    async def poll(self, timeout_s: float) -> list[PayloadOutcome]:
        """What happened since the last call; waits at most `timeout_s`. Raises PayloadError once all outcomes are handed over."""
        if not self._outcomes and self._fatal is None and self._running:
            await self._wait_for_outcome(timeout_s)
        if not self._outcomes and self._fatal is not None:
            raise self._fatal
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def collected(self, stretches: Iterable[Path]) -> None:
        """The agent has copied these stretches (the spool's path, once for each): spools no longer needed are deleted."""
        for path in stretches:
            spool = self._spools.get(path)
            if spool is not None:
                spool.uncollected -= 1
                self._drop_spool_if_spent(spool)

    async def drain(self, deadline_s: float) -> None:
        """Release what is not started and let running events end; those still running after `deadline_s` are released too."""
        self._draining = True
        self._settle()
        for slot in self._slots:
            if slot.state is SlotState.READY and slot.transport is not None:
                slot.transport.write(encode(DrainMessage()))
            elif slot.state is SlotState.STARTING:
                self._end(slot)
        deadline = time.monotonic() + deadline_s
        while self._busy_slots() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(TICK_MIN_S)
        for slot in self._busy_slots():
            self._end(slot)
            self._hand_back(slot)
        self._wake()

    async def stop(self) -> None:
        """Kill every process. What was running is lost. Safe to call twice."""
        if not self._running:
            return
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._spawner.stop()
        for slot in self._slots:
            self._disconnect(slot)
        await asyncio.to_thread(shutil.rmtree, self.sockets, ignore_errors=True)
        self._wake()

    # --- what workers do ------------------------------------------------------------------------------------------------------

    def connected(self, slot: WorkerSlot, transport: asyncio.Transport) -> bool:
        """A worker has connected; False refuses it."""
        if slot.transport is not None or not self._running:
            return False
        slot.transport = transport
        self._close_listener(slot)
        return True

    def received(self, slot: WorkerSlot, lines: list[bytes]) -> None:
        """Lines from a worker, in order."""
        now = time.monotonic()
        for line in lines:
            if slot.distrusted:
                break
            try:
                self._obey(slot, decode(line), now)
            except ProtocolViolation as problem:
                self._break_off(slot, FailureKind.PROTOCOL, f"the worker broke the protocol: {problem}")
                break
        self._dispatch(slot)
        self._wake()

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

    def _obey(self, slot: WorkerSlot, message: WorkerMessage, now: float) -> None:
        if isinstance(message, Ready):
            self._welcome(slot, message, now)
            return
        if not slot.was_ready:
            raise ProtocolViolation("the first message must be ready")
        in_flight = slot.queue.pop(message.range, None)
        if in_flight is None:
            raise ProtocolViolation(self._stranger(message.range))
        held_s, started_at = now - slot.current_since, slot.current_at
        slot.current_since = now
        slot.current_at = time.time()
        if isinstance(message, DoneMessage):
            self._take_result(slot, in_flight, message, held_s)
        elif isinstance(message, FailedMessage):
            slot.finished += 1
            reason = message.reason[-REASON_LENGTH:] or "the worker gave no reason"
            self._finish(Failed(in_flight.lease.index, FailureKind.REPORTED, reason, held_s))
        else:
            self._take_back(slot, in_flight, started_at)

    def _welcome(self, slot: WorkerSlot, message: Ready, now: float) -> None:
        if slot.was_ready:
            raise ProtocolViolation("ready was said twice")
        if message.version != PROTOCOL_VERSION:
            raise ProtocolViolation(f"protocol version {message.version}; this is version {PROTOCOL_VERSION}")
        slot.was_ready = True
        slot.failed_starts = 0
        if slot.state is SlotState.STARTING:
            slot.enter(SlotState.READY, now)

    def _take_result(self, slot: WorkerSlot, in_flight: InFlight, message: DoneMessage, held_s: float) -> None:
        assert slot.inspector is not None  # noqa: S101
        index = in_flight.lease.index
        try:
            output = slot.inspector.inspect(message)
        except BadOutput as problem:
            self._finish(Failed(index, FailureKind.BAD_OUTPUT, str(problem), held_s))
            return
        slot.finished += 1
        self._pace.observe(message.wall_s, held_s)
        while slot.inspector.retired:
            self._drop_spool_if_spent(slot.inspector.retired.pop())
        if output.spool is not None:
            output.spool.uncollected += 1
            self._spools[output.path] = output.spool
        self._finish(
            Done(
                index,
                output.path,
                output.size_bytes,
                message.started_at,
                message.wall_s,
                message.cpu_s,
                output.offset,
                output.spool is None,
            )
        )

    def _take_back(self, slot: WorkerSlot, in_flight: InFlight, started_at: float) -> None:
        """A worker hands back a range it has not started."""
        if in_flight.recalled or self._draining:
            self._finish(Released(in_flight.lease.index))
        else:
            self._backlog.appendleft(in_flight.lease)

    def _stranger(self, token: str) -> str:
        known = token.isascii() and token.isdigit() and int(token) <= self._tokens
        story = "was reported before, or taken from this worker" if known else "was never given out"
        return f"a result for range {token[:80]!r}, which {story}"

    # --- handing out ----------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Bring every range where it belongs after the backlog has changed."""
        if self._draining or self._fatal or not self._running:
            while self._backlog:
                self._finish(Released(self._backlog.popleft().index))
            self._wake()
            return
        for slot in sorted(self._slots, key=lambda slot: len(slot.queue)):
            self._dispatch(slot)

    def _dispatch(self, slot: WorkerSlot) -> None:
        """Fill a worker's queue, in one write, once it is half empty; a backlog that runs out is shared fairly."""
        if slot.state is not SlotState.READY or not self._backlog or self._draining:
            return
        slots = len(self._slots)
        ahead = min(self._pace.ahead, max(0, len(self._backlog) - slots) // slots)
        if len(slot.queue) > (1 + ahead) // 2:
            return
        now = time.monotonic()
        if not slot.queue:
            slot.current_since = now
            slot.current_at = time.time()
        lines = []
        for _ in range(min(1 + ahead - len(slot.queue), len(self._backlog))):
            lines.append(self._issue(slot, self._backlog.popleft(), now))
        assert slot.transport is not None  # noqa: S101
        slot.transport.write(b"".join(lines))

    def _issue(self, slot: WorkerSlot, lease: LeasedRange, now: float) -> bytes:
        self._tokens += 1
        token = str(self._tokens)
        slot.queue[token] = InFlight(lease, token, now)
        what = lease.event_range
        return encode(
            RangeMessage(token, what.range_id, what.lfn, what.pfn, what.guid, what.first_event, what.last_event, lease.attempt)
        )

    def _recall(self, slot: WorkerSlot, in_flight_ranges: list[InFlight]) -> None:
        for in_flight in in_flight_ranges:
            in_flight.recalled = True
        if slot.transport is not None:
            for start in range(0, len(in_flight_ranges), CANCEL_CHUNK):
                tokens = [in_flight.token for in_flight in in_flight_ranges[start : start + CANCEL_CHUNK]]
                slot.transport.write(encode(CancelMessage(tokens)))

    def _finish(self, outcome: Done | Failed | Released) -> None:
        self._held.discard(outcome.index)
        self._outcomes.append(outcome)

    # --- the life of a worker -------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at every slot: start workers that are due, notice hanging ones, announce long events."""
        now = time.monotonic()
        for slot in self._slots:
            self._look_after(slot, now)
        self._wake()
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _look_after(self, slot: WorkerSlot, now: float) -> None:
        if slot.state is SlotState.EMPTY:
            if now >= slot.respawn_at and not self._draining and self._fatal is None:
                slot.enter(SlotState.STARTING, now)
                self._run(self._populate(slot))
        elif slot.state is SlotState.ENDING:
            self._press(slot, now)
        elif slot.state is SlotState.STARTING:
            limit_s = self._context.first_time_limit_s
            if slot.pid is not None and now - slot.state_since > limit_s:
                LOG.warning("worker %d said nothing for %.0f s after its start and is killed", slot.number, limit_s)
                self._end(slot)
        elif (in_flight := slot.current()) is not None:
            self._watch(slot, in_flight, now)

    def _watch(self, slot: WorkerSlot, in_flight: InFlight, now: float) -> None:
        """Announce the current range, and kill the worker when it takes too long."""
        if not in_flight.announced:
            in_flight.announced = True
            self._outcomes.append(Started(in_flight.lease.index, slot.current_at))
        limit_s = self._pace.time_limit_s
        if now - slot.current_since > limit_s:
            text = f"no result after {now - slot.current_since:.1f} s; the time limit is {limit_s:.1f} s"
            self._break_off(slot, FailureKind.HANG, text)

    def _press(self, slot: WorkerSlot, now: float) -> None:
        """A worker that should have ended: insist, and stop waiting for messages nobody can send any more."""
        if now - slot.state_since < GRACE_S:
            return
        if slot.status is None and slot.pid is not None:
            self._spawner.kill(slot.pid)
        elif slot.transport is not None:
            slot.transport.abort()

    async def _populate(self, slot: WorkerSlot) -> None:
        """Start a worker on an empty slot."""
        slot.begin()
        incarnation = slot.incarnation
        try:
            spawn = await self._prepare(slot)
            pid = await self._spawner.spawn(spawn, partial(self._exited, slot, incarnation))
        except PayloadError as problem:
            self._give_up(problem)
            return
        except OSError as problem:
            slot.trouble = f"could not be started: {problem}"
            self._exited(slot, incarnation, EXEC_FAILED_STATUS)
            return
        if slot.incarnation == incarnation and slot.status is None:
            slot.pid = pid
            slot.state_since = time.monotonic()
            if self._draining or slot.state is SlotState.ENDING:
                self._spawner.kill(pid)

    async def _prepare(self, slot: WorkerSlot) -> SpawnRequest:
        """Give the next worker a directory and a socket of its own."""
        name = f"w{slot.number}-{slot.incarnation}"
        scratch = self._context.scratch / name
        scratch.mkdir(exist_ok=True)
        slot.inspector = OutputInspector(scratch)
        if slot.log.exists():
            slot.log_start = slot.log.stat().st_size
        path = self.sockets / name
        loop = asyncio.get_running_loop()
        slot.listener = await loop.create_unix_server(partial(Connection, self, slot), str(path), backlog=4)
        return SpawnRequest(slot.number, path, scratch, slot.log)

    def _break_off(self, slot: WorkerSlot, kind: FailureKind, text: str) -> None:
        """Charge the current range and kill the worker."""
        in_flight = slot.current()
        if in_flight is None:
            LOG.warning("worker %d, without a range: %s", slot.number, text)
        else:
            del slot.queue[in_flight.token]
            self._finish(Failed(in_flight.lease.index, kind, text, time.monotonic() - slot.current_since))
        self._end(slot)
        self._hand_back(slot)

    def _end(self, slot: WorkerSlot) -> None:
        """Kill the slot's worker; the rest follows when its exit is known."""
        slot.enter(SlotState.ENDING, time.monotonic())
        slot.distrusted = True
        if slot.pid is not None and slot.status is None:
            self._spawner.kill(slot.pid)

    def _hand_back(self, slot: WorkerSlot) -> None:
        """Return what a worker holds, in order, to the backlog, or to the agent where it was asked for."""
        in_flight_ranges = list(slot.queue.values())
        slot.queue.clear()
        kept = [in_flight.lease for in_flight in in_flight_ranges if not in_flight.recalled]
        for in_flight in in_flight_ranges:
            if in_flight.recalled:
                self._finish(Released(in_flight.lease.index))
        self._backlog.extendleft(reversed(kept))
        self._settle()

    def _note_end(self, slot: WorkerSlot) -> None:
        """The connection has ended, or the process, or both: with both, the slot is empty."""
        if not self._running or slot.state is SlotState.EMPTY:
            return
        if slot.status is None or not slot.hung_up:
            if slot.state is not SlotState.ENDING:
                slot.enter(SlotState.ENDING, time.monotonic())
            return
        in_flight = slot.current()
        if in_flight is not None and not (self._draining and slot.status == 0):
            text = f"the worker died: {slot.exit_summary()}"
            del slot.queue[in_flight.token]
            self._finish(Failed(in_flight.lease.index, FailureKind.CRASH, text, time.monotonic() - slot.current_since))
        self._vacate(slot)
        self._hand_back(slot)
        self._wake()

    def _vacate(self, slot: WorkerSlot) -> None:
        """The worker is gone: decide when its successor comes, or that none will."""
        now = time.monotonic()
        self._disconnect(slot)
        slot.enter(SlotState.EMPTY, now)
        slot.runs_without_result = 0 if slot.finished else slot.runs_without_result + 1
        slot.failed_starts = 0 if slot.was_ready else slot.failed_starts + 1
        slot.respawn_at = now
        if slot.runs_without_result > 1:
            slot.respawn_at += min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(slot.runs_without_result, 20))
        if slot.failed_starts >= FAILED_STARTS_LIMIT and not any(other.state is SlotState.READY for other in self._slots):
            text = f"{slot.failed_starts} workers in a row died before they were ready; the last one: {slot.exit_summary()}"
            self._give_up(PayloadError(f"{text} (log: {slot.log})"))
        elif not slot.was_ready:
            LOG.warning("worker %d died before it was ready: %s", slot.number, slot.exit_summary())
        if slot.inspector is not None:
            for spool in slot.inspector.spools.values():
                spool.closed = True
                self._drop_spool_if_spent(spool)

    def _give_up(self, problem: PayloadError) -> None:
        """The payload is beyond repair: everything held goes back, then `poll` raises."""
        if self._fatal is None:
            self._fatal = problem
            for slot in self._slots:
                self._hand_back(slot)
                if slot.state in (SlotState.STARTING, SlotState.READY):
                    self._end(slot)
        self._settle()
        self._wake()

    def _disconnect(self, slot: WorkerSlot) -> None:
        if slot.transport is not None:
            slot.transport.abort()
            slot.transport = None
        self._close_listener(slot)

    def _close_listener(self, slot: WorkerSlot) -> None:
        if slot.listener is not None:
            slot.listener.close()
            slot.listener = None
            (self.sockets / f"w{slot.number}-{slot.incarnation}").unlink(missing_ok=True)

    # --- small things ---------------------------------------------------------------------------------------------------------

    def _busy_slots(self) -> list[WorkerSlot]:
        return [slot for slot in self._slots if slot.state is not SlotState.EMPTY]

    def _drop_spool_if_spent(self, spool: Spool) -> None:
        if spool.closed and spool.uncollected <= 0:
            self._spools.pop(spool.path, None)
            spool.path.unlink(missing_ok=True)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            self._give_up(PayloadError(f"a worker could not be started, through a defect of the worker pool: {problem!r}"))

    async def _wait_for_outcome(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout_s, _resolve, self._waiter)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and (self._outcomes or self._fatal or not self._running):
            _resolve(self._waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _behind_current(slot: WorkerSlot) -> list[InFlight]:
    return list(slot.queue.values())[1:]
