"""The page in a real browser: everything is shown, nothing foreign is run, nobody is left out."""

from __future__ import annotations

from importlib.resources import files

import pytest
from axe_playwright_python.sync_playwright import Axe
from page_kit import HOSTILE, write_status
from playwright.sync_api import expect

expect.set_options(timeout=30_000)

PARTS = ("overview", "occupancy", "ranges", "merges", "failures", "harvester", "nodes", "logs")
VISIBLE = "[U+202E][U+001B][31m"
"""What is left to see of what would turn or hide text."""


def go(page, part):
    page.evaluate("delete document.body.dataset.shown")
    page.click(f"#parts a[href='#{part}']")
    page.wait_for_selector(f"body[data-shown={part}]")


def rows(page):
    return page.locator("#range-table tbody tr").count()


@pytest.mark.parametrize("part", PARTS)
def test_foreign_names_are_shown_and_not_run(visit, part):
    page = visit()
    go(page, part)
    assert HOSTILE.partition("\u202e")[0] + VISIBLE in page.inner_text("#job")
    assert page.locator("main script, main img, header img").count() == 0
    assert "taken" not in page.title() or "<script>" in page.title()
    assert "\u202e" not in page.inner_text("body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("part", PARTS)
def test_nobody_is_left_out(visit, part, scheme):
    """axe finds nothing: names for everything, contrast, order of headings, regions that the keyboard reaches."""
    page = visit(color_scheme=scheme)
    expect(page.locator("#phase")).to_have_text("running")
    go(page, part)
    assert [violation["id"] for violation in Axe().run(page).response["violations"]] == []


def test_the_story_of_a_failed_range_is_two_clicks_away_and_closed_by_a_key(visit):
    page = visit()
    go(page, "failures")
    page.click(".cause button")
    page.wait_for_selector("#story[open]")
    story = page.inner_text("#story")
    assert "attempt 2 on n1.1 failed (crash; given up)" in story
    assert "s1/n1.1/agent.log" in story
    assert [violation["id"] for violation in Axe().run(page).response["violations"]] == []
    page.keyboard.press("Escape")
    assert page.locator("#story[open]").count() == 0


def test_the_keyboard_is_enough(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.hash") == "#ranges"
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-shown=ranges]")
    assert rows(page) == 12


def test_ranges_are_filtered_and_sorted(visit):
    page = visit()
    go(page, "ranges")
    page.select_option("select[name=state]", "failed")
    page.click("#filter button")
    expect(page.locator("#range-table tbody tr")).to_have_count(1)
    assert page.inner_text("#ranges-count") == "rows 1 to 1 of 1"
    page.select_option("select[name=state]", "")
    page.fill("input[name=node]", "n1")
    page.keyboard.press("Enter")
    expect(page.locator("#range-table tbody tr")).to_have_count(7)
    page.click("#range-table thead button:has-text('took')")
    page.wait_for_selector("th[aria-sort=descending]")
    page.click("#range-table thead button:has-text('took')")
    page.wait_for_selector("th[aria-sort=ascending]")


def test_a_node_is_looked_at_core_by_core(visit):
    page = visit()
    go(page, "occupancy")
    page.click("#one-node-open")
    page.wait_for_selector("body[data-node=n1]")
    for _ in range(2):
        page.click("#wider")
    expect(page.locator("#one-event")).to_contain_text("6 events on 6 cores")
    page.click("#cores", position={"x": page.locator("#cores").bounding_box()["width"] / 2, "y": 8}, trial=True)
    page.fill("#one-node-name", "elsewhere")
    page.keyboard.press("Enter")
    expect(page.locator("#one-event")).to_contain_text("0 events")
    assert [violation["id"] for violation in Axe().run(page).response["violations"]] == []


def test_a_click_on_the_heat_map_opens_that_node_and_an_event_there_tells_its_story(visit):
    page = visit()
    go(page, "occupancy")
    page.locator("#heat").click()
    page.wait_for_selector("body[data-node=n1]")
    x = page.evaluate("""() => {
      const { from, to, slices } = view.node;
      return (slices[0][1] + slices[0][2] / 2 - from) / (to - from) * document.getElementById("cores").clientWidth;
    }""")
    page.click("#cores", position={"x": x, "y": 8})
    page.wait_for_selector("#story[open]")
    assert "its result counts" in page.inner_text("#story")


def test_records_have_process_and_error(visit):
    page = visit()
    go(page, "ranges")
    page.fill("input[name=message]", "onerror")
    page.click("#filter button")
    expect(page.locator("#range-table tbody tr")).to_have_count(1)
    head = page.locator("#range-table thead th").all_inner_texts()
    cells = page.locator("#range-table tbody td").all_inner_texts()
    row = dict(zip([name.rstrip(" ▾▴") for name in head], cells, strict=True))
    assert row["error"].startswith("crash: <script>")
    assert (row["process"], row["status"], row["attempt"]) == ("", "failed", "2")


def test_harvester_s_side_is_told(visit):
    page = visit()
    expect(page.locator("#identity")).to_contain_text("queue KIT_TEST_ES")
    go(page, "harvester")
    assert "12 in 1" in page.inner_text("#talk-table")
    assert "7 in 1" in page.inner_text("#talk-table")


def test_parts_that_a_job_has_not_are_not_offered(visit):
    page = visit()
    expect(page.locator("#phase")).to_have_text("running")
    assert page.locator("#parts a[href='#harvester']").is_visible()
    assert not page.locator("#parts a[href='#scan']").is_visible()


def test_merges_tell_their_inputs(visit):
    page = visit()
    go(page, "merges")
    head = page.locator("#merge-table thead th").all_inner_texts()
    row = dict(zip(head, page.locator("#merge-table tbody td").all_inner_texts(), strict=True))
    assert (row["inputs"], row["events"], row["took"]) == ("1", "4", "500 ms")
    assert row["speed"].endswith("/s")


def test_logs_of_coordinator_nodes_and_payloads_stand_apart(visit_own, task):
    page = visit_own()
    go(page, "logs")
    labels = page.locator("#log-name optgroup").evaluate_all("(groups) => groups.map((group) => group.label)")
    assert labels == ["coordinator", "nodes", "payloads"]
    page.select_option("#log-name", "s1/n1.1/worker_1.log")
    expect(page.locator("#log")).to_have_text("a word")
    page.check("#log-follow")
    with (task.logs / "s1" / "n1.1" / "worker_1.log").open("a") as log:
        log.write("another word\n")
    expect(page.locator("#log")).to_contain_text("another word")


def test_the_verdict_so_far_is_in_the_header(visit):
    expect(visit().locator("#left")).to_contain_text("incomplete so far: 1 event is given up")


def test_what_changes_is_seen_without_asking(visit_own, task):
    page = visit_own()
    expect(page.locator("#figures")).to_contain_text("6 of 12")
    write_status(task, merged=5, phase="draining", message="stopped by SIGTERM")
    expect(page.locator("#figures")).to_contain_text("7 of 12")
    expect(page.locator("#phase")).to_have_text("draining")
    expect(page.locator("#trouble")).to_contain_text("stopped by SIGTERM")
    write_status(task, phase="ended", verdict="incomplete", exit_code=4)
    page.wait_for_selector("#phase.bad:has-text('incomplete')")


@pytest.mark.parametrize("part", PARTS)
def test_it_fits_on_a_telephone(visit, part):
    page = visit(viewport={"width": 360, "height": 700})
    go(page, part)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_the_token_nothing_is_seen(chromium, standing_address):
    context = chromium.new_context()
    page = context.new_page()
    answer = page.goto(standing_address.partition("?")[0])
    assert answer.status == 403
    assert "sim" not in page.inner_text("body")
    context.close()


def test_the_token_leaves_the_address(visit):
    assert "token" not in visit().url


def test_nothing_comes_from_elsewhere_and_the_script_is_small(visit, standing_address):
    page = visit()
    go(page, "occupancy")
    loaded = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert {name.split("/")[2] for name in loaded if not name.startswith("data:")} == {standing_address.split("/")[2]}
    scripts = [files("raythena.monitor").joinpath("page", name) for name in ("text.js", "page.js")]
    assert sum(len(script.read_bytes()) for script in scripts) < 150_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_scan_has_points_and_curves(scan_address, opening, scheme):
    page = opening(scan_address, color_scheme=scheme)
    page.wait_for_selector("#parts a[href='#scan']:visible")
    go(page, "scan")
    rows = page.locator("#scan-table tbody tr")
    assert rows.count() == 8
    assert rows.first.locator("td").first.inner_text() == "3"
    assert "Learning curves: 7 lines" in page.locator("#scan-curves").get_attribute("aria-label")
    assert "[U+202E]" in page.inner_text("#scan-table")
    assert [violation["id"] for violation in Axe().run(page).response["violations"]] == []
