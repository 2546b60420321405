"""One session from the command's side: task directory, cluster, coordinator, display, signals, and how it all ends.

The command is not needed for the job to be safe: kill it and the next session of the same task goes on from the ledger. A first
SIGINT, SIGTERM or SIGHUP asks the job to drain; a second one ends everything at once, see `interrupts`. SIGUSR1 is the batch
system's warning: like SIGTERM, it leaves the grace period `runtime.drain_s` to be over and gone. A batch system may end Ray on
all nodes in the moment it sends SIGTERM; then there is nothing left to drain, and the command ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from raythena.cli.exit_codes import INTERRUPTED
from raythena.cli.interrupts import Answer, Interrupts, caught_signals
from raythena.cli.launching import continuation, make_cluster
from raythena.cli.settings import Settings, placed
from raythena.domain.errors import ClusterError, ExitCode, InvalidInput, LedgerBusy, RaythenaError
from raythena.domain.job import Job
from raythena.domain.reopening import RetryRequest
from raythena.domain.taxonomy import EndCause
from raythena.gateways.upstream_task import check_chain
from raythena.monitor.display import Display
from raythena.runtime.core_time_file import extend_session
from raythena.runtime.merger_interface import check_merge
from raythena.runtime.payload_interface import payload_plugin
from raythena.runtime.replacement import reopening_in
from raythena.runtime.session_config import SESSION_VARIABLE, SessionConfig, StopOrder, new_session_name
from raythena.storage.atomic import write_atomically
from raythena.storage.ledger_view import LedgerView
from raythena.storage.task_lease import SILENCE_S, TaskLease
from raythena.storage.taskdir import TaskDirectory

if TYPE_CHECKING:
    from raythena.runtime.driver import Session
    from raythena.runtime.session_end import SessionResult

_SHOW_S = 0.25
_CLOCKS_S = 30.0
"""What the clocks of a file system and its clients may be apart, and a heartbeat late."""
_GOING_S = 3.0
"""The coordinator of a command that was killed is gone within so long."""


def takeover_patience_s(settings: Settings, environ: Mapping[str, str]) -> float:
    """How long to wait for whoever holds the task: in a batch job until one that was killed on another node counts as dead."""
    batch = any(environ.get(name) for name in ("SLURM_JOB_ID", "PBS_JOBID"))
    return settings.runtime.takeover_s or (SILENCE_S + _CLOCKS_S if batch else _GOING_S)


def _say_nothing(text: str) -> None:
    """For who does not want to hear it."""


def prepare_task(
    job: Job,
    directory: Path,
    *,
    resume: bool,
    patience_s: float = _GOING_S,
    tell: Callable[[str], None] = _say_nothing,
) -> TaskDirectory:
    """Make the task directory, or accept one that holds the same task.

    Raises InvalidInput, StorageError; LedgerBusy when somebody is at work on it, and still is after `patience_s`.
    """
    task = TaskDirectory(directory.absolute())
    if task.ledger.exists() and not resume:
        raise InvalidInput(
            str(directory), "", "holds a task already", hint="Add --resume to go on with it, or choose another --taskdir"
        )
    if directory.exists() and not directory.is_dir():
        raise InvalidInput(str(directory), "", "is no directory", expected="a directory, or a name that is free")
    if not task.ledger.exists() and directory.is_dir() and any(directory.iterdir()) and not task.job.exists():
        raise InvalidInput(
            str(directory), "", "is not empty and holds no task", expected="an empty directory, or a name that is free"
        )
    check_payload(job)
    check_chain(job, task.root)
    _wait_until_free(TaskLease(task.lease), patience_s, tell, os.environ.get(SESSION_VARIABLE, ""))
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InvalidInput(str(directory), "", f"cannot be made: {problem.strerror}", expected="a place to write") from problem
    if not task.ledger.exists() or not task.job.exists():
        write_atomically(task.job, json.dumps(job.kept_in(str(task.root)).to_dict(), indent=1))
    return task


def _wait_until_free(lease: TaskLease, patience_s: float, tell: Callable[[str], None], session: str) -> None:
    """Refuse a task that is held before a cluster is started for nothing; the coordinator has the last word, later."""
    began = time.monotonic()
    told = False
    while True:
        try:
            return lease.check_free(session)
        except LedgerBusy as problem:
            waited_s = time.monotonic() - began
            if waited_s >= patience_s:
                raise
            if not told and waited_s > _GOING_S:
                told = True
                tell(f"waiting for at most {patience_s:.0f} s: {problem}")
        time.sleep(_SHOW_S)


def look_at_retry(job: Job, task: TaskDirectory, request: RetryRequest, tell: Callable[[str], None]) -> None:
    """Refuse what cannot be tried again before a cluster is started for it, and say what is meant; the coordinator decides.

    Raises InvalidInput, LedgerError, StorageError.
    """
    with LedgerView.read(task.ledger) as view:
        meant = reopening_in(view, job, request)
    count = len(meant.ranges) if meant else 0
    tell(f"{count:,} events that were given up get new attempts" if count else "no event that was given up is to be tried again")


def check_payload(job: Job) -> None:
    """Have payload and merger look at their options before anything is started. Raises InvalidInput."""
    for stream in job.merges:
        check_merge(stream.merge)
    plugin = payload_plugin(job.payload.kind)
    if plugin.check_options is not None:
        plugin.check_options(job.payload.options, "job")
    if job.streams and not plugin.streams:
        problem = f"payload {job.payload.kind!r} writes one output for each event"
        raise InvalidInput("job", "outputs.streams", problem, expected="payload python or process, or outputs without streams")
    if plugin.needs_files and not job.reads_files:
        hint = "Name the input files under `inputs`, or choose a payload that makes events from numbers and seeds"
        problem = f"payload {job.payload.kind!r} computes events of input files only"
        raise InvalidInput("job", "events", problem, expected="inputs", hint=hint)


def session_config(
    job: Job, task: TaskDirectory, settings: Settings, began: float | None = None, retry: RetryRequest | None = None
) -> SessionConfig:
    """The settings of a command as the runtime wants them, under a new session's name or the one whose lease is held for us.

    `began` is when the command was started, in seconds since the epoch: from then on its walltime counts. `retry` says which
    events that were given up get new attempts.
    """
    plugin = payload_plugin(job.payload.kind)
    name = os.environ.pop(SESSION_VARIABLE, "") or new_session_name()
    began = began or time.time()
    walltime_s = settings.engine.walltime_s
    config = SessionConfig(
        session=name,
        task_directory=str(task.root),
        job=job.kept_in(str(task.root)),
        command_line=command_line(),
        began_at=began,
        ends_at=began + walltime_s if walltime_s else None,
        retry=retry,
    )
    return placed(config, settings).made_to_suit(plugin)


def command_line() -> str:
    """The command as it was typed, or as a batch script gave it."""
    return shlex.join(["raythena", *sys.argv[1:]])


def run_session(config: SessionConfig, settings: Settings, display: Display) -> SessionResult:
    """Run one session to its end on the cluster the settings ask for.

    Raises ClusterError, SessionRefused, InvalidInput, and StoppedEarly when the cluster was ended before the job could be.
    """
    return asyncio.run(_Run(config, settings, display).go())


class StoppedEarly(RaythenaError):
    """A signal ended the cluster before it could end the job."""

    exit_code = ExitCode.STOPPED


class _Run:
    """The life of one command."""

    def __init__(self, config: SessionConfig, settings: Settings, display: Display) -> None:
        self._config = config
        self._display = display
        goes_on = continuation(settings, os.environ, config)
        self._cluster = make_cluster(settings, os.environ, config.task_directory, self._tell, goes_on, session=config.session)
        self._session: Session | None = None
        self._interrupts = Interrupts(time.monotonic)
        self._at_once = False
        self._grace_s = settings.runtime.drain_s
        self._stop_order: StopOrder | None = None

    async def go(self) -> SessionResult:
        """Everything, in order; the cluster is gone when it returns, however it returns.

        A signal that comes while the cluster ends has nothing left to end, and must not kill us with the last words unsaid.
        """
        before = {number: signal.getsignal(number) for number in caught_signals()}
        with contextlib.ExitStack() as signals:
            try:
                await self._cluster.start()
                await self._settle()
                await self._add_nodes()
                signals.enter_context(self._signals(asyncio.get_running_loop(), before))
                return await self._watch(await self._start_session())
            finally:
                await self._cluster.stop()
                extend_session(TaskDirectory(Path(self._config.task_directory)), self._config.session, time.time())

    async def _settle(self) -> None:
        """What the cluster knows better: the job must be over when the allocation is, or earlier when the command was told so."""
        if self._cluster.joined_nodes is not None:
            self._config = replace(self._config, joined=self._cluster.joined_nodes)
        if self._cluster.keeps_scratch:
            self._config = replace(self._config, scratch_directory="")
        ends_at = await self._cluster.ends_at()
        if ends_at is not None:
            self._config = replace(self._config, ends_at=min(ends_at, self._config.ends_at or ends_at))

    async def _add_nodes(self) -> None:
        """Nodes of one machine before the session: they would only slow each other down later. Others join when they can."""
        try:
            await self._cluster.add_nodes()
        except ClusterError as problem:
            self._tell(f"going on without some nodes: {problem}")

    def _tell(self, text: str) -> None:
        """Say something about the cluster, and keep it with the logs of the session."""
        self._display.message(text)
        log = TaskDirectory(Path(self._config.task_directory)).logs / self._config.session / "launch.log"
        with contextlib.suppress(OSError):  # the task's disk has its own watchers
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    async def _start_session(self) -> Session:
        session = self._cluster.session(self._config)
        await asyncio.to_thread(session.start)
        self._session = session
        if self._stop_order is not None:  # the signal came while there was nobody to tell
            session.stop(self._stop_order)
        return session

    async def _watch(self, session: Session) -> SessionResult:
        while not await asyncio.to_thread(session.has_ended, _SHOW_S):
            if self._at_once:
                raise SystemExit(INTERRUPTED)
            if problem := self._cluster.failure():
                self._cluster_lost(problem)
            progress = await asyncio.to_thread(session.progress)
            if progress is not None:
                self._display.show(progress)
        result = await asyncio.to_thread(session.result)
        self._display.show(result.progress)
        return result

    def _cluster_lost(self, problem: str) -> NoReturn:
        """Nobody is left to wait for."""
        if self._stop_order is not None:
            raise StoppedEarly(f"{self._stop_order.reason}, and the cluster with it ({problem}); --resume goes on")
        raise ClusterError(problem)

    @contextlib.contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop, before: Mapping[signal.Signals, Any]) -> Iterator[None]:
        """Take SIGINT and SIGTERM over from Ray, which would end this process, and those that would kill it.

        Afterwards they are the command's again, whose handlers were there `before`.
        """
        for number in before:
            loop.add_signal_handler(number, self._interrupted, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _interrupted(self, number: signal.Signals) -> None:
        answer = self._interrupts.heard(number)
        self._at_once = self._at_once or answer is Answer.AT_ONCE
        if answer is Answer.DRAIN:
            self._stop_order = order = _stop_order(number, self._grace_s)
            again = "" if number == signal.SIGUSR1 else "; once more to end at once"
            self._display.message(f"{order.cause}: finishing what is running{again}")
            if self._session is not None:
                self._session.stop(order)


def _stop_order(number: signal.Signals, grace_s: float) -> StopOrder:
    """Who presses Ctrl-C can wait; who sends another signal will kill us when the grace period is over."""
    by = None if number == signal.SIGINT else time.time() + grace_s
    return StopOrder(f"stopped by {number.name}", EndCause(number.name), by)
