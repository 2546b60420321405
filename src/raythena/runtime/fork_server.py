"""The fork server: forks coordinator, agents and merges of one machine's session from a process that has loaded everything.

What takes half a second to load is so loaded once, and every process of the session begins at once. Started below a process
guard as `python -m raythena.runtime.fork_server DIRECTORY`, with the session's private directory, in which it serves
`ForkRequests`. It knows nothing of the job: it hands the session's plan to those it forks.

Rules: this process does nothing but load and fork, and has one thread; what it forks is killed by the kernel when it dies; the
socket of a process is made before the process is, so that nobody who calls it comes too early, and the coordinator's outlives
the coordinator, so that who calls while it is being started again only waits a little longer.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from raythena.runtime.process_guard_main import die_with, kill_quietly, reap, restore_signals, wake_on_child_exit

if TYPE_CHECKING:
    from raythena.runtime.fork_requests import LivingAgent, SessionPlan
    from raythena.runtime.local_calls import Call, Doorkeeper
    from raythena.runtime.merge_task import MergeOrder

CRASHED_STATUS = 1
_PR_SET_NAME = 15
_RESTART_PAUSE_S = 0.5
_WRITE_LIMIT_S = 10.0
_BLAS = "OPENBLAS_NUM_THREADS"
_LIBC = ctypes.CDLL(None)


@dataclass(eq=False, slots=True)
class _Connection:
    """Somebody who asks."""

    socket: socket.socket
    doorkeeper: Doorkeeper


@dataclass(slots=True)
class _Child:
    """A process that was forked."""

    kind: str
    name: str = ""
    socket: str = ""
    asked_by: _Connection | None = None
    """Who waits for a merge, and under which number."""
    number: int = 0
    began: float = field(default_factory=time.monotonic)


class ForkServer:
    """State of the fork server."""

    def __init__(self, directory: Path, listener: socket.socket) -> None:
        from raythena.runtime.fork_requests import ForkRequests, address_in
        from raythena.runtime.local_calls import methods_of

        self._directory = directory
        self._listener = listener
        self._token = address_in(directory, "").token
        self._methods = methods_of(ForkRequests)
        self._plan: SessionPlan | None = None
        self._coordinator_listener: socket.socket | None = None
        self._restart_at: float | None = None
        self._children: dict[int, _Child] = {}
        self._ended: dict[str, int] = {}
        self._agents = 0
        self._awake = wake_on_child_exit()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._selector.register(listener, selectors.EVENT_READ)

    def serve(self) -> NoReturn:
        """Work until somebody ends us."""
        while True:
            pause_s = None if self._restart_at is None else max(0.0, self._restart_at - time.monotonic())
            for key, _ in self._selector.select(pause_s):
                if key.fileobj is self._awake:
                    self._awake.recv(4096)
                elif key.fileobj is self._listener:
                    self._welcome()
                else:
                    self._hear(key.data)
            self._bury()
            if self._restart_at is not None and time.monotonic() >= self._restart_at:
                self._start_coordinator()

    # ---- who asks

    def _welcome(self) -> None:
        from raythena.runtime.local_calls import Doorkeeper, is_ours

        connection, _ = self._listener.accept()
        if not is_ours(connection):
            connection.close()
            return
        connection.settimeout(_WRITE_LIMIT_S)
        self._selector.register(connection, selectors.EVENT_READ, _Connection(connection, Doorkeeper(self._token)))

    def _hear(self, connection: _Connection) -> None:
        from raythena.runtime.local_calls import read_call
        from raythena.runtime.message_codec import BadMessage

        try:
            data = connection.socket.recv(1 << 16)
            for message in connection.doorkeeper.feed(data):
                self._obey(connection, read_call(message))
        except (OSError, BadMessage) as problem:
            print(f"a connection is closed: {problem}", file=sys.stderr)
            data = b""
        if not data:
            self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        """Whoever was there wants nothing any more: not the outputs it had ordered either."""
        self._selector.unregister(connection.socket)
        connection.socket.close()
        for pid, child in self._children.items():
            if child.asked_by is connection:
                kill_quietly(pid, group=True)
                kill_quietly(pid)  # which may be so young that it leads no group yet

    def _obey(self, connection: _Connection, call: Call) -> None:
        from raythena.runtime.local_calls import Failure

        try:
            arguments = self._methods[call.method].arguments(call.arguments)
            if call.method == "merge":
                self._merge(connection, call.number, *arguments)
                return
            value = getattr(self, call.method)(*arguments)
        except Exception as problem:  # noqa: BLE001 (whatever it is, it is the caller's to hear)
            traceback.print_exc()
            _answer(connection.socket, call.number, None, Failure.of(problem))
        else:
            _answer(connection.socket, call.number, value)

    # ---- requests, see `ForkRequests`

    def begin(self, plan: str) -> None:
        """Start the coordinator."""
        from raythena.runtime.fork_requests import COORDINATOR_SOCKET, SessionPlan
        from raythena.runtime.local_calls import listen
        from raythena.runtime.message_codec import from_text

        self._plan = from_text(plan, SessionPlan)
        if self._coordinator_listener is None:
            self._coordinator_listener = listen(self._directory / COORDINATOR_SOCKET)
        _load_our_plugin("raythena.payloads", self._plan.config.job.payload.kind)
        gc.collect()
        gc.freeze()
        self._start_coordinator()

    def start_agent(self, name: str) -> str:
        """Start an agent."""
        from raythena.runtime.forked import work_as_agent
        from raythena.runtime.local_calls import listen

        self._agents += 1
        path = self._directory / f"agent{self._agents}"
        listener = listen(path)
        plan, directory = self._known_plan(), self._directory
        try:
            self._fork(_Child("agent", name, str(path)), lambda: work_as_agent(plan, directory, listener), {listener})
        finally:
            listener.close()
        return str(path)

    def living_agents(self) -> tuple[LivingAgent, ...]:
        """All of the session."""
        from raythena.runtime.fork_requests import LivingAgent

        self._bury()
        return tuple(LivingAgent(child.name, child.socket) for child in self._children.values() if child.kind == "agent")

    def kill(self, name: str) -> None:
        """Kill an agent, if it lives."""
        for pid, child in self._children.items():
            if child.kind == "agent" and child.name == name:
                kill_quietly(pid)

    def fate(self, name: str) -> str:
        """How an agent's process ended."""
        self._bury()
        if any(child.kind == "agent" and child.name == name for child in self._children.values()):
            return ""
        status = self._ended.get(name)
        return "nobody knows it" if status is None else _told(status)

    def _merge(self, connection: _Connection, number: int, order: MergeOrder, only_sample: bool) -> None:
        from raythena.runtime.forked import merged

        _load_our_plugin("raythena.mergers", order.spec.kind)

        def work() -> None:
            _answer(connection.socket, number, merged(order, only_sample=only_sample))

        self._fork(_Child("sample" if only_sample else "merge", asked_by=connection, number=number), work, {connection.socket})

    # ---- children

    def _known_plan(self) -> SessionPlan:
        if self._plan is None:
            raise RuntimeError("no session has begun")
        return self._plan

    def _start_coordinator(self) -> None:
        from raythena.runtime.forked import work_as_coordinator

        self._restart_at = None
        plan, directory, listener = self._known_plan(), self._directory, self._coordinator_listener
        assert listener is not None  # noqa: S101 (made before the plan is known)
        self._fork(_Child("coordinator"), lambda: work_as_coordinator(plan, directory, listener), {listener})

    def _fork(self, child: _Child, work: Callable[[], None], keeps: set[socket.socket]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(child, work, keeps, parent)
        self._children[pid] = child

    def _become(self, child: _Child, work: Callable[[], None], keeps: set[socket.socket], parent: int) -> NoReturn:
        status = CRASHED_STATUS
        try:
            os.setsid()
            die_with(parent)
            restore_signals()
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # who was answered may be gone
            _call_process(f"rt-{child.kind}")
            self._let_go(keeps)
            _reseed()
            work()
            status = 0
        except BaseException:  # noqa: BLE001 (the child of a fork must never return into its parent's code)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _let_go(self, keeps: set[socket.socket]) -> None:
        """Close what is the server's: whoever waits for the end of a line must not wait for this process too."""
        held = [key.fileobj for key in self._selector.get_map().values()]
        self._selector.close()
        for one in (*held, self._coordinator_listener):
            if isinstance(one, socket.socket) and one not in keeps:
                one.close()

    def _bury(self) -> None:
        """Take note of those that have ended."""
        for pid, status in reap():
            child = self._children.pop(pid, None)
            if child is None:
                continue
            if child.kind == "coordinator":
                print(f"the coordinator ended: {_told(status)}", file=sys.stderr, flush=True)
                lived_s = time.monotonic() - child.began
                self._restart_at = time.monotonic() + (0.0 if lived_s > _RESTART_PAUSE_S else _RESTART_PAUSE_S)
            elif child.kind == "agent":
                self._ended[child.name] = status
            elif status and child.asked_by is not None:
                self._tell_of_merge(child, status)

    def _tell_of_merge(self, child: _Child, status: int) -> None:
        from raythena.runtime.fork_requests import MergeEnd, MergeFailure

        assert child.asked_by is not None  # noqa: S101 (as whoever calls has looked)
        end = MergeEnd(failure=MergeFailure(f"the process that merged ended: {_told(status)}"))
        try:
            _answer(child.asked_by.socket, child.number, end)
        except OSError:  # who asked is gone
            return


def _answer(connection: socket.socket, number: int, value: object, failure: object = None) -> None:
    import msgspec

    from raythena.runtime.local_calls import framed
    from raythena.runtime.message_codec import encode

    connection.sendall(framed(encode((number, msgspec.Raw(encode(value)), failure))))


def _told(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit code {status}"


def _call_process(name: str) -> None:
    """What `ps` and `top` show."""
    _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def _reseed() -> None:
    """Forked processes must not share one sequence of random numbers."""
    random.seed()
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _load_our_plugin(group: str, kind: str) -> None:
    """Load a plug-in of ours where everybody forked has it; one of somebody else's is loaded where it works, and nowhere else."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=group, name=kind):
        if entry.module.startswith("raythena."):
            entry.load()


def _load() -> None:
    """Load what coordinator and agents need, with a NumPy that starts no threads: they would not survive a fork."""
    is_set = _BLAS in os.environ
    os.environ.setdefault(_BLAS, "1")
    import raythena.runtime.forked  # noqa: F401

    if not is_set:
        del os.environ[_BLAS]


def main() -> None:
    """Listen at once, so that whoever is impatient can wait; then load."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _call_process("rt-fork-server")
    directory = Path(sys.argv[1])
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "server.new"))
    listener.listen(128)
    (directory / "server.new").rename(directory / "server")
    _load()
    ForkServer(directory, listener).serve()


if __name__ == "__main__":
    main()
