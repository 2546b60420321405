"""A job that takes more than one allocation: whether the next one is wanted.

A chain is a plan and a record for each allocation that began. The record says one thing that matters, how many events were
finished when it began; what an allocation achieved is seen by the one after it, so one that was killed without a word needs no
record of its end. The successor of an allocation is submitted when the allocation begins, so that it waits in the queue
meanwhile, and is taken back when it is not wanted.

A chain ends when the job is over (complete, or such that another allocation would end the same way), when it was cancelled, when
its allocations are used up, and when several in a row have achieved nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raythena.domain.allocation_chain import AllocationBegun, ChainPlan
from raythena.domain.errors import ExitCode

_GO_ON = frozenset({ExitCode.STOPPED, ExitCode.CLUSTER, ExitCode.STORAGE})
"""Ends that another allocation may not come to: time was up, nodes or disks failed."""
_BUSY = ExitCode.LEDGER
"""Another allocation is at work on the task, or the ledger is no use to anybody: the chain is not ours to change."""


@dataclass(frozen=True, slots=True)
class Go:
    """Run the job; with a successor in the queue, or without."""

    successor: bool
    reason: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class EndOfChain:
    """No allocation is wanted any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class LeaveChain:
    """Whether another one is wanted is somebody else's to say."""

    reason: str


def begin_allocation(plan: ChainPlan, begun: Sequence[AllocationBegun], *, cancelled: bool) -> Go | EndOfChain:
    """What the allocation that has just begun should do. `begun`: all of the chain in order of time, this one the last."""
    if cancelled:
        return EndOfChain("the chain was cancelled")
    idle = idle_allocations(begun)
    if plan.until_done and idle >= plan.idle_limit:
        return EndOfChain(f"{idle} allocations in a row have finished no event")
    if not plan.until_done:
        return Go(False, "one allocation was asked for")
    used = len({allocation.job_id for allocation in begun})
    if used >= plan.max_allocations:
        return Go(False, f"this is the last of {plan.max_allocations} allocations")
    return Go(True)


def idle_allocations(begun: Sequence[AllocationBegun]) -> int:
    """How many allocations before the last one, in a row, have finished no event."""
    counts = [allocation.finished for allocation in begun]
    idle = 0
    for earlier, later in zip(counts[-2::-1], counts[:0:-1], strict=True):
        if later > earlier:
            break
        idle += 1
    return idle


def end_allocation(exit_code: int, *, cancelled: bool) -> Go | EndOfChain | LeaveChain:
    """What becomes of the successor when the job's command has ended in this allocation."""
    if cancelled:
        return EndOfChain("the chain was cancelled")
    if exit_code == _BUSY:
        return LeaveChain("another allocation is at work on the task")
    if exit_code in _GO_ON:
        return Go(True)
    if exit_code == ExitCode.OK:
        return EndOfChain("the job is complete")
    return EndOfChain(f"the job ended with exit code {exit_code}, and another allocation would not change that")
