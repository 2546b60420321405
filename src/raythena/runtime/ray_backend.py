"""Ray as what a coordinator works with: its nodes and actors, and a task of Ray's for each merge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raythena.domain.errors import RaythenaError
from raythena.domain.results import MergedOutput
from raythena.runtime.merge_task import MergeOrder, check_sample, merge_output, merge_place
from raythena.runtime.ray_cluster import RayCluster
from raythena.runtime.session_config import SessionConfig


class RayBackend:
    """A `Backend` for one Ray namespace."""

    def __init__(self, config: SessionConfig) -> None:
        self.cluster = RayCluster(config.namespace, config.joined)

    async def merge(self, order: MergeOrder) -> MergedOutput:
        """Run `merge_output` in a Ray task, near the coordinator; elsewhere when it failed there."""
        merged: MergedOutput = await _in_ray(merge_output, order)
        return merged

    async def check_sample(self, order: MergeOrder) -> None:
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
