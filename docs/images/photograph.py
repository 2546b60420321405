"""Photographs the page and the report of a made-up job: page-light.png, page-dark.png, page-phone.png, page-node.png, report.png.

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
from playwright.sync_api import Browser, sync_playwright

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
        busy_s = float(np.sum(walls[:taken]))
        idle["tail"] = max(0.0, CORES * (SPAN_S - 15) - sum(idle.values()) - 540.0 - busy_s)
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
        for name, width, scheme in (("light", 1000, "light"), ("dark", 1000, "dark"), ("phone", 390, "light")):
            page = browser.new_page(viewport={"width": width, "height": 1000 if width > 500 else 844}, color_scheme=scheme)
            page.goto(address)
            page.wait_for_selector("#core-time tbody tr")
            page.wait_for_selector("#phase:has-text('running')")
            page.wait_for_timeout(1500)
            page.screenshot(path=HERE / f"page-{name}.png")
        page = browser.new_page(viewport={"width": 1000, "height": 700}, color_scheme="dark")
        page.goto(address)
        page.click("#parts a[href='#occupancy']")
        page.wait_for_function("view.heat && view.heat.about.columns > 0")
        page.evaluate("openNode(2, view.heat.about.columns * 0.33)")
        page.wait_for_selector("body[data-node]")
        page.wait_for_timeout(500)
        page.screenshot(path=HERE / "page-node.png")
        photograph_report(browser, task, Path(place) / "report.html")
        browser.close()
        server.terminate()


def photograph_report(browser: Browser, task: TaskDirectory, path: Path) -> None:
    """The same job as one file."""
    command = [sys.executable, "-c", "from raythena.cli import main; main()", "report", str(task.root)]
    subprocess.run([*command, "--html", str(path), "--no-proof"], check=True)
    page = browser.new_page(viewport={"width": 1000, "height": 1000}, color_scheme="light")
    page.goto(path.as_uri())
    page.locator("#core_time").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('core_time').scrollIntoView()")
    page.screenshot(path=HERE / "report.png")


if __name__ == "__main__":
    main()
