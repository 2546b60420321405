"""AthenaMP's worker processes: which one has a range, which processes are its own, how much memory they take.

AthenaMP gives each worker a directory `athenaMP-workers-<step>/worker_<n>`, which is the worker's current directory, and in which
its log says which range it has received. That is all that is relied on. A directory is recognised by device and inode, so that a
container may call it anything; processes are those the machine sees, whatever numbers a container gives them.

Rules: a log is read on from where it was left, each byte once, however long it grows. What is gone while somebody looks counts as
nothing; nothing raises.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raythena.runtime.node_memory import NodeMemory
from raythena.runtime.process_guard_main import descendants, kill_quietly, living_processes

WORKER_LOG = "AthenaMP.log"
PLACES = "athenaMP-workers-*/worker_*"
_RECEIVED = re.compile(rb"Received RangeID=(\S+)")
_CHUNK = 1 << 20
_LONGEST = 4096
"""Of a line that is not complete, so much is kept."""


@dataclass(frozen=True, slots=True)
class TreeMemory:
    """What a transform takes, in bytes."""

    of_ranges: dict[str, int]
    """By the token of the range that a worker received last of all."""
    rest: int
    """Everything that is no worker's."""


class AthenaWorkers:
    """The workers of one run. `pattern` finds their directories below `directory`. Any thread may ask."""

    def __init__(self, directory: Path, pattern: str = PLACES) -> None:
        self._directory = directory
        self._pattern = pattern
        self._logs: dict[Path, WorkerLog] = {}
        self._reading = threading.Lock()

    def places(self) -> Iterator[Path]:
        """The directories there are."""
        yield from self._directory.glob(self._pattern)

    def worker_of(self, token: str) -> Path | None:
        """The directory of the worker that received this range last of all; None when no log says so."""
        return self.by_range().get(token)

    def by_range(self) -> dict[str, Path]:
        """The directory of each worker, by the range it received last of all."""
        with self._reading:
            found = {}
            for place in self.places():
                log = self._logs.setdefault(place, WorkerLog(place / WORKER_LOG))
                log.read()
                if log.token:
                    found[log.token] = place
            return found

    def kill(self, token: str, root_pid: int) -> bool:
        """Kill the processes of the worker that has a range; False when it cannot be told which they are."""
        place = self.worker_of(token)
        victims = processes_in(place, root_pid) if place is not None else []
        for pid in victims:
            kill_quietly(pid, signal.SIGKILL)
        return bool(victims)

    def memory(self, root_pid: int, node: NodeMemory) -> TreeMemory:
        """What the process and all below it take now. Reads a file for each process: for a thread."""
        tokens = {}
        for token, place in self.by_range().items():
            with contextlib.suppress(OSError):
                tokens[_identity(place.stat())] = token
        sizes: dict[str, int] = {}
        for pid, token in _owners(root_pid, tokens):
            sizes[token] = sizes.get(token, 0) + node.of_process(pid)
        rest = sizes.pop("", 0)
        return TreeMemory(sizes, rest)


class WorkerLog:
    """Which range a worker received last of all, from its log as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self.token = ""

    def read(self) -> None:
        """Take in what was written since the last time."""
        with contextlib.suppress(OSError), self._path.open("rb") as stream:
            stream.seek(self._offset)
            while chunk := stream.read(_CHUNK):
                self._offset += len(chunk)
                self._take(self._rest + chunk)

    def _take(self, text: bytes) -> None:
        for found in _RECEIVED.finditer(text):
            self.token = found[1].decode(errors="replace")
        self._rest = text[text.rfind(b"\n") + 1 :][-_LONGEST:]


def processes_in(directory: Path, root_pid: int) -> list[int]:
    """Processes below `root_pid` whose current directory this is, whatever a container calls it."""
    try:
        wanted = _identity(directory.stat())
    except OSError:
        return []
    return [pid for pid in descendants(root_pid) if _current_directory(pid) == wanted]


def _owners(root: int, tokens: dict[tuple[int, int], str]) -> Iterator[tuple[int, str]]:
    """Each process at and below `root`, with the range of the worker it belongs to, itself or by whoever started it; or ""."""
    children: dict[int, list[int]] = {}
    for pid, parent in living_processes():
        children.setdefault(parent, []).append(pid)
    found = [(root, "")]
    for pid, token in found:
        yield pid, token
        for child in children.get(pid, ()):
            found.append((child, tokens.get(_current_directory(child), token)))


def _current_directory(pid: int) -> tuple[int, int]:
    try:
        return _identity(Path(f"/proc/{pid}/cwd").stat())
    except OSError:
        return -1, -1


def _identity(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino
