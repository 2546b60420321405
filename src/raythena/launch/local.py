"""A Ray cluster of several logical nodes on this machine, for a laptop, the demo and tests.

Real raylets on free ports. They find each other through loopback, but Ray listens on every interface of the machine; what keeps
others out is a token made for this run. A process guard starts the raylets, so they cannot outlive this process, whatever kills
it. The head is up before `start` returns; the other nodes come one after the other, because raylets that start at the same time
compete for names.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from raythena.domain.errors import ClusterError
from raythena.launch.joining import join
from raythena.launch.ray_environment import ray_environment, start_head, start_node, write_token
from raythena.runtime.process_guard import ProcessGuard
from raythena.runtime.session_config import NODE_RESOURCE
from raythena.storage.owned import owned_directory

_ADDRESS = "127.0.0.1"
_BASE = Path("/tmp")  # noqa: S108 (what is made there is private, and has a name that cannot be foreseen)
"""Not `$TMPDIR`: paths of sockets must be short."""
_START_LIMIT_S = 60.0
_LOOK_S = 0.1


class LocalCluster:
    """`nodes` logical nodes of `cores` cores each. Use `start`, then `add_nodes`, and always `stop`."""

    def __init__(self, nodes: int, cores: int) -> None:
        self._nodes = nodes
        self._cores = cores
        self._process_guard = ProcessGuard()
        self._directory: Path | None = None
        self._head = ""
        self._ended: dict[str, int] = {}
        self._started = 0

    async def start(self) -> str:
        """Start the head and connect this process to it. Returns its address. Raises ClusterError."""
        self._directory = owned_directory(_BASE, "rt-")
        token = self._directory / "token"
        write_token(token)
        os.environ.update(ray_environment(token))
        port = _free_port()
        self._head = f"{_ADDRESS}:{port}"
        await self._spawn("head", start_head(_ADDRESS, port, self._directory / "ray", self._cores, NODE_RESOURCE))
        await self._wait_for_port(port)
        await asyncio.to_thread(_connect, self._head)
        return self._head

    async def add_nodes(self) -> None:
        """Start the other nodes, one after the other; ends when all are up. Raises ClusterError."""
        for _ in range(1, self._nodes):
            await self.add_node()

    async def add_node(self) -> None:
        """Start one more node; ends when it is up. Raises ClusterError."""
        self._started += 1
        name = f"node{self._started}"
        known = await asyncio.to_thread(_node_ids)
        await self._spawn(name, start_node(self._head, _ADDRESS, self._cores, NODE_RESOURCE))
        began = time.monotonic()
        while await asyncio.to_thread(_node_ids) <= known:
            self._check(name, began)
            await asyncio.sleep(_LOOK_S)

    async def stop(self) -> None:
        """End every process of the cluster and remove its files. Safe to call twice."""
        import ray

        await asyncio.to_thread(ray.shutdown)
        await self._process_guard.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _spawn(self, name: str, argv: list[str]) -> None:
        log = self._log(name)
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        await self._process_guard.spawn(argv, env=env, stdout=log, stderr=log, on_exit=partial(self._note_end, name))

    def _note_end(self, name: str, status: int) -> None:
        self._ended[name] = status

    def _log(self, name: str) -> Path:
        return (self._directory or Path()) / f"{name}.log"

    async def _wait_for_port(self, port: int) -> None:
        began = time.monotonic()
        while True:
            self._check("head", began)
            try:
                _, writer = await asyncio.open_connection(_ADDRESS, port)
            except OSError:
                await asyncio.sleep(_LOOK_S)
            else:
                writer.close()
                return

    def _check(self, name: str, began: float) -> None:
        waited_s = time.monotonic() - began
        if name in self._ended or waited_s > _START_LIMIT_S:
            how = f"exit code {self._ended[name]}" if name in self._ended else f"not up after {waited_s:.0f} s"
            log = self._log(name)
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise ClusterError(f"Ray's {name} could not be started ({how}):\n{tail}")


def _connect(address: str) -> None:
    """Join the cluster as its driver. Raises ClusterError."""
    import ray
    import ray._private.worker as ray_worker
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # Ray looks at its environment when it is imported, which may have been before ours was made, or for an earlier cluster.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    quiet = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    join(address, partial(quiet, address=address, _node_ip_address=_ADDRESS), ray.shutdown)
    # Ray has no public switch for this: it prints deaths of its processes to our standard output, which carries results only.
    ray_worker._worker_logs_enabled = False


def _node_ids() -> set[str]:
    """Every node there ever was, dead ones included."""
    import ray

    list_nodes: Callable[[], list[dict[str, object]]] = ray.nodes
    return {str(node["NodeID"]) for node in list_nodes()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port
