"""Payload `python`: a Python function computes events in forked worker processes, one for each core.

Options: `function` ("package.module:name", see `python_worker` for how it is called), `setup` (optional; called once per node
with `options`, its result is `context.state`), `options` (a mapping handed to both), `path` (directories put in front of
sys.path).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from raythena.domain.errors import InvalidInput, PayloadError
from raythena.domain.worker_shape import WorkerShape
from raythena.payloads.plugin_options import function_name, refuse_unknown, string_list
from raythena.payloads.workers.program import threads_of
from raythena.payloads.workers.slot import SpawnRequest, describe_status, tail_of
from raythena.payloads.workers.worker_pool import WorkerPool
from raythena.payloads.workers.worker_supervisor import Spawner
from raythena.runtime.payload_interface import PayloadContext, PayloadPlugin
from raythena.runtime.process_guard import ProcessGuard

KNOWN_OPTIONS = ("function", "setup", "options", "path", "events_per_range", "cores_per_worker")
KILLED = -9


def check_options(options: Mapping[str, Any], source: str) -> None:
    """Refuse options that cannot work. Raises InvalidInput naming the field."""
    refuse_unknown(options, KNOWN_OPTIONS, source)
    if not function_name(options, "function", source):
        raise InvalidInput(source, "payload.options.function", "missing", expected="package.module:function")
    function_name(options, "setup", source)
    string_list(options, "path", source)
    WorkerShape.of(options, source)
    if not isinstance(options.get("options", {}), dict):
        raise InvalidInput(source, "payload.options.options", "not a mapping", expected="a mapping, handed to the function")


class _Channel(asyncio.Protocol):
    """Cuts what the zygote says into messages."""

    def __init__(self, spawner: ZygoteSpawner) -> None:
        self._spawner = spawner
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._spawner.zygote_connected(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._spawner.zygote_says(json.loads(line))


class ZygoteSpawner:
    """Starts workers by asking a zygote to fork them; starts another zygote when it dies."""

    def __init__(self, options: Mapping[str, Any], sockets: Path, log: Path, load_limit_s: float) -> None:
        self._load = {
            "type": "load",
            "function": options["function"],
            "setup": options.get("setup", ""),
            "options": options.get("options", {}),
            "path": [str(Path(entry).absolute()) for entry in options.get("path", [])],
        }
        self._threads = threads_of(WorkerShape.of(options))
        self._socket = sockets / "zygote"
        self._log = log
        self._load_limit_s = load_limit_s
        self._process_guard = ProcessGuard()
        self._listener: asyncio.AbstractServer | None = None
        self._transport: asyncio.Transport | None = None
        self._loaded: asyncio.Future[None] | None = None
        self._forks: dict[int, tuple[asyncio.Future[int], Callable[[int], None]]] = {}
        self._exits: dict[int, Callable[[int], None]] = {}

    async def start(self) -> None:
        """Start the zygote; it goes on loading after this returns."""
        self._listener = await asyncio.get_running_loop().create_unix_server(lambda: _Channel(self), str(self._socket))
        await self._ensure_zygote()

    async def spawn(self, spawn: SpawnRequest, on_exit: Callable[[int], None]) -> int:
        """Fork a worker, once the function is loaded."""
        await self._ensure_zygote()
        assert self._loaded is not None  # noqa: S101
        try:
            await asyncio.wait_for(asyncio.shield(self._loaded), self._load_limit_s)
        except TimeoutError:
            raise PayloadError(f"{self._load['function']}: not loaded and set up after {self._load_limit_s:.0f} s") from None
        forked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._forks[spawn.number] = (forked, on_exit)
        places = {"socket": str(spawn.socket), "scratch": str(spawn.scratch), "log": str(spawn.log)}
        self._say({"type": "fork", "worker": spawn.number, **places})
        return await forked

    def kill(self, pid: int) -> None:
        """Kill a worker and its process group."""
        self._say({"type": "kill", "pid": pid})

    def failed_start(self, spawn: SpawnRequest, how: str) -> PayloadError | None:
        """Nobody else."""
        return None

    async def stop(self) -> None:
        """Kill everything."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._exits.clear()
        await self._process_guard.stop()
        if self._transport is not None:
            self._transport.abort()

    async def _ensure_zygote(self) -> None:
        if self._loaded is not None:
            return
        self._loaded = asyncio.get_running_loop().create_future()
        self._loaded.add_done_callback(_look_at)
        environment = {**os.environ, **self._threads, "RAYTHENA_ZYGOTE": str(self._socket)}
        argv = [sys.executable, "-P", "-m", "raythena.payloads.workers.zygote"]
        try:
            await self._process_guard.spawn(
                argv, env=environment, stdout=self._log, stderr=self._log, on_exit=self._zygote_died, sweep_group=True
            )
        except OSError as problem:
            self._zygote_lost(f"the zygote could not be started: {problem}")

    def zygote_connected(self, transport: asyncio.Transport) -> None:
        """A zygote is there: have it load the function."""
        self._transport = transport
        self._say(self._load)

    def zygote_says(self, message: dict[str, Any]) -> None:
        """One message from the zygote."""
        kind = message["type"]
        if kind == "loaded" and self._loaded is not None and not self._loaded.done():
            self._loaded.set_result(None)
        elif kind == "unloadable" and self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(PayloadError(f"{self._load['function']} cannot be used: {message['reason']}"))
        elif kind == "forked":
            forked, on_exit = self._forks.pop(message["worker"])
            self._exits[message["pid"]] = on_exit
            if not forked.done():
                forked.set_result(message["pid"])
        elif kind == "exited":
            self._exits.pop(message["pid"], _ignore)(message["status"])

    def _zygote_died(self, status: int) -> None:
        tail = tail_of(self._log, 0)
        self._zygote_lost(f"the process that loads {self._load['function']} ended: {describe_status(status)}; its log: {tail}")

    def _zygote_lost(self, story: str) -> None:
        """No zygote any more, and so no workers: the next spawn begins anew."""
        loaded, self._loaded = self._loaded, None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        forks, self._forks = self._forks, {}
        exits, self._exits = self._exits, {}
        problem = ChildProcessError(story)
        for waiting in (loaded, *(forked for forked, _ in forks.values())):
            if waiting is not None and not waiting.done():
                waiting.set_exception(problem)
        for on_exit in exits.values():
            on_exit(KILLED)

    def _say(self, message: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(json.dumps(message).encode() + b"\n")


def _ignore(status: int) -> None:
    """For exits nobody asked about."""


def _look_at(future: asyncio.Future[None]) -> None:
    """Mark a future's exception as seen: those who wait for it are told, and there may be none."""
    if not future.cancelled():
        future.exception()


class PythonPayload(WorkerPool):
    """The payload `python`."""

    def make_spawner(self, context: PayloadContext) -> Spawner:
        """Workers are forks of a zygote that has loaded the function."""
        check_options(context.options, "job")
        log = context.log_dir / "zygote.log"
        return ZygoteSpawner(context.options, self.sockets, log, context.first_time_limit_s)


PLUGIN = PayloadPlugin("python", PythonPayload, check_options, streams=True)
