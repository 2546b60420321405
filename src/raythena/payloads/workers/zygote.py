"""The zygote of payload `python`: loads the function and runs its setup once, then forks a worker for every core.

A geometry that takes a minute and a gigabyte to load is so paid for once per node: the workers share its memory until they
write to it. Rules: this process does nothing but load and fork; it is single-threaded (the setup should start no threads: they
would not survive the fork); it dies when its control socket closes and its workers die with it.

Started as `python -m raythena.payloads.workers.zygote` with the control socket's path in RAYTHENA_ZYGOTE. Messages are JSON
lines. From the server: `load` (function, setup, options, path, preload), `fork` (worker, socket, scratch, log), `kill` (pid).
To it: `loaded`, `unloadable` (reason), `forked` (worker, pid), `exited` (pid, status).
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from raythena.payloads.workers.python_worker import Work, load_work, serve
from raythena.runtime.process_guard_main import die_with, kill_quietly, reap, redirect, restore_signals, wake_on_child_exit

CRASHED_STATUS = 1
LONGEST_REASON = 8000


class Zygote:
    """State of the zygote: what it has loaded and whom it has forked."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._work: Work | None = None
        self._children: set[int] = set()
        self._awake = wake_on_child_exit()

    def serve(self) -> None:
        """Work until the control socket closes."""
        pending = b""
        while True:
            readable, _, _ = select.select([self._control, self._awake], [], [])
            if self._awake in readable:
                self._awake.recv(4096)
                self._report_exits()
            if self._control in readable:
                chunk = self._control.recv(1 << 16)
                if not chunk:
                    return
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _obey(self, message: dict[str, object]) -> None:
        if message["type"] == "load":
            self._load(message)
        elif message["type"] == "fork":
            self._fork(message)
        elif message["type"] == "kill" and message["pid"] in self._children:
            kill_quietly(message["pid"], group=True)

    def _load(self, message: dict[str, object]) -> None:
        try:
            self._work = load_work(message)
        except Exception:  # noqa: BLE001
            # Whatever the user's module raises is the user's to see; the server ends the payload with this text.
            self._say({"type": "unloadable", "reason": traceback.format_exc()[-LONGEST_REASON:]})
            return
        gc.collect()
        gc.freeze()
        self._say({"type": "loaded"})

    def _fork(self, message: dict[str, object]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(message, parent)
        self._children.add(pid)
        self._say({"type": "forked", "worker": message["worker"], "pid": pid})

    def _become_worker(self, message: dict[str, Any], parent: int) -> NoReturn:
        status = CRASHED_STATUS
        try:
            os.setsid()
            die_with(parent)
            self._let_go()
            redirect(message["log"], message["log"])
            assert self._work is not None  # noqa: S101
            _reseed()
            status = serve(self._work, message)
        except SystemExit as leaving:
            status = _code(leaving)
        except BaseException:  # noqa: BLE001
            # The child of a fork must never return into its parent's code; what happened is in the worker's log.
            traceback.print_exc()
        finally:
            _flush_quietly()
            os._exit(status)

    def _let_go(self) -> None:
        restore_signals()
        self._control.close()
        self._awake.close()

    def _report_exits(self) -> None:
        for pid, status in reap(self._children):
            if pid in self._children:
                self._children.discard(pid)
                self._say({"type": "exited", "pid": pid, "status": status})

    def _say(self, message: dict[str, object]) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")


def _reseed() -> None:
    """Forked workers must not share one sequence of random numbers."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _code(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    return leaving.code & 0xFF if isinstance(leaving.code, int) else CRASHED_STATUS


def _flush_quietly() -> None:
    flushes: list[Callable[[], None]] = [sys.stdout.flush, sys.stderr.flush]
    for flush in flushes:
        try:
            flush()
        except (OSError, ValueError):
            continue


def main() -> None:
    """Connect to the server and work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(socket.AF_UNIX)
    control.connect(os.environ["RAYTHENA_ZYGOTE"])
    try:
        Zygote(control).serve()
    except OSError:
        # The server is gone; the workers follow through their parent-death signal.
        os._exit(CRASHED_STATUS)


if __name__ == "__main__":
    main()
