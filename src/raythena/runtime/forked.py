"""What the processes of a session on one machine do once they are forked."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import raythena.runtime.agent_supervisor
import raythena.runtime.coordinator  # noqa: F401 (loaded before the fork, not by each process)
from raythena.runtime.actor import CoordinatorActor
from raythena.runtime.fork_requests import MergeEnd, MergeFailure, SessionPlan, address_in
from raythena.runtime.local_calls import serve
from raythena.runtime.merge_task import MergeOrder, check_sample, merge_output
from raythena.runtime.process_backend import ProcessBackend
from raythena.runtime.served_agent import ServedAgent
from raythena.runtime.session_config import SessionConfig


def work_as_coordinator(plan: SessionPlan, directory: Path, listener: socket.socket) -> None:
    """Be the coordinator until somebody ends this process."""

    def backend(_: SessionConfig) -> ProcessBackend:
        return ProcessBackend(directory, plan.machines)

    asyncio.run(serve(CoordinatorActor(plan.config, backend), listener, address_in(directory, "").token))


def work_as_agent(plan: SessionPlan, directory: Path, listener: socket.socket) -> None:
    """Be an agent until somebody ends this process."""
    asyncio.run(serve(ServedAgent(plan.config, directory), listener, address_in(directory, "").token))


def merged(order: MergeOrder, *, only_sample: bool) -> MergeEnd:
    """Merge, or look at the sample; how it ended."""
    try:
        if only_sample:
            check_sample(order)
            return MergeEnd()
        return MergeEnd(merge_output(order))
    except Exception as problem:  # noqa: BLE001 (whatever it is, it is told to who ordered the merge)
        return MergeEnd(failure=MergeFailure.of(problem))
