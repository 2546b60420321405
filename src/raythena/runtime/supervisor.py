"""Ray's side of a session: which nodes there are, and an agent on each of them.

Nodes carry the resource `NODE_RESOURCE`; whenever one appears it gets an agent, however late it comes. An agent that dies is
replaced on the same node, under a new incarnation's name, after a pause that grows; one that keeps dying is not. One that is
silent is asked whether it lives, and killed when it does not answer: a process can be frozen for good. When no node can be used
any more and at least one was given up for its payload's sake, the job is stopped: waiting would burn the allocation for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raythena.domain.errors import JobAborted, NumbersExhausted, PayloadError, RaythenaError, StorageError
from raythena.runtime.agent import NodeAgentActor
from raythena.runtime.coordinator import Coordinator
from raythena.runtime.session_config import NODE_RESOURCE, AgentOrder, SessionConfig
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 30.0
_STABLE_S = 60.0
_MAX_QUICK_DEATHS = 5
_START_LIMIT_S = 300.0
"""An agent that has never given a sign of life may still be loading its modules from a slow disk."""
_AGENT = "agent-"
_CAUSES: dict[str, type[RaythenaError]] = {error.__name__: error for error in (PayloadError, StorageError, NumbersExhausted)}
"""What an agent may end with, by name."""
_FINAL = frozenset({"PayloadError", "StorageError"})
"""Those that another agent on the same node would end with too."""


@dataclass(slots=True)
class _Host:
    """One Ray node and its present agent."""

    name: str
    node_id: str
    cores: int
    alive: bool = True
    incarnation: int = 0
    quick_deaths: int = 0
    given_up: bool = False
    agent: ActorHandle[Any] | None = None
    watch: asyncio.Task[None] | None = None
    check: asyncio.Task[None] | None = None
    """Whether the agent is alive is being found out."""
    met: bool = False
    """The agent has given a sign of life."""


class Supervisor:
    """Keeps an agent on every node until the job is over."""

    def __init__(self, config: SessionConfig, coordinator: Coordinator) -> None:
        self._config = config
        self._coordinator = coordinator
        self._hosts: dict[str, _Host] = {}
        self._orders = 0
        """Given out so far, one for each agent: their numbers are made from it."""
        self._last_problem = ""

    async def run(self) -> None:
        """Look after nodes and agents until the coordinator is over, then wait for the agents to leave."""
        while not self._coordinator.over:
            try:
                self._compare(await asyncio.to_thread(ray.nodes))
                self._look_for_frozen()
            except RayError as problem:
                logger.warning("cannot list the nodes: %s", problem)
            await asyncio.sleep(_LOOK_S)

    async def dismiss(self, limit_s: float) -> None:
        """Wait for the agents to end by themselves; kill those that do not."""
        watches = [host.watch for host in self._hosts.values() if host.watch is not None]
        if watches:
            await asyncio.wait(watches, timeout=limit_s)
        for host in self._hosts.values():
            if host.watch is not None and not host.watch.done() and host.agent is not None:
                logger.warning("killing the agent of %s", host.name)
                await asyncio.to_thread(ray.kill, host.agent)
        for name in await asyncio.to_thread(self._living_agents):
            await self._dismiss_stray(name, limit_s)

    async def _dismiss_stray(self, name: str, limit_s: float) -> None:
        """An agent that outlived an earlier coordinator, and that this one ended too early to meet."""
        order = self._order(name.removeprefix(_AGENT), 1)
        try:
            agent = await asyncio.to_thread(ray.get_actor, name, namespace=self._config.namespace)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(agent.run.remote(order), limit_s)
            await asyncio.to_thread(ray.kill, agent)
        except (RayError, ValueError) as problem:  # ValueError: it is gone already
            logger.info("agent %s left: %s", name, str(problem).splitlines()[0])

    def _living_agents(self) -> list[str]:
        actors = ray.util.list_named_actors(all_namespaces=True)
        names = [str(actor["name"]) for actor in actors if actor["namespace"] == self._config.namespace]
        return [name for name in names if name.startswith(_AGENT)]

    def _compare(self, nodes: list[dict[str, object]]) -> None:
        seen: dict[str, bool] = {}
        for entry in nodes:
            resources = entry["Resources"]
            node_id = str(entry["NodeID"])
            seen[node_id] = bool(entry["Alive"])
            cores = int(resources.get(NODE_RESOURCE, 0)) if isinstance(resources, dict) else 0
            if entry["Alive"] and cores > 0 and node_id not in self._hosts:
                host = _Host(_host_name(entry, node_id), node_id, cores)
                self._hosts[node_id] = host
                host.watch = asyncio.create_task(self._keep_agent(host))
                host.watch.add_done_callback(self._watch_ended)
        for node_id, host in self._hosts.items():
            if host.alive and not seen.get(node_id, False):
                host.alive = False
                self._coordinator.node_lost(f"{host.name}.{host.incarnation}", "its Ray node is dead")

    def _look_for_frozen(self) -> None:
        for host in self._hosts.values():
            if host.agent is None or host.check is not None or not host.alive:
                continue
            silence_s = self._coordinator.silence_s(f"{host.name}.{host.incarnation}")
            host.met = host.met or math.isfinite(silence_s)
            if silence_s > self._config.node_exchange.node_timeout_s:
                host.check = asyncio.create_task(self._replace_if_frozen(host, host.agent))

    async def _replace_if_frozen(self, host: _Host, agent: ActorHandle[Any]) -> None:
        """Ask a silent agent for a sign of life; kill it when there is none, so that `_keep_agent` starts another.

        An agent that is starting its payload is silent too, but answers. Behind a link that is cut there is nobody to be killed,
        and Ray will soon say that the node is dead.
        """
        try:
            await asyncio.wait_for(agent.ping.remote(), self._config.frozen_agent_s if host.met else _START_LIMIT_S)
            host.met = host.agent is agent
        except TimeoutError:
            if host.alive and host.agent is agent:
                logger.warning("the agent of %s is frozen: killing it", host.name)
                await asyncio.to_thread(ray.kill, agent)
        except RayError as problem:
            logger.info("the agent of %s does not answer: %s", host.name, str(problem).splitlines()[0])
        finally:
            await asyncio.sleep(_LOOK_S)
            host.check = None

    def _watch_ended(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled() and watch.exception() is not None:
            self._coordinator.give_up(watch.exception())

    async def _name_agent(self, host: _Host) -> None:
        """Settle which incarnation the place begins with, however long it takes to find out."""
        while host.incarnation == 0 and host.alive and not self._coordinator.over:
            try:
                host.incarnation = await asyncio.to_thread(self._first_incarnation, host)
            except (RayError, OSError) as problem:
                logger.warning("cannot look for agents on %s: %s", host.name, problem)
                await asyncio.sleep(_LOOK_S)

    async def _keep_agent(self, host: _Host) -> None:
        pause_s = _FIRST_PAUSE_S
        await self._name_agent(host)
        while host.alive and not self._coordinator.over:
            began = time.monotonic()
            problem = await self._run_agent(host)
            if self._coordinator.over:
                return
            self._coordinator.node_lost(f"{host.name}.{host.incarnation}", problem or "its agent left")
            host.incarnation += 1
            if time.monotonic() - began > _STABLE_S:
                host.quick_deaths, pause_s = 0, _FIRST_PAUSE_S
            host.quick_deaths += 1
            if host.quick_deaths >= _MAX_QUICK_DEATHS or _name_of(problem) in _FINAL:
                self._give_up(host, problem)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    async def _run_agent(self, host: _Host) -> str:
        """Have the place's agent work to its end; why it ended."""
        order = self._order(f"{host.name}.{host.incarnation}", host.cores)
        try:
            host.agent = agent = await asyncio.to_thread(self._agent, host)
            reason = await self._await_end(agent, order)
            await asyncio.to_thread(ray.kill, agent)
        except RayError as problem:
            return _story(problem)
        finally:
            host.agent, host.met = None, False
        return reason

    def _order(self, node: str, cores: int) -> AgentOrder:
        """What an agent is told. One that works already, for an earlier coordinator, keeps the numbers it has."""
        order = AgentOrder(node, cores, self._config, self._orders, self._coordinator.number)
        self._orders += 1
        return order

    async def _await_end(self, agent: ActorHandle[Any], order: AgentOrder) -> str:
        """Wait for the end of an agent's work. Raises RayError when it is dead for certain.

        One that is out of reach for a moment works on, and must not get a second one beside it on the same cores.
        """
        while True:
            try:
                return str(await agent.run.remote(order))
            except ActorUnavailableError as problem:
                logger.warning("agent %s is out of reach: %s", order.node, str(problem).splitlines()[0])
                await asyncio.sleep(_LOOK_S)

    def _agent(self, host: _Host) -> ActorHandle[Any]:
        """The agent of a place's present incarnation: one that outlived an earlier coordinator, or a new one."""
        factory: Any = ray.remote(NodeAgentActor)
        actor = factory.options(
            num_cpus=0,
            max_restarts=0,
            max_concurrency=16,
            lifetime="detached",
            get_if_exists=True,
            scheduling_strategy=NodeAffinitySchedulingStrategy(host.node_id, soft=False),
            name=_agent_name(host),
            namespace=self._config.namespace,
        )
        handle: ActorHandle[Any] = actor.remote()
        return handle

    def _first_incarnation(self, host: _Host) -> int:
        """The incarnation this coordinator begins with: the agent that outlived an earlier coordinator, or a new name.

        A name that was used once in a session is never used again, because groups are called after it. Agents leave their
        traces among the logs before they do anything else.
        """
        prefix = f"{_AGENT}{host.name}."
        alive = [int(name.removeprefix(prefix)) for name in self._living_agents() if name.startswith(prefix)]
        return max(alive) if alive else 1 + max(self._incarnations_seen(host), default=0)

    def _incarnations_seen(self, host: _Host) -> Iterator[int]:
        logs = TaskDirectory(Path(self._config.task_directory)).logs / self._config.session
        for path in logs.iterdir():
            name, _, incarnation = path.name.rpartition(".")
            if name == host.name and incarnation.isdigit():
                yield int(incarnation)

    def _give_up(self, host: _Host, problem: str) -> None:
        host.given_up = True
        logger.error("node %s is not used any more: %s", host.name, problem)
        usable = [other for other in self._hosts.values() if other.alive and not other.given_up]
        if not usable:
            cause = _CAUSES.get(_name_of(problem), JobAborted)(problem)
            self._coordinator.stop(f"no node is left to work on; the last one failed with {problem}", cause)


def _story(problem: RayError) -> str:
    """What went wrong, on one line. Ray puts a traceback with colours around an error of ours; that one is what counts."""
    cause = getattr(problem, "cause", None)
    told: BaseException = cause if isinstance(cause, Exception) else problem
    return f"{type(told).__name__}: {(str(told).splitlines() or ['no message'])[0]}"


def _host_name(entry: dict[str, object], node_id: str) -> str:
    host = str(entry.get("NodeManagerHostname") or entry.get("NodeManagerAddress") or "node")
    return f"{host.partition('.')[0]}-{node_id[:6]}"


def _name_of(problem: str) -> str:
    return problem.partition(":")[0]


def _agent_name(host: _Host) -> str:
    return f"{_AGENT}{host.name}.{host.incarnation}"
