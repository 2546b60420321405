"""A Ray cluster of several logical nodes on this machine, for a laptop, the demo and tests.

Real raylets on free ports. They find each other through loopback, but Ray listens on every interface of the machine; what keeps
others out is a token made for this run. The head is up before `start` returns; the other nodes come one after the other, because
raylets that start at the same time compete for names.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping

from raythena.launch.joining import ask_ray
from raythena.launch.launcher import LauncherPlugin, LaunchOrder, NodeCommand, ray_session
from raythena.launch.ray_environment import start_node
from raythena.launch.ray_head import RayHead, ray_nodes
from raythena.runtime.driver import Session
from raythena.runtime.session_config import NODE_RESOURCE, JoinedNodes, SessionConfig

_ADDRESS = "127.0.0.1"
_NODES, _CORES = 2, 1
_LOOK_S = 0.1


class LocalCluster:
    """`nodes` logical nodes of `cores` cores each. Use `start`, then `add_nodes`, and always `stop`."""

    joined_nodes: JoinedNodes | None = None
    keeps_scratch = False

    def __init__(self, nodes: int, cores: int, ray_directory: str = "", *, encrypted: bool = False) -> None:
        self._nodes = nodes
        self._cores = cores
        self._head = RayHead(_ADDRESS, cores, ray_directory=ray_directory, encrypted=encrypted)
        self._started = 0

    async def start(self) -> None:
        """Start the head and connect this process to it. Raises ClusterError."""
        await self._head.start()

    async def add_nodes(self) -> None:
        """Start the other nodes, one after the other; ends when all are up. Raises ClusterError."""
        for _ in range(1, self._nodes):
            await self.add_node()

    async def add_node(self) -> None:
        """Start one more node; ends when it is up. Raises ClusterError."""
        self._started += 1
        name = f"node{self._started}"
        known = await ask_ray(_node_ids)
        await self._head.spawn(name, start_node(self._head.join_address, _ADDRESS, self._cores, NODE_RESOURCE))
        began = time.monotonic()
        while await ask_ray(_node_ids) <= known:
            self._head.check(name, began)
            await asyncio.sleep(_LOOK_S)

    def failure(self) -> str:
        """Why the cluster cannot go on; "" while it can."""
        return self._head.failure()

    async def ends_at(self) -> float | None:
        """Nobody ends a laptop."""
        return None

    def session(self, config: SessionConfig) -> Session:
        """What runs a session here."""
        return ray_session(config)

    async def stop(self) -> None:
        """End every process of the cluster and remove its files. Safe to call twice."""
        await self._head.stop()


def _node_ids() -> set[str]:
    return {node.node_id for node in ray_nodes()}


def _size(order: LaunchOrder) -> tuple[int, int]:
    return order.nodes or _NODES, order.cores or _CORES


def _launch(order: LaunchOrder) -> LocalCluster:
    return LocalCluster(*_size(order), order.ray_directory, encrypted=order.tls)


def _words(order: LaunchOrder) -> str:
    nodes, cores = _size(order)
    return f"{nodes} nodes × {cores} cores"


def _is_here(_: Mapping[str, str]) -> bool:
    """This machine is always here, and so comes last."""
    return True


def _commands(order: LaunchOrder, program: tuple[str, ...]) -> list[NodeCommand]:
    """Logical nodes are all on this machine: it is asked once."""
    return [NodeCommand(socket.gethostname(), program)]


PLUGIN = LauncherPlugin("local", _is_here, _launch, _words, _commands)
