"""The coordinator: carries out what the engine decides, and tells it what happened.

One per session, on the head node. It owns the exchange with nodes (and so the engine), the ledger and its writer. It
takes no decision of its own. It may be killed at any instant: a new one opens the same ledger, knows everything that was ever
acknowledged, and the agents introduce themselves with what they hold.

Rules: the ledger is touched in one thread only; a file is removed only when the ledger says that nobody needs it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path

from raythena import __version__
from raythena.domain.errors import ExitCode, InternalError, InvalidInput, LedgerError, RaythenaError, StorageError
from raythena.domain.node_name import NodeName
from raythena.domain.progress import Progress
from raythena.domain.ranges import Indices
from raythena.domain.records import GroupStored, RangesReopened, Restored
from raythena.domain.results import GroupReport, MergedOutput
from raythena.domain.taxonomy import EndCause, of_exit_code
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.exchange import NodeExchange
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.runtime.clock import SYSTEM_CLOCK, Clock
from raythena.runtime.core_time_file import CoreTimeFile
from raythena.runtime.gateway_interface import Gateway
from raythena.runtime.gateway_runner import GatewayRunner, gateway_of
from raythena.runtime.ledger_writer import LedgerWriter
from raythena.runtime.merge_runner import Merge, MergeRunner
from raythena.runtime.progress_meter import ProgressMeter
from raythena.runtime.replacement import put_into_place, reopening_in
from raythena.runtime.sample_check import SampleCheck, Sampler
from raythena.runtime.session_config import SessionConfig, StopOrder
from raythena.runtime.session_end import SessionResult, sweep_staging, write_report
from raythena.runtime.status_file import StatusFile
from raythena.runtime.upstream_watch import UpstreamWatch
from raythena.storage.atomic import disk_errors
from raythena.storage.groups import remove_group
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.task_lease import TaskLease
from raythena.storage.taskdir import TaskDirectory
from raythena.storage.unacknowledged import read_unacknowledged

logger = logging.getLogger(__name__)

_TICK_S = 0.1
_STATUS_S = 1.0
_STATUS_SHARE = 0.02
"""Of the time, spent on saying how far the job is, however many nodes and however slow a disk it has."""
_HEARTBEAT_S = 5.0


class _Log:
    """What the engine decides, as far as people should read it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._n_warnings = 0
        self._has_leased = False

    def note_lease(self, node: str, reply: CoordinatorReply) -> None:
        """Put the first lease of this coordinator into the log: how long a start, or a restart, has kept the nodes waiting."""
        if reply.leases and not self._has_leased:
            self._has_leased = True
            logger.info("first lease: %d ranges to %s", sum(len(ranges) for ranges in reply.leases), node)

    def tell_warnings(self) -> None:
        """Put into the log what is new."""
        warnings = self._engine.warnings
        for warning in warnings[self._n_warnings :]:
            logger.warning("%s", warning)
        self._n_warnings = len(warnings)


class Coordinator:
    """One life of a session's coordinator."""

    def __init__(
        self,
        config: SessionConfig,
        merge: Merge,
        lease: TaskLease,
        ledger: Ledger,
        restored: Restored,
        *,
        gateway: Gateway | None = None,
        clock: Clock = SYSTEM_CLOCK,
        check_sample: Sampler | None = None,
        brought_along: Sequence[GroupReport] = (),
    ) -> None:
        """`brought_along`: durable results of earlier sessions that the ledger may not know."""
        self.config = config
        self._clock = clock
        self._directory = TaskDirectory(Path(config.task_directory))
        self._lease = lease
        self._ledger = ledger
        self.number = ledger.session
        """Of this life among all those the task has seen, from 1."""
        now = self._clock.monotonic_s()
        engine = Engine(config.job, restored, config.engine_rules, self._clock.wall_s() - now)
        self._node_exchange = NodeExchange(engine, config.node_exchange)
        self._meter = ProgressMeter(engine, now)
        self._writer = LedgerWriter(ledger, config.commit_interval_s, config.storage_patience_s, self.tell, clock)
        self._merges = MergeRunner(
            config,
            merge,
            lambda names: self._writer.in_thread(lambda: ledger.groups_named(names)),
            self.tell,
            is_over=lambda: self.over,
            clock=clock,
        )
        self._status = StatusFile(self._directory.status, clock)
        self._core_times = CoreTimeFile(self._directory, config.session, config.began_at, clock)
        self._log = _Log(engine)
        self._restored = restored
        self._brought_along = brought_along
        self._gateway_runner = (
            None if gateway is None else GatewayRunner(config, gateway, self, engine.table, self._writer.settled, clock=clock)
        )
        self._sample = SampleCheck(config, check_sample, self.stop)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._finish: do.Finish | None = None
        self._cause: RaythenaError | None = None
        self.result: SessionResult | None = None

    @classmethod
    async def take_over(
        cls,
        config: SessionConfig,
        merge: Merge,
        gateway: Gateway | None = None,
        clock: Clock = SYSTEM_CLOCK,
        check_sample: Sampler | None = None,
    ) -> Coordinator:
        """Take a task over: lease, ledger, engine; begin to work. `gateway` instead of the configured one.

        `check_sample` shows the merger the first outputs of events; without it nobody does.

        Raises LedgerError and its kinds, StorageError, InvalidInput.
        """
        gateway = gateway or gateway_of(config)
        if config.job.ranges_given and gateway is None:
            raise InvalidInput("session", "gateway", "is missing", expected="a gateway: the job's event ranges come from outside")
        directory = TaskDirectory(Path(config.task_directory))
        with disk_errors("preparing", directory.root):
            for path in (directory.outputs, directory.staging, directory.logs):
                path.mkdir(parents=True, exist_ok=True)
        lease = TaskLease(directory.lease)
        await asyncio.to_thread(lease.acquire, session=config.session, batch_job=config.batch_job)
        try:
            ledger, restored = await asyncio.to_thread(_open_ledger, config, directory, clock)
            with disk_errors("read", directory.staging):
                brought = await asyncio.to_thread(read_unacknowledged, directory.root, directory.staging)
        except BaseException:
            await asyncio.to_thread(lease.release)
            raise
        coordinator = cls(
            config,
            merge,
            lease,
            ledger,
            restored,
            gateway=gateway,
            clock=clock,
            check_sample=check_sample,
            brought_along=brought,
        )
        await asyncio.to_thread(coordinator._core_times.restore)
        coordinator.begin()
        return coordinator

    def begin(self) -> None:
        """Start the coordinator's own tasks."""
        engine = self._node_exchange.engine
        logger.info("session %s: %d events, %d of them finished before", self.config.session, len(engine.table), engine.resumed)
        self._spawn(self._keep_time())
        self._writing = self._spawn(self._write_ledger())
        if self.config.ends_at is not None:
            self.tell(ev.DeadlineSet(self._clock.monotonic_s() + self.config.ends_at - self._clock.wall_s()))
        if self._gateway_runner is not None:
            self._gateway_runner.begin(self._restored)
        if self.config.job.upstream is not None:
            known = self._restored.inputs
            watch = UpstreamWatch(self.config.job, self.config.job.upstream, self._directory, known, self._clock)
            self._spawn(watch.run(self))
        for group in self._brought_along:  # its incarnation was one of another session
            self.tell(ev.GroupReported(replace(group, node=NodeName.parse(group.node).host)))
        self._restored = Restored()  # the engine has what it needs of it, and it may be large
        self.tell(ev.Tick())

    async def ended(self) -> SessionResult:
        """Wait for the end of the job."""
        await self._ended.wait()
        if self.result is None:
            raise RaythenaError("the coordinator ended without a result")
        return self.result

    # ---- what agents, nodes and people say

    def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """An agent introduces itself."""
        reply = self._node_exchange.register(node, cores, held, self._clock.monotonic_s())
        logger.info("node %s registered: %d cores, %d ranges in hand", node, cores, len(held))
        self._log.note_lease(node, reply)
        self._carry_out()
        return reply

    def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """An agent reports."""
        self._core_times.note(message.times)
        reply = self._node_exchange.exchange(message, self._clock.monotonic_s())
        self._log.note_lease(message.node, reply)
        self._carry_out()
        return reply

    def silence_s(self, node: str) -> float:
        """How long nothing has been heard of an agent; infinite when nothing ever was."""
        return self._node_exchange.silence_s(node, self._clock.monotonic_s())

    def node_lost(self, node: str, reason: str) -> None:
        """An agent or its node is known to be gone."""
        logger.warning("node %s lost: %s", node, reason)
        self._core_times.lose(node)
        self._node_exchange.lose(node, reason, self._clock.monotonic_s())
        self._carry_out()

    def stop(self, reason: str, cause: RaythenaError | None = None) -> None:
        """End the job early; `cause` is the error that makes going on pointless, and gives the exit code."""
        logger.warning("stopping: %s", reason)
        self._cause = self._cause or cause
        ends_by = EndCause.ASKED if cause is None else EndCause.ERROR
        self.tell(ev.StopRequested(reason=reason, abort=cause is not None, cause=ends_by))

    def obey(self, order: StopOrder) -> None:
        """Somebody wants an early end. Safe to repeat."""
        logger.warning("stopping: %s", order.reason)
        if self._gateway_runner is not None:
            self._gateway_runner.hurry(order.by)
        within_s = None if order.by is None else max(0.0, order.by - self._clock.wall_s())
        self.tell(ev.StopRequested(reason=order.reason, within_s=within_s, cause=order.cause))

    def give_up(self, problem: BaseException | None) -> None:
        """A defect of ours: nothing the engine says can be trusted any more. What is committed stands."""
        logger.critical("a defect of ours", exc_info=problem)
        if self._finish is None:
            self._cause = InternalError(f"{type(problem).__name__}: {problem}")
            self._finish = do.Finish(
                outcome=do.Outcome.ABORTED, reason=f"a defect in raythena, see the coordinator's log: {self._cause}"
            )
            self._spawn(self._end(self._finish))

    def tell(self, event: ev.Event) -> None:
        """Hand an event to the engine and do what it says."""
        self._node_exchange.step(event, self._clock.monotonic_s())
        self._carry_out()

    def progress(self) -> Progress:
        """The job at this moment."""
        return self._meter.read(self._clock.monotonic_s())

    @property
    def over(self) -> bool:
        """The engine has decided how the job ends."""
        return self._finish is not None

    # ---- carrying out

    def _carry_out(self) -> None:
        self._log.tell_warnings()
        for command in self._node_exchange.take_effects():
            match command:
                case do.Commit():
                    self._writer.add(command)
                    if isinstance(command.record, GroupStored) and self._sample.wanted:
                        self._spawn(self._sample.look(command.record.group))
                case do.DiscardGroups():
                    self._spawn(self._discard(command.groups))
                case do.StartMerge():
                    self._spawn(self._run_merge(command))
                case do.PlaceOutput():
                    self._spawn(_replace(self._writer, self._directory, command.merged))
                case do.Finish() if self._finish is None:
                    self._finish = command
                    self._spawn(self._end(command))
                case do.RequestRanges() | do.AcceptRanges() | do.PublishReport() if self._gateway_runner is not None:
                    _converse(self._gateway_runner, command)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.give_up(task.exception())

    async def _discard(self, groups: tuple[str, ...]) -> None:
        def remove() -> None:
            for name in groups:
                remove_group(self._directory.root / self.config.group_path(name))

        try:
            await asyncio.to_thread(remove)
        except OSError as problem:
            logger.warning("cannot remove the group %s: %s", groups[0], problem)  # swept at the end of the session

    async def _keep_time(self) -> None:
        next_status_at = heartbeat_at = float("-inf")
        while not self.over:
            now = self._clock.monotonic_s()
            for name in self._node_exchange.lose_silent_nodes(now):
                logger.warning("node %s lost: silent", name)
                self._core_times.lose(name)
            self.tell(ev.Tick())
            if now - heartbeat_at >= _HEARTBEAT_S:
                heartbeat_at = now
                await self._beat()
            if now >= next_status_at:
                progress = self.progress()
                if self._gateway_runner is not None:
                    self._gateway_runner.progressed(progress)
                await asyncio.to_thread(self._status.write, progress, {})
                if self._core_times.is_due():
                    await asyncio.to_thread(self._core_times.write)
                next_status_at = now + max(_STATUS_S, (self._clock.monotonic_s() - now) / _STATUS_SHARE)
            await self._clock.sleep(_TICK_S)

    async def _beat(self) -> None:
        try:
            await asyncio.to_thread(self._lease.heartbeat)
        except LedgerError as problem:
            logger.critical("%s", problem)
            os._exit(1)  # somebody else writes this ledger now: not one more byte from us
        except StorageError as problem:
            logger.error("cannot renew the lease: %s", problem)

    async def _write_ledger(self) -> None:
        try:
            await self._writer.run()
        except (StorageError, LedgerError) as problem:
            await self._give_up_disk(problem)

    async def _give_up_disk(self, problem: StorageError | LedgerError) -> None:
        """The disk has refused for too long, or what it gives back of the ledger is no ledger."""
        if self._finish is None:
            why = (
                "the disk has refused for too long" if isinstance(problem, StorageError) else "the ledger cannot be used any more"
            )
            self._cause = problem
            self._finish = do.Finish(outcome=do.Outcome.ABORTED, reason=f"{why}: {problem}")
            await self._end(self._finish)

    # ---- merges

    async def _run_merge(self, command: do.StartMerge) -> None:
        """Merge one output; tell the gateway once the ledger knows."""
        try:
            merged = await self._merges.run(command)
        except (StorageError, LedgerError) as problem:
            await self._give_up_disk(problem)
            return
        if merged is not None and self._gateway_runner is not None:
            await self._writer.settled()
            self._gateway_runner.output_merged(merged)

    # ---- the end

    async def _end(self, finish: do.Finish) -> None:
        """Everything after the engine's last word: report, status, ledger, lease."""
        logger.info("the job ends: %s (%s)", finish.outcome, finish.reason)
        progress = self.progress()
        try:
            await asyncio.to_thread(self._core_times.write, ended=True)
            self.result = await self._writer.in_thread(
                lambda: write_report(self.config, self._ledger, finish, progress, self._cause)
            )
            if not isinstance(self._cause, StorageError):
                await self._writer.in_thread(lambda: put_into_place(self._directory, self._ledger.outputs()))
                await self._writer.in_thread(lambda: sweep_staging(self.config, self._ledger))
            more = {"verdict": str(finish.outcome), "exit_code": int(self.result.exit_code)}
            await asyncio.to_thread(self._status.write, replace(progress, phase="ended", message=finish.reason), more)
            await self._writer.in_thread(self._ledger.close)
        except (StorageError, LedgerError) as problem:  # after an I/O error SQLite may see a damaged ledger where there is none
            logger.error("the end of the session could not be recorded: %s", problem)
            self.result = self.result or SessionResult.unrecorded(finish, progress, self._cause or problem)
        except Exception as problem:  # a defect in the very last steps; whoever waits for the end must learn of it
            logger.critical("a defect of ours", exc_info=True)
            reason = f"a defect in raythena, see the coordinator's log: {type(problem).__name__}: {problem}"
            error = of_exit_code(ExitCode.INTERNAL)
            self.result = SessionResult(str(do.Outcome.ABORTED), reason, ExitCode.INTERNAL, progress, error=error)
        finally:
            if self._gateway_runner is not None and self.result is not None:
                await self._gateway_runner.end(self.result)
            await self._leave()

    async def _leave(self) -> None:
        """Give the task back; whatever happens, those who wait for the end are told."""
        try:
            await asyncio.to_thread(self._lease.release)
        except StorageError as problem:
            logger.error("the lease could not be given back, it ends with this process: %s", problem)
        finally:
            self._ended.set()
            if self._writing is not None:
                self._writing.cancel()


async def _replace(writer: LedgerWriter, directory: TaskDirectory, merged: MergedOutput) -> None:
    """Let a merged output replace the older file; what the disk refuses is done at the end, or by the next session."""
    try:
        await writer.in_thread(lambda: put_into_place(directory, [merged]))
    except StorageError as problem:
        logger.error("cannot put %s into its place yet: %s", merged.lfn, problem)


def _converse(gateway: GatewayRunner, command: do.RequestRanges | do.AcceptRanges | do.PublishReport) -> None:
    """Hand on what is for whoever gives ranges out."""
    match command:
        case do.RequestRanges():
            gateway.ranges_wanted(command)
        case do.AcceptRanges():
            gateway.ranges_accepted(command)
        case do.PublishReport():
            gateway.report_due(command)


def _open_ledger(config: SessionConfig, directory: TaskDirectory, clock: Clock) -> tuple[Ledger, Restored]:
    path = directory.ledger
    ledger = Ledger.open(path, config.job) if path.exists() else Ledger.create(path, config.job)
    gateway = config.gateway.kind if config.gateway is not None else ""
    info = SessionInfo(config.session, socket.gethostname(), os.getpid(), clock.wall_s(), config.batch_job, __version__, gateway)
    try:
        ledger.begin_session(info, _reopening(config, ledger))
        put_into_place(directory, ledger.outputs())
        return ledger, ledger.restore()
    except BaseException:
        ledger.close()
        raise


def _reopening(config: SessionConfig, ledger: Ledger) -> RangesReopened | None:
    """What was given up and gets new attempts: in the first life of the session, for what fails in it has had them.

    Raises InvalidInput.
    """
    if config.retry is None or any(session.name == config.session for session in ledger.sessions()):
        return None
    return reopening_in(ledger, config.job, config.retry)
