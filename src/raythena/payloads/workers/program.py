"""Payload `process`: any executable that speaks the event-server protocol, one copy for each core.

Options: `command` (list: program and arguments), `environment` (extra variables, optional), `directory` (working directory, and
what a relative program path is relative to; optional), `container` (what it runs in, see `domain.container`; optional). A
program name without a slash is looked for in PATH, inside the container if there is one. Besides those of `WorkerShape`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raythena.domain.container import Container, Engine, parse_container
from raythena.domain.container_command import Place, engine_program, launch
from raythena.domain.errors import ContainerError, InvalidInput, PayloadError
from raythena.domain.worker_shape import SHAPE_OPTIONS, WorkerShape
from raythena.payloads.container_files import engine_complaint, engine_failed, input_directories, write_scripts
from raythena.payloads.last_words import end_of
from raythena.payloads.plugin_options import PREFIX, checked_path, refuse_unknown, string_list, string_map
from raythena.payloads.workers.slot import TAIL_BYTES, SpawnRequest
from raythena.payloads.workers.worker_pool import WorkerPool
from raythena.payloads.workers.worker_supervisor import Spawner
from raythena.runtime.payload_interface import PayloadContext, PayloadPlugin
from raythena.runtime.process_guard import ProcessGuard

ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
}
"""A worker owns one core; libraries that start threads of their own would share it with its neighbours."""
KNOWN_OPTIONS = ("command", "environment", "directory", "container", *SHAPE_OPTIONS)


def threads_of(shape: WorkerShape) -> dict[str, str]:
    """How many threads libraries may start in a worker: its cores, shared out among the ranges it computes at a time."""
    return dict.fromkeys(ONE_THREAD, str(max(1, shape.cores_per_worker // shape.ranges_in_flight)))


def worker_variables(spawn: SpawnRequest, extra: Mapping[str, str], shape: WorkerShape) -> dict[str, str]:
    """What one worker is told: threads for numeric libraries, the job's additions, the protocol's variables."""
    protocol = {
        "RAYTHENA_SOCKET": str(spawn.socket),
        "RAYTHENA_WORKER": str(spawn.number),
        "RAYTHENA_SCRATCH": str(spawn.scratch),
        "RAYTHENA_WORKER_CORES": str(shape.cores_per_worker),
        "RAYTHENA_RANGES_IN_FLIGHT": str(shape.ranges_in_flight),
    }
    return {**threads_of(shape), **extra, **protocol}


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
    parse_container(options.get("container"), source, f"{PREFIX}.container")
    WorkerShape.of(options, source)


@dataclass(frozen=True, slots=True)
class ProgramOptions:
    """What copies of a program are started with."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path | None = None
    container: Container = Container()  # noqa: RUF009 (frozen)
    inputs: tuple[str, ...] = ()
    """Directories that are read."""
    shape: WorkerShape = WorkerShape()  # noqa: RUF009 (frozen)

    @classmethod
    def of(cls, context: PayloadContext) -> ProgramOptions:
        """Those of a job. Raises InvalidInput."""
        check_options(context.options, "job")
        return cls(
            tuple(string_list(context.options, "command", "job")),
            string_map(context.options, "environment", "job"),
            checked_path(context.options, "directory", "job"),
            parse_container(context.options.get("container"), "job", f"{PREFIX}.container"),
            input_directories(context.job),
            WorkerShape.of(context.options),
        )


class ProgramSpawner:
    """Starts copies of one program through a process guard."""

    def __init__(self, options: ProgramOptions) -> None:
        self._options = options
        self._command = list(options.command)
        self._process_guard = ProcessGuard()

    async def start(self) -> None:
        """Find the program and start the process guard."""
        path = self._options.environment.get("PATH", os.environ.get("PATH"))
        container = self._options.container
        if engine := engine_program(container):
            _find_engine(engine, path)
        elif container.engine is Engine.NONE and not container.setup:
            self._command[0] = find_program(self._command[0], self._options.directory, path)
        await self._process_guard.start()

    async def spawn(self, spawn: SpawnRequest, on_exit: Callable[[int], None]) -> int:
        """Start one copy."""
        options = self._options
        where = str(options.directory or spawn.scratch)
        place = Place(str(spawn.scratch), where, reads=options.inputs, writes=(str(spawn.socket.parent),))
        variables = worker_variables(spawn, options.environment, options.shape)
        try:
            plan = launch(options.container, self._command, place, variables, os.environ)
        except InvalidInput as problem:
            raise PayloadError(str(problem)) from problem
        write_scripts(spawn.scratch, plan)
        return await self._process_guard.spawn(
            plan.argv,
            env=plan.environment,
            cwd=options.directory or spawn.scratch,
            stdout=spawn.log,
            stderr=spawn.log,
            on_exit=on_exit,
            sweep_group=True,
        )

    def failed_start(self, spawn: SpawnRequest, how: str) -> PayloadError | None:
        """Blame the engine where the program was never run."""
        if self._options.container.engine is Engine.NONE or not engine_failed(spawn.scratch):
            return None
        return ContainerError(engine_complaint(self._options.container, how, end_of(spawn.log, TAIL_BYTES)))

    def kill(self, pid: int) -> None:
        """Kill one copy and its process group."""
        self._process_guard.kill(pid)

    async def stop(self) -> None:
        """Kill everything."""
        await self._process_guard.stop()


def _find_engine(name: str, search_path: str | None) -> None:
    """Raises ContainerError when the engine is not there."""
    if shutil.which(name, path=search_path) is None:
        raise ContainerError(f"payload container: there is no program {name!r} in PATH on this node to start the container")


class ProcessPayload(WorkerPool):
    """The payload `process`."""

    def make_spawner(self, context: PayloadContext) -> Spawner:
        """Workers are copies of the command."""
        return ProgramSpawner(ProgramOptions.of(context))


PLUGIN = PayloadPlugin("process", ProcessPayload, check_options, streams=True)
