"""The node agent: keeps the payload of one node fed, and its results safe.

A loop around two things: the payload (what computes) and the `NodeCore` (what decides). The agent carries ranges from one to
the other, writes finished outputs into group files on the shared file system, and exchanges messages with the coordinator
through a `Link`. It decides nothing itself, and does not know what carries them: `NodeAgentActor` at the end of the module is how
other processes call an agent.

Rules: the loop never waits for the shared disk or for the coordinator (both are tasks of their own); a result leaves the scratch
disk only once its group is durable; when the agent ends, for whatever reason it can notice, the payload has been stopped.

A disk that refuses, scratch or shared, is no event's fault: the node says so, begins nothing, keeps what is safe, and goes on
when the disk accepts again. After `storage_patience_s` it gives up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from raythena.domain.errors import ClusterError, NumbersExhausted, PayloadError, PayloadUnusable, StorageError
from raythena.domain.ids import RangeIndex
from raythena.domain.job_number import JobNumbers
from raythena.domain.node_name import NodeName
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine.departure import Departure
from raythena.engine.node_core import NodeCore
from raythena.engine.node_messages import CoordinatorReply
from raythena.engine.restarts import AgentEnd, GiveUp, PayloadEnd, PayloadRestarts
from raythena.engine.result_groups import FinishedRange, GroupToWrite
from raythena.runtime.clock import SYSTEM_CLOCK, Clock
from raythena.runtime.group_writer import GroupWriter
from raythena.runtime.link import Link
from raythena.runtime.log_files import log_to_file
from raythena.runtime.payload_interface import (
    Done,
    Failed,
    LeasedRange,
    Payload,
    PayloadContext,
    PayloadOutcome,
    Released,
    Remark,
    Started,
    payload_plugin,
)
from raythena.runtime.range_book import RangeBook
from raythena.runtime.scratch import ScratchWatch, scratch_directory, scratch_root
from raythena.runtime.session_config import NODE_ENDS_AT_VARIABLE, AgentOrder
from raythena.runtime.unacknowledged_results import UnacknowledgedResults
from raythena.storage.atomic import is_disk_trouble
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

_POLL_S = 0.1
_LONGEST_BREATH_S = 0.05
_STORAGE_PAUSE_S = 1.0
_CLEAR_AFTER_S = 5.0
"""A payload with nothing to do on a full scratch disk is ended after so long, and what it left there removed."""


class Agent:
    """One incarnation of a node."""

    def __init__(self, order: AgentOrder, link: Link, clock: Clock = SYSTEM_CLOCK, departure: Departure | None = None) -> None:
        """`departure` is by the wall clock."""
        config = order.config
        self._departure = departure or Departure()
        self._clock = clock
        self._order = order
        self._places = config.job.payload.places(order.cores)
        """How many ranges are computed at a time: what the coordinator takes for the node's cores."""
        self._link = link
        self._book = RangeBook(config.job)
        self._writer = GroupWriter(config, order.node, self._book)
        self.core = NodeCore(order.node, self._book, config.node)
        self._directory = TaskDirectory(Path(config.task_directory))
        self._scratch = ScratchWatch(scratch_root(config.scratch_directory), config.storage_patience_s)
        self._unwritten = ""
        """Why a group cannot be written."""
        self._problem: StorageError | None = None
        """The shared disk has refused for too long."""
        self._registered = False
        self._home = Path()
        self._payload: Payload | None = None
        self._exchange: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self._over = False
        self._restarts = PayloadRestarts()
        self._numbers = JobNumbers(order.coordinator, order.number)
        self._waiting_results = UnacknowledgedResults(order, clock.monotonic_s())

    async def run(self) -> None:
        """Work until the coordinator says that the job is over.

        Raises PayloadError when the payload cannot be kept running, ClusterError when the coordinator is gone for good,
        StorageError when a disk refuses for too long.
        """
        config = self._order.config
        place = NodeName.parse(self._order.node).host
        self.core.times.begin(self._places, self._clock.wall_s())
        try:
            await self._wait_for_room()
            with scratch_directory(config.scratch_directory, config.task_directory, config.session, place) as scratch:
                self._scratch.directory = scratch
                try:
                    await self._begin()
                    if not self._registered:
                        await self._register()
                    await self._work()
                finally:
                    await self._end()
        except OSError as problem:
            if not is_disk_trouble(problem):
                raise
            raise StorageError(f"a disk of the node refused: {problem}") from problem
        finally:
            await self._end()

    # ---- disks

    async def _look_at_disks(self, *, urgent: bool = False) -> None:
        """Notice that a disk refuses, or accepts again. Raises StorageError when one has refused for too long."""
        now = self._clock.monotonic_s()
        if urgent or self._scratch.is_due(now):
            await self._scratch.look(now)
        if self._problem is not None:
            raise self._problem
        leaving = self._departure.notice(self._clock.wall_s(), self.core.mean_event_s)
        trouble = self._scratch.refusal or self._unwritten or leaving
        if trouble != self.core.trouble:
            self._release(self.core.hold(trouble))

    async def _wait_for_room(self) -> None:
        """Wait until the scratch disk accepts, telling the coordinator meanwhile. Raises StorageError."""
        await self._look_at_disks(urgent=True)
        while self._scratch.refusal and not self._over:
            if not self._registered:
                await self._register()
            self._go_on()
            await self._clock.sleep(_STORAGE_PAUSE_S)
            await self._look_at_disks(urgent=True)

    async def _clear_scratch(self) -> None:
        """End a payload that has nothing to do, remove what it left on the disk that is full of it, and begin again."""
        logger.warning("the payload is ended to clear its scratch directory")
        if self._payload is not None:
            await self._payload.stop()
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)
        await self._begin()

    # ---- the payload

    async def _begin(self) -> None:
        """Start the payload as soon as the disks let it. Raises PayloadError, StorageError."""
        began = self._clock.monotonic_s()
        while not self._over:
            await self._wait_for_room()
            try:
                await self._start_payload()
            except OSError as problem:
                if not is_disk_trouble(problem) or self._clock.monotonic_s() - began > self._order.config.storage_patience_s:
                    raise
                logger.error("the payload could not be started, trying again: %s", problem)
                await self._clock.sleep(_STORAGE_PAUSE_S)
            else:
                return

    async def _start_payload(self) -> None:
        config = self._order.config
        self._home = home = Path(tempfile.mkdtemp(prefix="payload-", dir=self._scratch.directory))
        log_dir = self._directory.logs / config.session / self._order.node
        log_dir.mkdir(parents=True, exist_ok=True)
        context = PayloadContext(
            self._order.node,
            self._order.cores,
            home,
            config.job.payload.options,
            config.job.name,
            log_dir,
            config.job,
            self._numbers,
            memory=config.memory,
            task_directory=self._directory.root,
            **asdict(config.limits),
        )
        payload: Payload = payload_plugin(config.job.payload.kind).factory()
        self._payload = payload
        self.core.times.payload_starts()
        await payload.start(context)
        self._restarts.started(self._clock.monotonic_s())

    async def _restart_payload(self, problem: PayloadError) -> None:
        how = await self._how_it_ended(problem)
        decision = self._restarts.ended(how, self._clock.monotonic_s())
        logger.error("the payload failed (%d of %d): %s", self._restarts.failures, self._restarts.limits.max_failures, problem)
        if self._payload is not None:
            await self._payload.stop()
        for index in self.core.payload_lost():
            self._failed(index, FailureKind.CRASH, str(problem))
        if isinstance(decision, GiveUp):
            raise problem
        await self._clock.sleep(decision.pause_s)
        await self._begin()

    async def _how_it_ended(self, problem: PayloadError) -> PayloadEnd:
        if isinstance(problem, NumbersExhausted):
            return PayloadEnd.NUMBERS_EXHAUSTED
        if isinstance(problem, PayloadUnusable):
            return PayloadEnd.UNUSABLE
        await self._look_at_disks(urgent=True)
        return PayloadEnd.NO_ROOM if self._scratch.refusal else PayloadEnd.FAILED

    async def _work(self) -> None:
        while not self._over and self._payload is not None:
            try:
                outcomes = await self._payload.poll(_POLL_S)
            except PayloadError as problem:
                await self._restart_payload(problem)
                continue
            await self._look_at_disks(urgent=any(isinstance(outcome, Failed) for outcome in outcomes))
            self._take(outcomes)
            self._go_on()
            if self._scratch.refused_for_s(self._clock.monotonic_s()) > _CLEAR_AFTER_S and not self.core.has_results:
                await self._clear_scratch()
                continue
            if outcomes and self.core.computing >= 2 * self._places:
                # The cores have work for a while: let news collect instead of waking up for every single event.
                await self._clock.sleep(self._breath_s())

    def _breath_s(self) -> float:
        """A quarter of the time the payload's ranges last."""
        return min(_LONGEST_BREATH_S, 0.25 * self.core.mean_event_s * self.core.computing / self._places)

    def _go_on(self) -> None:
        """Everything that may have become possible: begin, group, report."""
        self._feed()
        self.core.times.look(self._clock.wall_s(), self.core)
        now = self._clock.monotonic_s()
        for group in self.core.groups_due(now):
            self._spawn_write(group)
        if self._exchange is not None and self._exchange.done():
            exchange, self._exchange = self._exchange, None
            exchange.result()
        self._waiting_results.look(self.core.unacknowledged, now)
        if self._exchange is None and self.core.exchange_due(now):
            self._exchange = asyncio.create_task(self._exchange_once())

    def _feed(self) -> None:
        payload = self._payload
        if payload is None or not self.core.queue:
            return
        indices = self.core.to_feed(payload.appetite)
        if indices:
            book = self._book
            payload.feed([LeasedRange(index, book.event_range(index), book.attempt(index)) for index in indices])

    def _take(self, outcomes: Sequence[PayloadOutcome]) -> None:
        core = self.core
        now = self._clock.monotonic_s()
        for outcome in outcomes:
            match outcome:
                case Done():
                    self._restarts.proved_sound()
                    self._scratch.produced(outcome.size_bytes)
                    if not core.done(_finished(outcome, self._book.attempt(outcome.index)), now):
                        self._discard(outcome)
                case Started():
                    core.started(outcome.index, outcome.at)
                case Failed():
                    logger.warning("range %d failed (%s): %s", outcome.index, outcome.kind, outcome.message)
                    self._failed(outcome.index, outcome.kind, outcome.message, outcome.wall_s)
                case Released():
                    core.released(outcome.index)
                case Remark():
                    logger.warning("the payload remarks: %s", outcome.text)
                    core.remarks.append(outcome.text)

    def _failed(self, index: int, kind: FailureKind, message: str, wall_s: float = 0.0) -> None:
        """An attempt failed; while the scratch disk refuses, that is the disk's fault."""
        if self._scratch.is_to_blame(message, self._clock.monotonic_s()):
            kind = FailureKind.SCRATCH_REFUSED
            message = f"{message} ({self._scratch.refusal or 'the scratch disk refused a moment ago'})"
        self.core.failed(RangeFailure(RangeIndex(index), kind, message, self._order.node, wall_s))

    def _discard(self, result: Done) -> None:
        """A result nobody asked for."""
        if result.whole_file:
            result.path.unlink(missing_ok=True)
        elif self._payload is not None:
            self._payload.collected([result.path])

    # ---- results

    def _spawn_write(self, group: GroupToWrite) -> None:
        task = asyncio.create_task(self._write(group))
        self._writes.add(task)
        task.add_done_callback(self._write_ended)

    def _write_ended(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a group could not be written", exc_info=task.exception())
        elif not self._over:
            self._go_on()

    async def _write(self, group: GroupToWrite) -> None:
        """Make a group durable. A disk that refuses is asked again: the results are safe on scratch so far."""
        config = self._order.config
        name = self._writer.name_of(group)
        began = self._clock.monotonic_s()
        while True:
            try:
                report, bad = await asyncio.to_thread(self._writer.write, group)
                break
            except StorageError as problem:
                logger.error("group %s could not be written, trying again: %s", name, problem)
                self._unwritten = str(problem)
                waited_s = self._clock.monotonic_s() - began
                if waited_s > config.storage_patience_s:
                    self._problem = StorageError(f"the shared disk has refused for {waited_s:.0f} s: {problem}")
                await self._clock.sleep(_STORAGE_PAUSE_S)
        self._unwritten = ""
        if bad:
            await self._look_at_disks(urgent=True)
        for index, text in bad.items():
            self._failed(index, FailureKind.BAD_OUTPUT, text)
        if self._payload is not None:
            self._payload.collected([Path(member.path) for member in group.members if not member.whole_file])
        self.core.group_written(group.number, report)

    # ---- the coordinator

    async def _register(self) -> None:
        reply = await self._link.register(self._order.node, self._places, self.core.held())
        self.core.registered()
        self._registered = True
        self._book.learn(reply, self.core.held)
        self._obey(reply, self.core.apply(reply))

    async def _exchange_once(self) -> None:
        message = self.core.message(self._clock.monotonic_s(), self._clock.wall_s())
        reply = await self._link.exchange(message)
        if reply.register:
            await self._register()
        else:
            self._book.learn(reply, self.core.held)
            self._obey(reply, self.core.answered(reply))

    def _obey(self, reply: CoordinatorReply, wanted_back: list[int]) -> None:
        self._waiting_results.answered(self._clock.monotonic_s())
        self._release(wanted_back)
        self._over = self._over or reply.stop
        self._feed()

    def _release(self, indices: list[int]) -> None:
        if self._payload is not None and indices:
            self._payload.release(indices)

    async def _end(self) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
        if self._payload is not None:
            await self._payload.stop()
        for task in list(self._writes):
            task.cancel()


def _finished(done: Done, attempt: int) -> FinishedRange:
    return FinishedRange(
        done.index,
        str(done.path),
        done.offset,
        done.size_bytes,
        done.whole_file,
        attempt,
        done.cpu_s,
        done.wall_s,
        done.started_at,
    )


@dataclass(frozen=True, slots=True)
class AgentExit:
    """How an agent's work ended; `message` is empty when nothing went wrong."""

    how: AgentEnd
    message: str = ""


class NodeAgentActor:
    """An agent as it is called from other processes: one for each node incarnation."""

    def __init__(self, make_link: Callable[[AgentOrder], Link]) -> None:
        self._make_link = make_link
        self._work: asyncio.Task[AgentExit] | None = None

    async def run(self, order: AgentOrder) -> AgentExit:
        """Work until the job is over, or the node gives up; raises only for defects.

        A second call, from a coordinator that replaces the first one, waits for the same work.
        """
        if self._work is None:
            self._work = asyncio.create_task(self._run(order))
        return await asyncio.shield(self._work)

    async def ping(self) -> None:
        """Answer, which shows that this process is alive and its loop turns."""

    async def _run(self, order: AgentOrder) -> AgentExit:
        log_to_file(Path(order.config.task_directory) / "logs" / order.config.session / order.node / "agent.log")
        logger.info("node %s: %d cores", order.node, order.cores)
        try:
            departure = Departure(float(os.environ.get(NODE_ENDS_AT_VARIABLE, "inf")))
            await Agent(order, self._make_link(order), departure=departure).run()
        except (PayloadError, ClusterError, StorageError) as problem:
            logger.error("giving up: %s", problem)
            return AgentExit(_how_ended(problem), f"{type(problem).__name__}: {problem}")
        logger.info("node %s: done", order.node)
        return AgentExit(AgentEnd.LEFT)


def _how_ended(problem: PayloadError | ClusterError | StorageError) -> AgentEnd:
    match problem:
        case NumbersExhausted():
            return AgentEnd.NUMBERS_EXHAUSTED
        case PayloadError():
            return AgentEnd.PAYLOAD_FAILED
        case StorageError():
            return AgentEnd.DISK_REFUSED
        case _:
            return AgentEnd.COORDINATOR_LOST
