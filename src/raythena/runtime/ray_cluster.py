"""Machines and agents as Ray has them: its nodes, and an actor for each agent.

Rules: no error of Ray's passes this module. A call that failed because nobody knows is a `ClusterError`; an agent is
`AgentDied` only when Ray is certain, and `AgentUnreachable` as long as it is not.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raythena.domain.errors import ClusterError
from raythena.domain.node_name import NodeName
from raythena.runtime.agent import AgentExit, NodeAgentActor
from raythena.runtime.cluster import AgentDied, AgentHandle, AgentUnreachable, Machine
from raythena.runtime.ray_link import link_through_ray
from raythena.runtime.session_config import NODE_RESOURCE, AgentOrder, JoinedNodes

_AGENT = "agent-"
_PROCESSORS = "CPU"
"""What Ray counts processors under."""


class RayCluster:
    """The real one, for one Ray namespace."""

    def __init__(self, namespace: str, joined: JoinedNodes | None = None) -> None:
        self._namespace = namespace
        self._joined = joined
        self._used: dict[str, int] = {}
        """Machines of a joined cluster that we use, and the cores we reserve there."""

    async def machines(self) -> list[Machine]:
        """See `Cluster`."""
        try:
            entries = await asyncio.to_thread(ray.nodes)
        except RayError as problem:
            raise ClusterError(_one_line(problem)) from problem
        if self._joined is None:
            return [_machine(entry, NODE_RESOURCE) for entry in entries]
        return self._chosen([_machine(entry, _PROCESSORS) for entry in entries], self._joined)

    def _chosen(self, machines: list[Machine], joined: JoinedNodes) -> list[Machine]:
        """Of a joined cluster: once chosen, a machine stays so for as long as it lives."""
        alive = {machine.machine_id for machine in machines if machine.alive}
        self._used = {machine_id: cores for machine_id, cores in self._used.items() if machine_id in alive}
        for machine in machines:
            cores = min(machine.cores, joined.cores or machine.cores)
            if machine.alive and cores and (not joined.most or len(self._used) < joined.most):
                self._used.setdefault(machine.machine_id, cores)
        return [replace(machine, cores=self._used.get(machine.machine_id, 0)) for machine in machines]

    async def living_agents(self) -> list[NodeName]:
        """See `Cluster`."""
        try:
            actors = await asyncio.to_thread(ray.util.list_named_actors, all_namespaces=True)
        except RayError as problem:
            raise ClusterError(_one_line(problem)) from problem
        names = [str(actor["name"]) for actor in actors if actor["namespace"] == self._namespace]
        return [NodeName.parse(name.removeprefix(_AGENT)) for name in names if name.startswith(_AGENT)]

    async def start_agent(self, name: NodeName, machine_id: str) -> AgentHandle:
        """See `Cluster`."""
        factory: Any = ray.remote(NodeAgentActor)
        actor = factory.options(
            num_cpus=self._used.get(machine_id, 0),
            max_restarts=0,
            max_concurrency=16,
            lifetime=None if self._joined else "detached",
            get_if_exists=True,
            scheduling_strategy=NodeAffinitySchedulingStrategy(machine_id, soft=False),
            name=f"{_AGENT}{name}",
            namespace=self._namespace,
        )
        try:
            return RayAgent(await asyncio.to_thread(actor.remote, link_through_ray))
        except RayError as problem:
            raise AgentDied(_one_line(problem)) from problem

    async def find_agent(self, name: NodeName) -> AgentHandle | None:
        """See `Cluster`."""
        try:
            return RayAgent(await asyncio.to_thread(ray.get_actor, f"{_AGENT}{name}", namespace=self._namespace))
        except ValueError:  # no actor of that name (any more)
            return None
        except RayError as problem:
            raise ClusterError(_one_line(problem)) from problem


class RayAgent:
    """The real agent."""

    def __init__(self, actor: ActorHandle[object]) -> None:
        self._actor = actor

    async def run(self, order: AgentOrder) -> AgentExit:
        """See `AgentHandle`."""
        try:
            ended: AgentExit = await self._actor.run.remote(order)
        except RayError as problem:
            raise _translated(problem) from problem
        return ended

    async def ping(self) -> None:
        """See `AgentHandle`."""
        try:
            await self._actor.ping.remote()
        except RayError as problem:
            raise _translated(problem) from problem

    async def kill(self) -> None:
        """See `AgentHandle`."""
        try:
            await asyncio.to_thread(ray.kill, self._actor)
        except RayError as problem:
            raise _translated(problem) from problem


def _machine(entry: dict[str, object], resource: str) -> Machine:
    machine_id = str(entry["NodeID"])
    resources = entry["Resources"]
    cores = int(resources.get(resource, 0)) if isinstance(resources, dict) else 0
    host = str(entry.get("NodeManagerHostname") or entry.get("NodeManagerAddress") or "node")
    return Machine(machine_id, f"{host.partition('.')[0]}-{machine_id[:6]}", cores, bool(entry["Alive"]))


def _translated(problem: RayError) -> AgentDied | AgentUnreachable:
    return (AgentUnreachable if isinstance(problem, ActorUnavailableError) else AgentDied)(_one_line(problem))


def _one_line(problem: RayError) -> str:
    """What went wrong. Ray puts a traceback with colours around an error of ours; that one is what counts."""
    cause = getattr(problem, "cause", None)
    told: BaseException = cause if isinstance(cause, Exception) else problem
    return f"{type(told).__name__}: {(str(told).splitlines() or ['no message'])[0]}"
