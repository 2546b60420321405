"""What is read from a pilot's log, and what is not believed."""

import pytest

from raythena.payloads.pilot.pilotlog import PilotLog

BEFORE = "2026-01-02 03:04:05,678 | {} | ESProcess | pilot.eventservice.esprocess.esprocess | {} | {}\n"


def log_of(tmp_path, *lines):
    path = tmp_path / "pilotlog.txt"
    path.write_text("".join(lines))
    log = PilotLog(path)
    log.read()
    return log


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("payload finished with error code: 1", 1),
        ("payload finished with error code: -9", -9),
        ("payload finished successfully.", 0),
        ("PilotException caught in the main loop: Payload process is not alive: 137, Traceback (most", 137),
        ("payload finished with error code: 1 and more", None),
        ("Payload process has not started.", None),
        ("has the payload finished successfully? nobody knows", None),
    ],
)
def test_how_the_payload_ended(tmp_path, words, status):
    assert log_of(tmp_path, BEFORE.format("ERROR", "terminate", words)).payload_status == status


def test_a_line_is_read_once_it_is_whole(tmp_path):
    whole = BEFORE.format("ERROR", "terminate", "payload finished with error code: 12")
    log = log_of(tmp_path, whole[:-2])
    assert log.payload_status is None
    with (tmp_path / "pilotlog.txt").open("a") as stream:
        stream.write(whole[-2:])
    log.read()
    assert (log.payload_status, log.over) == (12, False)


def test_events_and_the_end(tmp_path):
    done = {"output": "/a/HITS.r1", "id": "r1", "cpu": "1.5", "wall": "2", "status": "finished"}
    failed = {"id": "r2", "status": "failed", "message": "ERR_ATHENAMP_PROCESS r2: Seek failed"}
    lines = [BEFORE.format("INFO", "handle_out_message", f"Handling out message: {one}") for one in (done, failed, done, "{torn")]
    log = log_of(tmp_path, *lines, BEFORE.format("INFO", "run", "ES raythena executor finished"))
    first, second = log.take_new()
    assert (first.token, first.finished, first.path, first.cpu_s, first.wall_s) == ("r1", True, "/a/HITS.r1", 1.5, 2.0)
    assert (second.token, second.finished, second.text) == ("r2", False, failed["message"])
    assert (log.over, log.take_new(), log.payload_status) == (True, [], None)


def test_no_log_is_an_empty_one(tmp_path):
    log = PilotLog(tmp_path / "pilotlog.txt")
    log.read()
    assert (log.facts, log.over) == ({}, False)


PROXY, YAMPL = "voms proxy certificate check failure: 127", "ModuleNotFoundError: No module named 'yampl'"
BROKEN = "exception: f() missing 1 required positional argument: 'job'"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (f"2026-11-28 10:49:46,167 | WARNING  | {PROXY}, ", PROXY),
        (YAMPL, YAMPL),
        (f"2026-11-28 10:49:46,167 | WARNING  | {BROKEN}", BROKEN),
        ("2026-11-28 10:49:46,167 | INFO     | try to import yampl", ""),
    ],
)
def test_why_it_will_never_ask(tmp_path, line, refusal):
    path = tmp_path / "pilotlog.txt"
    path.write_text(f"begin\n{line}\nend\n")
    log = PilotLog(path)
    log.read()
    assert log.refusal == refusal


@pytest.mark.parametrize("word", ["x", "missing ", "ImportError: ", "{", '"', "ES ", "details: "])
def test_lines_of_a_megabyte_are_read_at_once(tmp_path, word):
    """The list of a job's ranges is such a line. A pattern that starts anew at each of its characters takes days."""
    path = tmp_path / "pilotlog.txt"
    log = PilotLog(path)
    path.write_text((word * 1_000_000)[:1_000_000] + "\nES generic executor finished\n")
    log.read()
    assert (log.over, log.refusal, log.facts) == (True, "", {})


def test_why_it_ended_its_job(tmp_path):
    path = tmp_path / "pilotlog.txt"
    path.write_text(
        "now | ERROR    | PilotException caught in the main loop: error code: 1305, message: Failed to execute payload\n"
        "details: (ValueError('not enough values to unpack (expected 2, got 1)'),)\n"
        'details: ("Failed to handle out message: error code: 1301",)\n'
    )
    log = PilotLog(path)
    log.read()
    assert log.complaint == (
        "PilotException caught in the main loop: error code: 1305, message: Failed to execute payload; "
        "Failed to handle out message: error code: 1301"
    )
