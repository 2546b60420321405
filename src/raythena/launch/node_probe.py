"""The process that looks at a node for `raythena doctor`: it measures and reports, and judges nothing.

Whoever starts it on the node (`srun`, `ssh`, this machine) gives it requests, one line of JSON each, on standard input, and reads
one line of JSON for each from standard output, behind a mark, because batch systems say things of their own there. It ends with
the channel.

    {"do": "facts", ...}     what the node is like: `NodeFacts`
    {"do": "clock"}          what its clock shows
    {"do": "listen"}         open a port at the node's address: {"address", "port"}
    {"do": "connect", ...}   reach another node's port
    {"do": "lock", ...}      take a lock on a file and keep it: {"granted"}
    {"do": "unlock"}         give it back

A request that fails is answered with {"problem": ...}; nothing here raises.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec
import psutil

from raythena import __version__
from raythena.domain.errors import RaythenaError
from raythena.domain.site_facts import Address, DirectoryFacts, NodeFacts
from raythena.launch.addresses import own_address
from raythena.storage.mounts import mounted_at

MARK = "raythena-probe: "
"""Before every line of ours."""
SYNC_SECONDS = 1.0
"""For so long files are made durable, to see how many it takes in a second."""
_SYNC_FILES = 200
_IMPORT_LIMIT_S = 120.0
_REQUEST_LIMIT_S = 10.0
_GREETING = b"raythena"
_RAY_MARKS = ("raylet/raylet", "gcs/gcs_server")
_NO_LIMIT = -1
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class FactsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is asked about."""

    node: str
    others: tuple[str, ...] = ()
    """Names of other nodes, by which the right address is found."""
    interface: str = ""
    scratch: str = ""
    """Empty: `$TMPDIR`, or the system's directory."""
    socket_base: str = "/tmp"  # noqa: S108 (where Ray's sockets are to be; what is made there is private)
    shared: str = ""
    nonce: str = ""
    """What is in the file `NONCE_FILE` of the shared directory."""
    measure: bool = True
    """Also what takes seconds: importing Ray, durable writes."""


NONCE_FILE = ".raythena-doctor"
"""In the shared directory, written by whoever asks."""


# ---- one fact each


def versions() -> dict[str, str]:
    """Of everything that must agree between nodes."""
    return {
        "python": platform.python_version(),
        "raythena": __version__,
        "ray": version("ray"),
        "libc": " ".join(platform.libc_ver()),
        "kernel": platform.release(),
    }


def directory_facts(path: str, *, measure: bool) -> DirectoryFacts:
    """What a directory can do for us. Never raises."""
    try:
        kind, options = mounted_at(path)
        free_bytes = shutil.disk_usage(path).free
        with tempfile.TemporaryDirectory(prefix=".raythena-probe-", dir=path) as private:
            state = Path(private).stat()
            is_private = stat.S_IMODE(state.st_mode) == stat.S_IRWXU and state.st_uid == os.getuid()
            rate = syncs_per_s(Path(private), SYNC_SECONDS if measure else 0.0)
    except OSError as problem:
        return DirectoryFacts(path=path, problem=problem.strerror or str(problem))
    return DirectoryFacts(
        path=path, file_system=kind, mount_options=options, free_bytes=free_bytes, private=is_private, syncs_per_s=rate
    )


def syncs_per_s(directory: Path, limit_s: float) -> float:
    """Small files made durable in a second; at least one is tried. Raises OSError."""
    began = time.monotonic()
    done = 0
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while done == 0 or (done < _SYNC_FILES and time.monotonic() - began < limit_s):
            with (directory / "new").open("wb") as file:
                file.write(_GREETING)
                file.flush()
                os.fsync(file.fileno())
            (directory / "new").rename(directory / f"{done % 2}")
            os.fsync(descriptor)
            done += 1
    finally:
        os.close(descriptor)
    return done / max(1e-6, time.monotonic() - began)


def control_group_limit(name: str, root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> int:
    """The tightest limit of this process's control groups for `pids.max` or `memory.max`; -1: none, or not known."""
    older = {"memory.max": "memory/memory.limit_in_bytes", "pids.max": "pids/pids.max"}[name]
    limits: list[int] = []
    with contextlib.suppress(OSError):
        for line in Path(own).read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            folder, _, file = older.partition("/")
            base, leaf = (Path(root), name) if not controllers else (Path(root) / folder, file)
            if controllers and folder not in controllers.split(","):
                continue
            limits += _limits_upward(base, path, leaf)
    return min(limits, default=_NO_LIMIT)


def _limits_upward(base: Path, path: str, leaf: str) -> Iterator[int]:
    """The limits of a control group and of those above it."""
    group = Path(path.lstrip("/"))
    for folder in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number and no limit
            limit = int((base / folder / leaf).read_text())
            if limit < 1 << 60:
                yield limit


def threads_of_user() -> int:
    """Threads of this user that run now: what `ulimit -u` counts."""
    count = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == os.getuid():
            count += process.info["num_threads"] or 0
    return count


def ray_processes() -> int:
    """Raylets and heads of this user that are there already."""
    found = 0
    for process in psutil.process_iter(["uids", "cmdline"]):
        uids, command = process.info["uids"], process.info["cmdline"]
        if uids is not None and uids.real == os.getuid() and command and any(mark in command[0] for mark in _RAY_MARKS):
            found += 1
    return found


def addresses() -> tuple[Address, ...]:
    """Every IPv4 address of this machine."""
    found = psutil.net_if_addrs()
    return tuple(
        Address(interface=name, address=one.address)
        for name, entries in sorted(found.items())
        for one in entries
        if one.family == socket.AF_INET
    )


def import_time() -> tuple[float, str]:
    """Seconds that a new Python needs to import Ray, and what went wrong."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", "import ray"], capture_output=True, timeout=_IMPORT_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return time.monotonic() - began, str(problem)
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return time.monotonic() - began, (words or ["no reason given"])[-1] if done.returncode else ""


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that send traffic elsewhere, without what is secret in them."""
    found = {name: value for name, value in environ.items() if name.lower() in _PROXIES and value}
    return {name: _without_password(value) for name, value in sorted(found.items())}


def _without_password(value: str) -> str:
    parts = urlsplit(value)
    return value if parts.password is None and parts.username is None else f"{parts.scheme}://...@{parts.hostname}"


def proxy_problem(address: str) -> str:
    """What comes of a request to an address of our own with the environment as it is; empty: the answer was ours."""
    with Listener(address) as listener:
        try:
            url = f"http://{address}:{listener.port}/"
            with urllib.request.build_opener().open(url, timeout=_REQUEST_LIMIT_S) as answer:
                return "" if answer.read() == _GREETING else "somebody else answered"
        except (OSError, ValueError) as problem:
            return str(problem) or type(problem).__name__


class Listener:
    """A port that answers every HTTP request, and every other caller, with the same word."""

    def __init__(self, address: str) -> None:
        self._socket = socket.create_server((address, 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Listener:
        """Begin to answer; use `close`."""
        return self.__enter__()

    def close(self) -> None:
        """Answer nobody any more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(_GREETING)}\r\n\r\n".encode()
        with contextlib.suppress(OSError):  # closed
            while True:
                caller, _ = self._socket.accept()
                with caller, contextlib.suppress(OSError):
                    caller.settimeout(_REQUEST_LIMIT_S)
                    caller.recv(4096)
                    caller.sendall(head + _GREETING)


def reach(address: str, port: int) -> str:
    """Ask a `Listener` elsewhere; empty: it answered."""
    try:
        with socket.create_connection((address, port), timeout=_REQUEST_LIMIT_S) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            heard = b""
            while chunk := connection.recv(4096):
                heard += chunk
    except OSError as problem:
        return problem.strerror or str(problem)
    return "" if heard.endswith(_GREETING) else "somebody else answered"


# ---- all of them


def facts(request: FactsRequest) -> NodeFacts:
    """What this node is like. Never raises: what cannot be found out is in `problems`."""
    problems: dict[str, str] = {}

    def asked(name: str, question: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return question()
        except (OSError, psutil.Error, RaythenaError, ValueError) as problem:
            problems[name] = str(problem)
            return otherwise

    address = asked("address", lambda: _address(request), "")
    import_s, import_problem = import_time() if request.measure else (0.0, "")
    shared = directory_facts(request.shared, measure=request.measure) if request.shared else DirectoryFacts(path="")
    return NodeFacts(
        node=request.node,
        versions=versions(),
        clock_s=time.time(),
        cores_there=os.cpu_count() or 0,
        cores_usable=len(os.sched_getaffinity(0)),
        max_processes=resource.getrlimit(resource.RLIMIT_NPROC)[0],
        max_open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        pids_max=control_group_limit("pids.max"),
        processes_now=asked("processes", threads_of_user, 0),
        memory_bytes=psutil.virtual_memory().total,
        memory_limit_bytes=control_group_limit("memory.max"),
        addresses=asked("addresses", addresses, ()),
        chosen_address=address,
        address_problem=problems.pop("address", ""),
        socket_directory=os.path.join(request.socket_base, "rt-00000000", "ray"),  # noqa: PTH118 (not resolved: the length counts)
        sockets=directory_facts(request.socket_base, measure=False),
        scratch=directory_facts(request.scratch or tempfile.gettempdir(), measure=False),
        shared=shared,
        shared_seen=not request.shared or _nonce_in(request.shared) == request.nonce,
        import_s=import_s,
        import_problem=import_problem,
        proxies=proxies(os.environ),
        proxy_problem=asked("proxy", lambda: proxy_problem(address) if address else "", ""),
        ray_variables=tuple(sorted(name for name in os.environ if name.startswith("RAY_"))),
        ray_token_file=_ray_token(),
        foreign_ray=asked("other Rays", ray_processes, 0),
        problems=problems,
    )


def _address(request: FactsRequest) -> str:
    return own_address(request.interface, request.others) if request.others or request.interface else "127.0.0.1"


def _nonce_in(directory: str) -> str:
    try:
        return (Path(directory) / NONCE_FILE).read_text()
    except OSError:
        return ""


def _ray_token() -> str:
    path = Path.home() / ".ray" / "auth_token"
    return str(path) if path.exists() else ""


class Probe:
    """Answers requests. Holds at most one port and one lock."""

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._locked: IO[bytes] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; never raises."""
        try:
            match request.get("do"):
                case "facts":
                    asked = msgspec.convert({key: value for key, value in request.items() if key != "do"}, FactsRequest)
                    return {"facts": msgspec.to_builtins(facts(asked))}
                case "clock":
                    return {"clock_s": time.time()}
                case "listen":
                    return self._listen(request)
                case "connect":
                    return {"problem": reach(str(request["address"]), int(request["port"]))}
                case "lock":
                    return {"granted": self._lock(Path(request["path"]))}
                case "unlock":
                    return self._unlock()
        except (OSError, RaythenaError, ValueError, KeyError, TypeError, msgspec.ValidationError) as problem:
            return {"problem": str(problem) or type(problem).__name__}
        return {"problem": f"no such request: {request.get('do')!r}"}

    def close(self) -> None:
        """Give back what is held."""
        if self._listener is not None:
            self._listener.close()
        self._unlock()

    def _listen(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._listener is None:
            self._listener = Listener(str(request["address"])).open()
        return {"port": self._listener.port}

    def _lock(self, path: Path) -> bool:
        """A lock of the kind that the ledger takes, on the first byte of a file; False: somebody has it."""
        self._unlock()
        file = path.open("r+b")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError as problem:
            file.close()
            if isinstance(problem, BlockingIOError | PermissionError):
                return False
            raise
        self._locked = file
        return True

    def _unlock(self) -> dict[str, Any]:
        if self._locked is not None:
            self._locked.close()
            self._locked = None
        return {}


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    probe = Probe()
    try:
        for line in requests:
            try:
                request = json.loads(line)
            except ValueError:
                request = {}
            answers.write(MARK.encode() + json.dumps(probe.answer(request if isinstance(request, dict) else {})).encode() + b"\n")
            answers.flush()
    finally:
        probe.close()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
