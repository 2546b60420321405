"""What the tests on Slurm share: batch jobs that run `raythena`, what became of them, and what is left on the nodes."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from pathlib import Path

from job_kit import ToyJob, make_job
from raythena.storage.ledger_view import LedgerView
from slurm_cluster.cluster import SlurmCluster
from slurm_cluster.nodes import Node, eventually

RAYTHENA = f"{sys.executable} -P -m raythena.cli"
OVER = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"})
FEW_S = 120.0


class BatchJob:
    """One job of Slurm's with a script that ends in one command."""

    def __init__(self, cluster: SlurmCluster, command: str, *options: str, before: str = "") -> None:
        self._cluster = cluster
        self.output = cluster.shared / f"output-{time.monotonic_ns()}"
        script = cluster.shared / f"script-{time.monotonic_ns()}.sh"
        script.write_text(f"#!/bin/bash\n{before}\nexec {command}\n")
        chosen = ["--nodes=4", "--cpus-per-task=2", "--no-kill", "--open-mode=append", *options, f"--output={self.output}"]
        self.id = cluster.run("sbatch", "--parsable", *chosen, str(script))

    def __repr__(self) -> str:
        return f"job {self.id} ({self.state}): {self.text()}"

    @property
    def state(self) -> str:
        """As squeue has it."""
        return self._cluster.run("squeue", "--noheader", "--states=all", f"--jobs={self.id}", "--format=%T")

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text() if self.output.exists() else ""

    def until_said(self, words: str, limit_s: float = FEW_S) -> None:
        """Wait until it has printed something."""
        eventually(lambda: words in self.text() or self._ended_without(words), f"{words!r} from {self}", limit_s)

    def _ended_without(self, words: str) -> bool:
        assert self.state not in OVER, f"over without {words!r}: {self}"
        return False

    def ended(self, limit_s: float = FEW_S) -> str:
        """Wait for the end; the state it ended in."""
        eventually(lambda: self.state in OVER, f"the end of {self.id}", limit_s, 0.3)
        return self.state

    def cancel(self, *options: str) -> None:
        """Have Slurm end it."""
        self._cluster.run("scancel", *options, self.id)


def raythena_job(cluster: SlurmCluster, arguments: str, *options: str, before: str = "") -> BatchJob:
    """A batch job that runs a `raythena` command."""
    return BatchJob(cluster, f"{RAYTHENA} {arguments}", *options, before=before)


HURRIED = """
import time
from pathlib import Path
from raythena.testing.synthetic import process as compute, setup

def process(event_range, context):
    until = time.monotonic() + 0.2
    while time.monotonic() < until and not Path({hurry!r}).exists():
        time.sleep(0.02)
    return compute(event_range, context)
"""


def toy_job(cluster: SlurmCluster, events: int = 6000) -> ToyJob:
    """A job of synthetic events on the shared disk: a fifth of a second each until `hurry` is called, then nothing."""
    place = cluster.shared / f"toy-{time.monotonic_ns()}"
    place.mkdir()
    (place / "hurried.py").write_text(HURRIED.format(hurry=str(place / "hurry")))
    payload = {"python": "hurried:process", "setup": "hurried:setup", "path": [str(place)], "options": {}}
    return make_job(place, [events], events // 2, payload=payload)


def hurry(toy: ToyJob) -> None:
    """All that was to be seen has been seen."""
    (toy.path.parent / "hurry").touch()


def until_all_compute(toy: ToyJob, *names: str) -> None:
    """Wait until the ledger has events from each of these nodes."""
    eventually(lambda: committed(toy) and set(events_by_host(toy.task)) >= set(names), f"events from {names}", FEW_S)


def run_toy(cluster: SlurmCluster, toy: ToyJob, more: str = "", *options: str, before: str = "") -> BatchJob:
    """A batch job that runs a toy job."""
    paths = shlex.join(["run", str(toy.path), "--taskdir", str(toy.task), "--display", "lines"])
    return raythena_job(cluster, f"{paths} {more}", *options, before=before)


def events_by_host(task: Path) -> Counter[str]:
    """How many committed events each host computed, as the ledger has it."""
    counts: Counter[str] = Counter()
    with LedgerView.read(task / "ledger.sqlite") as ledger:
        for node in ledger.summary().nodes:
            counts[node.node.partition("-")[0]] += node.events
    return counts


def committed(toy: ToyJob) -> int:
    """Events in the ledger so far."""
    return sum(events_by_host(toy.task).values()) if (toy.task / "ledger.sqlite").exists() else 0


def launch_log(toy: ToyJob) -> str:
    """What the launcher had to say."""
    return "".join(path.read_text() for path in sorted(toy.task.glob("logs/*/launch.log")))


def left_on(node: Node) -> list[str]:
    """Processes and files on a node that are not Slurm's own."""
    ours = [process.command for process in node.processes() if process.name not in {"slurmd", "slurmstepd", "bash", "sleep"}]
    return [*ours, *node.files()]


def assert_nothing_left(*nodes: Node, limit_s: float = 20.0) -> None:
    """Neither a process nor a file of ours is on any of these nodes, or will be soon."""
    deadline = time.monotonic() + limit_s
    while (left := {node.name: left_on(node) for node in nodes if left_on(node)}) and time.monotonic() < deadline:
        time.sleep(0.3)
    assert not left, "; ".join(f"{name}: {len(found)}, such as {found[:5]}" for name, found in left.items())
