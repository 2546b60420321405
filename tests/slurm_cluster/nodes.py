"""One node of the test cluster: namespaces of its own, a link that can be cut, power that can be lost.

A node is a process tree below an init of its own (namespaces: network, mount, host name, IPC, processes). It has its own `/tmp`
and `/dev/shm`; every other file is shared with the machine, which makes the machine's disk the shared file system. The `/tmp`
of a node is a disk: it survives the loss of power. `/dev/shm` does not.

Besides its network each node has an interface `decoy`, with an address that is the same on all nodes and leads nowhere: what
bridges for containers look like on real machines.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DECOY = "172.31.255.1/24"
_INIT = """
set -e
echo "$1" > /proc/sys/kernel/hostname
mount --bind "$2/hosts" /etc/hosts
mount --bind "$2/nodes/$1/tmp" /tmp
mount -t tmpfs -o mode=1777 shm /dev/shm
while :; do
    slurmd -D -f "$2/slurm.conf" || true
    while [ -e "$2/nodes/$1/no-slurmd" ]; do sleep 0.1; done
    sleep 0.2
done
"""
"""The node's init: sets the place up and keeps slurmd running, unless the file `no-slurmd` forbids it."""
_UNSHARE = ("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")


def ip(*words: str) -> None:
    """Run `ip`; raises CalledProcessError with what it said."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def eventually(condition, what: str, limit_s: float = 60.0, pause_s: float = 0.05):
    """Wait until `condition()` is true; its value."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:.0f} s"
        time.sleep(pause_s)
    return value


@dataclass(frozen=True)
class Process:
    """A process on a node, under the number it has outside."""

    pid: int
    parent: int
    name: str
    command: str

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; one that is gone is left alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Node:
    """A node, by its name. Use `start`, and `remove` in the end."""

    def __init__(self, name: str, address: str, directory: Path, token: str, bridge: str) -> None:
        self.name = name
        self.address = address
        self._base = directory
        self._own = directory / "nodes" / name
        self._bridge = bridge
        self._namespace = f"raythena-{token}-{name}"
        self._link = f"r{token}{name}"
        self._unshare: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __repr__(self) -> str:
        return self.name

    @property
    def tmp(self) -> Path:
        """What the node sees as `/tmp`."""
        return self._own / "tmp"

    def files(self) -> list[str]:
        """Everything in the node's own `/tmp` and `/dev/shm`."""
        places = [self.tmp, Path(f"/proc/{self._init}/root/dev/shm")] if self._init else [self.tmp]
        return sorted(str(path) for place in places for path in place.rglob("*"))

    # ---- power

    @property
    def is_up(self) -> bool:
        """Whether it has power."""
        return self._init != 0

    def start(self) -> None:
        """Boot: the link is there (again), slurmd runs soon."""
        if not Path("/run/netns", self._namespace).exists():
            self._plug_in()
        ip("link", "set", self._link, "up")
        self.tmp.mkdir(parents=True, exist_ok=True)
        self.tmp.chmod(0o1777)
        with (self._base / "log" / f"{self.name}.log").open("ab") as log:
            self._unshare = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self._namespace}", *_UNSHARE, "bash", "-c", _INIT, "init", self.name, self._base],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._init = eventually(lambda: _first_child(self._unshare.pid), f"init of {self.name}", pause_s=0.01)

    def lose_power(self) -> None:
        """Everything on the node ends at this moment, and nobody is told: the link is gone first."""
        self.cut()
        self._end_processes()

    def _end_processes(self) -> None:
        if self._unshare is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
            self._unshare.wait()
            self._unshare, self._init = None, 0

    def remove(self) -> None:
        """End the node for good."""
        self._end_processes()
        for words in (("link", "del", self._link), ("netns", "del", self._namespace)):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip(*words)

    def forget_disk(self) -> None:
        """Empty the node's `/tmp`, as machines do when they boot. Whoever was there when power was lost could not."""
        for path in self.tmp.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    # ---- network

    def _plug_in(self) -> None:
        ip("netns", "add", self._namespace)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        ip("link", "set", self._link, "master", self._bridge)
        ip("-n", self._namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self._namespace, "link", "add", "decoy", "type", "veth", "peer", "name", "decoy-end")
        ip("-n", self._namespace, "addr", "add", DECOY, "dev", "decoy")
        for name in ("lo", "eth0", "decoy", "decoy-end"):
            ip("-n", self._namespace, "link", "set", name, "up")

    def cut(self) -> None:
        """Pull the network cable."""
        ip("link", "set", self._link, "down")

    def heal(self) -> None:
        """Put it back."""
        ip("link", "set", self._link, "up")

    # ---- processes

    def kill_slurmd(self) -> None:
        """Only the daemon dies, and stays dead until `start_slurmd`."""
        (self._own / "no-slurmd").touch()

        def is_gone() -> bool:
            daemons = [process for process in self.processes() if process.name == "slurmd"]
            for process in daemons:
                process.kill()
            return not daemons

        eventually(is_gone, f"the end of slurmd on {self.name}")

    def start_slurmd(self) -> None:
        """Let the node's init start it again."""
        (self._own / "no-slurmd").unlink(missing_ok=True)

    def processes(self) -> list[Process]:
        """Everything that runs on the node, its init left out."""
        return [process for process in _processes_in(self._init) if process.pid != self._init] if self._init else []

    def inside(self, argv: Sequence[str | Path]) -> list[str | Path]:
        """The command line that runs `argv` on the node."""
        return ["nsenter", f"--target={self._init}", "--all", "--", *argv]


def _first_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def _processes_in(init: int) -> Iterator[Process]:
    space = Path(f"/proc/{init}/ns/pid").stat().st_ino
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "ns/pid").stat().st_ino == space:
                    name, _, rest = (entry / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
                    state, parent = rest.split()[:2]
                    if state not in "ZX":
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                        yield Process(int(entry.name), int(parent), name, command)
