"""`raythena harvest` as a Slurm job of four nodes, from the batch template as it is printed, with Harvester beside it.

Both kinds of jobs of PanDA's; the job ends by itself, by the batch system's warning, and by loss of power everywhere.
"""

import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from harvester_kit import LOG, OUTPUTS, RACES, Site, hits
from slurm_kit import OVER, assert_nothing_left

from raythena.gateways.harvester.access_point import AccessPoint
from raythena.gateways.harvester.harvester_config import FileNames
from raythena.monitor.snapshot import read_snapshot
from raythena.storage.taskdir import TaskDirectory
from slurm_cluster.nodes import eventually

PAGE = Path(__file__).parents[2] / "docs" / "harvester.md"
TEMPLATE = re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", PAGE.read_text(), re.DOTALL)[1]
ALL = ("n1", "n2", "n3", "n4")


class Worker:
    """One batch job of Harvester's: the printed template, filled in as Harvester does, for an installation on the shared disk."""

    def __init__(self, cluster, site, *, minutes=10):
        self._cluster = cluster
        self.site = site
        home = site.directory / "installed"
        (home / "bin").mkdir(parents=True, exist_ok=True)
        (home / "etc").mkdir(exist_ok=True)
        if not (home / "bin/raythena").exists():
            (home / "bin/raythena").symlink_to(Path(sys.executable).parent / "raythena")
            (home / "etc/payload.yaml").symlink_to(site.directory / "payload.yaml")
        script = site.directory / "worker.sh"
        filled = TEMPLATE.format(
            nNode=4, nCorePerNode=2, requestWalltimeMinute=minutes, accessPoint=site.point, workerID=site.document["PandaID"]
        )
        assert filled.count("/opt/raythena") == 1
        script.write_text(filled.replace("/opt/raythena", str(home)))
        self.id = cluster.run("sbatch", "--parsable", script)

    def __repr__(self):
        return f"job {self.id} ({self.state}): {self.text()}"

    @property
    def state(self):
        return self._cluster.run("squeue", "--noheader", "--states=all", f"--jobs={self.id}", "--format=%T")

    def text(self):
        path = self.site.point / f"{self.site.document['PandaID']}.out"
        return path.read_text() if path.exists() else ""

    @property
    def task(self):
        where = AccessPoint(self.site.point, FileNames()).remembered_task()
        return None if where is None else TaskDirectory(where)

    def progress(self):
        assert self.state not in OVER, f"over too early: {self}"
        task = self.task
        snapshot = None if task is None else read_snapshot(task.status)
        return snapshot and snapshot.progress

    def until(self, condition, what):
        eventually(lambda: (now := self.progress()) is not None and condition(now), what, 120, 0.2)

    def until_all_are_busy(self):
        """Events that are held are on every node."""

        def hosts(progress):
            return {node.name.partition("-")[0] for node in progress.nodes if node.busy}

        self.until(lambda progress: hosts(progress) >= set(ALL), "events on every node")

    def ended(self, limit_s=150):
        """Wait for the end, and have Harvester see it; the state and the exit code."""
        eventually(lambda: self.state in OVER, f"the end of {self}", limit_s, 0.3)
        said = self._cluster.run("scontrol", "show", "job", self.id)
        code = int(said.partition(" ExitCode=")[2].partition(":")[0])
        self.site.ended(code, self.state)
        return self.state, code


@pytest.fixture(autouse=True)
def nothing_left(cluster):
    yield
    assert_nothing_left(*cluster.nodes.values(), limit_s=30)


@pytest.fixture
def site(cluster, tmp_path_factory):
    """Make a worker's place on the shared disk."""

    def make(kind, events, seed, **more):
        return Site(cluster.shared / f"site-{kind}-{seed}", kind, events, seed, **more)

    return make


def assert_merged(site):
    """Every event of every input is in the output it belongs in, and PanDA has all of them."""
    assert site.panda.complaints == []
    assert site.panda.status == "finished"
    assert sorted(site.panda.registered) == [*OUTPUTS, LOG]
    for number, lfn in enumerate(OUTPUTS):
        assert hits(site.panda.staged[lfn]["path"]) == site.expected(range(2 * number, 2 * number + 2))


def assert_told(site):
    """PanDA has every event once, each with an output that says it."""
    assert site.panda.complaints == []
    assert [event.finished for event in site.panda.events] == [1] * len(site.panda.events)
    for event in site.panda.events:
        assert hits(site.output_of(event)) == [site.number(event)]
    assert site.panda.status == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["merge", "events"])
def test_a_whole_job_on_every_node(cluster, site, kind):
    with site(kind, 20, seed=11) as here:
        worker = Worker(cluster, here)
        worker.until_all_are_busy()
        here.hold.unlink()
        assert worker.ended() == ("COMPLETED", 0), worker
    (assert_merged if kind == "merge" else assert_told)(here)


@pytest.mark.slow
def test_the_warning_of_the_batch_system_leaves_the_rest_to_another_job(cluster, site):
    """What is done is handed over within the grace time; the next worker, on the same nodes, does the rest."""
    with site("merge", 20, seed=12) as here:
        worker = Worker(cluster, here)
        worker.until(lambda progress: progress.outputs_merged == 1, "an output merged")
        cluster.run("scancel", "--signal=TERM", "--batch", worker.id)
        worker.until(lambda progress: progress.phase == "draining", "the job drains")
        here.hold.unlink()
        assert worker.ended() == ("COMPLETED", 0), worker
    assert here.panda.complaints == []
    assert here.panda.status == "finished"
    assert sorted(here.panda.registered) == [OUTPUTS[0], LOG]
    assert here.panda.skipped == here.document["inFiles"].split(",")[2:]
    with here.next_job() as following:
        worker = Worker(cluster, following)
        assert worker.ended() == ("COMPLETED", 0), worker
    assert following.panda.complaints == []
    output = following.document["outFiles"].split(",")[0]
    assert hits(following.panda.staged[output]["path"]) == following.expected(range(2, 4))


@pytest.mark.slow
def test_ranges_of_panda_are_told_before_the_end(cluster, site):
    """The warning comes; what is finished is told, then the error, then the exit code."""
    with site("events", 10, seed=13, races=replace(RACES, lost_reports=False)) as here:
        worker = Worker(cluster, here)
        worker.until(lambda progress: progress.stored + progress.merged >= 10, "some events stored")
        cluster.run("scancel", "--signal=TERM", "--batch", worker.id)
        worker.until(lambda progress: progress.phase == "draining", "the job drains")
        here.hold.unlink()
        assert worker.ended() == ("FAILED", 5), worker
    assert here.panda.complaints == []
    finished = [event for event in here.panda.events if event.finished]
    assert len(finished) >= 10
    for event in finished:
        assert hits(here.output_of(event)) == [here.number(event)]
    assert (here.panda.status, here.panda.attributes["pilotErrorCode"]) == ("failed", 1201)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["merge", "events"])
def test_everything_is_killed_and_the_worker_starts_again(cluster, site, kind):
    """Every process of the job dies in one moment, on all nodes; the same worker, started again, does the rest."""
    with site(kind, 20, seed=14) as here:
        worker = Worker(cluster, here)
        worker.until(lambda progress: progress.stored + progress.merged >= 30, "events stored")
        for node in cluster.nodes.values():
            for process in node.processes():
                if process.name not in {"slurmd", "slurmstepd"}:
                    process.kill(signal.SIGKILL)
        eventually(lambda: worker.state in OVER, f"the end of {worker}", 60, 0.3)
        for node in cluster.nodes.values():
            node.forget_disk()
        here.hold.unlink()
        again = Worker(cluster, here)
        assert again.ended(200) == ("COMPLETED", 0), again
    (assert_merged if kind == "merge" else assert_told)(here)


@pytest.mark.slow
def test_the_head_node_dies_and_the_next_life_of_the_job_says_that_it_is_done(cluster, site):
    """Another node takes its place and does the rest; Harvester sees the batch job end as it would have."""
    with site("merge", 20, seed=15) as here:
        worker = Worker(cluster, here)
        worker.until_all_are_busy()
        head = cluster.nodes["n1"]
        head.lose_power()
        here.hold.unlink()
        eventually(lambda: worker.state == "PENDING", "back in the queue", 300, 0.5)
        assert (worker.task.root / "jobReport.json").exists(), "the job is done before"
        said = "".join(path.read_text() for path in worker.task.logs.glob("*/launch.log"))
        assert "takes over from session" in said
        head.forget_disk()
        head.start()
        cluster.run("scontrol", "update", f"JobId={worker.id}", "StartTime=now", check=False)
        assert worker.ended(200) == ("COMPLETED", 0), worker
    assert_merged(here)
