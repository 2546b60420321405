"""An agent's calls over a Unix socket to the coordinator of this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from raythena.domain.ranges import Indices
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.runtime.actor import CoordinatorActor
from raythena.runtime.fork_requests import COORDINATOR_SOCKET, address_in
from raythena.runtime.link import Link, NoAnswer, PatientLink
from raythena.runtime.local_calls import Address, Caller, RemoteFailure, Unanswered
from raythena.runtime.session_config import AgentOrder


class SocketCarrier:
    """A `Carrier` to whatever is served at an address."""

    def __init__(self, coordinator: Address) -> None:
        self._caller = Caller(coordinator, CoordinatorActor)

    async def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """See `Carrier`."""
        return await self._call("register", node, cores, held)

    async def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """See `Carrier`."""
        return await self._call("exchange", message)

    async def _call(self, method: str, *arguments: object) -> CoordinatorReply:
        try:
            reply: CoordinatorReply = await self._caller.call(method, *arguments)
        except (Unanswered, RemoteFailure) as problem:
            raise NoAnswer(str(problem)) from problem
        except asyncio.CancelledError:  # the answer is late: the next attempt takes a line of its own
            self._caller.close()
            raise
        return reply


def link_through_sockets(directory: Path, order: AgentOrder) -> Link:
    """The link of an agent whose session has this private directory. Raises OSError."""
    return PatientLink(SocketCarrier(address_in(directory, COORDINATOR_SOCKET)), order.config.coordinator_patience_s)
