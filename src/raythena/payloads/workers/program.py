"""Payload `process`: any executable that speaks the event-server protocol, one copy for each core.

Options: `command` (list: program and arguments), `environment` (extra variables, optional), `directory` (working directory, and
what a relative program path is relative to; optional). A program name without a slash is looked for in PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raythena.domain.errors import InvalidInput, PayloadError
from raythena.payloads.plugin_options import checked_path, refuse_unknown, string_list, string_map
from raythena.payloads.workers.slot import SpawnRequest
from raythena.payloads.workers.worker_pool import WorkerPool
from raythena.payloads.workers.worker_supervisor import Spawner
from raythena.runtime.payload_interface import PayloadContext, PayloadPlugin
from raythena.runtime.process_guard import ProcessGuard

ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
}
"""A worker owns one core; libraries that start threads of their own would share it with its neighbours."""
KNOWN_OPTIONS = ("command", "environment", "directory")


def worker_environment(spawn: SpawnRequest, extra: Mapping[str, str]) -> dict[str, str]:
    """Environment of one worker: ours, one thread for numeric libraries, the job's additions, the protocol's variables."""
    protocol = {
        "RAYTHENA_SOCKET": str(spawn.socket),
        "RAYTHENA_WORKER": str(spawn.number),
        "RAYTHENA_SCRATCH": str(spawn.scratch),
    }
    return {**os.environ, **ONE_THREAD, **extra, **protocol}


def find_program(name: str, directory: Path | None, search_path: str | None) -> str:
    """Absolute path of an executable. Raises PayloadError saying what is wrong with it."""
    if "/" not in name:
        found = shutil.which(name, path=search_path)
        if found is None:
            raise PayloadError(f"payload command: no program {name!r} in PATH; give its path, or correct PATH in `environment`")
        return str(Path(found).absolute())
    path = (directory or Path.cwd()) / name
    if not path.exists():
        raise PayloadError(f"payload command: no such program: {path}")
    if path.is_dir():
        raise PayloadError(f"payload command: {path} is a directory; expected a program")
    if not os.access(path, os.X_OK):
        raise PayloadError(f"payload command: {path} is not executable; try chmod +x")
    return str(path)


def check_options(options: Mapping[str, Any], source: str) -> None:
    """Refuse options that cannot work. Raises InvalidInput naming the field."""
    refuse_unknown(options, KNOWN_OPTIONS, source)
    command = string_list(options, "command", source)
    if not command or not command[0]:
        raise InvalidInput(source, "payload.options.command", "no program given", expected="a list: program and arguments")
    string_map(options, "environment", source)
    checked_path(options, "directory", source)


class ProgramSpawner:
    """Starts copies of one program through a process guard."""

    def __init__(self, command: list[str], environment: dict[str, str], directory: Path | None) -> None:
        self._command = command
        self._environment = environment
        self._directory = directory
        self._process_guard = ProcessGuard()

    async def start(self) -> None:
        """Find the program and start the process guard."""
        path = self._environment.get("PATH", os.environ.get("PATH"))
        self._command[0] = find_program(self._command[0], self._directory, path)
        await self._process_guard.start()

    async def spawn(self, spawn: SpawnRequest, on_exit: Callable[[int], None]) -> int:
        """Start one copy."""
        return await self._process_guard.spawn(
            self._command,
            env=worker_environment(spawn, self._environment),
            cwd=self._directory or spawn.scratch,
            stdout=spawn.log,
            stderr=spawn.log,
            on_exit=on_exit,
            sweep_group=True,
        )

    def kill(self, pid: int) -> None:
        """Kill one copy and its process group."""
        self._process_guard.kill(pid)

    async def stop(self) -> None:
        """Kill everything."""
        await self._process_guard.stop()


class ProcessPayload(WorkerPool):
    """The payload `process`."""

    def make_spawner(self, context: PayloadContext) -> Spawner:
        """Workers are copies of the command."""
        check_options(context.options, "job")
        return ProgramSpawner(
            string_list(context.options, "command", "job"),
            string_map(context.options, "environment", "job"),
            checked_path(context.options, "directory", "job"),
        )


PLUGIN = PayloadPlugin("process", ProcessPayload, check_options)
