"""The coordinator as it is called from other processes, through Ray or through a socket.

Its process is started again when it dies, and then knows only its configuration; so the first call of whoever comes first (an
agent, the driver) brings the coordinator back to life from the ledger. What agents and merges run in is behind `Backend`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from raythena.domain.errors import RaythenaError
from raythena.domain.progress import Progress
from raythena.domain.ranges import Indices
from raythena.domain.results import MergedOutput
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.runtime.agent_supervisor import Supervisor
from raythena.runtime.cluster import Cluster
from raythena.runtime.coordinator import Coordinator
from raythena.runtime.log_files import log_to_file
from raythena.runtime.merge_task import MergeOrder
from raythena.runtime.sample_check import LookBeforeMerge
from raythena.runtime.session_config import SessionConfig, StopOrder
from raythena.runtime.session_end import SessionResult

logger = logging.getLogger(__name__)

_DISMISS_S = 10.0


class Backend(Protocol):
    """What a coordinator runs agents and merges with."""

    @property
    def cluster(self) -> Cluster:
        """Machines and agents."""

    async def merge(self, order: MergeOrder) -> MergedOutput:
        """Run `merge_output` in a process of its own. Raises what that raises, or anything when the process died."""

    async def check_sample(self, order: MergeOrder) -> None:
        """Run `check_sample` where a merge would run. Raises as `merge` does."""


class CoordinatorActor:
    """One coordinator, and the supervisor of its nodes."""

    def __init__(self, config: SessionConfig, make_backend: Callable[[SessionConfig], Backend]) -> None:
        self._config = config
        self._backend = make_backend(config)
        self._coordinator: Coordinator | None = None
        self._lock = asyncio.Lock()
        self._supervision: asyncio.Task[None] | None = None

    async def start(self) -> tuple[str, int] | None:
        """Take the task over. None, or (message, exit code) when it is refused."""
        try:
            await self._alive()
        except RaythenaError as problem:
            return str(problem), int(problem.exit_code)
        return None

    async def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """See `Coordinator.register`."""
        return await self._answer(lambda coordinator: coordinator.register(node, cores, held))

    async def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """See `Coordinator.exchange`."""
        return await self._answer(lambda coordinator: coordinator.exchange(message))

    async def progress(self) -> Progress:
        """See `Coordinator.progress`."""
        return (await self._alive()).progress()

    async def stop(self, order: StopOrder) -> None:
        """See `Coordinator.obey`."""
        (await self._alive()).obey(order)

    async def ended(self) -> SessionResult:
        """Wait for the end of the job and for the agents to leave."""
        result = await (await self._alive()).ended()
        if self._supervision is not None:
            await asyncio.shield(self._supervision)
        return result

    async def _answer(self, ask: Callable[[Coordinator], CoordinatorReply]) -> CoordinatorReply:
        coordinator = await self._alive()
        if coordinator.over:
            return CoordinatorReply(stop=True)
        try:
            return ask(coordinator)
        except Exception as problem:  # noqa: BLE001 (whatever it is, it is a defect of ours, and it ends the job)
            coordinator.give_up(problem)
            return CoordinatorReply(stop=True)

    async def _alive(self) -> Coordinator:
        async with self._lock:
            if self._coordinator is None:
                log_to_file(Path(self._config.task_directory) / "logs" / self._config.session / "coordinator.log")
                tasks = LookBeforeMerge(self._backend.merge, self._backend.check_sample)
                coordinator = await Coordinator.take_over(self._config, tasks.merge, check_sample=tasks.check_sample)
                self._coordinator = coordinator
                self._supervision = asyncio.create_task(self._supervise(coordinator))
        return self._coordinator

    async def _supervise(self, coordinator: Coordinator) -> None:
        supervisor = Supervisor(self._config, coordinator, self._backend.cluster)
        try:
            await supervisor.run()
        except Exception:  # a defect; without a supervisor nothing goes on, so it must end the job
            logger.critical("the supervisor failed", exc_info=True)
            coordinator.stop("a defect in the supervisor, see the coordinator's log")
            raise
        await supervisor.dismiss(_DISMISS_S)
