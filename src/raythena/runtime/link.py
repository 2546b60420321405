"""The agent's line to the coordinator.

A call is repeated until it is answered: the coordinator may be restarting, its node may be out of reach for a while. Messages
carry sequence numbers, so repeating one has no second effect. When the coordinator stays away for too long, or for good, the
line is dead and the agent must leave. What carries a call is behind `Carrier`: Ray (`ray_link`), or a socket of this machine
(`process_link`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from raythena.domain.errors import ClusterError
from raythena.domain.ranges import Indices
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.runtime.clock import SYSTEM_CLOCK, Clock

logger = logging.getLogger(__name__)

_CALL_LIMIT_S = 20.0
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 2.0


class NoAnswer(Exception):
    """A call was not answered. The text says what happened instead, in a few words."""


class Carrier(Protocol):
    """What carries one call. Both raise NoAnswer, and may be cancelled when the answer is late."""

    async def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """Introduce the node with everything it holds."""

    async def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """Send one message and get its answer."""


class Link(Protocol):
    """How an agent reaches the coordinator. Both calls raise ClusterError when it is gone for good."""

    async def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """Introduce the node with everything it holds."""

    async def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """Send one message and get its answer."""


class PatientLink:
    """A `Link` that insists on an answer for `patience_s`."""

    def __init__(self, carrier: Carrier, patience_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._carrier = carrier
        self._clock = clock
        self._patience_s = patience_s

    async def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """See `Link`."""
        return await self._insist(lambda: self._carrier.register(node, cores, held))

    async def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """See `Link`."""
        return await self._insist(lambda: self._carrier.exchange(message))

    async def _insist(self, call: Callable[[], Awaitable[CoordinatorReply]]) -> CoordinatorReply:
        began = self._clock.monotonic_s()
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await asyncio.wait_for(call(), _CALL_LIMIT_S)
            except (NoAnswer, TimeoutError) as problem:
                why = str(problem) or f"nothing within {_CALL_LIMIT_S:.0f} s"
                away_s = self._clock.monotonic_s() - began
                if away_s > self._patience_s:
                    raise ClusterError(f"the coordinator has not answered for {away_s:.0f} s: {why}") from problem
                logger.warning("no answer from the coordinator (%s), trying again", why)
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)
