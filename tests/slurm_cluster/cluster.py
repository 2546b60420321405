"""The test cluster: munge, the controller, a bridge and the nodes, up in seconds and gone without a trace.

Needs root, and from Debian: slurmctld slurmd slurm-client munge iproute2 util-linux. Nothing of the machine's own Slurm, if it
has one, is read or touched: configuration, key, sockets, state and logs lie in the cluster's directory, ports and the network
are drawn at random. There is no accounting database and there are no cgroups.

    with SlurmCluster(Path("/var/tmp/somewhere"), nodes=4) as cluster:
        cluster.run("sbatch", "job.sh")
        cluster.nodes["n3"].lose_power()
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from slurm_cluster.nodes import Node, eventually, ip

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "ip", "unshare", "nsenter")
_START_LIMIT_S = 60.0

_CONFIGURATION = """\
ClusterName=raythena
SlurmctldHost={host}({controller})
SlurmctldPort={port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/nodes/%n/spool
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/nodes/%n/slurmd.pid
SlurmctldLogFile={base}/log/slurmctld.log
SlurmdLogFile={base}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
ReturnToService=2
JobRequeue=1
SlurmdTimeout=10
KillWait={kill_wait_s}
MinJobAge=3600
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0,sched_min_interval=100000
{lines}
PartitionName=main Nodes={names} Default=YES MaxTime={max_time} State=UP OverSubscribe=FORCE:2
"""


def missing_requirements() -> str:
    """Why the cluster cannot be started here; "" when it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if os.getuid() != 0:
        return "it takes root"
    return f"not installed: {', '.join(missing)}" if missing else ""


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class SlurmCluster:
    """A controller on this machine and `nodes` nodes with `cpus` processors each (they need not exist), below `directory`.

    `directory` must not be below `/tmp`: every node has its own one there.
    """

    def __init__(
        self, directory: Path, nodes: int = 4, *, cpus: int = 2, kill_wait_s: int = 5, max_time: str = "INFINITE"
    ) -> None:
        self.directory = directory
        self.shared = directory / "shared"
        """For the files of tests: all nodes see it."""
        token = uuid.uuid4().hex[:4]
        self._network = f"10.{random.randint(64, 127)}.{random.randint(0, 255)}"
        self._bridge = f"rb{token}"
        self._limits = {"kill_wait_s": kill_wait_s, "max_time": max_time}
        self._cpus = cpus
        self.nodes = {
            f"n{i}": Node(f"n{i}", f"{self._network}.{10 + i}", directory, token, self._bridge) for i in range(1, nodes + 1)
        }
        self._munged: subprocess.Popen[bytes] | None = None
        self._controller: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> SlurmCluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which Slurm's commands talk to this cluster."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
        return {**inherited, "PATH": _path(), "SLURM_CONF": str(self.directory / "slurm.conf")}

    def start(self) -> None:
        """Everything is up, and all nodes are idle, when it returns."""
        reason = missing_requirements()
        if reason:
            raise RuntimeError(f"no Slurm cluster here: {reason}")
        for name in ("log", "state", "nodes", "munge", "shared"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self._configure()
        self._start_munge()
        ip("link", "add", self._bridge, "type", "bridge", "forward_delay", "0")
        ip("addr", "add", f"{self._network}.1/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        for node in self.nodes.values():
            (self.directory / "nodes" / node.name / "spool").mkdir(parents=True)
            os.environ["PATH"], before = _path(), os.environ["PATH"]
            node.start()
            os.environ["PATH"] = before
        self._controller = self._daemon("slurmctld", ["slurmctld", "-D", "-c", "-f", self.directory / "slurm.conf"])
        eventually(lambda: len(self.nodes_in("idle")) == len(self.nodes), "all nodes idle", _START_LIMIT_S)

    def stop(self) -> None:
        """Nothing is left but the directory."""
        for node in self.nodes.values():
            node.remove()
        for daemon in (self._controller, self._munged):
            if daemon is not None:
                daemon.send_signal(signal.SIGTERM)
                try:
                    daemon.wait(5)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "del", self._bridge)

    def run(self, *argv: str | Path, check: bool = True, timeout: float = 60.0) -> str:
        """What a command of Slurm's prints. Raises CalledProcessError, whose text has what it complained of."""
        done = subprocess.run(argv, env=self.environ, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(map(str, argv))} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout.strip()

    def nodes_in(self, state: str) -> set[str]:
        """Names of the nodes in a state of `sinfo`."""
        return set(self.run("sinfo", "-h", "-N", "-t", state, "-o", "%N", check=False).split())

    def popen(self, argv: Sequence[str | Path], node: str, **options) -> subprocess.Popen:
        """Start a command on a node, outside of Slurm."""
        return subprocess.Popen(self.nodes[node].inside(argv), env=self.environ, **options)

    def _daemon(self, name: str, argv: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with (self.directory / "log" / f"{name}.out").open("ab") as log:
            return subprocess.Popen(argv, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _start_munge(self) -> None:
        place = self.directory / "munge"
        place.chmod(0o711)
        key = place / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"key-file": key, "socket": place / "socket", "pid-file": place / "pid", "seed-file": place / "seed"}
        options = [f"--{option}={path}" for option, path in files.items()]
        argv = ["munged", "--foreground", "--force", "--num-threads=2", *options, f"--log-file={place / 'log'}"]
        self._munged = self._daemon("munged", argv)
        eventually((place / "socket").exists, "munge's socket")

    def _configure(self) -> None:
        host = socket.gethostname().partition(".")[0]
        addresses = {host: f"{self._network}.1"} | {node.name: node.address for node in self.nodes.values()}
        hosts = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
        (self.directory / "hosts").write_text("\n".join(hosts) + "\n")
        lines = [
            f"NodeName={node.name} NodeAddr={node.address} CPUs={self._cpus} RealMemory=8000 State=UNKNOWN"
            for node in self.nodes.values()
        ]
        text = _CONFIGURATION.format(
            host=host,
            controller=f"{self._network}.1",
            port=_free_port(),
            slurmd_port=_free_port(),
            base=self.directory,
            names=",".join(self.nodes),
            lines="\n".join(lines),
            **self._limits,
        )
        (self.directory / "slurm.conf").write_text(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
