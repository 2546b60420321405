"""What the supervisor needs of whatever runs agents, and nothing more: machines, and a handle for each agent.

Behind it are the nodes and actors of Ray (`ray_cluster`), or processes of this machine (`process_cluster`). Rules for both: no
foreign error passes. A call that failed because nobody knows is a `ClusterError`; an agent is `AgentDied` only when that is
certain, and `AgentUnreachable` as long as it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from raythena.domain.node_name import NodeName

if TYPE_CHECKING:
    from raythena.runtime.agent import AgentExit
    from raythena.runtime.session_config import AgentOrder


class AgentDied(Exception):
    """The agent's process is gone. The text says why, on one line."""


class AgentUnreachable(Exception):
    """The agent may be alive: its machine does not answer at the moment."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One node. `cores` are those that are to be kept busy, 0 on a node that is not for payloads."""

    machine_id: str
    host: str
    cores: int
    alive: bool


class AgentHandle(Protocol):
    """An agent that was started, wherever it is."""

    async def run(self, order: AgentOrder) -> AgentExit:
        """Have it work to its end. Raises AgentDied, AgentUnreachable."""

    async def ping(self) -> None:
        """Have it answer. Raises AgentDied, AgentUnreachable."""

    async def kill(self) -> None:
        """End its process."""


class Cluster(Protocol):
    """Machines and agents. Every call may raise ClusterError."""

    async def machines(self) -> list[Machine]:
        """All that were ever part of the cluster."""

    async def living_agents(self) -> list[NodeName]:
        """Agents of this session."""

    async def start_agent(self, name: NodeName, machine_id: str) -> AgentHandle:
        """The agent of that name: the one that is there, or a new one on this machine. Raises AgentDied."""

    async def find_agent(self, name: NodeName) -> AgentHandle | None:
        """The agent of that name; None if it is gone."""
