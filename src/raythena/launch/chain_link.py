"""One allocation of a chain: what its command does before the job runs, and after.

Before: it notes that it began, and sees to it that a successor waits in the queue. After: it takes the successor back when none
is wanted. What is wanted says `engine.chain_rules`. Killed at any point, it leaves a chain that goes on: a successor that is
not wanted finds that out by itself and ends at once. Nothing the batch system does not answer ends anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from raythena.domain.allocation import slurm_allocation
from raythena.domain.allocation_chain import AllocationBegun
from raythena.domain.errors import InvalidInput, LedgerError
from raythena.engine.chain_rules import EndOfChain, Go, begin_allocation, end_allocation
from raythena.launch.slurm_batch import BatchError, cancel_job, pending_jobs, submit_script
from raythena.storage.chain_directory import ChainDirectory
from raythena.storage.ledger_view import LedgerView
from raythena.storage.taskdir import TaskDirectory


class ChainLink:
    """This allocation in its chain. Use `begin`, then run the job, then `end`."""

    def __init__(self, task: TaskDirectory, environ: Mapping[str, str], tell: Callable[[str], None]) -> None:
        allocation = slurm_allocation(environ)
        if allocation is None:
            raise InvalidInput("--chained", "", "this is no Slurm job", hint="Batch scripts of `raythena submit` use it")
        self._id, self._restarts = allocation.job_id, allocation.restarts
        self._task = task
        self._chain = ChainDirectory(task.root)
        self._tell = tell

    def begin(self) -> bool:
        """Note the beginning and queue the successor. False: the chain is at its end, and nothing should run.

        The task is known to be free. Raises StorageError, InvalidInput.
        """
        begun = AllocationBegun(self._id, time.time(), finished_events(self._task), self._restarts)
        self._chain.note_begun(begun)
        decision = begin_allocation(self._chain.plan(), self._chain.begun(), cancelled=self._chain.cancelled)
        if isinstance(decision, EndOfChain):
            self._drop_successors(decision.reason)
            return False
        if decision.successor:
            self._queue_successor()
        else:
            self._tell(f"no allocation follows: {decision.reason}")
        return True

    def end(self, exit_code: int) -> None:
        """The job's command has ended: keep the successor, or take it back."""
        decision = end_allocation(exit_code, cancelled=self._chain.cancelled)
        if isinstance(decision, EndOfChain):
            self._drop_successors(decision.reason)
        elif isinstance(decision, Go) and self._wants_successor():
            self._queue_successor()  # where that failed at the beginning

    def _wants_successor(self) -> bool:
        decision = begin_allocation(self._chain.plan(), self._chain.begun(), cancelled=self._chain.cancelled)
        return isinstance(decision, Go) and decision.successor

    def _queue_successor(self) -> None:
        try:
            if waiting := self._successors():
                self._tell(f"allocation {waiting[0]} follows")
                return
            job_id = submit_script(self._chain.script, f"--dependency=afterany:{self._id}")
        except BatchError as problem:
            self._tell(f"the next allocation could not be queued: {problem}")
            return
        self._chain.note_submitted(job_id)
        self._tell(f"allocation {job_id} follows")

    def _successors(self) -> list[str]:
        """Jobs of the chain that have not begun: those noted, and those the queue knows by the chain's name."""
        over = {allocation.job_id for allocation in self._chain.begun()} | {self._id}
        waiting = pending_jobs(self._chain.batch_name)
        return [job_id for job_id in waiting if job_id not in over]

    def _drop_successors(self, reason: str) -> None:
        self._tell(f"end of the chain: {reason}")
        try:
            for job_id in self._successors():
                cancel_job(job_id)
        except BatchError as problem:
            self._tell(f"the next allocation could not be cancelled, and will end by itself: {problem}")


def finished_events(task: TaskDirectory) -> int:
    """Events the ledger has; 0 where there is none that can be read."""
    if not task.ledger.exists():
        return 0
    try:
        with LedgerView.read(task.ledger) as ledger:
            return ledger.summary().events
    except (LedgerError, OSError):
        return 0
