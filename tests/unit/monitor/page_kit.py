"""Task directories and a page server for tests of the page."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
from aiohttp.test_utils import TestClient, TestServer

from raythena.domain.core_time import NodeTimes
from raythena.domain.gateway_talk import Saying, Talk
from raythena.domain.job import Job
from raythena.domain.progress import NodeProgress, Progress
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged
from raythena.domain.results import FailureKind, MergedOutput
from raythena.monitor.page_server import PageServer
from raythena.runtime.core_time_file import CoreTimeFile
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.clocks import ManualClock
from raythena.testing.simulation.samples import entries_of, group_of, small_job

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=alert(1)>\u202e\x1b[31m"
PROGRESS = Progress(
    job=HOSTILE,
    phase="running",
    events=12,
    ready=5,
    leased=0,
    stored=2,
    merged=4,
    failed=1,
    attempts_failed=2,
    outputs=4,
    outputs_merged=1,
    merging=1,
    resumed=0,
    rate_per_s=0.5,
    remaining_s=14.0,
    elapsed_s=10.0,
    occupancy=0.9,
    nodes=(NodeProgress("n1.1", "up", 2, 2, 2, 6, 0.9, 1.5),),
    warnings=(f"node n1: {HOSTILE}",),
)


def task_in(path) -> TaskDirectory:
    """A job that is half done: four events merged, two stored, one given up, five open."""
    job = replace(small_job((6, 6), 4), name=HOSTILE, source={"computingSite": "KIT_TEST_ES"})
    task = TaskDirectory(path / "sim.raythena")
    task.logs.joinpath("s1", "n1.1").mkdir(parents=True)
    task.job.write_text(json.dumps(job.to_dict()))
    ledger = _ledger(task, job)
    ledger.close()
    write_status(task)
    file = CoreTimeFile(task, "s1", 1_700_000_000.0, ManualClock(1_700_000_100.0))
    times = {"thrown_away_s": {"crash": 10.0}, "idle_s": {"between_events": 30.0}}
    span = {"began_at": 1_700_000_010.0, "as_of": 1_700_000_090.0, "computed_s": 120.0, "open_s": 0.0}
    file.note(NodeTimes(node="n1.1", cores=2, **span, **times))
    file.write()
    talk = (
        Talk("Harvester", f"/access/{HOSTILE}")
        .with_said(Saying.ASKED, 12, 1_700_000_001.0)
        .with_said(Saying.TOLD, 7, 1_700_000_050.0)
    )
    task.talk("s1").write_bytes(msgspec.json.encode(talk))
    task.logs.joinpath("s1", "coordinator.log").write_text("2023-11-14 22:13:20,0 INFO begins\n")
    task.logs.joinpath("s1", "n1.1", "worker_1.log").write_text("a word\n")
    task.logs.joinpath("s1", "n1.1", "agent.log").write_text(f"2023-11-14 22:13:25,1 WARNING range 4 failed: {HOSTILE}\n")
    return task


def _ledger(task: TaskDirectory, job: Job) -> Ledger:
    ledger = Ledger.create(task.ledger, job)
    ledger.begin_session(SessionInfo("s1", "host", 1, 1_700_000_000.0))
    groups = [group_of(name, "n1.1", output, ranges) for name, output, ranges in (("a", 0, [0, 1, 2, 3]), ("b", 2, [6, 7]))]
    groups = [replace(group, entries=entries_of(group.entries["range"], 1.0, 1_700_000_020.0)) for group in groups]
    merged = OutputMerged(MergedOutput(0, job.outputs[0], "outputs/o", "G", 4000, 1, 4, (), 0.5), ("a",))
    failures = [
        AttemptFailed(4, attempt, "n1.1", FailureKind.CRASH, HOSTILE, attempt == 2, 1_700_000_005.0) for attempt in (1, 2)
    ]
    ledger.commit([*map(GroupStored, groups), merged, *failures])
    return ledger


def write_status(task: TaskDirectory, **changes: object) -> None:
    writer = {"written_at": 4e9, "host": "elsewhere", "pid": 1}
    task.status.write_text(json.dumps({**PROGRESS.to_dict(), **writer, **changes}))


@asynccontextmanager
async def page_of(task: TaskDirectory, *, token: str | None = None):
    """A client of a page server for this task, with its token or another one."""
    server = PageServer(task)
    headers = {"Authorization": f"Bearer {server.token if token is None else token}"}
    async with TestClient(TestServer(server.application()), headers=headers) as client:
        client.token = server.token
        yield client
