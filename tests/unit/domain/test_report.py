from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.core_time import Accounting, NodeAccount
from raythena.domain.errors import ExitCode
from raythena.domain.job import InputFile, Job, MergeSpec, OutputStream, PayloadSpec
from raythena.domain.ranges import RangeLayout
from raythena.domain.records import AttemptFailed
from raythena.domain.report_document import MAX_MESSAGE, ReportInput, ResourceUse, build_report, data_type
from raythena.domain.results import FailureKind, MergedOutput
from raythena.domain.taxonomy import EndCause, of_end

GOLDEN = Path(__file__).parents[2] / "fixtures" / "report" / "jobReport.json"

JOB = Job(
    name="panda-5750099001",
    inputs=tuple(
        InputFile(f"EVNT.1._00000{n}.pool.root.1", f"/data/{n}", 10, f"E704048D-E740-5A06-B086-C5834450000{n}") for n in (1, 2, 3)
    ),
    outputs=("HITS.1._000001.pool.root.1", "HITS.1._000002.pool.root.1"),
    payload=PayloadSpec("python"),
    merge=MergeSpec("root"),
    events_per_output=20,
    job_id="5750099001",
    task_id="30737678",
    jobset_id="5750099000",
    source={"transformation": "Sim_tf.py"},
)


def merged(output: int, n_events: int, missing: tuple[int, ...] = ()) -> MergedOutput:
    lfn = JOB.outputs[output]
    guid = f"3FC2D896-2DCD-51F2-953F-4FF5D827570{output}"
    return MergedOutput(output, lfn, f"outputs/{lfn}", guid, 2102, 0x0690074B, n_events, missing)


def failed(index: int, *, final: bool = True, message: str = "killed by signal 11") -> AttemptFailed:
    return AttemptFailed(index, 3, "node-1", FailureKind.CRASH, message, final, 1_700_000_000.0)


GIVEN = ReportInput(
    job=JOB,
    exit_code=ExitCode.INCOMPLETE,
    verdict="incomplete",
    message="1 event of 30 failed",
    created="2026-11-22T14:18:52+00:00",
    # the ledger gives outputs in the order they were merged
    outputs=(merged(1, 7), merged(0, 19, (12,))),
    failures=(failed(3, final=False), failed(12)),
    unfinished=np.array([20, 21, 25]),
    resources=ResourceUse(cpu_s=1234.5, core_s=1300.2, wall_s=700.4, cores=2, occupancy=0.928123),
    sessions=({"session": "s1", "verdict": "stopped"}, {"session": "s2", "verdict": "incomplete"}),
    command_line="raythena run HPCJobs.json",
    error=of_end("incomplete", EndCause.NONE),
    warnings=("node n7 is set aside: its last 10 attempts all failed while others succeed",),
    accounting=Accounting(
        (NodeAccount("s1", "n7", 2, 1400.8, {"computing_kept": 1300.2, "computing_thrown_away": 100.6}, {"crash": 100.6}),)
    ),
    ending={"cause": "walltime", "drain_s": 12.5, "core_s_thrown_away": 3.25, "events_cut_off": 1, "walltime_left_s": 8.0},
)


def test_the_report_is_the_golden_one():
    assert json.loads(json.dumps(build_report(GIVEN))) == json.loads(GOLDEN.read_text())


def test_the_shape_is_the_transforms():
    report = build_report(GIVEN)
    keys = {"name", "reportVersion", "cmdLine", "exitAcronym", "exitCode", "exitMsg", "exitMsgExtra", "created"}
    assert keys | {"executor", "files", "resource"} <= set(report)
    assert report["reportVersion"] == "2.1.2"
    for group in report["files"]["output"]:
        for file in group["subFiles"]:
            assert {"name", "file_guid", "file_size", "nentries"} <= set(file)
    for group in report["files"]["input"]:
        for file in group["subFiles"]:
            assert {"name", "file_guid", "nentries"} <= set(file)
    assert {"cpuTime", "wallTime", "processedEvents", "cpuEfficiency"} <= set(report["resource"]["transform"])


def test_success_is_ok():
    report = build_report(replace(GIVEN, exit_code=ExitCode.OK, failures=(), unfinished=np.empty(0, dtype=np.int64)))
    assert (report["exitCode"], report["exitAcronym"], report["exitMsg"], report["exitMsgExtra"]) == (0, "OK", "OK", "")
    assert report["executor"][0]["statusOK"]
    assert report["raythena"]["failed"] == report["raythena"]["unfinished"] == []


@pytest.mark.parametrize("code", [code for code in ExitCode if code is not ExitCode.OK])
def test_failure_is_said_with_its_code_and_reason(code):
    report = build_report(replace(GIVEN, exit_code=code, message="disk full"))
    assert (report["exitCode"], report["exitAcronym"], report["exitMsg"]) == (int(code), code.name, "disk full")
    assert not report["executor"][0]["statusOK"]


def test_only_events_given_up_are_failed():
    entries = build_report(GIVEN)["raythena"]["failed"]
    assert [(entry["id"], entry["event"], entry["attempts"]) for entry in entries] == [("EVNT.1._000002.pool.root.1-3", 3, 3)]


def test_an_event_counts_once_however_many_streams_hold_it():
    logs = tuple(lfn.replace("HITS", "LOG") for lfn in JOB.outputs)
    streams = (OutputStream("HITS", JOB.outputs, JOB.merge), OutputStream("LOG", logs, MergeSpec("concat")))
    others = tuple(replace(file, lfn=logs[file.output], stream=1) for file in GIVEN.outputs)
    report = build_report(replace(GIVEN, job=replace(JOB, streams=streams), outputs=GIVEN.outputs + others))
    one = build_report(GIVEN)
    assert report["raythena"]["events"] == one["raythena"]["events"]
    assert report["resource"] == one["resource"]
    assert report["executor"][0]["exeConfig"]["outputs"] == ["HITS", "LOG"]
    told = {group["type"]: [file["nentries"] for file in group["subFiles"]] for group in report["files"]["output"]}
    assert told == {"HITS": [19, 7], "LOG": [19, 7]}


def test_events_computed_but_in_no_output_yet_are_stored():
    report = build_report(replace(GIVEN, outputs=GIVEN.outputs[1:]))
    assert report["raythena"]["events"] == {"total": 30, "merged": 19, "stored": 7, "failed": 1, "unfinished": 3}


def test_an_endless_message_is_cut():
    report = build_report(replace(GIVEN, failures=[failed(0, message="x" * 100_000)]))
    assert len(report["raythena"]["failed"][0]["message"]) == MAX_MESSAGE


def test_a_job_that_did_nothing_has_a_report():
    report = build_report(ReportInput(JOB, ExitCode.CLUSTER, "aborted", "no node came", "now", unfinished=np.arange(30)))
    assert report["resource"]["transform"]["cpuEfficiency"] == 0
    assert report["files"]["output"] == []
    assert [entry["last_event"] for entry in report["raythena"]["unfinished"]] == [10, 10, 10]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_unfinished_stretches_hold_exactly_the_unfinished_events(counts, data):
    inputs = tuple(InputFile(f"f{n}", f"/f{n}", count) for n, count in enumerate(counts))
    indices = sorted(data.draw(st.sets(st.integers(0, sum(counts) - 1))))
    facts = replace(GIVEN, job=replace(JOB, inputs=inputs), failures=(), unfinished=np.array(indices, dtype=np.int64))
    stretches = build_report(facts)["raythena"]["unfinished"]
    told = [f"{s['lfn']}-{event}" for s in stretches for event in range(s["first_event"], s["last_event"] + 1)]
    layout = RangeLayout(inputs)
    assert told == [layout.range_id(index) for index in indices]
    ends = {(s["lfn"], s["last_event"] + 1) for s in stretches}
    assert not ends & {(s["lfn"], s["first_event"]) for s in stretches}, "two stretches that are one"


def test_a_hundred_thousand_failures_are_listed():
    job = replace(JOB, inputs=tuple(InputFile(f"f{n}", f"/f{n}", 1000) for n in range(1000)))
    facts = replace(GIVEN, job=job, failures=(failed(index) for index in range(0, 1_000_000, 10)))
    report: dict[str, Any] = build_report(facts)
    assert len(report["raythena"]["failed"]) == 100_000
    assert report["raythena"]["failed"][-1]["id"] == "f999-991"


@pytest.mark.parametrize(
    ("lfn", "kind"),
    [
        ("EVNT.30737678._000001.pool.root.1", "EVNT"),
        ("mc23_13p6TeV.601229.simul.HITS.e8514_s4162._000001.pool.root", "HITS"),
        ("HITS_MRG.1.root", "HITS_MRG"),
        ("output.dat", "FILE"),
        ("A.B.root", "FILE"),
    ],
)
def test_the_type_of_a_file_is_in_its_name(lfn, kind):
    assert data_type(lfn) == kind
