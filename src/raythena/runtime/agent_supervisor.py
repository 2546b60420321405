"""An agent on every node of a session, for as long as the job goes on.

Nodes carry the resource `NODE_RESOURCE`; whenever one appears it gets an agent, however late it comes. An agent that ends is
replaced on the same node, under a new incarnation's name; one that is silent is asked whether it lives, and killed when it does
not answer: a process can be frozen for good. When to start again, when to give up, and how long to wait for an answer is decided
in `raythena.engine.restarts`; what Ray has to do with it is behind `Cluster`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raythena.domain.errors import ClusterError, JobAborted, NumbersExhausted, PayloadError, RaythenaError, StorageError
from raythena.domain.node_name import NodeName
from raythena.engine.restarts import AgentEnd, AgentRestarts, GiveUp, SilenceLimits
from raythena.runtime.agent import AgentExit
from raythena.runtime.clock import SYSTEM_CLOCK, Clock, answer_within
from raythena.runtime.cluster import AgentDied, AgentHandle, AgentUnreachable, Cluster, Machine
from raythena.runtime.session_config import AgentOrder, SessionConfig
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
_ERRORS: dict[AgentEnd, type[RaythenaError]] = {
    AgentEnd.PAYLOAD_FAILED: PayloadError,
    AgentEnd.DISK_REFUSED: StorageError,
    AgentEnd.NUMBERS_EXHAUSTED: NumbersExhausted,
}
"""What the job ends with when the last agent ended so; of other ends, `JobAborted`."""


class Supervised(Protocol):
    """What a supervisor needs of the coordinator."""

    number: int

    @property
    def over(self) -> bool:
        """The job is decided."""

    def silence_s(self, node: str) -> float:
        """How long nothing has been heard of an agent; infinite when nothing ever was."""

    def node_lost(self, node: str, reason: str) -> None:
        """An agent or its node is known to be gone."""

    def stop(self, reason: str, cause: RaythenaError | None = None) -> None:
        """End the job early."""

    def give_up(self, problem: BaseException | None) -> None:
        """A defect of ours."""


@dataclass(slots=True)
class _Host:
    """One machine and its present agent."""

    machine: Machine
    name: NodeName
    alive: bool = True
    agent: AgentHandle | None = None
    watch: asyncio.Task[None] | None = None
    check: asyncio.Task[None] | None = None
    """Whether the agent is alive is being found out."""


class Supervisor:
    """Keeps an agent on every node until the job is over."""

    def __init__(self, config: SessionConfig, coordinator: Supervised, cluster: Cluster, clock: Clock = SYSTEM_CLOCK) -> None:
        self._config = config
        self._coordinator = coordinator
        self._cluster = cluster
        self._clock = clock
        self._hosts: dict[str, _Host] = {}
        """By machine."""
        self._restarts = AgentRestarts(SilenceLimits(config.node_exchange.node_timeout_s, config.frozen_agent_s))
        self._orders = 0
        """Given out so far, one for each agent: their numbers are made from it."""

    async def run(self) -> None:
        """Look after nodes and agents until the coordinator is over."""
        while not self._coordinator.over:
            try:
                self._compare(await self._cluster.machines())
                self._look_for_frozen()
            except ClusterError as problem:
                logger.warning("cannot list the nodes: %s", problem)
            await self._clock.sleep(_LOOK_S)

    async def dismiss(self, limit_s: float) -> None:
        """Wait for the agents to end by themselves; kill those that do not."""
        watches = [host.watch for host in self._hosts.values() if host.watch is not None]
        if watches:
            await asyncio.wait(watches, timeout=limit_s)
        for host in self._hosts.values():
            if host.watch is not None and not host.watch.done() and host.agent is not None:
                logger.warning("killing the agent of %s", host.name.host)
                with contextlib.suppress(AgentDied, AgentUnreachable):  # nothing more can be done here
                    await host.agent.kill()
        for name in await self._cluster.living_agents():
            await self._dismiss_stray(name, limit_s)

    async def _dismiss_stray(self, name: NodeName, limit_s: float) -> None:
        """An agent that outlived an earlier coordinator, and that this one ended too early to meet."""
        order = self._order(name, 1)
        try:
            agent = await self._cluster.find_agent(name)
            if agent is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(agent.run(order), limit_s)
                await agent.kill()
        except (ClusterError, AgentDied, AgentUnreachable) as problem:
            logger.info("agent %s left: %s", name, problem)

    # ---- machines

    def _compare(self, machines: list[Machine]) -> None:
        alive = {machine.machine_id for machine in machines if machine.alive}
        for machine in machines:
            if machine.alive and machine.cores > 0 and machine.machine_id not in self._hosts:
                self._add(machine)
        for machine_id, host in self._hosts.items():
            if host.alive and machine_id not in alive:
                host.alive = False
                self._restarts.node_vanished(machine_id)
                self._coordinator.node_lost(str(host.name), "its Ray node is dead")

    def _add(self, machine: Machine) -> None:
        host = _Host(machine, NodeName(machine.host))
        self._hosts[machine.machine_id] = host
        self._restarts.node_appeared(machine.machine_id)
        host.watch = asyncio.create_task(self._keep_agent(host))
        host.watch.add_done_callback(self._watch_ended)

    def _watch_ended(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled() and watch.exception() is not None:
            self._coordinator.give_up(watch.exception())

    # ---- the agent of one machine

    async def _keep_agent(self, host: _Host) -> None:
        await self._name_agent(host)
        while host.alive and not self._coordinator.over:
            ended = await self._run_agent(host)
            if self._coordinator.over:
                return
            self._coordinator.node_lost(str(host.name), ended.message or "its agent left")
            host.name = host.name.next()
            decision = self._restarts.agent_ended(host.machine.machine_id, ended.how, self._clock.monotonic_s())
            if isinstance(decision, GiveUp):
                self._given_up(host, ended, is_last=decision.is_last)
                return
            await self._clock.sleep(decision.pause_s)

    def _given_up(self, host: _Host, ended: AgentExit, *, is_last: bool) -> None:
        if host.alive:
            logger.error("node %s is not used any more: %s", host.name.host, ended.message)
        if is_last:
            cause = _ERRORS.get(ended.how, JobAborted)(ended.message)
            self._coordinator.stop(f"no node is left to work on; the last one failed with {ended.message}", cause)

    async def _run_agent(self, host: _Host) -> AgentExit:
        """Have the host's agent work to its end."""
        order = self._order(host.name, host.machine.cores)
        self._restarts.agent_started(host.machine.machine_id, self._clock.monotonic_s())
        try:
            host.agent = agent = await self._cluster.start_agent(host.name, host.machine.machine_id)
            ended = await self._await_end(agent, order)
            await agent.kill()
        except (AgentDied, AgentUnreachable, ClusterError) as problem:
            return AgentExit(AgentEnd.DIED, str(problem))
        finally:
            host.agent = None
        return ended

    async def _await_end(self, agent: AgentHandle, order: AgentOrder) -> AgentExit:
        """Wait for the end of an agent's work. Raises AgentDied.

        One that is out of reach for a moment works on, and must not get a second one beside it on the same cores.
        """
        while True:
            try:
                return await agent.run(order)
            except AgentUnreachable as problem:
                logger.warning("agent %s is out of reach: %s", order.node, problem)
                await self._clock.sleep(_LOOK_S)

    def _order(self, name: NodeName, cores: int) -> AgentOrder:
        """What an agent is told. One that works already, for an earlier coordinator, keeps the numbers it has."""
        order = AgentOrder(str(name), cores, self._config, self._orders, self._coordinator.number)
        self._orders += 1
        return order

    # ---- silence

    def _look_for_frozen(self) -> None:
        for machine_id, host in self._hosts.items():
            if host.agent is None or host.check is not None or not host.alive:
                continue
            silence_s = self._coordinator.silence_s(str(host.name))
            if math.isfinite(silence_s):
                self._restarts.agent_heard(machine_id)
            limit_s = self._restarts.answer_limit_s(machine_id, silence_s)
            if limit_s is not None:
                host.check = asyncio.create_task(self._replace_if_frozen(host, host.agent, limit_s))

    async def _replace_if_frozen(self, host: _Host, agent: AgentHandle, limit_s: float) -> None:
        """Ask a silent agent for a sign of life; kill it when there is none, so that `_keep_agent` starts another.

        An agent that is starting its payload is silent too, but answers. Behind a link that is cut there is nobody to be killed,
        and Ray will soon say that the node is dead.
        """
        try:
            answered = await answer_within(limit_s, agent.ping(), self._clock)
            if answered and host.agent is agent:
                self._restarts.agent_heard(host.machine.machine_id)
            elif not answered and host.alive and host.agent is agent:
                logger.warning("the agent of %s is frozen: killing it", host.name.host)
                await agent.kill()
        except (AgentDied, AgentUnreachable) as problem:
            logger.info("the agent of %s does not answer: %s", host.name.host, problem)
        finally:
            await self._clock.sleep(_LOOK_S)
            host.check = None

    # ---- incarnations

    async def _name_agent(self, host: _Host) -> None:
        """Settle which incarnation the host begins with, however long it takes to find out."""
        while host.name.incarnation == 0 and host.alive and not self._coordinator.over:
            try:
                host.name = await self._first_incarnation(host.name.host)
            except (ClusterError, OSError) as problem:
                logger.warning("cannot look for agents on %s: %s", host.name.host, problem)
                await self._clock.sleep(_LOOK_S)

    async def _first_incarnation(self, host: str) -> NodeName:
        """The incarnation this coordinator begins with: the agent that outlived an earlier coordinator, or a new name.

        A name that was used once in a session is never used again, because groups are called after it. Agents leave their
        traces among the logs before they do anything else.
        """
        alive = [name for name in await self._cluster.living_agents() if name.host == host]
        if alive:
            return max(alive)
        return max(await asyncio.to_thread(lambda: list(self._incarnations_seen(host))), default=NodeName(host)).next()

    def _incarnations_seen(self, host: str) -> Iterator[NodeName]:
        logs = TaskDirectory(Path(self._config.task_directory)).logs / self._config.session
        names = (NodeName.parse(path.name) for path in logs.iterdir())
        return (name for name in names if name.host == host and name.incarnation)
