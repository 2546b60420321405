"""The worker pool: a payload made of worker processes that speak the event-server protocol, one for each core.

Both shipped payloads are this pool with another way of starting a worker (`Spawner`). The pool hands out ranges, checks results,
measures time limits, and replaces workers that die, hang or talk nonsense.

Rules:
- A range is in exactly one place: the backlog, the queue of one seat, or on its way to the agent as an outcome.
- The first range in a worker's queue is the one it computes. Whatever kills the worker is charged to that range alone; the ones
  behind it go back to the front of the backlog.
- A worker that breaks the protocol is killed: nothing it holds in memory can be trusted any more. A bad output or a failure
  it reports itself leaves it alive.
- Nothing per event but arithmetic: no task, timer or future. One timer looks at all seats.
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
from raythena.payloads.connection import Connection, socket_directory
from raythena.payloads.outputs import BadOutput, OutputInspector, Spool
from raythena.payloads.pacing import Pace
from raythena.payloads.protocol import (
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
from raythena.payloads.seat import Birth, Seat, SeatState, Ticket
from raythena.runtime.payload import Assignment, Done, Failed, Outcome, PayloadContext, Released, Started
from raythena.runtime.warden_process import EXEC_FAILED_STATUS

LOG = logging.getLogger(__name__)
TICK_MIN_S, TICK_MAX_S = 0.02, 0.1
GRACE_S = 2.0
"""Between the end of a worker's connection and the end of its process, either way round."""
STILLBORN_LIMIT = 3
"""Workers of one seat dying in a row before they are ready, while no other is ready, before the payload is given up."""
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.05, 5.0
REASON_LENGTH = 4000


class Spawner(Protocol):
    """A way of starting workers."""

    async def start(self) -> None:
        """Prepare. Raises PayloadError."""

    async def spawn(self, birth: Birth, on_exit: Callable[[int], None]) -> int:
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
        self._seats: list[Seat] = []
        self._backlog: deque[Assignment] = deque()
        self._held: set[int] = set()
        self._outcomes: list[Outcome] = []
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
        self._seats = [Seat(number, context.log_dir / f"worker_{number}.log") for number in range(context.cores)]
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
        return max(0, len(self._seats) * self._pace.wanted_per_core - len(self._held))

    def feed(self, assignments: Sequence[Assignment]) -> None:
        """Take ranges. Raises InternalError when one of them is held already."""
        for assignment in assignments:
            if assignment.index in self._held:
                raise InternalError(f"range {assignment.index} was fed to a payload that still holds it")
            self._held.add(assignment.index)
        self._backlog.extend(assignments)
        self._settle()

    def release(self, indices: Sequence[int]) -> None:
        """Hand ranges back that no worker has started; those queued in a worker are asked for."""
        wanted = self._held.intersection(indices)
        if not wanted:
            return
        waiting, self._backlog = self._backlog, deque()
        for assignment in waiting:
            if assignment.index in wanted:
                self._finish(Released(assignment.index))
            else:
                self._backlog.append(assignment)
        for seat in self._seats:
            self._recall(seat, [ticket for ticket in _behind_current(seat) if ticket.assignment.index in wanted])
        self._wake()

    async def poll(self, timeout_s: float) -> list[Outcome]:
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
        for seat in self._seats:
            if seat.state is SeatState.READY and seat.transport is not None:
                seat.transport.write(encode(DrainMessage()))
            elif seat.state is SeatState.STARTING:
                self._end(seat)
        deadline = time.monotonic() + deadline_s
        while self._busy_seats() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(TICK_MIN_S)
        for seat in self._busy_seats():
            self._end(seat)
            self._hand_back(seat)
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
        for seat in self._seats:
            self._disconnect(seat)
        await asyncio.to_thread(shutil.rmtree, self.sockets, ignore_errors=True)
        self._wake()

    # --- what workers do ------------------------------------------------------------------------------------------------------

    def connected(self, seat: Seat, transport: asyncio.Transport) -> bool:
        """A worker has connected; False refuses it."""
        if seat.transport is not None or not self._running:
            return False
        seat.transport = transport
        self._close_listener(seat)
        return True

    def received(self, seat: Seat, lines: list[bytes]) -> None:
        """Lines from a worker, in order."""
        now = time.monotonic()
        for line in lines:
            if seat.distrusted:
                break
            try:
                self._obey(seat, decode(line), now)
            except ProtocolViolation as problem:
                self._break_off(seat, FailureKind.PROTOCOL, f"the worker broke the protocol: {problem}")
                break
        self._dispatch(seat)
        self._wake()

    def hung_up(self, seat: Seat) -> None:
        """A worker's connection has ended."""
        seat.hung_up = True
        seat.transport = None
        self._note_end(seat)

    def _exited(self, seat: Seat, incarnation: int, status: int) -> None:
        if seat.incarnation == incarnation and self._running:
            seat.status = status
            if seat.transport is None:
                seat.hung_up = True
            self._note_end(seat)

    def _obey(self, seat: Seat, message: WorkerMessage, now: float) -> None:
        if isinstance(message, Ready):
            self._welcome(seat, message, now)
            return
        if not seat.was_ready:
            raise ProtocolViolation("the first message must be ready")
        ticket = seat.queue.pop(message.range, None)
        if ticket is None:
            raise ProtocolViolation(self._stranger(message.range))
        held_s, started_at = now - seat.current_since, seat.current_at
        seat.current_since = now
        seat.current_at = time.time()
        if isinstance(message, DoneMessage):
            self._take_result(seat, ticket, message, held_s)
        elif isinstance(message, FailedMessage):
            seat.finished += 1
            reason = message.reason[-REASON_LENGTH:] or "the worker gave no reason"
            self._finish(Failed(ticket.assignment.index, FailureKind.REPORTED, reason, held_s))
        else:
            self._take_back(seat, ticket, started_at)

    def _welcome(self, seat: Seat, message: Ready, now: float) -> None:
        if seat.was_ready:
            raise ProtocolViolation("ready was said twice")
        if message.version != PROTOCOL_VERSION:
            raise ProtocolViolation(f"protocol version {message.version}; this is version {PROTOCOL_VERSION}")
        seat.was_ready = True
        seat.stillborn = 0
        if seat.state is SeatState.STARTING:
            seat.enter(SeatState.READY, now)

    def _take_result(self, seat: Seat, ticket: Ticket, message: DoneMessage, held_s: float) -> None:
        assert seat.inspector is not None  # noqa: S101
        index = ticket.assignment.index
        try:
            output = seat.inspector.inspect(message)
        except BadOutput as problem:
            self._finish(Failed(index, FailureKind.BAD_OUTPUT, str(problem), held_s))
            return
        seat.finished += 1
        self._pace.observe(message.wall_s, held_s)
        while seat.inspector.retired:
            self._drop_spool_if_spent(seat.inspector.retired.pop())
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

    def _take_back(self, seat: Seat, ticket: Ticket, started_at: float) -> None:
        """A worker hands back a range it has not started."""
        if ticket.recalled or self._draining:
            self._finish(Released(ticket.assignment.index))
        else:
            self._backlog.appendleft(ticket.assignment)

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
        for seat in sorted(self._seats, key=lambda seat: len(seat.queue)):
            self._dispatch(seat)

    def _dispatch(self, seat: Seat) -> None:
        """Fill a worker's queue, in one write, once it is half empty; a backlog that runs out is shared fairly."""
        if seat.state is not SeatState.READY or not self._backlog or self._draining:
            return
        seats = len(self._seats)
        ahead = min(self._pace.ahead, max(0, len(self._backlog) - seats) // seats)
        if len(seat.queue) > (1 + ahead) // 2:
            return
        now = time.monotonic()
        if not seat.queue:
            seat.current_since = now
            seat.current_at = time.time()
        lines = []
        for _ in range(min(1 + ahead - len(seat.queue), len(self._backlog))):
            lines.append(self._issue(seat, self._backlog.popleft(), now))
        assert seat.transport is not None  # noqa: S101
        seat.transport.write(b"".join(lines))

    def _issue(self, seat: Seat, assignment: Assignment, now: float) -> bytes:
        self._tokens += 1
        token = str(self._tokens)
        seat.queue[token] = Ticket(assignment, token, now)
        what = assignment.event_range
        return encode(
            RangeMessage(
                token, what.range_id, what.lfn, what.pfn, what.guid, what.first_event, what.last_event, assignment.attempt
            )
        )

    def _recall(self, seat: Seat, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            ticket.recalled = True
        if seat.transport is not None:
            for start in range(0, len(tickets), CANCEL_CHUNK):
                tokens = [ticket.token for ticket in tickets[start : start + CANCEL_CHUNK]]
                seat.transport.write(encode(CancelMessage(tokens)))

    def _finish(self, outcome: Done | Failed | Released) -> None:
        self._held.discard(outcome.index)
        self._outcomes.append(outcome)

    # --- the life of a worker -------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at every seat: start workers that are due, notice hanging ones, announce long events."""
        now = time.monotonic()
        for seat in self._seats:
            self._look_after(seat, now)
        self._wake()
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _look_after(self, seat: Seat, now: float) -> None:
        if seat.state is SeatState.EMPTY:
            if now >= seat.respawn_at and not self._draining and self._fatal is None:
                seat.enter(SeatState.STARTING, now)
                self._run(self._populate(seat))
        elif seat.state is SeatState.ENDING:
            self._press(seat, now)
        elif seat.state is SeatState.STARTING:
            limit_s = self._context.first_time_limit_s
            if seat.pid is not None and now - seat.state_since > limit_s:
                LOG.warning("worker %d said nothing for %.0f s after its start and is killed", seat.number, limit_s)
                self._end(seat)
        elif (ticket := seat.current()) is not None:
            self._watch(seat, ticket, now)

    def _watch(self, seat: Seat, ticket: Ticket, now: float) -> None:
        """Announce the current range, and kill the worker when it takes too long."""
        if not ticket.announced:
            ticket.announced = True
            self._outcomes.append(Started(ticket.assignment.index, seat.current_at))
        limit_s = self._pace.time_limit_s
        if now - seat.current_since > limit_s:
            text = f"no result after {now - seat.current_since:.1f} s; the time limit is {limit_s:.1f} s"
            self._break_off(seat, FailureKind.HANG, text)

    def _press(self, seat: Seat, now: float) -> None:
        """A worker that should have ended: insist, and stop waiting for messages nobody can send any more."""
        if now - seat.state_since < GRACE_S:
            return
        if seat.status is None and seat.pid is not None:
            self._spawner.kill(seat.pid)
        elif seat.transport is not None:
            seat.transport.abort()

    async def _populate(self, seat: Seat) -> None:
        """Start a worker on an empty seat."""
        seat.begin()
        incarnation = seat.incarnation
        try:
            birth = await self._prepare(seat)
            pid = await self._spawner.spawn(birth, partial(self._exited, seat, incarnation))
        except PayloadError as problem:
            self._give_up(problem)
            return
        except OSError as problem:
            seat.trouble = f"could not be started: {problem}"
            self._exited(seat, incarnation, EXEC_FAILED_STATUS)
            return
        if seat.incarnation == incarnation and seat.status is None:
            seat.pid = pid
            seat.state_since = time.monotonic()
            if self._draining or seat.state is SeatState.ENDING:
                self._spawner.kill(pid)

    async def _prepare(self, seat: Seat) -> Birth:
        """Give the next worker a directory and a socket of its own."""
        name = f"w{seat.number}-{seat.incarnation}"
        scratch = self._context.scratch / name
        scratch.mkdir(exist_ok=True)
        seat.inspector = OutputInspector(scratch)
        if seat.log.exists():
            seat.log_start = seat.log.stat().st_size
        path = self.sockets / name
        loop = asyncio.get_running_loop()
        seat.listener = await loop.create_unix_server(partial(Connection, self, seat), str(path), backlog=4)
        return Birth(seat.number, path, scratch, seat.log)

    def _break_off(self, seat: Seat, kind: FailureKind, text: str) -> None:
        """Charge the current range and kill the worker."""
        ticket = seat.current()
        if ticket is None:
            LOG.warning("worker %d, without a range: %s", seat.number, text)
        else:
            del seat.queue[ticket.token]
            self._finish(Failed(ticket.assignment.index, kind, text, time.monotonic() - seat.current_since))
        self._end(seat)
        self._hand_back(seat)

    def _end(self, seat: Seat) -> None:
        """Kill the seat's worker; the rest follows when its exit is known."""
        seat.enter(SeatState.ENDING, time.monotonic())
        seat.distrusted = True
        if seat.pid is not None and seat.status is None:
            self._spawner.kill(seat.pid)

    def _hand_back(self, seat: Seat) -> None:
        """Return what a worker holds, in order, to the backlog, or to the agent where it was asked for."""
        tickets = list(seat.queue.values())
        seat.queue.clear()
        kept = [ticket.assignment for ticket in tickets if not ticket.recalled]
        for ticket in tickets:
            if ticket.recalled:
                self._finish(Released(ticket.assignment.index))
        self._backlog.extendleft(reversed(kept))
        self._settle()

    def _note_end(self, seat: Seat) -> None:
        """The connection has ended, or the process, or both: with both, the seat is empty."""
        if not self._running or seat.state is SeatState.EMPTY:
            return
        if seat.status is None or not seat.hung_up:
            if seat.state is not SeatState.ENDING:
                seat.enter(SeatState.ENDING, time.monotonic())
            return
        ticket = seat.current()
        if ticket is not None and not (self._draining and seat.status == 0):
            text = f"the worker died: {seat.obituary()}"
            del seat.queue[ticket.token]
            self._finish(Failed(ticket.assignment.index, FailureKind.CRASH, text, time.monotonic() - seat.current_since))
        self._vacate(seat)
        self._hand_back(seat)
        self._wake()

    def _vacate(self, seat: Seat) -> None:
        """The worker is gone: decide when its successor comes, or that none will."""
        now = time.monotonic()
        self._disconnect(seat)
        seat.enter(SeatState.EMPTY, now)
        seat.fruitless = 0 if seat.finished else seat.fruitless + 1
        seat.stillborn = 0 if seat.was_ready else seat.stillborn + 1
        seat.respawn_at = now
        if seat.fruitless > 1:
            seat.respawn_at += min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(seat.fruitless, 20))
        if seat.stillborn >= STILLBORN_LIMIT and not any(other.state is SeatState.READY for other in self._seats):
            text = f"{seat.stillborn} workers in a row died before they were ready; the last one: {seat.obituary()}"
            self._give_up(PayloadError(f"{text} (log: {seat.log})"))
        elif not seat.was_ready:
            LOG.warning("worker %d died before it was ready: %s", seat.number, seat.obituary())
        if seat.inspector is not None:
            for spool in seat.inspector.spools.values():
                spool.closed = True
                self._drop_spool_if_spent(spool)

    def _give_up(self, problem: PayloadError) -> None:
        """The payload is beyond repair: everything held goes back, then `poll` raises."""
        if self._fatal is None:
            self._fatal = problem
            for seat in self._seats:
                self._hand_back(seat)
                if seat.state in (SeatState.STARTING, SeatState.READY):
                    self._end(seat)
        self._settle()
        self._wake()

    def _disconnect(self, seat: Seat) -> None:
        if seat.transport is not None:
            seat.transport.abort()
            seat.transport = None
        self._close_listener(seat)

    def _close_listener(self, seat: Seat) -> None:
        if seat.listener is not None:
            seat.listener.close()
            seat.listener = None
            (self.sockets / f"w{seat.number}-{seat.incarnation}").unlink(missing_ok=True)

    # --- small things ---------------------------------------------------------------------------------------------------------

    def _busy_seats(self) -> list[Seat]:
        return [seat for seat in self._seats if seat.state is not SeatState.EMPTY]

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


def _behind_current(seat: Seat) -> list[Ticket]:
    return list(seat.queue.values())[1:]
