"""One session from the command's side: task directory, cluster, coordinator, display, signals, and how it all ends.

The command is not needed for the job to be safe: kill it and the next session of the same task goes on from the ledger. A first
SIGINT, SIGTERM or SIGHUP asks the job to drain; a second one ends everything at once, see `interrupts`. SIGUSR1 is the batch
system's warning: like SIGTERM, it leaves the grace period `runtime.drain_s` to be over and gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raythena.cli.exit_codes import INTERRUPTED
from raythena.cli.interrupts import Answer, Interrupts, caught_signals
from raythena.cli.settings import Settings, placed
from raythena.domain.errors import ClusterError, InvalidInput, LedgerBusy
from raythena.domain.job import Job
from raythena.domain.taxonomy import EndCause
from raythena.launch.local import LocalCluster
from raythena.monitor.display import Display
from raythena.runtime.merger_interface import check_merge
from raythena.runtime.payload_interface import payload_plugin
from raythena.runtime.session_config import SessionConfig, StopOrder
from raythena.storage.atomic import write_atomically
from raythena.storage.task_lease import TaskLease
from raythena.storage.taskdir import TaskDirectory

if TYPE_CHECKING:
    from raythena.runtime.driver import Session
    from raythena.runtime.session_end import SessionResult

_SHOW_S = 0.25
_GOING_S = 3.0
"""The coordinator of a command that was killed is gone within so long."""


def prepare_task(job: Job, directory: Path, *, resume: bool, patience_s: float = _GOING_S) -> TaskDirectory:
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
    _wait_until_free(TaskLease(task.lease), patience_s)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InvalidInput(str(directory), "", f"cannot be made: {problem.strerror}", expected="a place to write") from problem
    if not task.ledger.exists() or not task.job.exists():
        write_atomically(task.job, json.dumps(job.to_dict(), indent=1))
    return task


def _wait_until_free(lease: TaskLease, patience_s: float) -> None:
    """Refuse a task that is held before a cluster is started for nothing; the coordinator has the last word, later."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return lease.check_free()
        except LedgerBusy:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_SHOW_S)


def check_payload(job: Job) -> None:
    """Have payload and merger look at their options before anything is started. Raises InvalidInput."""
    check_merge(job.merge)
    plugin = payload_plugin(job.payload.kind)
    if plugin.check_options is not None:
        plugin.check_options(job.payload.options, "job")


def session_config(job: Job, task: TaskDirectory, settings: Settings, began: float | None = None) -> SessionConfig:
    """The settings of a command as the runtime wants them, under a new session's name.

    `began` is when the command was started, in seconds since the epoch: from then on its walltime counts.
    """
    plugin = payload_plugin(job.payload.kind)
    name = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)
    walltime_s = settings.engine.walltime_s
    config = SessionConfig(
        session=name,
        task_directory=str(task.root),
        job=job,
        command_line=command_line(),
        ends_at=(began or time.time()) + walltime_s if walltime_s else None,
    )
    return placed(config, settings).made_to_suit(plugin)


def command_line() -> str:
    """The command as it was typed, or as a batch script gave it."""
    return shlex.join(["raythena", *sys.argv[1:]])


def run_session(config: SessionConfig, settings: Settings, display: Display) -> SessionResult:
    """Run one session on a local cluster to its end. Raises ClusterError, SessionRefused."""
    return asyncio.run(_Run(config, settings, display).go())


class _Run:
    """The life of one command."""

    def __init__(self, config: SessionConfig, settings: Settings, display: Display) -> None:
        self._config = config
        self._display = display
        self._cluster = LocalCluster(settings.nodes.count, settings.nodes.cores_per_node)
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
                await self._add_nodes()
                signals.enter_context(self._signals(asyncio.get_running_loop(), before))
                return await self._watch(await self._start_session())
            finally:
                await self._cluster.stop()

    async def _add_nodes(self) -> None:
        """All nodes before the session: on one machine they would only slow each other down by joining later."""
        try:
            await self._cluster.add_nodes()
        except ClusterError as problem:
            self._display.message(f"going on without some nodes: {problem}")

    async def _start_session(self) -> Session:
        from raythena.runtime.driver import Session

        session = Session(self._config)
        await asyncio.to_thread(session.start)
        self._session = session
        if self._stop_order is not None:  # the signal came while there was nobody to tell
            session.stop(self._stop_order)
        return session

    async def _watch(self, session: Session) -> SessionResult:
        while not await asyncio.to_thread(session.has_ended, _SHOW_S):
            if self._at_once:
                raise SystemExit(INTERRUPTED)
            progress = await asyncio.to_thread(session.progress)
            if progress is not None:
                self._display.show(progress)
        result = await asyncio.to_thread(session.result)
        self._display.show(result.progress)
        return result

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
