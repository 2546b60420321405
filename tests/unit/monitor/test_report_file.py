"""The report as one file: everything in it, nothing foreign run, nothing from elsewhere, and which records it carries."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from base64 import b64decode
from hashlib import sha256
from html import unescape
from importlib.resources import files

import numpy as np
import pytest
from page_kit import HOSTILE, task_in
from pyarrow import parquet

from raythena.monitor.activity import Activity, heat_cells
from raythena.monitor.range_table import parquet_bytes
from raythena.monitor.report_drawings import bars, heat_map, png, shares
from raythena.monitor.report_file import ROWS_SHOWN, CarriedRanges, ReportFile, chosen_ranges
from raythena.monitor.report_tables import Column, Kind, ReportTable
from raythena.monitor.task_drawings import task_drawings
from raythena.monitor.task_reading import read_reported
from raythena.monitor.task_tables import task_tables
from raythena.monitor.wording import visible

VISIBLE = "[U+202E][U+001B][31m"


@pytest.fixture
def read(tmp_path):
    return read_reported(task_in(tmp_path))


@pytest.fixture
def report(read):
    ranges = CarriedRanges.of_task(read.records, 100)
    return ReportFile(HOSTILE, task_tables(read), [HOSTILE], task_drawings(read), ranges).html().decode()


def scripts(page):
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def test_foreign_text_stands_there_and_is_no_markup(report):
    assert "<img src=x" not in report
    assert "<script>document.title" not in report
    assert VISIBLE in unescape(report)
    assert "\u202e" not in report
    assert "\x1b" not in report


def test_only_scripts_and_styles_that_the_file_names_may_run(report):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', report)
    named = set(re.findall(r"'sha256-([^']*)'", policy))
    for content in [*scripts(report), *re.findall(r"<style>(.*?)</style>", report, re.DOTALL)]:
        assert sha256(content.encode()).digest() in {b64decode(one) for one in named}
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]+ (style|on\w+)=", re.sub(r"<script.*?</script>", "", report, flags=re.DOTALL))


def test_nothing_comes_from_elsewhere_and_every_link_has_its_end(report):
    places = set(re.findall(r' id="([^"]+)"', report))
    markup = re.sub(r"<script.*?</script>", "", report, flags=re.DOTALL)
    leads = re.findall(r'(?:href|src|action)="([^"]*)"', markup)
    assert leads
    for target in leads:
        assert target.startswith("data:image/png;base64,") or target.removeprefix("#") in places


def test_the_scripts_are_small(report):
    assert sum(map(len, scripts(report))) < 150_000
    assert "MIT" in scripts(report)[0][:300]
    assert "Permission is hereby granted" in (files("raythena.monitor") / "page" / "hyparquet.LICENSE").read_text()


def test_every_table_travels_as_json(report, read):
    (text,) = re.findall(r'<script type="application/json" id="tables">(.*?)</script>', report, re.DOTALL)
    assert json.loads(text) == json.loads(json.dumps({table.name: table.to_dict() for table in task_tables(read)}))


def test_the_records_travel_as_parquet(report):
    (text,) = re.findall(r'id="parquet" data-ids="derived">(.*?)</script>', report)
    table = parquet.read_table(io.BytesIO(b64decode(text)))
    assert table.num_rows == 12
    assert table["range_id"].to_pylist()[0].endswith("-1")
    assert table["message"].to_pylist()[4].startswith(HOSTILE.partition("\u202e")[0])


def test_without_records_there_is_nothing_to_search(read):
    page = ReportFile("t", task_tables(read)).html().decode()
    assert 'id="parquet"' not in page
    assert "hyparquet" not in page.partition("<body>")[2].partition("<script>")[0]
    assert len(scripts(page)) == 1


def test_a_long_table_shows_a_beginning_and_has_all():
    table = ReportTable("long", "Long", (Column("n", "n", Kind.COUNT),), tuple((n,) for n in range(ROWS_SHOWN + 7)))
    page = ReportFile("t", [table]).html().decode()
    assert page.count("<tr><td") == ROWS_SHOWN
    assert "Show 7 more" in page
    assert f"[{ROWS_SHOWN + 6}]" in page


def test_text_that_is_no_unicode_spoils_nothing():
    table = ReportTable("t", "T", (Column("a", "a"),), (("\ud800",),))
    assert b"<td>?</td>" in ReportFile("\ud800", [table]).html()


def test_where_not_all_are_carried_failures_come_first_then_the_slowest(read):
    walls = read.records.columns["wall_s"]
    walls[7] = 99.0
    assert chosen_ranges(read.records, 12).tolist() == list(range(12))
    assert chosen_ranges(read.records, 2).tolist() == [4, 7]
    assert chosen_ranges(read.records, 1).tolist() == [4]
    carried = CarriedRanges.of_task(read.records, 2)
    assert (carried.carried, carried.of) == (2, 12)
    assert "2 of 12 event ranges" in ReportFile("t", [], ranges=carried).html().decode()


def test_ids_that_share_their_beginning_cost_little(read):
    indices = np.zeros(50_000, dtype=np.int64)
    assert len(parquet_bytes(read.records, indices)) < 50_000 * len(read.records.layout.range_id(0)) / 4


def test_bars_have_their_figures_in_words():
    drawn = bars([1.0, 0.0, 3.0], "Events", "here", "<there>", "3/s")
    assert drawn.count("<rect") == 2
    assert 'aria-label="Events: up to 3/s, from here to &lt;there&gt;"' in drawn
    assert bars([], "Events", "", "", "") == ""
    assert bars([0.0], "Events", "", "", "").count("<rect") == 0


def test_shares_fill_the_bar():
    drawn = shares({"a": 1.0, "b": 3.0, "c": -1.0}, 4.0, "Shares")
    assert re.findall(r'width="([\d.]+)"', drawn) == ["225.00", "675.00", "0.00"]
    assert shares({}, 0.0, "Shares") == ""


def test_the_heat_map_is_a_picture_of_its_cells():
    cells = np.array([[0, 255], [128, 1]], dtype=np.uint8)
    content = png(cells)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == (2, 2)
    at = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[at - 4 : at])
    assert zlib.decompress(content[at + 4 : at + 4 + length]) == bytes([0, 0, 255, 0, 128, 1])
    assert 'alt="a &quot;b&quot;"' in heat_map(cells, 'a "b"')
    assert heat_map(np.zeros((0, 0), dtype=np.uint8), "") == ""


def test_a_host_without_known_cores_counts_as_one_core(read):
    assert heat_cells(Activity(), {}).size == 0
    assert heat_cells(read.activity, {}).max() == 255


def test_what_would_turn_or_hide_text_is_told_by_its_code():
    assert visible("a\u202eb\u200b\u061c\ufeff\x7f\u2028") == "a[U+202E]b[U+200B][U+061C][U+FEFF][U+007F][U+2028]"
    assert visible("zwei\nZeilen\tÜ 中文") == "zwei\nZeilen\tÜ 中文"
