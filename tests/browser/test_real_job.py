"""The page of a real job: from its first events, through failures, to its end and beyond."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

sys.path.insert(0, str(Path(__file__).parents[1]))

from job_kit import Command, eventually, make_job, raythena_processes
from raythena.domain.errors import ExitCode

SOON_MS = 120_000


def address_of(command):
    """Where the command says that its page is."""
    told = eventually(lambda: [line["text"] for line in command.lines() if "page: " in line.get("text", "")], "an address")
    return told[0].removeprefix("page: ")


def go(page, part):
    page.evaluate("delete document.body.dataset.shown")
    page.click(f"#parts a[href='#{part}']")
    page.wait_for_selector(f"body[data-shown={part}]")


def whole(text):
    return int(text.replace(",", ""))


def finished(page):
    found = re.search(r"([\d,]+) of [\d,]+ events", page.inner_text("#figures"))
    return whole(found[1]) if found else 0


def test_a_job_is_watched_from_its_beginning_to_its_end_and_after_it(chromium, tmp_path, raythena):
    mark = tmp_path.name
    toy = make_job(tmp_path, [400, 100], 100, {"cpu_s": 0.05, "fail": ["f1.evnt-3"], "crash": ["f2.evnt-1"]})
    command = Command(mark, toy, "--page", "--set", "engine.max_attempts=2")
    page = chromium.new_page()
    page.set_default_timeout(SOON_MS)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto(address_of(command))
        watch_it_run(page)
        watch_it_fail(page)
        assert command.wait() == ExitCode.INCOMPLETE, command.errors
    finally:
        if command.running:
            command.send(signal.SIGKILL)
            command.wait()
    assert raythena_processes(mark) == [], "the page ends with the command"
    look_back(page, toy, raythena)
    assert complaints == []
    page.close()


def watch_it_run(page):
    """Figures move without anybody asking, and are those of the records in the end."""
    expect(page.locator("#phase")).to_have_text("running", timeout=SOON_MS)
    eventually(lambda: finished(page) > 0, "events")
    before = finished(page)
    eventually(lambda: finished(page) > before or page.wait_for_timeout(200), "more events")
    go(page, "occupancy")
    eventually(lambda: page.evaluate("view.heat && view.heat.about.columns > 0 || (refresh(), false)"), "occupancy", pause_s=0.5)
    go(page, "nodes")
    expect(page.locator("#node-table tbody tr")).to_have_count(2, timeout=SOON_MS)
    assert [violation["id"] for violation in Axe().run(page).response["violations"]] == []


def watch_it_fail(page):
    """An event that fails is a click from the log lines that explain it, while the job goes on."""
    go(page, "failures")
    eventually(lambda: page.evaluate("document.querySelector('.cause') !== null || (refresh(), false)"), "a cause", pause_s=0.5)
    page.locator(".cause button").first.click()
    page.wait_for_selector("#story[open]")
    assert "failed" in page.inner_text("#story-lines")
    assert ".log" in page.inner_text("#story-lines")
    page.keyboard.press("Escape")
    expect(page.locator("#left")).to_contain_text("given up")


def look_back(page, toy, raythena):
    """The same page opens from the task directory when everything is over."""
    server = subprocess.Popen([*raythena, "monitor", str(toy.task)], stdout=subprocess.PIPE, text=True)
    try:
        page.goto(server.stdout.readline().strip())
        expect(page.locator("#phase")).to_have_text("incomplete")
        assert page.locator("#phase.bad").count() == 1
        assert finished(page) == 498
        go(page, "ranges")
        page.select_option("select[name=state]", "failed")
        page.click("#filter button")
        expect(page.locator("#range-table tbody tr")).to_have_count(2)
        go(page, "merges")
        expect(page.locator("#merge-table tbody tr")).to_have_count(5)
        page.goto("about:blank")
    finally:
        server.terminate()
        server.wait(10)
