"""What can be found out about a node and a site before a job is trusted to them. Values only.

Each node is asked by a small process of ours that runs there (`launch.node_probe`), which measures and reports and judges
nothing. What it says travels as JSON, and is read here. `site_checks` holds it against what a job needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address of a network interface."""

    interface: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """A directory as one node sees it."""

    path: str
    file_system: str = ""
    """Type of the file system, such as `lustre` or `tmpfs`."""
    mount_options: str = ""
    free_bytes: int = 0
    problem: str = ""
    """Why a private directory cannot be made in it, or a file not be written and synchronised there; empty: it can."""
    private: bool = True
    """A directory made there with mode 700 is ours and has that mode."""
    syncs_per_s: float = 0.0
    """Small files written, synchronised, renamed and their directory synchronised, in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What one node says of itself. Times in seconds, sizes in bytes; -1 where there is no limit."""

    node: str
    versions: dict[str, str] = field(default_factory=dict)
    """By name: python, raythena, ray, libc, kernel."""
    clock_s: float = 0.0
    """Wall clock, seconds since the epoch, when the facts were taken."""
    cores_there: int = 0
    cores_usable: int = 0
    """In the affinity mask."""
    max_processes: int = -1
    """`ulimit -u`."""
    max_open_files: int = -1
    pids_max: int = -1
    """`pids.max` of the control group."""
    processes_now: int = 0
    """Threads of this user that run already."""
    memory_bytes: int = 0
    memory_limit_bytes: int = -1
    """Of the control group."""
    addresses: tuple[Address, ...] = ()
    chosen_address: str = ""
    """By which the others would know the node."""
    address_problem: str = ""
    socket_directory: str = ""
    """Where Ray's sockets would be."""
    sockets: DirectoryFacts = DirectoryFacts(path="")
    scratch: DirectoryFacts = DirectoryFacts(path="")
    shared: DirectoryFacts = DirectoryFacts(path="")
    shared_seen: bool = True
    """The file that was written into the shared directory elsewhere is there, with the content it had."""
    import_s: float = 0.0
    """How long a new Python needed to import Ray, on all nodes at the same time."""
    import_problem: str = ""
    proxies: dict[str, str] = field(default_factory=dict)
    """Variables of the environment that send traffic through a proxy, without passwords."""
    proxy_problem: str = ""
    """What came of a request to the node's own address, with the environment as it is; empty: it was answered directly."""
    ray_variables: tuple[str, ...] = ()
    """Names of variables of the environment that change what Ray does."""
    ray_token_file: str = ""
    """A token that Ray would find by itself in the home directory."""
    foreign_ray: int = 0
    """Processes of a Ray of this user that is not ours."""
    problems: dict[str, str] = field(default_factory=dict)
    """What could not be found out, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One node tried to reach another at the address it would be known by."""

    source: str
    target: str
    address: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTrial:
    """Two nodes and one file of the shared directory: one holds a lock, the other tries to take it, before and after."""

    holder: str
    other: str
    refused_while_held: bool = False
    granted_after_release: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """What the batch system says. None: not known, or no limit."""

    system: str = ""
    """`slurm`, or empty where there is none."""
    partition: str = ""
    max_nodes: int | None = None
    max_time_s: float | None = None
    wanted_nodes: int | None = None
    wanted_time_s: float | None = None
    problem: str = ""
    """Why it could not be asked."""
    test_submission: str | None = None
    """What `sbatch --test-only` complained of; empty: nothing; None: it was not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTrial:
    """A tiny real job over all nodes."""

    events: int
    wall_s: float
    events_by_node: dict[str, int] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """Everything that was found out."""

    nodes: tuple[NodeFacts, ...]
    unreachable: dict[str, str] = field(default_factory=dict)
    """Nodes that said nothing, and why."""
    asked_at: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Wall clock here before and after a node said what its clock shows."""
    links: tuple[Link, ...] = ()
    locks: tuple[LockTrial, ...] = ()
    batch: BatchFacts = BatchFacts()
    job: JobTrial | None = None
