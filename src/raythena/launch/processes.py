"""One machine without Ray: logical nodes whose agents are processes of this machine, forked by a server of ours.

It starts in a third of the time that a local cluster of Ray's takes, and listens on no port. Processes meet through Unix sockets
in a private directory; who connects must be of this user and say a token made for this run. A process guard starts the fork
server, so nothing outlives this process, whatever kills it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from raythena.domain.errors import ClusterError, InternalError
from raythena.launch.launcher import LauncherPlugin, LaunchOrder, NodeCommand
from raythena.launch.private import private_directory
from raythena.launch.ray_environment import without_ray
from raythena.runtime.cluster import Machine
from raythena.runtime.driver import Session
from raythena.runtime.fork_requests import SERVER_SOCKET, TOKEN_FILE
from raythena.runtime.local_calls import TOKEN_BYTES
from raythena.runtime.process_guard import ProcessGuard
from raythena.runtime.session_config import JoinedNodes, SessionConfig

START_LIMIT_S = 60.0
_LOOK_S = 0.005
_TAIL_CHARACTERS = 2000


class ProcessNodes:
    """`nodes` logical nodes of `cores` cores each. Use `start`, and always `stop`."""

    joined_nodes: JoinedNodes | None = None
    keeps_scratch = False

    def __init__(self, nodes: int, cores: int, directory: str = "") -> None:
        host = socket.gethostname().partition(".")[0]
        self._machines = tuple(Machine(str(number), f"{host}-{number}", cores, alive=True) for number in range(1, nodes + 1))
        self._base = directory
        self._process_guard = ProcessGuard()
        self._places = contextlib.ExitStack()
        self._directory: Path | None = None
        self._status: int | None = None

    async def start(self) -> None:
        """Start the fork server; it goes on loading when this returns. Raises ClusterError."""
        directory = self._places.enter_context(private_directory(self._process_guard, short=self._base))
        self._directory = directory
        token = directory / TOKEN_FILE
        token.touch(mode=0o600, exist_ok=False)
        token.write_bytes(secrets.token_bytes(TOKEN_BYTES))
        dropped = set(without_ray(os.environ))
        environ = {name: value for name, value in os.environ.items() if name not in dropped}
        log = directory / "log"
        argv = [sys.executable, "-P", "-m", "raythena.runtime.fork_server", str(directory)]
        try:
            await self._process_guard.spawn(argv, env=environ, stdout=log, stderr=log, on_exit=self._note_exit)
            async with asyncio.timeout(START_LIMIT_S):
                while not (directory / SERVER_SOCKET).exists():
                    if problem := self.failure():
                        raise ClusterError(problem)
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError as problem:
            raise ClusterError(f"the fork server is not up after {START_LIMIT_S:.0f} s{self._last_words()}") from problem
        except OSError as problem:
            raise ClusterError(f"the fork server could not be started: {problem}") from problem

    def _note_exit(self, status: int) -> None:
        self._status = status

    async def add_nodes(self) -> None:
        """The session starts what works on them."""

    def failure(self) -> str:
        """Why the session cannot go on; "" while it can."""
        return "" if self._status is None else f"the fork server ended with {self._status}{self._last_words()}"

    def _last_words(self) -> str:
        log = (self._directory or Path()) / "log"
        tail = log.read_text(errors="replace")[-_TAIL_CHARACTERS:].strip() if log.exists() else ""
        return f":\n{tail}" if tail else ""

    async def ends_at(self) -> float | None:
        """Nobody ends a laptop."""
        return None

    def session(self, config: SessionConfig) -> Session:
        """What runs a session here."""
        from raythena.runtime.process_session import ProcessSession

        if self._directory is None:
            raise InternalError("the fork server was not started")
        return ProcessSession(config, self._directory, self._machines)

    async def stop(self) -> None:
        """End every process and remove every file. Safe to call twice."""
        await self._process_guard.stop()
        self._places.close()


def _size(order: LaunchOrder) -> tuple[int, int]:
    """Without a word about it, one node; and the nodes share the cores of the machine."""
    nodes = order.nodes or 1
    return nodes, order.cores or max(1, len(os.sched_getaffinity(0)) // nodes)


def _launch(order: LaunchOrder) -> ProcessNodes:
    return ProcessNodes(*_size(order), order.ray_directory)


def _words(order: LaunchOrder) -> str:
    nodes, cores = _size(order)
    counted = "1 node" if nodes == 1 else f"{nodes} nodes"
    return f"{counted} × {cores} cores, without Ray"


def _is_here(_: Mapping[str, str]) -> bool:
    """Where it is asked for; what `auto` takes on one machine is said in `launcher`."""
    return False


def _commands(order: LaunchOrder, program: tuple[str, ...]) -> list[NodeCommand]:
    """Logical nodes are all on this machine: it is asked once."""
    return [NodeCommand(socket.gethostname(), program)]


PLUGIN = LauncherPlugin("processes", _is_here, _launch, _words, _commands)
