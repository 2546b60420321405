"""Photographs the page of a made-up job, in light and dark: page-light.png and page-dark.png.

python docs/images/photograph.py

Four nodes of sixteen cores, two hours, one node lost for a while, some events that fail. Needs Chromium, as `make browser` does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from raythena.domain.core_time import NodeTimes
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.progress import NodeProgress, Progress
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport, MergedOutput
from raythena.runtime.clock import SYSTEM_CLOCK
from raythena.runtime.core_time_file import CoreTimeFile
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory

HERE = Path(__file__).parent
NODES, CORES, SPAN_S, EVENTS, FILES = 4, 16, 7200.0, 20_000, 20
PER_FILE = EVENTS // FILES


def make_task(root: Path) -> TaskDirectory:
    """Four nodes, nearly done."""
    task, dice = TaskDirectory(root), np.random.default_rng(7)
    task.root.mkdir()
    inputs = tuple(InputFile(f"EVNT.30737678._{number:06d}.pool.root", f"/data/{number}", PER_FILE) for number in range(FILES))
    outputs = tuple(f"HITS.30737678._{number:06d}.pool.root" for number in range(FILES))
    job = Job(
        "mc23-ttbar", inputs, outputs, PayloadSpec("athenamp"), MergeSpec(), PER_FILE, job_id="5750099001", task_id="30737678"
    )
    task.job.write_text(json.dumps(job.to_dict()))
    began = time.time() - SPAN_S - 60
    ledger = Ledger.create(task.ledger, job)
    ledger.begin_session(SessionInfo("20261128-120000-demo", "host", 1, began))
    times = CoreTimeFile(task, "20261128-120000-demo", began, SYSTEM_CLOCK)
    done = 0
    for number in range(NODES):
        starts, walls, free = [], [], began + 90 + dice.uniform(0, 20, CORES)
        while free.min() < began + SPAN_S:
            core, wall_s = int(free.argmin()), float(dice.lognormal(3.1, 0.35))
            if number == 2 and began + 2500 < free[core] < began + 3300:
                free[core] = began + 3300
            starts.append(free[core])
            walls.append(wall_s)
            free[core] += wall_s + 0.05
        taken = min(len(starts), EVENTS - 900 - done)
        for first in range(0, taken, 200):
            indices = np.arange(done + first, done + min(first + 200, taken))
            for output in np.unique(indices // PER_FILE).tolist():
                mine = indices[indices // PER_FILE == output]
                entries = np.zeros(len(mine), dtype=ENTRY_DTYPE)
                entries["range"], entries["size"], entries["attempt"] = mine, 950_000, 1
                entries["start"] = np.asarray(starts)[mine - done]
                entries["wall_s"] = np.asarray(walls)[mine - done]
                entries["cpu_s"] = entries["wall_s"] * 0.97
                name = f"g{number}-{first}-{output}"
                node = f"nid00{number + 1}.1"
                ledger.commit([GroupStored(GroupReport(name, node, output, name, 950_000 * len(mine), 1, entries))])
        done += taken
        idle = {"initialisation": CORES * 75.0, "between_events": 0.05 * taken, "waiting_for_ranges": 40.0}
        if number == 2:
            idle["waiting_for_disk"] = 800.0 * CORES
        busy_s = CORES * (SPAN_S - 15) - sum(idle.values()) - 540.0
        span = {"began_at": began + 15, "as_of": began + SPAN_S, "computed_s": busy_s, "open_s": 240.0}
        times.note(NodeTimes(node=f"nid00{number + 1}.1", cores=CORES, thrown_away_s={"crash": 300.0}, idle_s=idle, **span))
    for output in range(10):
        merged = MergedOutput(output, outputs[output], f"outputs/{outputs[output]}", "", 950_000_000, 1, PER_FILE, (), 21.0)
        ledger.commit([OutputMerged(merged, ())])
    failures = [
        AttemptFailed(EVENTS - 1 - n, 3, "nid003.1", FailureKind.CRASH, "killed by signal 11", True, began + 4000)
        for n in range(7)
    ]
    ledger.commit(failures)
    ledger.close()
    times.write()
    write_status(task, done)
    return task


def write_status(task: TaskDirectory, done: int) -> None:
    """Running, for another five minutes."""
    nodes = tuple(NodeProgress(f"nid00{n + 1}.1", "up", CORES, CORES, 40, done // NODES, 0.97, 23.0) for n in range(NODES))
    counts = {"events": EVENTS, "ready": 600, "leased": 64, "stored": done - 10_000, "merged": 10_000, "failed": 7}
    more = {"attempts_failed": 21, "outputs": FILES, "outputs_merged": 10, "merging": 1, "resumed": 0, "rate_per_s": 2.7}
    rest = {"remaining_s": 330.0, "elapsed_s": SPAN_S, "occupancy": 0.964, "nodes": nodes}
    progress = Progress(job="mc23-ttbar", phase="running", **counts, **more, **rest)
    writer = {"written_at": time.time() + 60, "host": "nid001", "pid": 1}
    task.status.write_text(json.dumps({**progress.to_dict(), **writer}))


def main() -> None:
    """Take the photographs."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        task = make_task(Path(place) / "mc23.raythena")
        command = [sys.executable, "-c", "from raythena.cli import main; main()", "monitor", str(task.root)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        address = server.stdout.readline().strip()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1000, "height": 1000}, color_scheme=scheme)
            page.goto(address)
            page.wait_for_selector("#core-time tbody tr")
            page.wait_for_selector("#phase:has-text('running')")
            page.wait_for_timeout(1500)
            page.screenshot(path=HERE / f"page-{scheme}.png")
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main()
