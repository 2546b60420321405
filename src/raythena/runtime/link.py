"""The agent's line to the coordinator, over Ray actor calls.

A call is repeated until it is answered: the coordinator may be restarting, its node may be out of reach for a while. Messages
carry sequence numbers, so repeating one has no second effect. When the coordinator stays away for too long, or for good, the
line is dead and the agent must leave.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from raythena.domain.errors import ClusterError
from raythena.domain.ranges import Indices
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.runtime.clock import SYSTEM_CLOCK, Clock
from raythena.runtime.session_config import COORDINATOR

logger = logging.getLogger(__name__)

_CALL_LIMIT_S = 20.0
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 2.0


class Link(Protocol):
    """How an agent reaches the coordinator. Both calls raise ClusterError when it is gone for good."""

    async def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """Introduce the node with everything it holds."""

    async def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """Send one message and get its answer."""


class RayLink:
    """A `Link` to the coordinator actor of a Ray namespace."""

    def __init__(self, namespace: str, patience_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._namespace = namespace
        self._patience_s = patience_s
        self._actor: ActorHandle[object] | None = None

    async def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """See `Link`."""
        return await self._insist(lambda actor: actor.register.remote(node, cores, held))

    async def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """See `Link`."""
        return await self._insist(lambda actor: actor.exchange.remote(message))

    async def _insist(self, call: Callable[[ActorHandle[object]], Awaitable[CoordinatorReply]]) -> CoordinatorReply:
        began = self._clock.monotonic_s()
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if self._actor is None:
                    self._actor = ray.get_actor(COORDINATOR, namespace=self._namespace)
                return await asyncio.wait_for(call(self._actor), _CALL_LIMIT_S)
            except (RayError, ValueError, TimeoutError) as problem:  # ValueError: no actor of that name (any more)
                self._actor = None
                away_s = self._clock.monotonic_s() - began
                if away_s > self._patience_s:
                    raise ClusterError(f"the coordinator has not answered for {away_s:.0f} s: {problem}") from problem
                logger.warning("no answer from the coordinator (%s), trying again", type(problem).__name__)
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)
