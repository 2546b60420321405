"""An agent as it is called over a Unix socket."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from raythena.runtime.agent import AgentExit, NodeAgentActor
from raythena.runtime.process_link import link_through_sockets
from raythena.runtime.session_config import AgentOrder, SessionConfig


class ServedAgent:
    """What is served; the process has the session's configuration already."""

    def __init__(self, config: SessionConfig, directory: Path) -> None:
        self._config = config
        self._actor = NodeAgentActor(partial(link_through_sockets, directory))

    async def run(self, node: str, cores: int, number: int, coordinator: int) -> AgentExit:
        """See `NodeAgentActor.run`; the arguments are fields of an `AgentOrder`."""
        return await self._actor.run(AgentOrder(node, cores, self._config, number, coordinator))

    async def ping(self) -> None:
        """See `NodeAgentActor.ping`."""
        await self._actor.ping()
