"""The stand-in for AthenaMP says what the real one says, and goes wrong as told."""

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import yampl
from athenamp_stand_in.arguments import Refused, parse
from athenamp_stand_in.content import hits_of, write_evnt
from athenamp_stand_in.plan import read_plan
from raythena.payloads.mergers.root import merge_root
from raythena.runtime.merger_interface import MergeContext
from raythena.validation.readers import event_numbers

PROGRAM = Path(__file__).parents[2] / "stand_ins" / "bin" / "Sim_tf.py"
FIRST_NUMBER = 1001
PATIENCE_MS = 60_000


@dataclass
class Run:
    """One transform from its start to its end, and what it said."""

    status: int = 0
    messages: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    """Reported output by range id."""
    errors: str = ""

    def errors_of(self, range_id):
        return [text.partition(": ")[2] for text in self.messages if text.startswith(f"ERR_ATHENAMP_PROCESS {range_id}:")]


def run(directory, events, plan=None, *, pfn=None, workers=2, ids="r-{:04d}", arguments=(), channel_by="preExec"):
    """Hand the events to a transform, one after the other, until it ends."""
    evnt = directory / "EVNT.1.root"
    guid = write_evnt(evnt, range(FIRST_NUMBER, FIRST_NUMBER + 20))
    (directory / "job").mkdir()
    channel = f"test-{uuid.uuid4().hex}"
    server = yampl.ServerSocket(channel, "local")
    words = [f"--inputEVNTFile={evnt}", "--outputHITSFile=HITS.1.root", "--eventService=True", "--maxEvents=20", *arguments]
    surroundings = {**os.environ, "ATHENA_PROC_NUMBER": str(workers), "ATHENAMP_STAND_IN": json.dumps(plan or {})}
    surroundings["PATH"] = f"{Path(sys.executable).parent}:{surroundings['PATH']}"
    if channel_by == "preExec":
        words += ["--preExec", "a = 1;", f'ConfigFlags.MP.EventRangeChannel="{channel}"']
    elif channel_by == "mtes":
        words += [f'--athenaopts= --mtes --mtes-channel="{channel}"']
    else:
        surroundings["PILOT_EVENTRANGECHANNEL"] = channel
    found = Run()
    process = subprocess.Popen(
        [PROGRAM, *words], cwd=directory / "job", env=surroundings, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    waiting = [
        {"eventRangeID": ids.format(n), "startEvent": n, "lastEvent": n, "PFN": pfn or str(evnt), "GUID": guid} for n in events
    ]
    while True:
        over = process.poll() is not None
        size, message = server.try_recv_raw(0 if over else 20)
        if size == -1 and over:
            break
        text = message.decode(errors="replace")
        if text == "Ready for events":
            server.send_raw(json.dumps([waiting.pop(0)]).encode() if waiting else b"No more events")
        elif size != -1:
            found.messages.append(text)
            path, _, rest = text.partition(",ID:")
            if rest:
                found.files[rest.partition(",")[0]] = Path(path)
    found.status, found.errors = process.returncode, process.communicate()[1]
    return found


@pytest.mark.parametrize("channel_by", ["preExec", "mtes", "environment"])
def test_every_range_gives_one_file_that_can_be_merged_and_proven(tmp_path, channel_by):
    found = run(tmp_path, range(1, 7), channel_by=channel_by)
    assert (found.status, found.errors) == (0, "")
    assert sorted(found.files) == [f"r-{n:04d}" for n in range(1, 7)]
    places = {
        path.parent.relative_to(tmp_path / "job/athenaMP-workers-EVNTtoHITS-sim").as_posix() for path in found.files.values()
    }
    assert places <= {"worker_0", "worker_1"}
    paths = [found.files[f"r-{n:04d}"] for n in range(1, 7)]
    assert [path.name for path in paths] == [f"HITS.1.root.r-{n:04d}" for n in range(1, 7)]
    assert all(",CPU:" in text and ",WALL:" in text for text in found.messages)
    merged = tmp_path / "merged.root"
    merge_root(paths, merged, MergeContext("merged.root", str(uuid.uuid4()), {}))
    assert event_numbers(merged).tolist() == list(range(FIRST_NUMBER, FIRST_NUMBER + 6))
    assert not (tmp_path / "job" / "jobReport.json").exists()


def test_misdeeds_that_athenamp_reports(tmp_path):
    plan = {"parse": [1], "not_found": [2], "seek": [3], "process": [4], "no_output": [5], "bad_input": [6], "crash": [7]}
    found = run(tmp_path, range(1, 11), plan)
    assert [text for text in found.messages if text.startswith("ERR_ATHENAMP_PARSE") and '"r-0001"' in text]
    reasons = ["Not found in the input file", "Seek failed", "Failed to process event range", "Failed to make output file"]
    reasons += ["Failed to set input file", "Failed to process event range"]
    assert [found.errors_of(f"r-{n:04d}") for n in range(2, 8)] == [[reason] for reason in reasons]
    assert {"r-0008", "r-0009", "r-0010"} == set(found.files)
    assert found.status == 0


def test_misdeeds_in_the_report(tmp_path):
    plan = {"two_files": [1], "missing": [2], "empty": [3], "truncated": [4], "wrong_id": [5], "no_id": [6], "duplicate": [7]}
    plan |= {"garbage": [8], "silent": [9], "elsewhere": [10]}
    found = run(tmp_path, range(1, 11), plan, workers=1)
    sizes = {n: path.stat().st_size for n in (3, 4, 7, 8) if (path := found.files[f"r-{n:04d}"])}
    assert sizes[3] == 0
    assert 0 < sizes[4] < min(sizes[7], sizes[8]) * 0.9
    assert not found.files["r-0002"].exists()
    assert found.messages[0].count("HITS.1.root.r-0001") == 2
    assert any("ID:nobody-knows" in text for text in found.messages)
    assert any("ID:" not in text and "r-0006" in text for text in found.messages)
    assert sum("ID:r-0007" in text for text in found.messages) == 2
    assert any("nonsense" in text for text in found.messages)
    assert not any("r-0009" in text for text in found.messages)
    assert str(found.files["r-0010"]) == "/etc/passwd"


@pytest.mark.parametrize(("misdeed", "status"), [("die", -9), ("die_late", -9), ("exit_after", 0)])
def test_the_whole_of_it_may_die(tmp_path, misdeed, status):
    found = run(tmp_path, range(1, 20), {misdeed: [2]}, workers=1)
    assert found.status == status
    assert list(found.files) == ["r-0001"] + (["r-0002"] if misdeed == "exit_after" else [])
    assert bool(list(tmp_path.rglob("*.r-0002"))) == (misdeed != "die")


def test_it_may_end_badly_after_all(tmp_path):
    found = run(tmp_path, [1, 2], {"exit": 65, "job_report": True})
    assert (found.status, len(found.files)) == (65, 2)
    assert json.loads((tmp_path / "job" / "jobReport.json").read_text())["exitCode"] == 65


def test_a_misdeed_once_is_a_misdeed_of_the_first_attempt(tmp_path):
    once = tmp_path / "once"
    once.mkdir()
    found = run(tmp_path, [1, 1], {"seek": [1], "once": str(once)}, workers=1)
    assert len(found.errors_of("r-0001")) == 1
    assert list(found.files) == ["r-0001"]


def test_ids_that_are_part_of_one_another_report_two_files(tmp_path):
    found = run(tmp_path, [12, 1], workers=1, ids="lfn-{}")
    assert found.messages[1].count("HITS.1.root.lfn-1") == 2


def test_another_spelling_of_the_input_kills_the_worker(tmp_path):
    found = run(tmp_path, [1], pfn=f"{tmp_path}/./EVNT.1.root")
    assert found.errors_of("r-0001") == ["Failed to process event range"]


def test_another_file_is_opened_when_its_range_comes(tmp_path):
    write_evnt(tmp_path / "other.root", [77])
    found = run(tmp_path, [1], pfn=str(tmp_path / "other.root"))
    assert event_numbers(found.files["r-0001"]).tolist() == [77]


@pytest.mark.parametrize("content", [None, b"no ROOT file"])
def test_a_file_that_cannot_be_opened_is_reported(tmp_path, content):
    if content is not None:
        (tmp_path / "other.root").write_bytes(content)
    found = run(tmp_path, [1], pfn=str(tmp_path / "other.root"))
    assert found.errors_of("r-0001") == ["Failed to set input file"]


def test_every_process_notes_its_times(tmp_path):
    run(tmp_path, range(1, 5), {"times": str(tmp_path / "times")})
    notes = [json.loads(line) for line in (tmp_path / "times").read_text().splitlines()]
    assert [note["what"] for note in notes].count("begin") == 4
    assert (notes[0]["what"], notes[-1]["what"]) == ("start", "exit")


def test_hits_depend_on_the_event_number_alone():
    assert np.array_equal(hits_of(7)["energy"], hits_of(7)["energy"])
    assert not np.array_equal(hits_of(7)["energy"], hits_of(12)["energy"])


@pytest.mark.parametrize(
    ("words", "inputs", "output"),
    [
        (["--inputEVNTFile={a}", "--outputHITSFile=H"], ["a"], "H"),
        (["--inputEVNTFile", "{a}", "{b}", "--outputHITSFile", "H"], ["a", "b"], "H"),
        (["--inputEVNTFile={a},{b}", "--inputEVNTFile={a}", "--outputHITS=H"], ["a", "b"], "H"),
        (["--inputEvgenFile=EVNTtoHITS:{a}", "--outputHitsFile=all:H"], ["a"], "H"),
        (["--inputEVNTFile={glob}", "--outputHITSFile=H", "--jobNumber", "7", "--unknown", "--also=1"], ["a", "b"], "H"),
        (["@{file}"], ["a"], "H"),
    ],
)
def test_arguments_are_understood_as_athena_does(tmp_path, words, inputs, output):
    for name in "ab":
        (tmp_path / name).write_text("")
    (tmp_path / "arguments").write_text(f"--inputEVNTFile={tmp_path}/a\n--outputHITSFile=H\n--preExec=x y\n")
    places = {name: str(tmp_path / name) for name in "ab"} | {"glob": f"{tmp_path}/[ab]", "file": str(tmp_path / "arguments")}
    found = parse([word.format(**places) for word in words], {"ATHENA_PROC_NUMBER": "3"})
    assert [Path(path).name for path in found.inputs] == inputs
    assert (found.output, found.processes) == (output, 3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--inputEVNTFile=/no/file", "--outputHITSFile=H"], "not there"),
        (["--inputEVNTFile=/etc/passwd", "--outputHITSFile=H,I"], "takes one"),
        (["--outputHITSFile=H"], "no input"),
        (["--inputEVNTFile=/etc/passwd", "--outputHITSFile=H", "--maxEvents=x"], "no number"),
    ],
)
def test_arguments_that_cannot_work_are_refused(words, complaint):
    with pytest.raises(Refused, match=complaint):
        parse(words, {})


def test_a_plan_with_unknown_words_is_refused():
    with pytest.raises(ValueError, match="crahs"):
        read_plan({"ATHENAMP_STAND_IN": '{"crahs": [1]}'})
