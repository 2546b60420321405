"""The process guard's own process: it starts processes for an agent and makes sure that none outlives the agent.

Rules:
- Standard input is the control channel, a connected Unix socket carrying JSON lines both ways. When it closes, however that comes
  about, every descendant is killed and the process guard exits. Nothing else is needed for a clean end, so `kill -9` of the
  agent is enough.
- The process guard is a *subreaper*: a grandchild whose parent died becomes the process guard's child instead of init's. Its
  descendants are therefore exactly its subtree in /proc, and nothing can hide from it by forking twice or by opening a new
  session.
- Each child asks the kernel to be killed when the process guard dies, which covers `kill -9` of the process guard itself for
  direct children.
- It imports the standard library only and is run by path, without site packages, so that it starts in some ten milliseconds.

Requests: `spawn` (id, argv, env, cwd, stdout, stderr, sweep), `kill` (pid, group, signal), `remove` (path: a directory that goes
when the process guard does, behind everything that could write there), `stop`.
Answers: `spawned` (id, pid), `refused` (id, errno, text), `exited` (pid, status: an exit code, or minus the signal's number),
`stopped`.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GIVE_UP_S = 10.0
"""A process in uninterruptible sleep cannot be killed; no use waiting longer for it."""
EXEC_FAILED_STATUS = 127
_N_THREADS = 17
"""Place of `num_threads` among the fields behind the command name."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Adopt orphaned descendants (Linux 3.4 and later)."""
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int) -> None:
    """Be killed when process `parent`, our parent, dies; exits at once if that has happened already."""
    _LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXEC_FAILED_STATUS)


def exit_status(wait_status: int) -> int:
    """Exit code, or minus the number of the signal that killed the process."""
    return os.waitstatus_to_exitcode(wait_status)


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the command name (state, ppid, …); empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            return stream.read().rpartition(")")[2].split()
    except OSError:
        return []


def living_processes() -> Iterator[tuple[int, int]]:
    """(pid, parent's pid) of every process that is not a zombie.

    A process whose first thread has ended looks like one and is none while it has other threads, which is also the state of a
    killed process for as long as the kernel needs to take a large one down.
    """
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            fields = _stat_fields(int(name))
            if fields and (fields[0] not in "ZX" or int(fields[_N_THREADS]) > 1):
                yield int(name), int(fields[1])


def descendants(root: int) -> list[int]:
    """Processes below `root`, nearest first."""
    children: dict[int, list[int]] = {}
    for pid, parent in living_processes():
        children.setdefault(parent, []).append(pid)
    found = list(children.get(root, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def kill_quietly(pid: int, number: int = signal.SIGKILL, *, group: bool = False) -> None:
    """Send a signal to a process or its group; one that is gone, or not ours, is left alone."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def reap(sweep: frozenset[int] | set[int] = frozenset()) -> Iterator[tuple[int, int]]:
    """(pid, status) of every child that has ended.

    For those in `sweep` the rest of their process group is killed before they are reaped, while their number cannot have
    been given to somebody else.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        if ended.si_pid in sweep:
            kill_quietly(ended.si_pid, group=True)
        yield ended.si_pid, exit_status(os.waitpid(ended.si_pid, 0)[1])


def kill_descendants() -> None:
    """Kill and reap everything below this process, for at most `GIVE_UP_S`."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        victims = descendants(os.getpid())
        for pid in victims:
            kill_quietly(pid)
        for _ in reap():
            pass
        if not victims:
            return
        time.sleep(0.002)


def wake_on_child_exit() -> socket.socket:
    """A socket that becomes readable whenever a child has ended."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    return ours


def restore_signals() -> None:
    """Give a new process the signal handling it expects."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def redirect(stdout: str | None, stderr: str | None) -> None:
    """Standard input from nowhere; output appended to files (None: thrown away)."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(stdout or os.devnull, flags, 0o644), 1)
    os.dup2(os.open(stderr or os.devnull, flags, 0o644), 2)


def _become(request: dict[str, Any], parent: int, complaint: int) -> NoReturn:
    """Turn this fresh child into the requested program; tell the parent why not through the pipe `complaint`."""
    try:
        os.setsid()
        die_with(parent)
        restore_signals()
        redirect(request.get("stdout"), request.get("stderr"))
        os.dup2(complaint, 3, inheritable=False)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        if request.get("cwd"):
            os.chdir(request["cwd"])
        os.execvpe(request["argv"][0], request["argv"], request["env"])  # noqa: S606
    except OSError as problem:
        os.write(3 if complaint != 3 else complaint, f"{problem.errno or 0} {problem}".encode())
    finally:
        os._exit(EXEC_FAILED_STATUS)


class GuardProcess:
    """State of the process guard: the children it started and which of them are swept up with their group."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: set[int] = set()
        self.sweep: set[int] = set()
        self.doomed: list[str] = []

    def serve(self) -> None:
        """Work until the control channel closes or `stop` is asked for, then leave nothing behind."""
        awake = wake_on_child_exit()
        try:
            self._loop(awake)
        except (OSError, ValueError):
            # A broken channel or a garbled request both mean that nobody is in charge any more.
            pass
        finally:
            self.leave_nothing()
            signal.set_wakeup_fd(-1)  # nobody reads the other end any more
        self._say_last({"type": "stopped"})

    def leave_nothing(self) -> None:
        """End every process and remove every directory this process guard is answerable for."""
        kill_descendants()
        if self.doomed:
            import shutil  # takes longer to load than everything else here

            for path in self.doomed:
                shutil.rmtree(path, ignore_errors=True)

    def _loop(self, awake: socket.socket) -> None:
        pending = b""
        while True:
            readable, _, _ = select.select([self.control, awake], [], [])
            if awake in readable:
                awake.recv(4096)
                self._report_exits()
            if self.control in readable:
                chunk = self.control.recv(1 << 16)
                *lines, pending = (pending + chunk).split(b"\n")
                if not chunk or not all([self._obey(json.loads(line)) for line in lines]):
                    return

    def _obey(self, request: dict[str, Any]) -> bool:
        """Carry out one request; False for `stop`."""
        if request["type"] == "spawn":
            self._spawn(request)
        elif request["type"] == "kill" and request["pid"] in self.children:
            kill_quietly(request["pid"], request["signal"], group=request["group"])
        elif request["type"] == "remove":
            self.doomed.append(request["path"])
        return bool(request["type"] != "stop")

    def _spawn(self, request: dict[str, object]) -> None:
        complaints, complaint = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(request, parent, complaint)
        os.close(complaint)
        with os.fdopen(complaints, "rb") as stream:
            number, _, text = stream.read().decode().partition(" ")
        if number:
            os.waitpid(pid, 0)
            self._say({"type": "refused", "id": request["id"], "errno": int(number), "text": text})
            return
        self.children.add(pid)
        if request.get("sweep"):
            self.sweep.add(pid)
        self._say({"type": "spawned", "id": request["id"], "pid": pid})

    def _report_exits(self) -> None:
        for pid, status in reap(self.sweep):
            if pid in self.children:
                self.children.discard(pid)
                self.sweep.discard(pid)
                self._say({"type": "exited", "pid": pid, "status": status})

    def _say(self, message: dict[str, object]) -> None:
        self.control.sendall(json.dumps(message).encode() + b"\n")

    def _say_last(self, message: dict[str, object]) -> None:
        try:
            self._say(message)
        except OSError:
            return


def main() -> None:
    """Run as the process guard; standard input is the control socket."""
    become_subreaper()
    process_guard = GuardProcess(socket.socket(fileno=os.dup(0)))

    def end_on_sigterm(*_: object) -> NoReturn:
        process_guard.leave_nothing()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_on_sigterm)
    process_guard.serve()


if __name__ == "__main__":
    main()
    sys.exit(0)
