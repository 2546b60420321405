"""Is this site fit for a job: named checks of what was found, each with what was expected and what to do.

Every check is a function from the facts to findings. One that has nothing to complain of says so once, for all nodes; one that
has says it for each node concerned. `CHECKS` lists them in the order of the table a person reads; nothing else decides what is
checked. The limits are constants of this module, with where they come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from raythena.domain.site_facts import DirectoryFacts, NodeFacts, SiteFacts

SOCKET_PATH_LIMIT = 107
"""Bytes in the path of a Unix socket (`sun_path` of Linux, less its end)."""
SOCKET_NAME_BYTES = 60
"""What Ray adds to its directory: the session's name and that of the socket."""
IMPORT_LIMIT_S = 15.0
"""Where Ray can only be started with its Python helpers, a raylet gives up when they are not up by then; elsewhere a node
that is so slow is not worth waiting for."""
IMPORT_WARNING_S = 6.0
PROCESSES_PER_CORE = 12
"""A worker, its threads, and its share of Ray's own."""
PROCESSES_PER_NODE = 600
OPEN_FILES = 4096
FREE_SCRATCH_BYTES = 2_000_000_000
FREE_SHARED_BYTES = 1_000_000_000
CLOCK_SKEW_S = 1.0
CLOCK_SKEW_LIMIT_S = 30.0
SYNCS_PER_S = 5.0
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs", "rootfs"})
LOCAL_LOCK_OPTIONS = frozenset({"localflock", "nolock", "noflock", "local_lock=all", "local_lock=posix"})
ALL_NODES = "all nodes"
SITE = "site"


class Verdict(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of the table."""

    check: str
    verdict: Verdict
    node: str
    """A node, `all nodes`, or `site` for what is no node's."""
    found: str
    expected: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a check has to say of one node."""

    verdict: Verdict
    node: str
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class Check:
    """One named check."""

    name: str
    expected: str
    examine: Callable[[SiteFacts], Iterator[Complaint]]
    summary: Callable[[SiteFacts], str]
    """What was found where there is nothing to complain of."""
    applies: Callable[[SiteFacts], bool] = lambda facts: bool(facts.nodes)
    cheap: bool = True
    """Costs next to nothing: looked at by itself when a job starts on several nodes."""

    def findings(self, facts: SiteFacts) -> Iterator[Finding]:
        """The rows of this check."""
        if not self.applies(facts):
            yield Finding(check=self.name, verdict=Verdict.SKIPPED, node=SITE, found="not asked")
            return
        complaints = list(self.examine(facts))
        for one in complaints:
            yield Finding(
                check=self.name, verdict=one.verdict, node=one.node, found=one.found, expected=self.expected, advice=one.advice
            )
        if not complaints:
            node = SITE if not facts.nodes else ALL_NODES if len(facts.nodes) > 1 else facts.nodes[0].node
            yield Finding(check=self.name, verdict=Verdict.OK, node=node, found=self.summary(facts), expected=self.expected)


def examine(facts: SiteFacts, *, cheap_only: bool = False) -> list[Finding]:
    """All findings, in the order of `CHECKS`."""
    return [finding for check in CHECKS if check.cheap or not cheap_only for finding in check.findings(facts)]


def worst(findings: list[Finding]) -> Verdict:
    """The most serious verdict among them."""
    order = (Verdict.FAILURE, Verdict.WARNING, Verdict.OK)
    return next((verdict for verdict in order if any(one.verdict is verdict for one in findings)), Verdict.OK)


# ---- nodes


def _fail(node: str, found: str, advice: str) -> Complaint:
    return Complaint(Verdict.FAILURE, node, found, advice)


def _warn(node: str, found: str, advice: str) -> Complaint:
    return Complaint(Verdict.WARNING, node, found, advice)


def _reachable(facts: SiteFacts) -> Iterator[Complaint]:
    for node, reason in sorted(facts.unreachable.items()):
        yield _fail(node, reason, "start a process there by hand the same way (srun, ssh); the job sets such a node aside")


def _versions(facts: SiteFacts) -> Iterator[Complaint]:
    for name in sorted({name for node in facts.nodes for name in node.versions}):
        counted = Counter(node.versions.get(name, "none") for node in facts.nodes)
        usual = counted.most_common(1)[0][0]
        complain = _warn if name == "kernel" else _fail
        for node in facts.nodes:
            if (version := node.versions.get(name, "none")) != usual:
                found = f"{name} {version}, others have {usual}"
                yield complain(node.node, found, "use one environment on all nodes")


def _clocks(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        if node.node not in facts.asked_at:
            continue
        before, after = facts.asked_at[node.node]
        skew_s = max(before - node.clock_s, node.clock_s - after, 0.0)
        if skew_s > CLOCK_SKEW_S:
            complain = _fail if skew_s > CLOCK_SKEW_LIMIT_S else _warn
            direction = "behind" if node.clock_s < before else "ahead"
            yield complain(node.node, f"clock {skew_s:.1f} s {direction}", "tell the site: its clock is not synchronised")


def _sockets(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        length = len(node.socket_directory.encode()) + SOCKET_NAME_BYTES
        if node.sockets.problem:
            yield _fail(node.node, f"{node.sockets.path}: {node.sockets.problem}", "set runtime.ray_dir to a local directory")
        elif not node.sockets.private:
            yield _fail(node.node, f"{node.sockets.path} keeps no modes", "set runtime.ray_dir to a local directory")
        elif length > SOCKET_PATH_LIMIT:
            found = f"paths of {length} bytes below {node.socket_directory}"
            yield _fail(node.node, found, "set runtime.ray_dir to a directory with a shorter path")


def _limits(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        wanted = PROCESSES_PER_NODE + PROCESSES_PER_CORE * node.cores_usable
        for what, limit, advice in (
            ("ulimit -u", node.max_processes, "ulimit -u in the batch script, or ask the site"),
            ("pids.max of the control group", node.pids_max, "ask the site: threads of a job are limited too far"),
        ):
            room = limit - node.processes_now if what == "ulimit -u" else limit
            if limit >= 0 and room < wanted:
                yield _fail(node.node, f"{what} {limit}, {node.processes_now} in use, {wanted} needed", advice)
        if 0 <= node.max_open_files < OPEN_FILES:
            yield _warn(node.node, f"ulimit -n {node.max_open_files}", f"ulimit -n {OPEN_FILES} in the batch script")


def _cores(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        if node.cores_usable < 1:
            yield _fail(node.node, "no core may be used", "ask the batch system for cores (--cpus-per-task)")
        elif 2 * node.cores_usable <= node.cores_there and len(facts.nodes) > 1:
            found = f"{node.cores_usable} of {node.cores_there} cores may be used"
            yield _warn(node.node, found, "if the node is yours alone: --exclusive, or --cpu-bind=none for the step")


def _addresses(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        if node.address_problem:
            there = ", ".join(f"{one.interface} {one.address}" for one in node.addresses) or "none"
            found = f"{node.address_problem} (addresses: {there})"
            yield _fail(node.node, found, "set launch.interface to the interface that leads to the other nodes")
    counted = Counter(node.chosen_address for node in facts.nodes if node.chosen_address)
    for node in facts.nodes:
        if len(facts.nodes) > 1 and counted[node.chosen_address] > 1:
            found = f"{node.chosen_address} is the address of another node too"
            yield _fail(node.node, found, "set launch.interface: this one is a bridge or loopback, the same on every node")


def _links(facts: SiteFacts) -> Iterator[Complaint]:
    for link in facts.links:
        if link.problem:
            found = f"{link.target} at {link.address}: {link.problem}"
            yield _fail(link.source, found, "set launch.interface; look for a firewall between nodes")


def _proxies(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        if node.proxy_problem:
            names = ", ".join(f"{name}={value}" for name, value in sorted(node.proxies.items()))
            found = f"traffic to the node's own address does not arrive: {node.proxy_problem} ({names or 'no proxy is set'})"
            yield _fail(node.node, found, "put the nodes' addresses into no_proxy, or unset the proxy in the batch script")


def _imports(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        if node.import_problem:
            yield _fail(node.node, f"Ray cannot be imported: {node.import_problem}", "is the environment visible on this node?")
        elif node.import_s > IMPORT_WARNING_S:
            complain = _fail if node.import_s > IMPORT_LIMIT_S else _warn
            advice = "put the environment on the disks of the nodes (raythena stage), or lower launch.starts_at_once"
            yield complain(node.node, f"importing Ray took {node.import_s:.1f} s", advice)


def _ray_environment(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        if node.ray_variables:
            found = f"the environment sets {', '.join(node.ray_variables)}"
            yield _warn(node.node, found, "they do not reach our processes; unset them if they are meant for something else")
        if node.ray_token_file:
            yield _warn(
                node.node,
                f"a token of Ray's in {node.ray_token_file}",
                "our processes do not use it; remove it if nothing else does",
            )
        if node.foreign_ray:
            found = f"{node.foreign_ray} processes of another Ray of this user"
            yield _warn(node.node, found, "it is left alone, and takes cores and memory")


# ---- disks


def _scratch(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        here = node.scratch
        if here.problem:
            yield _fail(node.node, f"{here.path}: {here.problem}", "set runtime.scratch_dir to a local directory with room")
        elif here.free_bytes < FREE_SCRATCH_BYTES:
            found = f"{here.path} has {_size(here.free_bytes)} left"
            yield _warn(node.node, found, "clear it, or set runtime.scratch_dir to a directory with room")
        if here.file_system in MEMORY_FILE_SYSTEMS:
            limit = node.memory_limit_bytes if node.memory_limit_bytes >= 0 else node.memory_bytes
            found = f"{here.path} is memory ({here.file_system}), and counts against the job's {_size(limit)}"
            yield _warn(node.node, found, "leave memory for it, or set runtime.scratch_dir to a disk")


def _shared(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        here = node.shared
        if here.problem:
            yield _fail(node.node, f"{here.path}: {here.problem}", "choose a task directory that all nodes mount")
        elif not node.shared_seen:
            found = f"{here.path} is another directory here than on the first node"
            yield _fail(node.node, found, "choose a task directory that all nodes mount")
        elif here.free_bytes < FREE_SHARED_BYTES:
            yield _warn(node.node, f"{here.path} has {_size(here.free_bytes)} left", "clear it, or choose another task directory")


def _lock_options(here: DirectoryFacts) -> frozenset[str]:
    return LOCAL_LOCK_OPTIONS.intersection(here.mount_options.split(","))


def _locks(facts: SiteFacts) -> Iterator[Complaint]:
    advice = "the ledger needs locks that reach across nodes: choose another file system (mount option flock on Lustre)"
    for trial in facts.locks:
        between = f"{trial.holder} and {trial.other}"
        if trial.problem:
            yield _fail(trial.other, f"locks between {between}: {trial.problem}", advice)
        elif not trial.refused_while_held:
            yield _fail(trial.other, f"a lock held by {trial.holder} was granted to {trial.other} as well", advice)
        elif not trial.granted_after_release:
            found = f"a lock that {trial.holder} gave back is not granted to {trial.other}"
            yield _warn(trial.other, found, "after the loss of a node the next coordinator waits: runtime.takeover_s")
    if not facts.locks:
        for node in facts.nodes:
            if options := _lock_options(node.shared):
                yield _fail(node.node, f"{node.shared.path} is mounted with {', '.join(sorted(options))}", advice)


def _durability(facts: SiteFacts) -> Iterator[Complaint]:
    for node in facts.nodes:
        rate = node.shared.syncs_per_s
        if not node.shared.problem and rate < SYNCS_PER_S:
            found = f"{rate:.1f} files a second can be made durable in {node.shared.path}"
            yield _warn(node.node, found, "raise runtime.group_age_s, or choose another disk")


# ---- the batch system, and all together


def _batch(facts: SiteFacts) -> Iterator[Complaint]:
    batch = facts.batch
    where = f"partition {batch.partition}" if batch.partition else "the partition"
    if batch.max_nodes is not None and (batch.wanted_nodes or 0) > batch.max_nodes:
        yield _fail(
            SITE, f"{batch.wanted_nodes} nodes; {where} gives {batch.max_nodes}", "ask for fewer nodes or another partition"
        )
    if batch.max_time_s is not None and (batch.wanted_time_s or 0.0) > batch.max_time_s:
        found = f"{(batch.wanted_time_s or 0.0) / 3600:.1f} h, {where} gives {batch.max_time_s / 3600:.1f} h"
        yield _fail(SITE, found, "ask for less and use raythena submit --until-done, or another partition")
    if batch.problem:
        yield _warn(SITE, batch.problem, f"if this is a machine with {batch.system}, ask its site; else there is nothing to do")
    if batch.test_submission:
        yield _fail(SITE, f"sbatch --test-only: {batch.test_submission}", "drop or set the directive in the site file")


def _job(facts: SiteFacts) -> Iterator[Complaint]:
    trial = facts.job
    if trial is None:
        return
    if trial.problem:
        yield _fail(SITE, trial.problem, "the log of the trial says more")
        return
    for node in facts.nodes:
        if not trial.events_by_node.get(node.node):
            yield _fail(node.node, "computed no event of the trial", "it joined too late or not at all: see the checks above")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def _each(describe: Callable[[NodeFacts], str]) -> Callable[[SiteFacts], str]:
    """What the nodes have, each different answer once."""

    def told(facts: SiteFacts) -> str:
        return ", ".join(dict.fromkeys(describe(node) for node in facts.nodes))

    return told


def _told_versions(facts: SiteFacts) -> str:
    versions: Mapping[str, str] = facts.nodes[0].versions
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _slowest(facts: SiteFacts) -> str:
    return f"at most {max(node.import_s for node in facts.nodes):.1f} s, on all nodes at once"


def _rates(facts: SiteFacts) -> str:
    rates = [node.shared.syncs_per_s for node in facts.nodes]
    return f"{min(rates):.0f} to {max(rates):.0f} files a second"


def _told_job(facts: SiteFacts) -> str:
    trial = facts.job
    return f"{trial.events} events on {len(trial.events_by_node)} nodes in {trial.wall_s:.1f} s" if trial is not None else ""


CHECKS: tuple[Check, ...] = (
    Check(
        "nodes answer",
        "a process of ours runs on every node",
        _reachable,
        lambda facts: f"{len(facts.nodes)} of {len(facts.nodes)}",
        applies=lambda facts: bool(facts.nodes or facts.unreachable),
    ),
    Check("versions", "the same everywhere", _versions, _told_versions),
    Check("clocks", f"within {CLOCK_SKEW_S:.0f} s of this machine's", _clocks, lambda _: "together", cheap=True),
    Check(
        "cores",
        "the cores of the allocation are in the affinity mask",
        _cores,
        _each(lambda node: f"{node.cores_usable} of {node.cores_there}"),
    ),
    Check(
        "process limits",
        "room for the processes and threads of a worker on each core",
        _limits,
        _each(lambda node: f"ulimit -u {_limit(node.max_processes)}, pids.max {_limit(node.pids_max)}"),
    ),
    Check(
        "sockets",
        f"a private directory, and paths of at most {SOCKET_PATH_LIMIT} bytes",
        _sockets,
        _each(lambda node: node.socket_directory),
    ),
    Check(
        "addresses",
        "each node has an address of its own that the others reach",
        _addresses,
        lambda facts: ", ".join(node.chosen_address for node in facts.nodes[:4]) + (", ..." if len(facts.nodes) > 4 else ""),
    ),
    Check(
        "links",
        "every node reaches every other",
        _links,
        lambda facts: f"{len(facts.links)} tried",
        applies=lambda facts: bool(facts.links),
        cheap=False,
    ),
    Check("proxies", "local traffic does not go through a proxy", _proxies, lambda _: "the own address answers directly"),
    Check("imports", f"Ray is imported within {IMPORT_LIMIT_S:.0f} s on all nodes at once", _imports, _slowest, cheap=False),
    Check("other Rays", "nothing of Ray's in the environment, and no other Ray", _ray_environment, lambda _: "none"),
    Check(
        "scratch",
        "a local disk with room",
        _scratch,
        _each(lambda node: f"{node.scratch.path} ({node.scratch.file_system or 'unknown'})"),
    ),
    Check(
        "shared directory",
        "the same directory on every node, writable",
        _shared,
        _each(lambda node: f"{node.shared.path} ({node.shared.file_system or 'unknown'})"),
        applies=lambda facts: any(node.shared.path for node in facts.nodes),
    ),
    Check(
        "locks",
        "a lock held on one node is refused on another, and granted once it is given back",
        _locks,
        lambda facts: f"{len(facts.locks)} pairs of nodes tried" if facts.locks else "no mount option against it",
        applies=lambda facts: any(node.shared.path for node in facts.nodes),
        cheap=False,
    ),
    Check(
        "durable writes",
        f"at least {SYNCS_PER_S:.0f} files a second",
        _durability,
        _rates,
        applies=lambda facts: any(node.shared.path for node in facts.nodes),
        cheap=False,
    ),
    Check(
        "queue",
        "what is asked for is what the queue gives",
        _batch,
        lambda facts: f"{facts.batch.system}: {facts.batch.partition or 'default partition'}",
        applies=lambda facts: bool(facts.batch.system),
        cheap=False,
    ),
    Check(
        "trial job",
        "events are computed on every node, merged and validated",
        _job,
        _told_job,
        applies=lambda facts: facts.job is not None,
        cheap=False,
    ),
)


def _limit(number: int) -> str:
    return "unlimited" if number < 0 else str(number)
