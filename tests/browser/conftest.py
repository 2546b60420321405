"""A real browser, and the page of a task in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "monitor"))

from page_kit import task_in
from playwright.sync_api import sync_playwright

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


@pytest.fixture
def address(task):
    """Where `raythena monitor` serves the task, as it says."""
    server = subprocess.Popen([*RAYTHENA, "monitor", str(task.root)], stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().strip()
    server.terminate()
    server.wait(10)


@pytest.fixture
def complaints():
    """What a page complained of; must be empty at the end."""
    heard = []
    yield heard
    assert heard == []


@pytest.fixture
def visit(chromium, address, complaints):
    """Open the page; keywords are those of a browser context."""
    contexts = []

    def open_page(**how):
        context = chromium.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append("a dialog of somebody else's"))
        page.goto(address)
        page.wait_for_selector("body[data-shown=overview]")
        return page

    yield open_page
    for context in contexts:
        context.close()
