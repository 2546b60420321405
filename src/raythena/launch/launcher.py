"""The plug-in point for launching: what makes a cluster out of the machines we are given.

A launcher knows whether this process is where it works (`is_here`), and makes a `Cluster` from an order. The command starts the
cluster, which brings up Ray's head on this machine and connects this process to it; then the coordinator is started, and the
other nodes join whenever they can. Plug-ins are entry points of the group `raythena.launchers`.

Rules for a cluster: nothing that it started outlives it, whatever ends this process; it touches no Ray that is not its own; it
never waits for a node; what goes wrong with a node is told through `LaunchOrder.tell`, and raised only when nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol

from raythena.domain.errors import InvalidInput
from raythena.engine.node_starts import StartPolicy
from raythena.runtime.driver import Session
from raythena.runtime.session_config import JoinedNodes, SessionConfig

ENTRY_POINT_GROUP = "raythena.launchers"
AUTO = "auto"
_ORDER = ("slurm", "ssh", "local")
"""In which `auto` asks; launchers that are not listed are used where they are named only."""


def _tell_nobody(text: str) -> None:
    """For what nobody asked about."""


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """A node, and the command that runs a program there with our standard input and output as its own."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Continuation:
    """How another node goes on with the job when the machine of the head dies."""

    session: str
    """Of the head, as the task's lease names it."""
    task_directory: str
    """On all nodes."""
    argv: tuple[str, ...]
    """The command; it finds out by itself where it is, and takes up what is in the task directory."""
    directory: str
    """In which it is run."""
    environ: Mapping[str, str]
    """What it needs of the environment besides what every process on a node has."""
    told_by_exit_code: bool = False
    """Whoever watches the batch job learns from its end what became of it."""


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """What is wanted of a cluster. None: whatever the launcher finds, or thinks best."""

    environ: Mapping[str, str]
    scratch_directory: str
    """Where nodes keep what need not survive; empty: `$TMPDIR` or the system's."""
    shared_directory: str
    """Where all nodes see the same files."""
    ray_directory: str = ""
    """Where Ray keeps its files and sockets on each node, a short path; empty: `/tmp`, or where temporary files go."""
    nodes: int | None = None
    """At most so many."""
    cores: int | None = None
    """Of each node, for payloads."""
    head_cores: int | None = None
    """The same on the head node; 0: no payloads there."""
    interface: str = ""
    """Whose address a node is known by; empty: the one that leads to the others."""
    step_options: tuple[str, ...] = ()
    """More options for whatever starts a process on a node."""
    hosts: str = ""
    """A file that names hosts."""
    ray_address: str = ""
    """`host:port` of a cluster of somebody else's."""
    remote_shell: str = "ssh -T -o BatchMode=yes {host}"
    """What runs a program on a host."""
    remote_stdin: bool = True
    """Whether that passes standard input on."""
    environment: str = ""
    """An archive of the environment that the other nodes unpack and start from; empty: they start where we did."""
    tls: bool = False
    """Whether nodes encrypt what they say to each other."""
    policy: StartPolicy = field(default_factory=StartPolicy)
    session: str = ""
    """Which nodes of other allocations may join, through the shared directory; empty: none."""
    continuation: Continuation | None = None
    """None: the job does not go on without this machine."""
    tell: Callable[[str], None] = _tell_nobody
    """Takes a line for people."""


class Cluster(Protocol):
    """Nodes for one session, with this process as the driver."""

    joined_nodes: JoinedNodes | None
    """Which nodes of a cluster that is not ours are to be used; None: all are ours, and marked."""
    keeps_scratch: bool
    """Whether `$TMPDIR` of every process is a directory of the cluster's own, where `LaunchOrder.scratch_directory` says."""

    async def start(self) -> None:
        """Start the head and connect this process to it. Raises ClusterError, InvalidInput."""

    async def add_nodes(self) -> None:
        """Begin to add the other nodes. Raises ClusterError when it is certain that some never come."""

    def failure(self) -> str:
        """Why the cluster cannot go on; "" while it can."""

    async def ends_at(self) -> float | None:
        """When everything will be killed, in seconds since the epoch; None: not known."""

    def session(self, config: SessionConfig) -> Session:
        """What runs a session on this cluster once it is started; for a cluster of Ray's, `ray_session(config)`."""

    async def stop(self) -> None:
        """End every process and remove every file of the cluster, on all nodes. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class LauncherPlugin:
    """One way to make a cluster."""

    name: str
    is_here: Callable[[Mapping[str, str]], bool]
    """Whether this process is in such a place, told by its environment."""
    launch: Callable[[LaunchOrder], Cluster]
    """Raises InvalidInput for an order that cannot be met. Starts nothing yet."""
    words: Callable[[LaunchOrder], str]
    """The nodes for a person, such as `4 nodes of job 4711`. Raises InvalidInput as `launch` does."""
    commands: Callable[[LaunchOrder, tuple[str, ...]], Sequence[NodeCommand]] | None = None
    """How a program is run on each node, this one first. None: there is no way. Raises InvalidInput as `launch` does."""


def ray_session(config: SessionConfig) -> Session:
    """A session on the cluster of Ray's this process is connected to."""
    from raythena.runtime.ray_session import RaySession

    return RaySession(config)


def launchers() -> dict[str, LauncherPlugin]:
    """All that are installed, by name."""
    return {entry.name: entry.load() for entry in entry_points(group=ENTRY_POINT_GROUP)}


def choose_launcher(name: str, environ: Mapping[str, str]) -> LauncherPlugin:
    """The launcher of that name, or for `auto` the one that is at home here. Raises InvalidInput."""
    known = launchers()
    if not known:
        raise InvalidInput(
            "--on", "", "no launcher is installed", expected=f"entry points {ENTRY_POINT_GROUP}", hint="make install"
        )
    if name != AUTO:
        if name not in known:
            raise InvalidInput("--on", "", f"no launcher called {name!r}", expected=f"one of {', '.join([AUTO, *sorted(known)])}")
        return known[name]
    return next(known[candidate] for candidate in _ORDER if candidate in known and known[candidate].is_here(environ))
