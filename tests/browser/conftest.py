"""A real browser, and the page of a task in a process of its own."""

from __future__ import annotations

import asyncio
import queue
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "monitor"))

from page_kit import HOSTILE, task_in
from playwright.sync_api import sync_playwright

from raythena.domain.scan.scan_file import parse_scan
from raythena.domain.scan.trial import Point, TrialReport, TrialResult
from raythena.monitor.page_server import PageServer, Place
from raythena.tune.scan_document import scan_document
from raythena.tune.scan_results import ScanResults, TrialRow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RAYTHENA = (sys.executable, "-c", "from raythena.cli import main; main()")


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.fail("no Chromium here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def raythena():
    """The command, as a process of its own begins."""
    return RAYTHENA


@pytest.fixture
def task(tmp_path):
    return task_in(tmp_path)


def served(task):
    """Where `raythena monitor` serves the task, as it says."""
    server = subprocess.Popen([*RAYTHENA, "monitor", str(task.root)], stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().strip()
    server.terminate()
    server.wait(10)


@pytest.fixture
def address(task):
    """Of a task that the test may change."""
    yield from served(task)


@pytest.fixture(scope="session")
def standing_address(tmp_path_factory):
    """Of a task that nobody changes."""
    yield from served(task_in(tmp_path_factory.mktemp("standing")))


@pytest.fixture
def scan_address(task):
    """Where a page is served whose job is a scan of seven points and one that failed."""
    address, ended = queue.Queue(), threading.Event()

    async def serve():
        serving = asyncio.create_task(PageServer(task, scan_of_seven).serve(Place(), address.put))
        await asyncio.to_thread(ended.wait)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    yield address.get(timeout=30)
    ended.set()
    thread.join()


def scan_of_seven():
    """What the server is told of it."""
    space = {"rate": {"method": "uniform", "low": 0, "high": 1}}
    document = {"name": "net", "space": space, "budget": {"points": 9}, "trial": {"python": "m:f"}}
    rows = []
    for number in range(1, 8):
        reports = tuple(TrialReport(float(step), number + 1.0 / step, 0.1) for step in (1, 2, 4))
        result = TrialResult(number, {"rate": 0.1 * number}, {"loss": float(abs(number - 3))}, False, reports, 1.0)
        rows.append(TrialRow(Point(number, {"rate": 0.1 * number}), "finished", result))
    rows.append(TrialRow(Point(8, {"rate": 0.9}), "failed", reason=HOSTILE))
    told = scan_document(ScanResults(parse_scan(document, "scan.yaml"), tuple(rows)))
    told["rows"][1][-1] = HOSTILE
    return told


@pytest.fixture
def complaints():
    """What a page complained of; must be empty at the end."""
    heard = []
    yield heard
    assert heard == []


@pytest.fixture
def opening(chromium, complaints):
    """Open the page at an address; keywords are those of a browser context."""
    contexts = []

    def open_page(address, **how):
        context = chromium.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append("a dialog of somebody else's"))
        page.goto(address)
        page.wait_for_selector("body[data-shown=overview]")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def visit(opening, standing_address):
    """Open the page of a task that nobody changes."""
    return partial(opening, standing_address)


@pytest.fixture
def visit_own(address, opening):
    """Open the page of the test's own task."""
    return partial(opening, address)
