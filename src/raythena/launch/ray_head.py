"""Ray's head node, started on this machine for one session, and this process as its driver.

A process guard starts the head, so it cannot outlive this process, whatever kills it. Files lie in a private directory that
goes with it. A port that was free a moment ago may be taken when Ray comes to it, so a head that does not come up is tried
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from raythena.domain.errors import ClusterError
from raythena.launch.addresses import free_port
from raythena.launch.certificates import Authority, check_available, new_authority, tls_environment
from raythena.launch.joining import ask_ray, join
from raythena.launch.private import private_directory, temporary_directory
from raythena.launch.ray_environment import own_paths_only, ray_environment, start_head, without_ray, write_token
from raythena.runtime.process_guard import ProcessGuard
from raythena.runtime.session_config import NODE_RESOURCE

START_LIMIT_S = 60.0
_LOOK_S = 0.1
_ATTEMPTS = 3
_TAIL_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class RayNode:
    """A node as Ray knows it."""

    node_id: str
    name: str
    address: str
    alive: bool


class RayHead:
    """The head, with `cores` cores of this machine for payloads. Use `start`, and always `stop`.

    With `scratch`, `$TMPDIR` of everything on this node is a private directory there (empty: where it would be anyway).
    Ray's own files lie below `ray_directory`.
    """

    def __init__(
        self, address: str, cores: int, scratch: str | None = None, ray_directory: str = "", *, encrypted: bool = False
    ) -> None:
        """Raises InvalidInput where there can be no TLS."""
        if encrypted:
            check_available()
        self._encrypted = encrypted
        self.authority: Authority | None = None
        """Of the session, with TLS."""
        self.address = address
        self.process_guard = ProcessGuard()
        self.join_address = ""
        """`host:port`, for other nodes."""
        self._cores = cores
        self._scratch = scratch
        self._ray_directory = ray_directory
        self._environ: dict[str, str] = {}
        self._places = contextlib.ExitStack()
        self._directory: Path | None = None
        self._name = ""
        """Of the process, and of its directory: it is started again under another one."""
        self._ended: dict[str, int] = {}

    @property
    def directory(self) -> Path:
        """Private; gone after `stop`."""
        return self._directory or Path()

    @property
    def token_file(self) -> Path:
        """Where the session's secret is."""
        return self.directory / "token"

    def private_directory(self, base: Path) -> Path:
        """Another private directory, below `base`, that goes when the head does. Raises OSError."""
        return self._places.enter_context(private_directory(self.process_guard, base))

    async def start(self) -> None:
        """Start the head and connect this process to it. Raises ClusterError."""
        self._directory = self._places.enter_context(private_directory(self.process_guard, short=self._ray_directory))
        if self._scratch is not None:
            place = self._places.enter_context(temporary_directory(self.process_guard, self._directory, self._scratch))
            self._environ["TMPDIR"] = str(place)
        write_token(self.token_file)
        for name in without_ray(os.environ):
            del os.environ[name]
        os.environ.update(ray_environment(self.token_file))
        if self._encrypted:
            self.authority = new_authority()
            os.environ.update(tls_environment(self.authority, self.directory, self.address))
        loading = asyncio.create_task(ask_ray(_load))
        try:
            port = await self._start_somewhere()
        finally:
            await loading
        self.join_address = f"{self.address}:{port}"
        stopped = threading.Event()
        await ask_ray(partial(_connect, self.join_address, self.address, stopped), stopped)

    async def _start_somewhere(self) -> int:
        """Start the head on a free port, on another one when it ends at once. Raises ClusterError."""
        for attempt in range(1, _ATTEMPTS + 1):
            port, self._name = free_port(self.address), f"head{attempt}"
            try:
                await self._start_on(port, self._name)
            except ClusterError:
                if attempt == _ATTEMPTS or self._name not in self._ended:
                    raise
            else:
                break
        return port

    async def _start_on(self, port: int, name: str) -> None:
        await self.spawn(name, start_head(self.address, port, self.directory / name, self._cores, NODE_RESOURCE))
        began = time.monotonic()
        while True:
            self.check(name, began)
            try:
                _, writer = await asyncio.open_connection(self.address, port)
            except OSError:
                await asyncio.sleep(_LOOK_S)
            else:
                writer.close()
                return

    async def stop(self) -> None:
        """End every process of this machine and remove its files. Safe to call twice."""
        import ray

        await ask_ray(ray.shutdown)
        await self.process_guard.stop()
        self._places.close()

    async def spawn(self, name: str, argv: list[str]) -> None:
        """Start a process of the cluster here; `name` is for `check`, and for its log."""
        log = self._log(name)
        env = {**os.environ, **self._environ, "PYTHONUNBUFFERED": "1"}
        await self.process_guard.spawn(argv, env=env, stdout=log, stderr=log, on_exit=partial(self._ended.__setitem__, name))

    def check(self, name: str, began: float) -> None:
        """Raise ClusterError when a process that was started at `began` has ended, or should have come up by now."""
        waited_s = time.monotonic() - began
        if name in self._ended or waited_s > START_LIMIT_S:
            how = f"exit code {self._ended[name]}" if name in self._ended else f"not up after {waited_s:.0f} s"
            log = self._log(name)
            tail = log.read_text(errors="replace")[-_TAIL_CHARACTERS:] if log.exists() else ""
            raise ClusterError(f"Ray's {name} could not be started ({how}):\n{tail}")

    def failure(self) -> str:
        """Why the head is gone; "" while it runs."""
        status = self._ended.get(self._name)
        return "" if status is None else f"Ray's head ended with {status}"

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


def _load() -> None:
    """Import what is needed once the head is up; it takes about as long as the head does."""
    import raythena.runtime.ray_session  # noqa: F401


def _connect(head: str, address: str, stopped: threading.Event) -> None:
    """Join the cluster as its driver. Raises ClusterError."""
    import ray
    import ray._private.worker as ray_worker
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # Ray looks at its environment when it is imported, which may have been before ours was made, or for an earlier cluster.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    quiet = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    attempt = partial(quiet, address=head, _node_ip_address=address, job_config=own_paths_only())
    join(head, attempt, ray.shutdown, wait=stopped.wait)
    # Ray has no public switch for this: it prints deaths of its processes to our standard output, which carries results only.
    ray_worker._worker_logs_enabled = False


def ray_nodes() -> list[RayNode]:
    """Every node there ever was, dead ones included. Raises what Ray raises when the head does not answer."""
    import ray

    list_nodes: Callable[[], list[dict[str, object]]] = ray.nodes
    return [
        RayNode(str(node["NodeID"]), str(node["NodeName"]), str(node["NodeManagerAddress"]), bool(node["Alive"]))
        for node in list_nodes()
    ]
