"""Tables of a report: what a task's say, how cells are written, and the same as Parquet."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from page_kit import HOSTILE, task_in
from pyarrow import parquet

from raythena.domain.errors import InvalidInput
from raythena.monitor.report_tables import Column, Kind, ReportTable, facts_table, write_tables, written
from raythena.monitor.snapshot import read_job
from raythena.monitor.task_figures import Extent, figures
from raythena.monitor.task_reading import read_reported
from raythena.monitor.task_tables import task_tables
from raythena.storage.taskdir import TaskDirectory


@pytest.fixture
def read(tmp_path):
    return read_reported(task_in(tmp_path))


def tables(read):
    return {table.name: table for table in task_tables(read)}


def facts(table):
    return dict(table.rows)


def dicts(table):
    return [dict(zip((column.name for column in table.columns), row, strict=True)) for row in table.rows]


@pytest.mark.parametrize(
    ("cell", "kind", "words"),
    [
        (None, Kind.COUNT, ""),
        ("as it is", Kind.TEXT, "as it is"),
        (1234567, Kind.COUNT, "1,234,567"),
        (75.0, Kind.SECONDS, "1 min 15 s"),
        (-2.5, Kind.SECONDS, "-2.50 s"),
        (1500.4, Kind.BYTES, "1.5 kB"),
        (1500, Kind.SPEED, "1.5 kB/s"),
        (2.7182, Kind.RATE, "2.72/s"),
        (0.875, Kind.SHARE, "87.5 %"),
        (1.5, Kind.FACTOR, "1.50 ×"),
        (1_700_000_000, Kind.TIME, "2023-11-14 22:13:20 UTC"),
    ],
)
def test_a_cell_is_written_as_its_column_says(cell, kind, words):
    assert written(cell, kind) == words


def test_every_row_has_a_cell_for_each_column(read):
    for table in task_tables(read):
        assert {len(row) for row in table.rows} <= {len(table.columns)}
        assert table.to_dict()["rows"] == [list(row) for row in table.rows]


def test_names_are_there_once(read):
    named = [table.name for table in task_tables(read)]
    assert len(named) == len(set(named)) == 12
    for table in task_tables(read):
        columns = [column.name for column in table.columns]
        assert len(columns) == len(set(columns))


def test_the_summary_counts_what_the_ledger_has(read):
    told = facts(tables(read)["summary"])
    expected = {"events": "12", "finished": "6", "merged": "4", "failed": "1", "open": "5", "an event": "1.00 s", "nodes": "1"}
    assert {name: told[name] for name in expected} == expected
    assert told["verdict"] == "not ended: no job report yet"
    assert told["attempts failed: crash"] == "2"


def test_a_verdict_is_that_of_the_job_report(read):
    read.task.report.write_text(json.dumps({"exitCode": 4, "exitMsg": "1 event failed"}))
    assert facts(tables(read_reported(read.task))["summary"])["verdict"] == "1 event failed (exit code 4)"


def test_core_time_adds_up_to_what_was_allocated(read):
    *parts, rest, whole = dicts(tables(read)["core_time"])
    assert whole["category"] == "allocated"
    assert sum(part["core_s"] for part in parts) + rest["core_s"] == pytest.approx(whole["core_s"])
    by_node = dicts(tables(read)["core_time_by_node"])
    assert sum(row["allocated_core_s"] for row in by_node) == pytest.approx(whole["core_s"])


def test_every_event_that_finished_is_in_one_stretch_and_one_class(read):
    told = tables(read)
    assert sum(row["events"] for row in dicts(told["throughput"])) == 6
    assert sum(row["events"] for row in dicts(told["event_times"])) == 6


def test_failures_say_whose_fault_it_is_and_what_to_do(read):
    (cause,) = dicts(tables(read)["failures"])
    assert (cause["events"], cause["reason"], cause["who"]) == (1, "crash", "payload")
    assert cause["hint"]
    assert HOSTILE.partition("\u202e")[0] in cause["message"]


def test_a_merge_names_its_inputs_sizes_and_speed(read):
    (merge,) = dicts(tables(read)["merges"])
    stored = int(read.records.columns["size"][:4].sum())
    assert (merge["lfn"], merge["events"], merge["missing"], merge["inputs"]) == (read.job.outputs[0], 4, 0, 1)
    assert (merge["input_bytes"], merge["size_bytes"], merge["bytes_per_s"]) == (stored, 4000, stored / 0.5)


def test_an_output_that_is_not_merged_has_no_inputs(read):
    assert read.records.merge_inputs(1) == (0, 0)


def test_the_slowest_node_comes_first_and_is_counted(read):
    nodes = [
        replace(read.summary.nodes[0], node=f"n{number}.1", wall_s=wall_s, events=1) for number, wall_s in enumerate((1, 3, 1))
    ]
    table = tables(replace(read, summary=replace(read.summary, nodes=tuple(nodes))))["nodes"]
    assert [row["node"] for row in dicts(table)] == ["n1", "n0", "n2"]
    assert dicts(table)[0]["times_median"] == 3.0
    assert "1 of 3" in table.about


def test_secrets_are_left_out_of_the_configuration(tmp_path):
    task = task_in(tmp_path)
    document = json.loads(task.job.read_text())
    document["payload"]["options"] = {"environment": {"X509_USER_PROXY": "/p", "SITE_TOKEN": "hush", "THREADS": "8"}}
    task.job.write_text(json.dumps(document))
    told = facts(tables(read_reported(task))["configuration"])
    assert "hush" not in str(told)
    assert told["payload.options.environment.THREADS"] == "8"
    assert told["payload.options.environment.SITE_TOKEN"] == "(left out)"


def test_versions_are_told(read):
    told = facts(tables(read)["versions"])
    assert told["Raythena that reports"]
    assert told["numpy"] == np.__version__


def test_figures_that_nobody_knows_are_none(tmp_path, read):
    empty = replace(read, summary=replace(read.summary, nodes=(), events=0, wall_s=0.0, cpu_s=0.0))
    assert figures(Extent.of_task(empty))["an event"] == (None, Kind.SECONDS)
    assert figures(Extent.of_task(empty))["events per second"] == (None, Kind.RATE)


def test_parquet_files_hold_the_same_rows(tmp_path, read):
    made = task_tables(read)
    indices = np.arange(len(read.records), dtype=np.int64)
    paths = write_tables(tmp_path / "tables", made, read.records, indices)
    assert {path.stem for path in paths} == {table.name for table in made} | {"ranges"}
    for table in made:
        stored = parquet.read_table(tmp_path / "tables" / f"{table.name}.parquet")
        assert stored.num_rows == len(table.rows)
        assert stored.column_names == [column.name for column in table.columns]
    assert parquet.read_table(tmp_path / "tables" / "ranges.parquet")["state"].to_pylist()[:5] == ["merged"] * 4 + ["failed"]


def test_a_column_of_nothing_still_has_its_type(tmp_path):
    table = ReportTable("empty", "Empty", (Column("at", "at", Kind.TIME), Column("n", "n", Kind.COUNT)), ())
    write_tables(tmp_path, [table], None, np.arange(0))
    assert [str(kind) for kind in parquet.read_schema(tmp_path / "empty.parquet").types] == ["double", "int64"]


def test_facts_are_text():
    assert facts_table("t", "T", [("a", 1), ("b", None)]).rows == (("a", "1"), ("b", ""))


def test_a_task_without_ledger_is_refused(tmp_path):
    task = TaskDirectory(tmp_path / "sim.raythena")
    task.root.mkdir()
    task.job.write_text(json.dumps(read_job(task_in(tmp_path / "other")).to_dict()))
    with pytest.raises(InvalidInput, match="nothing to report"):
        read_reported(task)
