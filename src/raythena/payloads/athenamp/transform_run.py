"""One life of the transform: its directory, its channel, its process, and how it ended.

Rules: a run has a directory, a channel and a log of its own, so nothing that a dead one left behind can be mistaken for its
successor's. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raythena.domain.container import Container, Engine
from raythena.domain.container_command import Launch, Place, launch
from raythena.domain.errors import PayloadError
from raythena.payloads.athenamp.channel import Channel, ChannelQueue, News
from raythena.payloads.athenamp.command import CATALOGUE, TransformCommand, TransformOptions, environment_of
from raythena.payloads.athenamp.flush import Flushes
from raythena.payloads.athenamp.workplace import Workplace
from raythena.payloads.container_files import engine_complaint, engine_failed, input_directories, write_scripts
from raythena.payloads.last_words import end_of
from raythena.payloads.workers.slot import TAIL_BYTES, describe_status, tail_of
from raythena.runtime.payload_interface import PayloadContext
from raythena.runtime.process_guard import ProcessGuard

LOG = logging.getLogger(__name__)
_NO_YAMPL = (
    "payload athenamp needs the Python module yampl on every node, and it cannot be imported: {problem}. It is not on PyPI: "
    "build python-yampl for the Python that runs raythena, and name the directory it is in as `yampl_path` in the payload's "
    "options, or put it into PYTHONPATH"
)


class TransformRun:
    """The `number`-th run, counted from 1."""

    def __init__(self, number: int, context: PayloadContext, guard: ProcessGuard) -> None:
        self.number = number
        self.cores = context.cores
        """Workers it has."""
        self.workplace = Workplace(context.scratch / f"athenamp-{number}")
        self.log = context.log_dir / ("athenamp.log" if number == 1 else f"athenamp_{number}.log")
        self.flushes = Flushes()
        self.idle_since: deque[float] = deque()
        """When workers reported their last event, and have been given none since."""
        self.began = 0.0
        self.pid: int | None = None
        self.status: int | None = None
        """How the transform ended; None while it may run."""
        self.asked = False
        """It has asked for a range."""
        self.given = 0
        """Ranges it was given, as far as is known in the event loop."""
        self.results = 0
        self.trouble = ""
        """What is wrong with it, where that is known better than from its exit."""
        self.ending = False
        """We have ended it: what is in flight is not to blame."""
        self._context = context
        self._container = Container()
        self._guard = guard
        self._name = f"raythena-{uuid.uuid4().hex[:12]}"

    def open(self, yampl: Any, queue: ChannelQueue, on_news: Callable[[News], None]) -> None:
        """Make the directory and listen on the channel. Raises PayloadError."""
        try:
            self.workplace.directory.mkdir()
            self.channel = Channel(yampl.ServerSocket(self._name, "local"), queue, on_news)
        except Exception as problem:
            raise PayloadError(f"payload athenamp: no channel to AthenaMP: {type(problem).__name__}: {problem}") from problem
        self.channel.start()

    async def launch(self, options: TransformOptions, command: TransformCommand, on_exit: Callable[[int], None]) -> int:
        """Write scripts and catalogue, start the transform; its process id. Raises OSError, InvalidInput."""
        directory = self.workplace.directory
        variables = environment_of(options, self._name, self.cores)
        place = Place(str(directory), reads=input_directories(self._context.job), shares_ipc=True)
        plan = launch(options.container, command.argv(self._name), place, variables, os.environ)
        LOG.info("AthenaMP, run %d: %s", self.number, plan.argv)
        self._container = options.container
        await asyncio.to_thread(_write_files, directory, plan, command.catalogue)
        return await self._guard.spawn(
            plan.argv,
            env=plan.environment,
            cwd=directory,
            stdout=self.log,
            stderr=self.log,
            on_exit=on_exit,
            sweep_group=True,
        )

    def kill(self) -> None:
        """End the transform; its exit is told later."""
        self.ending = True
        if self.pid is not None and self.status is None:
            self._guard.kill(self.pid)

    def kill_worker(self, token: str) -> None:
        """Kill the worker that has a range; AthenaMP starts another. All of AthenaMP when it cannot be told which one it is."""
        if self.pid is None or not self.workplace.workers.kill(token, self.pid):
            LOG.warning("the worker that has %s cannot be told from the others: all of AthenaMP is restarted", token)
            self.kill()

    @property
    def engine_failed(self) -> bool:
        """The container was never entered: the transform is not to blame."""
        return bool(self.status) and self._container.engine is not Engine.NONE and engine_failed(self.workplace.directory)

    def exit_summary(self) -> str:
        """How the transform ended, with the last lines of its log."""
        if self.trouble:
            return self.trouble
        if self.engine_failed:
            return engine_complaint(self._container, describe_status(self.status), end_of(self.log, TAIL_BYTES))
        tail = tail_of(self.log, 0)
        return f"{describe_status(self.status)}" + (f"; last lines of its log: {tail}" if tail else "; its log is empty")


def import_yampl(options: TransformOptions) -> object:
    """The module yampl. Raises PayloadError saying what to do when it is missing."""
    if options.yampl_path is not None and str(options.yampl_path) not in sys.path:
        sys.path.insert(0, str(options.yampl_path))
    try:
        return importlib.import_module("yampl")
    except ImportError as problem:
        raise PayloadError(_NO_YAMPL.format(problem=problem)) from problem


def search_path(options: TransformOptions) -> str | None:
    """The PATH in which the transform is looked for."""
    return options.environment.get("PATH", os.environ.get("PATH"))


def _write_files(directory: Path, plan: Launch, catalogue: str) -> None:
    write_scripts(directory, plan)
    if catalogue:
        (directory / CATALOGUE).write_text(catalogue, encoding="utf-8")
