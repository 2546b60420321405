"""`raythena report`: the page, the document and the list of events."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from raythena.cli.event_list import COLUMNS
from raythena.cli.report_command import FAILURES_SHOWN
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.records import AttemptFailed, GroupStored, RangesTaken
from raythena.domain.results import FailureKind
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.testing.simulation.samples import given_job, given_range, group_of


def test_the_page_tells_the_whole_story(run, computed):
    computed.report.write_text(json.dumps({"exitCode": 4, "exitMsg": "1 event failed"}))
    ran = run("report", computed.root)
    assert ran.code == 0
    for fact in (
        "sim (PandaID 4711)",
        "1 event failed (exit code 4)",
        "12: 6 finished, 1 failed, 5 open",
        "1 of 4 merged, 4 events in them",
        "75.0 % of the time on cores; 1.00 s an event",
        "1 crash, 1 hang",
        "HITS.1",
        "4.0 kB",
        "01234567-89AB-CDEF-0123-456789ABCDEF",
        "1 min 40 s",
        "incomplete",
        "EVNT.1.root-5",
        "killed by signal 11",
    ):
        assert fact in ran.out, fact


def test_a_job_without_report_has_not_ended(run, computed):
    assert "not ended: no job report yet" in run("report", computed.root).out


def test_the_document(run, computed):
    computed.report.write_text(json.dumps({"exitCode": 4, "exitMsg": "1 event failed"}))
    document = json.loads(run("report", computed.root, "--json").out)
    assert {name: document[name] for name in ("events", "finished", "merged", "failed", "open", "exit_code")} == {
        "events": 12,
        "finished": 6,
        "merged": 4,
        "failed": 1,
        "open": 5,
        "exit_code": 4,
    }
    (output,) = document["outputs"]
    assert (output["lfn"], output["events"], output["adler32"], output["missing"]) == ("HITS.1", 4, "00000abc", [])
    (failed,) = document["failed_events"]
    assert (failed["range_id"], failed["attempts"], failed["reason"]) == ("EVNT.1.root-5", 2, "crash")


def test_every_event_is_listed_once_as_csv(run, computed):
    rows = list(csv.DictReader(io.StringIO(run("report", computed.root, "--events", "csv").out)))
    assert all(list(row) == list(COLUMNS) and None not in row.values() for row in rows)
    assert sorted(row["range_id"] for row in rows) == sorted(
        f"EVNT.{file}.root-{event}" for file in (1, 2) for event in range(1, 7)
    )
    states = {row["range_id"]: row["state"] for row in rows}
    assert [states[f"EVNT.1.root-{event}"] for event in range(1, 7)] == ["merged"] * 4 + ["failed", "stored"]
    assert states["EVNT.2.root-1"] == "stored"
    assert [states[f"EVNT.2.root-{event}"] for event in range(2, 7)] == ["open"] * 5


def test_a_committed_event_shows_what_it_cost(run, computed):
    first = next(csv.DictReader(io.StringIO(run("report", computed.root, "--events", "csv").out)))
    expected = {"lfn": "EVNT.1.root", "event": "1", "output": "HITS.1", "node": "alpha.1", "session": "1", "attempt": "1"}
    expected |= {"wall_s": "1.0", "cpu_s": "0.75", "size_bytes": "1000", "adler32": "0000001f", "started_at": "1700000000.5"}
    assert {name: first[name] for name in expected} == expected


def test_events_as_json_lines(run, computed):
    rows = [json.loads(line) for line in run("report", computed.root, "--events", "json").out.splitlines()]
    assert len(rows) == 12
    (failed,) = [row for row in rows if row["state"] == "failed"]
    assert (failed["reason"], failed["message"], failed["attempt"]) == ("crash", "killed by\nsignal 11", 2)
    assert all("node" not in row for row in rows if row["state"] == "open")


def test_a_long_list_of_failures_is_cut(run, task, job):
    job = replace(job, inputs=(replace(job.inputs[0], n_events=100),), events_per_output=25)
    task.job.write_text(json.dumps(job.to_dict()))
    ledger = Ledger.create(task.ledger, job)
    ledger.begin_session(SessionInfo("s", "h", 1, 0.0))
    ledger.commit([AttemptFailed(index, 3, "n", FailureKind.REPORTED, "bad", True, 1.0) for index in range(50)])
    ledger.close()
    out = run("report", task.root).out
    assert out.count("failed event EVNT.1.root-") == FAILURES_SHOWN
    assert f"and {50 - FAILURES_SHOWN} more; --events csv lists them all" in out
    assert "running, or died" in out


def test_a_job_that_has_not_begun(run, task, job):
    task.job.write_text(json.dumps(job.to_dict()))
    ran = run("report", task.root)
    assert (ran.code, "has not begun" in ran.err) == (3, True)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"inputs": 3}', "null", "7"])
def test_a_broken_job_file_is_named(run, computed, content):
    computed.job.write_text(content)
    ran = run("report", computed.root)
    assert ran.code == 3
    assert "job.json" in ran.err
    assert "defect" not in ran.err


@pytest.mark.parametrize("content", ["[]", "3", '{"exitMsg": 5}'])
def test_an_odd_job_report_is_no_verdict(run, computed, content):
    computed.report.write_text(content)
    assert "not ended" in run("report", computed.root).out


def test_an_unknown_format_is_a_usage_error(run, computed):
    ran = run("report", computed.root, "--events", "xml")
    assert ran.code == 2
    assert "csv" in ran.err


def test_ranges_that_were_given_are_told_by_the_ids_they_have(run, task):
    job = given_job(2)
    task.job.write_text(json.dumps(job.to_dict()))
    chunk = GivenRanges.pack([given_range(job, number) for number in range(4)], job.inputs)
    with Ledger.create(task.ledger, job) as ledger:
        ledger.begin_session(SessionInfo("s1", "host", 1, 1_700_000_000.0))
        ledger.commit([RangesTaken(chunk)])
        ledger.commit([GroupStored(group_of("g", "alpha.1", 1, [2]))])
        ledger.commit([AttemptFailed(3, 3, "alpha.1", FailureKind.CRASH, "killed", True, 1.0)])
    document = json.loads(run("report", task.root, "--json").out)
    assert (document["events"], document["finished"], document["failed"], document["open"]) == (4, 1, 1, 2)
    assert [failed["range_id"] for failed in document["failed_events"]] == [chunk.range_id(3)]
    assert chunk.range_id(3) in run("report", task.root).out
    rows = list(csv.DictReader(io.StringIO(run("report", task.root, "--events", "csv").out)))
    assert {row["range_id"]: (row["state"], row["lfn"], row["event"]) for row in rows} == {
        chunk.range_id(0): ("open", "EVNT.0.root", "1"),
        chunk.range_id(1): ("open", "EVNT.0.root", "2"),
        chunk.range_id(2): ("stored", "EVNT.1.root", "1"),
        chunk.range_id(3): ("failed", "EVNT.1.root", "2"),
    }


HOSTILE = "Traceback (most recent call last):\n  File 'x.py', line 3\nValueError: bad \x1b[2Jvertex {}\nof the geometry"


@pytest.mark.parametrize("columns", [20, 80, 300])
def test_failures_are_told_by_cause_and_each_with_its_event_at_every_width(run, monkeypatch, task, job, columns):
    task.job.write_text(json.dumps(job.to_dict()))
    ledger = Ledger.create(task.ledger, job)
    ledger.begin_session(SessionInfo("s", "h", 1, 0.0))
    failures = [(index, HOSTILE.format(index)) for index in range(5)] + [(7, "killed by signal 11 (SIGSEGV)")]
    ledger.commit([AttemptFailed(index, 3, "h.1", FailureKind.REPORTED, text, True, 1.0) for index, text in failures])
    ledger.close()
    (task.logs / "s" / "h.1").mkdir(parents=True)
    monkeypatch.setenv("COLUMNS", str(columns))
    out = run("report", task.root).out
    assert "5 × ValueError: bad vertex 0 of the geometry" in out
    assert "1 × killed by signal 11 (SIGSEGV)" in out
    assert "reported, the fault of: payload" in out
    assert "events  EVNT.1.root-1, EVNT.1.root-2, EVNT.1.root-3, …" in out
    assert f"log     {task.logs / 's' / 'h.1'}" in out
    assert "do      Read the message" in out
    for index in range(5):
        assert (
            f"failed event EVNT.1.root-{index + 1}: reported, 3 attempts, the last on h.1\n    ValueError: bad vertex {index}"
            in out
        )
    assert "\x1b" not in out
    assert "Traceback" not in out
    document = json.loads(run("report", task.root, "--json").out)
    assert [(cause["events"], cause["who"]) for cause in document["causes"]] == [(5, "payload"), (1, "payload")]
    assert document["causes"][0]["first_events"] == ["EVNT.1.root-1", "EVNT.1.root-2", "EVNT.1.root-3"]


def account_of(task, **changes):
    """The core time of a session that the ledger of `computed` knows: one node with two cores, 50 seconds."""
    life = {
        "node": "alpha.1",
        "cores": 2,
        "began_at": 1_700_000_010.0,
        "as_of": 1_700_000_050.0,
        "computed_s": 6.0,
        "open_s": 0.0,
        "thrown_away_s": {"crash": 4.0},
        "idle_s": {"tail": 70.0},
    }
    began = {"session": "s1", "began_at": 1_700_000_000.0, "written_at": 1_700_000_050.0}
    path = task.core_times("s1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**began, "ended_at": 1_700_000_050.0, "lost": [], "lives": [life], **changes}))
    return path


def test_where_the_core_time_went_is_told(run, computed):
    account_of(computed)
    ran = run("report", computed.root)
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["computing", "6.00", "s", "6.0", "%"] in rows
    assert ["crash", "4.00", "s", "4.0", "%"] in rows
    assert ["allocated", "1", "min", "40", "s", "100.0", "%"] in rows
    told = json.loads(run("report", computed.root, "--json").out)["accounting"]
    assert told["core_s"] == {"node_start": 20.0, "computing_kept": 6.0, "computing_thrown_away": 4.0, "tail": 70.0}
    assert (told["accounted"], told["nodes"][0]["host"]) == (1.0, "alpha")


def test_what_is_missing_in_the_account_is_told_as_well(run, computed):
    account_of(computed, ended_at=1_700_000_060.0, lost=["alpha.1"])
    path = computed.core_times("s1")
    path.write_text(path.read_text().replace('"tail": 70.0', '"tail": 60.0'))
    assert "not accounted for" in run("report", computed.root).out


@pytest.mark.parametrize("content", ["", "[]", '{"session": "s1"}', '{"session": 1, "lives": [{}]}', "\xff"])
def test_an_account_that_cannot_be_used_is_left_out(run, computed, content):
    account_of(computed).write_bytes(content.encode("latin-1"))
    ran = run("report", computed.root, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["accounting"]["nodes"] == []


def test_the_tables_are_in_the_document_too(run, computed):
    tables = json.loads(run("report", computed.root, "--json").out)["tables"]
    assert [row for row in tables["summary"]["rows"] if row[0] == "finished"] == [["finished", "6"]]
    assert "proof" not in tables
    assert "proof" in json.loads(run("report", computed.root, "--json", "--proof").out)["tables"]


def test_one_file_has_it_all_with_the_proof(run, computed):
    ran = run("report", computed.root, "--html", "out.html")
    assert (ran.code, ran.out) == (0, "out.html\n")
    page = Path("out.html").read_text()
    assert "12 of 12 event ranges are in this file" in page
    assert "Proof of the outputs" in page
    assert "wrong: " in page  # HITS.1 is in the ledger and not on disk


def test_the_proof_may_be_left_out_and_so_may_the_ranges(run, computed):
    assert run("report", computed.root, "--html", "out.html", "--no-proof", "--ranges", 0).code == 0
    page = Path("out.html").read_text()
    assert "The outputs were not proved" in page
    assert "Event ranges" not in page


def test_every_table_is_a_parquet_file(run, computed):
    ran = run("report", computed.root, "--parquet", "tables")
    assert ran.code == 0
    assert "tables/ranges.parquet" in ran.out.splitlines()
    assert all(Path(line).stat().st_size for line in ran.out.splitlines())


def test_a_place_that_cannot_be_written_is_named(run, computed):
    ran = run("report", computed.root, "--html", "/proc/out.html", "--no-proof")
    assert ran.code == 7
    assert "/proc/out.html" in ran.err


def test_without_pyarrow_the_file_is_made_without_ranges_or_not_at_all(run, computed, monkeypatch):
    monkeypatch.setattr("raythena.cli.report_files.find_spec", lambda name: None)
    ran = run("report", computed.root, "--html", "out.html", "--no-proof")
    assert (ran.code, "raythena[tables]" in ran.err, "--ranges 0" in ran.err) == (3, True, True)
    assert run("report", computed.root, "--html", "out.html", "--no-proof", "--ranges", 0).code == 0
