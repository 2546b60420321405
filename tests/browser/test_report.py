"""The report in a real browser: opened as a file, searched, saved; nobody left out, nothing foreign run."""

from __future__ import annotations

import json
import subprocess

import pytest
from axe_playwright_python.sync_playwright import Axe
from page_kit import HOSTILE
from playwright.sync_api import expect

from raythena.domain.ranges import RangeLayout
from raythena.monitor.snapshot import read_job

expect.set_options(timeout=30_000)


@pytest.fixture
def report(task, tmp_path, raythena):
    """A report of the task, as `raythena report --html` writes it."""
    path = tmp_path / "report.html"
    subprocess.run([*raythena, "report", str(task.root), "--html", str(path)], check=True, capture_output=True)
    return path


@pytest.fixture
def opened(chromium, report, complaints):
    """Open the file, with no network at all; keywords are those of a browser context."""
    contexts = []

    def open_report(**how):
        context = chromium.new_context(**how)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append("a dialog of somebody else's"))
        page.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else complaints.append(asked.url)
        )
        page.goto(report.as_uri())
        page.locator("#ranges").scroll_into_view_if_needed()
        page.wait_for_selector("body[data-found]")
        return page

    yield open_report
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_left_out(opened, scheme):
    page = opened(color_scheme=scheme)
    assert [violation["id"] for violation in Axe().run(page).response["violations"]] == []


def test_foreign_names_are_shown_and_not_run(opened):
    page = opened()
    assert HOSTILE.partition("\u202e")[0] + "[U+202E][U+001B][31m" in page.inner_text("h1")
    assert page.locator("main script, main img:not(.heat), header img").count() == 0
    assert "\u202e" not in page.inner_text("body")
    assert page.title() != "taken"


def test_records_are_searched_in_the_file(opened, task):
    page = opened()
    ids = [RangeLayout(read_job(task).inputs).range_id(index) for index in range(12)]
    assert page.locator("#range-table tbody tr td:first-child").all_inner_texts() == ids
    assert page.inner_text("#found").startswith("rows 1 to 12 of 12; 6.00 s of core time, 1.00 s an event")
    page.select_option("select[name=state]", "failed")
    page.click("#filter button")
    expect(page.locator("#range-table tbody tr")).to_have_count(1)
    assert "crash" in page.inner_text("#range-table tbody")
    page.select_option("select[name=state]", "")
    page.fill("input[name=message]", "onerror")
    page.click("#filter button")
    expect(page.locator("#range-table tbody tr")).to_have_count(1)
    page.fill("input[name=message]", "")
    page.fill("input[name=longer]", "1.5")
    page.click("#filter button")
    expect(page.locator("#found")).to_have_text("no range is like that")


def test_records_are_ordered_and_what_has_no_figure_comes_last(opened):
    page = opened()
    page.select_option("select[name=sort]", "started_at")
    page.click("#filter button")
    page.wait_for_function("document.querySelector('#found').textContent.startsWith('rows 1')")
    states = page.locator("#range-table tbody tr td:nth-child(5)").all_inner_texts()
    assert states.index("open") >= 6


def test_a_page_of_an_order_with_many_equal_keys_is_the_stretch_it_says(opened):
    """Of keys 0 0 0 … 1 1 1 … each row comes once, equal ones in the order of events."""
    page = opened()
    made = """() => {
      const keys = Float64Array.from({ length: 1000 }, (_, at) => at % 3), matching = Uint32Array.from(keys, (_, at) => at);
      const order = { matching, keys, sorted: keys.slice().sort() }, seen = [];
      for (let from = 0; from < 1000; from += PAGE_ROWS) seen.push(...pageOf(order, from));
      return seen;
    }"""
    assert page.evaluate(made) == sorted(range(1000), key=lambda at: (at % 3, at))


def test_what_is_saved_is_what_is_there(opened, tmp_path):
    page = opened()
    with page.expect_download() as saved:
        page.click("button[data-save=failures]")
    assert json.loads(saved.value.path().read_text())["rows"][0][1] == "crash"
    with page.expect_download() as saved:
        page.click("#save")
    assert saved.value.path().read_bytes()[:4] == b"PAR1"


def test_it_fits_on_a_telephone(opened):
    page = opened(viewport={"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_its_script_everything_but_the_search_is_there(chromium, report):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#summary-rows tbody tr").count() > 10
    assert page.locator("#core_time svg").count() == 1
    assert "takes the script" in page.inner_text("#ranges")
    context.close()
