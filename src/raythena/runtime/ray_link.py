"""An agent's calls as calls of Ray's to the coordinator's actor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from raythena.domain.ranges import Indices
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.runtime.link import Link, NoAnswer, PatientLink
from raythena.runtime.session_config import COORDINATOR, AgentOrder


class RayCarrier:
    """A `Carrier` to the coordinator actor of a Ray namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._actor: ActorHandle[object] | None = None

    async def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """See `Carrier`."""
        return await self._call(lambda actor: actor.register.remote(node, cores, held))

    async def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """See `Carrier`."""
        return await self._call(lambda actor: actor.exchange.remote(message))

    async def _call(self, call: Callable[[ActorHandle[object]], Awaitable[CoordinatorReply]]) -> CoordinatorReply:
        try:
            if self._actor is None:
                self._actor = ray.get_actor(COORDINATOR, namespace=self._namespace)
            return await call(self._actor)
        except (RayError, ValueError) as problem:  # ValueError: no actor of that name (any more)
            self._actor = None
            raise NoAnswer(type(problem).__name__) from problem
        except asyncio.CancelledError:
            self._actor = None
            raise


def link_through_ray(order: AgentOrder) -> Link:
    """The link of an agent that is an actor of Ray's."""
    config = order.config
    return PatientLink(RayCarrier(config.namespace), config.coordinator_patience_s)
