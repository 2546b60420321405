"""The Ray face of the coordinator, and the merge task.

The actor is detached and restarts by itself; a restarted one knows only its configuration, so the first call of whoever comes
first (an agent, the driver) brings it back to life from the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raythena.domain.errors import RaythenaError
from raythena.domain.progress import Progress
from raythena.domain.ranges import Indices
from raythena.domain.results import MergedOutput
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.runtime.agent_supervisor import Supervisor
from raythena.runtime.cluster import RayCluster
from raythena.runtime.coordinator import Coordinator
from raythena.runtime.log_files import log_to_file
from raythena.runtime.merge_task import MergeOrder, check_sample, merge_output, merge_place
from raythena.runtime.sample_check import LookBeforeMerge
from raythena.runtime.session_config import SessionConfig, StopOrder
from raythena.runtime.session_end import SessionResult

logger = logging.getLogger(__name__)

_DISMISS_S = 10.0


async def merge_in_ray(order: MergeOrder) -> MergedOutput:
    """Run `merge_output` in a Ray task, near the coordinator; elsewhere when it failed there."""
    merged: MergedOutput = await _in_ray(merge_output, order)
    return merged


async def check_sample_in_ray(order: MergeOrder) -> None:
    """Run `check_sample` where a merge would run."""
    await _in_ray(check_sample, order)


def _carry_out(work: Callable[[MergeOrder], object], order: MergeOrder) -> object:
    """One task for all kinds of work: Ray keeps a process for its kind of task a while, and would start another one."""
    return work(order)


async def _in_ray(work: Callable[[MergeOrder], object], order: MergeOrder) -> Any:
    nodes = [node["NodeID"] for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
    place = merge_place(order, ray.get_runtime_context().get_node_id(), nodes)
    where = NodeAffinitySchedulingStrategy(place, soft=True)
    task = ray.remote(_carry_out).options(name=work.__name__, num_cpus=0, max_retries=0, scheduling_strategy=where)
    try:
        return await task.remote(work, order)
    except ray.exceptions.RayTaskError as problem:
        raise problem.cause if isinstance(problem.cause, RaythenaError) else problem from problem


class CoordinatorActor:
    """One coordinator, and the supervisor of its nodes."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
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
                tasks = LookBeforeMerge(merge_in_ray, check_sample_in_ray)
                coordinator = await Coordinator.take_over(self._config, tasks.merge, check_sample=tasks.check_sample)
                self._coordinator = coordinator
                self._supervision = asyncio.create_task(self._supervise(coordinator))
        return self._coordinator

    async def _supervise(self, coordinator: Coordinator) -> None:
        supervisor = Supervisor(self._config, coordinator, RayCluster(self._config.namespace, self._config.joined))
        try:
            await supervisor.run()
        except Exception:  # a defect; without a supervisor nothing goes on, so it must end the job
            logger.critical("the supervisor failed", exc_info=True)
            coordinator.stop("a defect in the supervisor, see the coordinator's log")
            raise
        await supervisor.dismiss(_DISMISS_S)
