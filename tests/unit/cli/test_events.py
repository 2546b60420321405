"""`raythena events` and `raythena logs`: every range, nothing left out, in three forms."""

from __future__ import annotations

import csv
import io
import json

import pytest

from raythena.domain.errors import ExitCode
from raythena.storage.range_records import COLUMNS


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_range_is_a_line(run, computed):
    told = rows(run("events", computed.root).out)
    assert tuple(told[0]) == COLUMNS
    assert [row["range_id"] for row in told] == [f"EVNT.{file}.root-{event}" for file in (1, 2) for event in range(1, 7)]
    assert (told[0]["state"], told[0]["output"], told[0]["adler32"], told[0]["reason"]) == ("merged", "HITS.1", "0000001f", "")
    assert (told[4]["state"], told[4]["reason"], told[4]["message"]) == ("failed", "crash", "killed by\nsignal 11")
    assert (told[11]["state"], told[11]["wall_s"], told[11]["session"]) == ("open", "", "")


def test_json_has_the_same_without_what_does_not_apply(run, computed):
    told = [json.loads(line) for line in run("events", computed.root, "--format", "json").out.splitlines()]
    assert len(told) == 12
    assert told[0]["wall_s"] == 1.0
    assert "wall_s" not in told[11]
    assert "node" not in told[11]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--state", "failed"], ["EVNT.1.root-5"]),
        (["--state", "failed", "--state", "stored"], ["EVNT.1.root-5", "EVNT.1.root-6", "EVNT.2.root-1"]),
        (["--lfn", "EVNT.2", "--node", "alpha"], ["EVNT.2.root-1"]),
        (["--retried"], ["EVNT.1.root-5"]),
        (["--node", "beta"], []),
    ],
)
def test_filters(run, computed, options, expected):
    assert [row["range_id"] for row in rows(run("events", computed.root, *options).out)] == expected


def test_parquet_can_be_read_back(run, computed, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run("events", computed.root, "--format", "parquet", "-o", tmp_path / "e.parquet").code == 0
    table = parquet.read_table(tmp_path / "e.parquet")
    assert table.num_rows == 12
    assert table["first_event"].to_pylist() == [1, 2, 3, 4, 5, 6] * 2


def test_parquet_goes_to_a_file(run, computed):
    pytest.importorskip("pyarrow")
    ran = run("events", computed.root, "--format", "parquet")
    assert (ran.code, "Parquet cannot go to standard output" in ran.err) == (ExitCode.INVALID_INPUT, True)


def test_without_pyarrow_it_is_said_how_to_get_it(run, computed, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    ran = run("events", computed.root, "--format", "parquet", "-o", "e.parquet")
    assert (ran.code, 'pip install "raythena[tables]"' in ran.err) == (ExitCode.INVALID_INPUT, True)


@pytest.mark.parametrize("style", ["csv", "parquet"])
def test_a_file_that_cannot_be_written_is_named(run, computed, tmp_path, style):
    ran = run("events", computed.root, "--format", style, "-o", tmp_path / "nowhere" / "e")
    assert (ran.code, "nowhere" in ran.err) == (ExitCode.STORAGE, True)


def test_the_story_of_a_range_is_harmless_on_a_terminal(run, computed):
    log = computed.logs / "s1" / "alpha.1" / "agent.log"
    log.parent.mkdir(parents=True)
    log.write_text("range 4 \x1b[31mred\u202e\n")
    ran = run("logs", computed.root, "--range", "EVNT.1.root-5")
    assert "attempt 2 on alpha.1 failed (crash; given up): killed by signal 11" in ran.out
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
    told = [json.loads(line) for line in run("logs", computed.root, "--range", "EVNT.1.root-5", "--json").out.splitlines()]
    assert [line["source"] for line in told] == ["ledger", "ledger", "s1/alpha.1/agent.log"]


def test_a_trace_is_written(run, computed, tmp_path):
    assert run("trace", computed.root, "-o", tmp_path / "trace.json").code == 0
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [one["args"]["name"] for one in events if one["ph"] == "M"] == ["alpha.1"]
    assert sum(one["ph"] == "X" for one in events) == 6
    assert run("trace", computed.root, "-o", tmp_path / "nowhere" / "t").code == ExitCode.STORAGE
