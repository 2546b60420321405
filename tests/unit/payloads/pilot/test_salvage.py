"""What is finished is found again: in the pilot's log and last report, in its directories, in a dead agent's recovery store."""

import json
import math
import os
import zlib
from urllib.parse import urlencode

import numpy as np
import pytest
import uproot

from raythena.domain.ranges import EventRange
from raythena.payloads.pilot import salvage
from raythena.payloads.pilot.pilotlog import NAME, PilotLog
from raythena.payloads.pilot.range_queue import InFlight
from raythena.payloads.pilot.recovery import RecoveryStore
from raythena.payloads.pilot.run_times import RunTimes, summary
from raythena.payloads.pilot.salvage import BadFile, Claim, claims, is_whole_root_file, take_output
from raythena.runtime.payload_interface import LeasedRange

LINE = "2026-11-23 23:26:54,292 | INFO     | Handling out message: {}\n"


@pytest.fixture
def run_dir(tmp_path):
    """A launch directory with one worker."""
    place = tmp_path / "run-1"
    (place / "PanDA_Pilot-4711" / "athenaMP-workers-EVNTtoHITS-sim" / "worker_0").mkdir(parents=True)
    return place


def output(run_dir, token, content=b"hits"):
    path = run_dir / "PanDA_Pilot-4711" / "athenaMP-workers-EVNTtoHITS-sim" / "worker_0" / f"HITS.root.{token}"
    path.write_bytes(content)
    return path


def root_bytes(tmp_path):
    path = tmp_path / "whole.root"
    with uproot.recreate(path) as file:
        file.mktree("HITS", {"EventNumber": "int64"})
        file["HITS"].extend({"EventNumber": np.arange(3)})
    return path.read_bytes()


def logged(**message):
    return LINE.format({"output": "/x", "id": "t1", "cpu": "1.5", "wall": "2.5", "status": "finished", **message})


# ---- the log


def test_a_log_is_read_while_it_grows(tmp_path):
    log = PilotLog(tmp_path / NAME)
    log.read()
    line = logged()
    with (tmp_path / NAME).open("w") as stream:
        for piece in (
            "something else\n" + line[:40],
            line[40:],
            logged(id="t2", status="failed", message="ERR_ATHENAMP_PROCESS t2: no"),
        ):
            stream.write(piece)
            stream.flush()
            log.read()
        assert [(one.token, one.finished, one.wall_s) for one in log.take_new()] == [("t1", True, 2.5), ("t2", False, 2.5)]
        assert (log.take_new(), log.over, log.facts["t2"].text) == ([], False, "ERR_ATHENAMP_PROCESS t2: no")
        stream.write("2026 | INFO | ES raythena executor finished\n")
        stream.flush()
        log.read()
    assert log.over


@pytest.mark.parametrize("text", ["{", "{'id': }", "{'status': 'finished'}", "{1: 2}", "{" * 5000, "{'id': 't', 'x': f()}"])
def test_lines_that_only_look_like_messages_are_passed_over(tmp_path, text):
    (tmp_path / NAME).write_text(LINE.format(text + "}") + logged())
    log = PilotLog(tmp_path / NAME)
    log.read()
    assert list(log.facts) == ["t1"]


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "x", "None"])
def test_times_no_clock_can_have_shown_are_unknown(tmp_path, seconds):
    (tmp_path / NAME).write_text(logged(cpu=seconds))
    log = PilotLog(tmp_path / NAME)
    log.read()
    assert log.facts["t1"].cpu_s == 0.0


# ---- outputs


def test_an_output_is_moved_when_it_is_what_it_was_said_to_be(run_dir, tmp_path):
    path = output(run_dir, "t1")
    assert take_output(Claim("t1", str(path), 4, zlib.adler32(b"hits")), run_dir, tmp_path / "out") == 4
    assert ((tmp_path / "out").read_bytes(), path.exists()) == (b"hits", False)


def test_an_output_can_be_taken_without_being_taken_away(run_dir, tmp_path):
    path = output(run_dir, "t1")
    take_output(Claim("t1", str(path)), run_dir, tmp_path / "out", keep=True)
    assert path.samefile(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size_bytes": 5}, "4 bytes, 5 were reported"),
        ({"adler32": 7}, "checksum"),
        ({"path": "/etc/hostname"}, "outside"),
        ({"path": ""}, "outside"),
        ({"path": "/no/such/file"}, "No such file"),
        ({"path": "a\0b"}, "cannot be used"),
    ],
)
def test_other_outputs_are_refused(run_dir, tmp_path, change, words):
    claim = {"token": "t1", "path": str(output(run_dir, "t1")), **change}
    with pytest.raises(BadFile, match=words):
        take_output(Claim(**claim), run_dir, tmp_path / "out")


def test_links_lead_nowhere(run_dir, tmp_path):
    (tmp_path / "secret").write_text("secret")
    link = run_dir / "link"
    link.symlink_to(tmp_path / "secret")
    for path in (link, run_dir / "PanDA_Pilot-4711", run_dir / ".." / "secret"):
        with pytest.raises(BadFile):
            take_output(Claim("t1", str(path)), run_dir, tmp_path / "out")
    assert (tmp_path / "secret").exists()


def test_root_files_are_whole_or_refused(run_dir, tmp_path):
    whole = root_bytes(tmp_path)
    assert is_whole_root_file(output(run_dir, "whole", whole))
    for torn in (whole[:-1], whole[: len(whole) // 2], whole + b"x", whole[:8] + bytes(56) + whole[64:], b"root", b""):
        path = output(run_dir, "torn", torn)
        assert not is_whole_root_file(path)
        with pytest.raises(BadFile):
            take_output(Claim("torn", str(path)), run_dir, tmp_path / "out")
    assert not is_whole_root_file(tmp_path / "nowhere")


# ---- witnesses


def test_the_last_report_is_a_witness(run_dir):
    path = output(run_dir, "t1")
    told = json.dumps(
        [
            {
                "esOutput": {"numEvents": 1},
                "eventRanges": [
                    {"eventRangeID": "t1", "eventStatus": "finished", "pfn": str(path), "fsize": 4, "adler32": "0000abcd"}
                ],
            }
        ]
    )
    lines = [f'data="{urlencode({name: value})}"\n' for name, value in {"version": 1, "eventRanges": told}.items()]
    (run_dir / "curl_updateEventRanges.config").write_text("".join(lines))
    assert claims(run_dir, {"t1"}) == [Claim("t1", str(path), 4, 0xABCD)]
    assert claims(run_dir, {"t2"}) == []


def test_the_log_is_a_witness(run_dir):
    path = output(run_dir, "t1")
    (run_dir / NAME).write_text(logged(output=str(path)) + logged(output="/gone", id="t2"))
    assert claims(run_dir, {"t1", "t2"}) == [Claim("t1", str(path))]


def test_a_closed_root_file_is_a_witness_and_a_file_of_text_is_none(run_dir, tmp_path):
    path = output(run_dir, "t1", root_bytes(tmp_path))
    output(run_dir, "t2", b"some text")
    output(run_dir, "t3", root_bytes(tmp_path)[:-7])
    assert claims(run_dir, {"t1", "t2", "t3"}) == [Claim("t1", str(path))]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'data="eventRanges=nonsense"', b'data="eventRanges=[[1], null]"', b"{"])
def test_a_torn_report_is_passed_over(run_dir, content):
    (run_dir / "curl_updateEventRanges.config").write_bytes(content)
    assert claims(run_dir, {"t1"}) == []


# ---- the recovery store


def in_flight(token, range_id):
    return InFlight(LeasedRange(1, EventRange(range_id, "lfn", "/lfn", "guid", 1, 1)), token, 0.0)


def dead_store(scratch):
    """An recovery store whose owner was killed: staged and unstaged outputs, nobody holding the lock."""
    recovery = RecoveryStore(scratch)
    recovery.open()
    recovery.note([in_flight("t1", "lfn-1"), in_flight("t2", "lfn-2"), in_flight("t3", "lfn-3")])
    (recovery.staged / "t1").write_bytes(b"staged")
    run_dir = recovery.place / "run-1"
    (run_dir / "PanDA_Pilot-1" / "athenaMP-workers-EVNTtoHITS-sim" / "worker_0").mkdir(parents=True)
    (run_dir / NAME).write_text(logged(id="t2", output=str(run_dir / "out.t2")))
    (run_dir / "out.t2").write_bytes(b"logged")
    return recovery


def scratch_of(tmp_path, agent):
    place = tmp_path / f"raythena-task01-sess01-node01-{agent}" / "payload-x"
    place.mkdir(parents=True)
    return place


def test_the_next_agent_finds_what_a_dead_one_had_finished(tmp_path):
    pid = os.fork()
    if pid == 0:
        dead_store(scratch_of(tmp_path, "a"))
        os._exit(0)
    os.waitpid(pid, 0)
    recovery = RecoveryStore(scratch_of(tmp_path, "b"))
    found = recovery.open()
    assert {range_id: path.read_bytes() for range_id, path in found.items()} == {"lfn-1": b"staged", "lfn-2": b"logged"}
    assert all(path.parent == recovery.staged for path in found.values())
    assert [path for path in recovery.place.parent.iterdir()] == [recovery.place]


def test_a_recovery_store_in_use_is_left_alone(tmp_path):
    first = dead_store(scratch_of(tmp_path, "a"))
    second = RecoveryStore(scratch_of(tmp_path, "b"))
    assert second.open() == {}
    assert first.place.exists()
    second.close()
    first.close()
    assert [path.name[:8] for path in tmp_path.iterdir()] == ["raythena", "raythena"]


# ---- times


def test_gaps_are_those_of_each_worker_whatever_the_order_of_reports():
    run = RunTimes(100.0, job_asked_at=101.0, first_ranges_at=103.0, ended_at=130.0)
    for worker, begin, end in (("b", 105.0, 110.0), ("a", 110.5, 115.0), ("a", 104.0, 110.0), ("b", 110.1, 120.0)):
        run.event(worker, begin, end)
    assert run.gaps() == pytest.approx([0.1, 0.5])
    figures = run.figures()
    told = (
        figures["start_to_job_s"],
        figures["start_to_first_ranges_s"],
        figures["start_to_first_event_s"],
        figures["last_event_to_end_s"],
    )
    assert told == (1.0, 3.0, 4.0, 10.0)
    assert "4 events" in run.in_words()
    account = summary([run])
    assert (account.first_range_s, account.waits, account.exit_s) == (3.0, 2, 10.0)
    assert math.isclose(account.mean_wait_s, 0.3)


def test_an_account_of_nothing():
    assert summary([]).waits == summary([RunTimes(1.0)]).waits == 0


def test_a_torn_report_of_blank_lines_and_blanks_is_read_once(tmp_path):
    """A pattern that begins anew at each of them would take minutes."""
    report = tmp_path / "curl_updateEventRanges_1.config"
    good = '  data = "eventRanges=[]"  \r\n'
    report.write_text("\n" * 200_000 + "data" + " " * 200_000 + "\n" + good)
    assert claims(tmp_path, {"t"}) == []
    assert salvage._DATA.findall(report.read_text()) == ["eventRanges=[]"]
