"""From the beginning of an allocation to its first event, and to events on all nodes, by phase, on real Slurm.

Clusters of several sizes on this machine, which share its processors: what is measured is the work of a start, not what a site's
own disks and network add. Each runs one job of synthetic events until every node has computed one. No node may wait for another:
the first event has to begin before the last node has registered, and a node that has registered begins soon after.

Needs root and the packages of `make slurm`. Exit code 0 when every node computed and none waited, 77 where it cannot be tried.

    python tests/campaigns/start_phases.py --nodes 4 --nodes 8
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "slurm")]

CANNOT = 77
LIMIT_S = 240.0
_STAMP = r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) .*?"
_REGISTERED = re.compile(_STAMP + r"node (\S+) registered:", re.MULTILINE)


@dataclass(frozen=True)
class Start:
    """One start; seconds since the allocation began."""

    command_s: float
    coordinator_s: float
    registered_s: dict[str, float]
    first_event_s: dict[str, float]

    def rows(self) -> list[tuple[str, float, float]]:
        """(phase, seconds to the first node, seconds to all nodes)."""
        return [
            ("the command begins", self.command_s, self.command_s),
            ("the coordinator is up", self.coordinator_s, self.coordinator_s),
            ("a node has registered", min(self.registered_s.values()), max(self.registered_s.values())),
            ("an event has begun", min(self.first_event_s.values()), max(self.first_event_s.values())),
        ]

    def longest_wait_s(self) -> float:
        """Between a node's registration and its first event, at most."""
        return max(self.first_event_s[host] - at for host, at in self.registered_s.items())

    def nobody_waited(self) -> bool:
        """The first node computed before the last one was there."""
        return min(self.first_event_s.values()) < max(self.registered_s.values())


def seconds(stamp: str, milliseconds: str) -> float:
    """A log's time, in seconds since the epoch."""
    return time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S")) + int(milliseconds) / 1000


def measure(nodes: int) -> Start:
    """Start a cluster of so many nodes, and a job on all of them."""
    from slurm_kit import committed, events_by_host, hurry, run_toy, toy_job

    from raythena.runtime.core_time_file import read_sessions
    from raythena.storage.ledger_view import LedgerView
    from raythena.storage.taskdir import TaskDirectory
    from slurm_cluster.cluster import SlurmCluster
    from slurm_cluster.nodes import eventually

    place = Path(tempfile.mkdtemp(prefix="raythena-phases-", dir="/var/tmp"))
    try:
        with SlurmCluster(place, nodes) as cluster:
            toy = toy_job(cluster, 1500 * nodes)
            clock = cluster.shared / "began"
            job = run_toy(cluster, toy, "", f"--nodes={nodes}", before=f"date +%s.%N > {clock}")

            def all_compute() -> bool:
                return committed(toy) > 0 and set(events_by_host(toy.task)) >= set(cluster.nodes)

            eventually(all_compute, f"events on {nodes} nodes of {job}", LIMIT_S, 0.5)
            hurry(toy)
            job.ended(LIMIT_S)
            began = float(clock.read_text())
            (log,) = (path.read_text() for path in toy.task.glob("logs/*/coordinator.log"))
            with LedgerView.read(toy.task / "ledger.sqlite") as ledger:
                firsts = {node.node.partition("-")[0]: node.first_start - began for node in ledger.summary().nodes}
            (session,) = read_sessions(TaskDirectory(toy.task))
            found = [(seconds(*match.groups()[:2]), match[3].partition("-")[0]) for match in _REGISTERED.finditer(log)]
            registered = {host: at - began for at, host in reversed(found)}
            up = re.search(_STAMP, log, re.MULTILINE)
            assert up is not None
            return Start(session.began_at - began, seconds(up[1], up[2]) - began, registered, firsts)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> int:
    """Measure each size and print the table."""
    from slurm_cluster.cluster import missing_requirements

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, action="append", metavar="N", help="nodes of a cluster; repeatable (4)")
    sizes = parser.parse_args().nodes or [4]
    if reason := missing_requirements():
        print(f"cannot be tried here: {reason}")
        return CANNOT
    sound = True
    for nodes in sizes:
        start = measure(nodes)
        print(f"{nodes} nodes: seconds since the allocation began, to the first node and to all")
        for phase, first, everybody in start.rows():
            print(f"  {phase:24} {first:8.1f} {everybody:8.1f}")
        print(f"  {'from there to an event':24} {start.longest_wait_s():8.1f} at most")
        if not start.nobody_waited():
            print("  the first node waited for the last one")
            sound = False
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
