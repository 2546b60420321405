"""Starting processes that cannot outlive us: the agent's side of the process guard.

`ProcessGuard` starts one small process (`process_guard_main`) and asks it to start all others. However the agent ends, with
`kill -9` for instance, the kernel closes the channel between the two and the process guard kills every descendant,
grandchildren included.

Rules:
- Every spawned process leads a session, and so a process group, of its own.
- Each exit is told exactly once, to the callback given to `spawn`, never before the process was started and never after `stop`.
- When the process guard itself dies, what it had started is killed (found by a mark in its environment, wherever it was
  reparented to), their exits are told as killed by signal 9, and the next `spawn` starts a new process guard.

What is not covered: `kill -9` of agent *and* process guard in the same instant, for processes below the spawned ones.
`python -m raythena.runtime.process_guard` runs the process guard's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from raythena.runtime import process_guard_main
from raythena.runtime.process_guard_main import kill_quietly, living_processes

MARK = "RAYTHENA_WARDEN"
"""Environment variable by which a process is known to belong to a process guard."""
ExitCallback = Callable[[int], None]
"""Called with the exit code, or minus the number of the killing signal."""


def _ignore(status: int) -> None:
    """For exits nobody asked about."""


STOP_TIMEOUT_S = process_guard_main.GIVE_UP_S + 5.0


def marked_processes(mark: str) -> list[int]:
    """Living processes started by the process guard with this mark, wherever they are in the process tree."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid, _ in living_processes() if wanted in _environment(pid)]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


class _Channel(asyncio.Protocol):
    """Cuts what the process guard says into messages."""

    def __init__(self, on_message: Callable[[dict[str, object]], None], on_close: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_close = on_close
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._on_message(json.loads(line))

    def connection_lost(self, problem: Exception | None) -> None:
        self._on_close()


class ProcessGuard:
    """Starts processes through a process guard and tells of their exits. Belongs to one event loop."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._spawns: dict[int, tuple[asyncio.Future[int], ExitCallback]] = {}
        self._exits: dict[int, ExitCallback] = {}
        self._next_id = 0
        self._stopping = False
        self._doomed: list[str] = []
        self._changing = asyncio.Lock()
        """Held while the process guard's process is started or ended: there is never more than one."""

    @property
    def pid(self) -> int | None:
        """The process guard's own process id while it runs."""
        return self._process.pid if self._transport and self._process else None

    async def start(self) -> None:
        """Start the process guard's process unless it runs. Raises OSError when it cannot be started."""
        async with self._changing:
            if self._transport is None:
                await self._launch()

    async def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-I", "-S", process_guard_main.__file__]
            process = subprocess.Popen(argv, stdin=theirs.fileno(), start_new_session=True, cwd="/")  # noqa: ASYNC220
        try:
            channel = _Channel(self._on_message, partial(self._on_close, process))
            transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=ours)
        except BaseException:
            process.kill()
            process.wait()
            raise
        self._process, self._transport = process, transport
        for path in self._doomed:
            self._say({"type": "remove", "path": path})

    def remove_at_end(self, directory: Path) -> None:
        """Have the process guard remove a directory when it ends, after everything that could write there."""
        self._doomed.append(str(directory))
        self._say({"type": "remove", "path": str(directory)})

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdout: Path | None = None,
        stderr: Path | None = None,
        on_exit: ExitCallback = _ignore,
        sweep_group: bool = False,
    ) -> int:
        """Start a program; its process id.

        Output is appended to the files `stdout` and `stderr` (None: discarded). `sweep_group` kills what is left of its process
        group when it ends. Raises OSError when the program cannot be executed.
        """
        await self.start()
        self._next_id += 1
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._spawns[self._next_id] = (answer, on_exit)
        request = {"type": "spawn", "id": self._next_id, "argv": [str(word) for word in argv], "env": {**env, MARK: self._mark}}
        request |= {
            "cwd": cwd and str(cwd),
            "stdout": stdout and str(stdout),
            "stderr": stderr and str(stderr),
            "sweep": sweep_group,
        }
        self._say(request)
        return await answer

    def kill(self, pid: int, *, group: bool = True, number: int = signal.SIGKILL) -> None:
        """Send a signal to a spawned process (and its group). Nothing happens when it has ended already."""
        self._say({"type": "kill", "pid": pid, "group": group, "signal": int(number)})

    async def stop(self) -> None:
        """Kill every descendant and end the process guard. Safe to call twice; a later `spawn` starts another."""
        async with self._changing:
            await self._shut_down()

    async def _shut_down(self) -> None:
        self._stopping = True
        self._exits.clear()
        self._say({"type": "stop"})
        process, self._process = self._process, None
        transport, self._transport = self._transport, None
        if process is not None and transport is not None:
            await _ended(process, STOP_TIMEOUT_S)
            self._kill_marked()
            transport.close()
        self._fail_spawns("the process guard was stopped")
        self._stopping = False

    def _say(self, request: dict[str, object]) -> None:
        if self._transport is not None:
            self._transport.write(json.dumps(request).encode() + b"\n")

    def _on_message(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "spawned":
            answer, on_exit = self._spawns.pop(message["id"])
            if not self._stopping:
                self._exits[message["pid"]] = on_exit
            if not answer.done():
                answer.set_result(message["pid"])
        elif kind == "refused":
            answer, _ = self._spawns.pop(message["id"])
            if not answer.done():
                answer.set_exception(OSError(message["errno"], message["text"]))
        elif kind == "exited":
            self._exits.pop(message["pid"], _ignore)(message["status"])

    def _on_close(self, process: subprocess.Popen[bytes]) -> None:
        """The process guard is gone: nothing it started may survive it."""
        if process is not self._process:
            return
        self._process = self._transport = None
        self._kill_marked()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
        exits, self._exits = self._exits, {}
        for on_exit in exits.values():
            on_exit(-signal.SIGKILL)
        self._fail_spawns("the process guard died while it was starting a process")

    def _fail_spawns(self, story: str) -> None:
        spawns, self._spawns = self._spawns, {}
        for answer, _ in spawns.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError(story))

    def _kill_marked(self) -> None:
        for pid in marked_processes(self._mark):
            if pid != os.getpid():
                kill_quietly(pid)


async def _ended(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait for a process; kill it when it takes longer than `timeout_s`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while process.poll() is None:
        if asyncio.get_running_loop().time() > deadline:
            process.kill()
        await asyncio.sleep(0.003)


if __name__ == "__main__":
    process_guard_main.main()
