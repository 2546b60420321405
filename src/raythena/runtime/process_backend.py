"""Processes of this machine as what a coordinator works with: a fork server starts agents and merges.

A *machine* here is a logical node, and always there. That an agent's process is gone is certain when the fork server, its
parent, says so; a line that ended is no proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raythena.domain.errors import ClusterError
from raythena.domain.node_name import NodeName
from raythena.domain.results import MergedOutput
from raythena.runtime.agent import AgentExit
from raythena.runtime.cluster import AgentDied, AgentHandle, AgentUnreachable, Machine
from raythena.runtime.fork_requests import SERVER_SOCKET, ForkRequests, LivingAgent, MergeEnd, address_in
from raythena.runtime.local_calls import Address, Caller, RemoteFailure, Unanswered
from raythena.runtime.merge_task import MergeOrder
from raythena.runtime.served_agent import ServedAgent
from raythena.runtime.session_config import AgentOrder

_FATE_LIMIT_S = 1.0
_LOOK_S = 0.02
"""Between the end of a process's lines and its own end there are some milliseconds."""


class ProcessBackend:
    """A `Backend` for the session with this private directory. Raises OSError when there is none."""

    def __init__(self, directory: Path, machines: Sequence[Machine]) -> None:
        self._server = address_in(directory, SERVER_SOCKET)
        self.cluster = ProcessCluster(self._server, machines)

    async def merge(self, order: MergeOrder) -> MergedOutput:
        """Run `merge_output` in a process of its own. Raises MergeError, StorageError, RaythenaError when the process died."""
        end = await self._ask(order, only_sample=False)
        if end.merged is None:
            raise ClusterError("a merge ended without a result")
        return end.merged

    async def check_sample(self, order: MergeOrder) -> None:
        """Run `check_sample` in a process of its own."""
        await self._ask(order, only_sample=True)

    async def _ask(self, order: MergeOrder, *, only_sample: bool) -> MergeEnd:
        line = Caller(self._server, ForkRequests)
        try:
            end: MergeEnd = await line.call("merge", order, only_sample)
        except Unanswered as problem:
            raise ClusterError(f"a merge was lost: {problem}") from problem
        finally:
            line.close()
        if end.failure is not None:
            raise end.failure.error()
        return end


class ProcessCluster:
    """A `Cluster` of logical nodes."""

    def __init__(self, server: Address, machines: Sequence[Machine]) -> None:
        self._server = Caller(server, ForkRequests)
        self._token = server.token
        self._machines = list(machines)

    async def machines(self) -> list[Machine]:
        """See `Cluster`."""
        return self._machines

    async def living_agents(self) -> list[NodeName]:
        """See `Cluster`."""
        return [NodeName.parse(agent.name) for agent in await self._living()]

    async def start_agent(self, name: NodeName, machine_id: str) -> AgentHandle:
        """See `Cluster`."""
        found = await self.find_agent(name)
        if found is not None:
            return found
        return self._handle(name, await self._ask("start_agent", str(name)))

    async def find_agent(self, name: NodeName) -> AgentHandle | None:
        """See `Cluster`."""
        return next((self._handle(name, agent.socket) for agent in await self._living() if agent.name == str(name)), None)

    def _handle(self, name: NodeName, path: str) -> AgentHandle:
        return ProcessAgent(name, Address(path, self._token), self._server)

    async def _living(self) -> tuple[LivingAgent, ...]:
        living: tuple[LivingAgent, ...] = await self._ask("living_agents")
        return living

    async def _ask(self, method: str, *arguments: object) -> Any:
        try:
            return await self._server.call(method, *arguments)
        except (Unanswered, RemoteFailure) as problem:
            raise ClusterError(f"the fork server does not answer: {problem}") from problem


class ProcessAgent:
    """An `AgentHandle`."""

    def __init__(self, name: NodeName, address: Address, server: Caller) -> None:
        self._name = str(name)
        self._server = server
        self._caller = Caller(address, ServedAgent)

    async def run(self, order: AgentOrder) -> AgentExit:
        """See `AgentHandle`."""
        exit_: AgentExit = await self._call("run", order.node, order.cores, order.number, order.coordinator)
        return exit_

    async def ping(self) -> None:
        """See `AgentHandle`."""
        await self._call("ping")

    async def kill(self) -> None:
        """See `AgentHandle`."""
        try:
            await self._server.call("kill", self._name)
        except (Unanswered, RemoteFailure) as problem:
            raise AgentUnreachable(str(problem)) from problem

    async def _call(self, method: str, *arguments: object) -> Any:
        try:
            return await self._caller.call(method, *arguments)
        except RemoteFailure as problem:  # a defect of the agent's; what it computed is safe
            raise AgentDied(str(problem)) from problem
        except Unanswered as problem:
            fate = await self._fate()
            raise AgentDied(f"its process ended: {fate}") if fate else AgentUnreachable(str(problem)) from problem

    async def _fate(self) -> str:
        """How its process ended; "" if it lives, or nobody can be asked."""
        for _ in range(int(_FATE_LIMIT_S / _LOOK_S)):
            try:
                fate: str = await self._server.call("fate", self._name)
            except (Unanswered, RemoteFailure):
                return ""
            if fate:
                return fate
            await asyncio.sleep(_LOOK_S)
        return ""
