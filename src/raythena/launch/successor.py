"""Taking the place of a head whose machine has died, within the same allocation.

The node process that gets the task's lease starts on its own node the command that the head was started with. That command finds
the allocation as the first one did, starts Ray's head and the coordinator from the ledger, and a node process on every other node
that is left. When to claim the lease, and when not, says `engine.succession`; this is what is done about it.

The lease goes from the node process to the coordinator of its command because both name the same session, one that is new and
known to them only. Until the coordinator is there the node process renews the lease; a command that fails before leaves the
lease to become silent, so that another node may try.

Under Slurm nobody is left then who would tell it that the job is over, since its batch script died with the head. So the job is
cancelled when the command has ended; Slurm shows it as cancelled, whatever became of it. Where somebody judges the job by that,
it is put back in the queue instead: its script, started anew, finds everything done, and ends as it should.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from raythena.domain.errors import LedgerBusy, StorageError
from raythena.engine.succession import Sight
from raythena.launch.launcher import Continuation
from raythena.launch.slurm_batch import BatchError, cancel_job, requeue_job
from raythena.runtime.process_guard import ProcessGuard
from raythena.runtime.session_config import SESSION_VARIABLE, new_session_name
from raythena.storage.task_lease import Holder, TaskLease
from raythena.storage.taskdir import TaskDirectory

_BEAT_S = 5.0
_ABOUT_NODES = frozenset({"SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_TASK_PID", "SLURM_TOPOLOGY_ADDR"})
"""Variables that say something of the head's node only."""


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """What a successor must know of the environment of a head: what the batch system has said of the allocation."""
    return {name: value for name, value in environ.items() if name.startswith(("SLURM_", "PBS_")) and name not in _ABOUT_NODES}


class Successor:
    """One node process's way to become the head. Belongs to one event loop."""

    def __init__(
        self,
        continuation: Continuation,
        job_id: str,
        cancel: Callable[[str], None] = cancel_job,
        requeue: Callable[[str], None] = requeue_job,
    ) -> None:
        self._continuation = continuation
        self._job_id = job_id
        self._cancel, self._requeue = cancel, requeue
        self._task = TaskDirectory(Path(continuation.task_directory))
        self._session = new_session_name()
        """The same for every claim: what a failed one has left does not stand in the way of the next."""
        self._lease = TaskLease(self._task.lease)
        self._leads = False
        self._guard = ProcessGuard()
        self._pid: int | None = None
        self._over = asyncio.Event()
        self._status = 0
        self._taken_over = False
        self._ending = False

    @property
    def is_head(self) -> bool:
        """Whether this node has claimed the head's place, and has not failed."""
        return self._leads

    async def sight(self, *, ray_runs: bool) -> Sight:
        """What is to be seen while the head does not answer."""
        try:
            holder = await asyncio.to_thread(Holder.read, self._task.lease)
        except OSError:
            return Sight(head_answers=False, ray_runs=ray_runs, lease_readable=False)
        if holder is None:
            return Sight(head_answers=False, ray_runs=ray_runs)
        return Sight(head_answers=False, ray_runs=ray_runs, holder=holder.session, heartbeat=holder.heartbeat)

    async def take_lease(self) -> bool:
        """Try to become the head. False: somebody else is, or the disk does not say."""
        lease = TaskLease(self._task.lease)
        try:
            await asyncio.to_thread(lease.acquire, self._session, self._job_id)
        except (LedgerBusy, StorageError) as problem:
            self._note(f"{socket.gethostname()} cannot take over: {problem}")
            return False
        self._lease, self._leads = lease, True
        self._note(f"{socket.gethostname()} takes over from session {self._continuation.session}")
        return True

    async def lead(self) -> bool:
        """Run the command to its end. False: it came to nothing, and left the task as it was."""
        log = self._task.logs / self._session / "command.log"
        self._over.clear()
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._pid = await self._guard.spawn(
                self._continuation.argv,
                env=self._environ(),
                cwd=Path(self._continuation.directory),
                stdout=log,
                stderr=log,
                on_exit=self._ended,
            )
            await self._hold()
        except OSError as problem:
            self._note(f"{socket.gethostname()} cannot go on: {problem}")
        finally:
            await self._guard.stop()
        if not self._taken_over:
            self._note(f"{socket.gethostname()} could not go on, its command ended with {self._status}")
            self._leads = False
            return False
        await self._tell_batch_system()
        return True

    def end(self) -> None:
        """Ask the command to come to an end."""
        self._ending = True
        if self._pid is not None:
            self._guard.kill(self._pid, group=False, number=signal.SIGTERM)

    async def _hold(self) -> None:
        """Renew the lease until the coordinator of the command has it; then wait for the command's end."""
        while not self._over.is_set():
            if not self._taken_over:
                with contextlib.suppress(StorageError):  # it is still held
                    await self._beat()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), None if self._taken_over else _BEAT_S)
        if not self._taken_over:
            with contextlib.suppress(StorageError):
                await self._beat()

    async def _beat(self) -> None:
        try:
            await asyncio.to_thread(self._lease.heartbeat)
        except LedgerBusy:
            self._taken_over = True

    def _ended(self, status: int) -> None:
        self._status, self._pid = status, None
        self._over.set()

    def _environ(self) -> dict[str, str]:
        """Of this node, with what is known of the allocation."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        return {**own, **self._continuation.environ, SESSION_VARIABLE: self._session, "PYTHONUNBUFFERED": "1"}

    async def _tell_batch_system(self) -> None:
        if not self._job_id or self._ending:
            return
        if self._continuation.told_by_exit_code:
            try:
                await asyncio.to_thread(self._requeue, self._job_id)
            except BatchError as problem:
                self._note(f"job {self._job_id} cannot be put back in the queue to say how it ended: {problem}")
            else:
                return self._note(f"job {self._job_id} is put back in the queue: its script will say how it ended")
        try:
            await asyncio.to_thread(self._cancel, self._job_id)
        except BatchError as problem:
            self._note(f"job {self._job_id} is over, and Slurm could not be told: {problem}")

    def _note(self, text: str) -> None:
        """Say something where people look; standard output of this process leads to the dead machine."""
        with contextlib.suppress(OSError):
            path = self._task.logs / self._session / "launch.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
