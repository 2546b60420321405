"""A Ray cluster that somebody else runs, at an address: our agents work there, and nothing of it is started or stopped.

The command has to run on a node of that cluster. Its nodes are used with the processors they have for Ray, which our agents
reserve there as any other work does; where they are taken, an agent waits for them. Who may join is decided by that cluster:
`RAY_AUTH_MODE`, and whatever else Ray needs for it, comes from the user's environment, which is left as it is.

Everything of ours ends with this command, whatever ends it: coordinator and agents belong to it, not to the cluster.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import partial

from raythena.domain.errors import InvalidInput
from raythena.launch.joining import ask_ray, join
from raythena.launch.launcher import LauncherPlugin, LaunchOrder, ray_session
from raythena.launch.ray_environment import own_paths_only
from raythena.runtime.driver import Session
from raythena.runtime.session_config import JoinedNodes, SessionConfig

ADDRESS_VARIABLE = "RAY_ADDRESS"


def address_of(order: LaunchOrder) -> str:
    """Where the cluster is. Raises InvalidInput."""
    address = order.ray_address or order.environ.get(ADDRESS_VARIABLE, "")
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdecimal()):
        told = f"{address!r} is no address" if address else "is not set"
        raise InvalidInput("launch.ray_address", "", told, expected="host:port of Ray's head", hint=f"or {ADDRESS_VARIABLE}")
    return address


class JoinedCluster:
    """The cluster at `launch.ray_address`, at most `order.nodes` of its nodes."""

    keeps_scratch = False

    def __init__(self, order: LaunchOrder) -> None:
        self._address = address_of(order)
        self.joined_nodes: JoinedNodes | None = JoinedNodes(order.nodes or 0, order.cores or 0)

    async def start(self) -> None:
        """Become a driver of the cluster. Raises ClusterError."""
        stopped = threading.Event()
        await ask_ray(partial(_connect, self._address, stopped), stopped)

    async def add_nodes(self) -> None:
        """They are there."""

    def failure(self) -> str:
        """The coordinator says when it cannot be reached any more."""
        return ""

    async def ends_at(self) -> float | None:
        """Nobody has told us."""
        return None

    def session(self, config: SessionConfig) -> Session:
        """What runs a session here."""
        return ray_session(config)

    async def stop(self) -> None:
        """Leave; what belongs to this driver ends with that. Safe to call twice."""
        import ray

        await ask_ray(ray.shutdown)


def _connect(address: str, stopped: threading.Event) -> None:
    """Raises ClusterError."""
    import ray
    import ray._private.worker as ray_worker

    quiet = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    join(address, partial(quiet, address=address, job_config=own_paths_only()), ray.shutdown, wait=stopped.wait)
    ray_worker._worker_logs_enabled = False  # see `ray_head`


def _words(order: LaunchOrder) -> str:
    nodes = f"at most {order.nodes} nodes of " if order.nodes else ""
    return f"{nodes}the Ray cluster at {address_of(order)}"


def _is_here(_: Mapping[str, str]) -> bool:
    """Only where it is asked for: that a cluster can be joined does not mean that it is ours to use."""
    return False


PLUGIN = LauncherPlugin("ray", _is_here, JoinedCluster, _words)
