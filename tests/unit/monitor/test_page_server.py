"""The page's server: what it answers, whom, and what it never does to the task."""

from __future__ import annotations

import asyncio
import json

import pytest
from page_kit import HOSTILE, page_of, task_in, write_status

from raythena.domain.records import GroupStored
from raythena.monitor.snapshot import read_job
from raythena.monitor.task_watch import MOST_ROWS, TaskWatch
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.testing.simulation.samples import group_of

QUESTIONS = ("", "text.js", "page.js", "page.css", "api/header", "api/overview", "api/ranges", "api/range?index=4", "api/merges")
MORE_QUESTIONS = (
    "api/harvester",
    "api/cores?host=n1&from=0&to=1",
    "api/failures",
    "api/nodes",
    "api/occupancy",
    "api/logs",
    "api/log?name=s1/n1.1/agent.log",
)


def answers(task, *paths, token=None):
    """What the server says to each question."""

    async def ask():
        async with page_of(task, token=token) as client:
            told = []
            for path in paths:
                answer = await client.get("/" + path, allow_redirects=False)
                content = await answer.read()
                told.append((answer.status, json.loads(content) if "json" in answer.content_type else content, answer.headers))
            return told

    return asyncio.run(ask())


def answer(task, path):
    ((status, content, _),) = answers(task, path)
    assert status == 200, content
    return content


@pytest.fixture
def task(tmp_path):
    return task_in(tmp_path)


@pytest.mark.parametrize("token", ["", "x", "wrong" * 10, "\u20ac".encode().decode("latin-1")])
def test_without_the_token_there_is_no_answer(task, token):
    for status, content, _ in answers(task, *QUESTIONS, *MORE_QUESTIONS, "api/stream", token=token):
        assert status == 403
        assert b"sim" not in content


def test_with_it_everything_is_answered_and_nothing_may_be_loaded_from_elsewhere(task):
    for status, _, headers in answers(task, *QUESTIONS, *MORE_QUESTIONS):
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"


def test_the_address_with_the_token_leaves_a_cookie_and_no_trace(task):
    async def visit():
        async with page_of(task, token="") as client:
            first = await client.get(f"/?token={client.token}", allow_redirects=False)
            second = await client.get("/")
            wrong = await client.get("/?token=x", headers={"Cookie": ""}, allow_redirects=False)
            return first, second.status, wrong.status

    first, second, _ = asyncio.run(visit())
    assert (first.status, first.headers["Location"], second) == (303, "/", 200)
    (cookie,) = first.cookies.values()
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")


def test_nothing_can_be_changed(task):
    async def attempt():
        async with page_of(task) as client:
            return {(await client.request(method, "/api/header")).status for method in ("POST", "PUT", "DELETE", "PATCH")}

    before = {path: path.stat().st_mtime_ns for path in task.root.rglob("*")}
    assert asyncio.run(attempt()) == {405}
    answers(task, *QUESTIONS, *MORE_QUESTIONS)
    assert {path: path.stat().st_mtime_ns for path in task.root.rglob("*")} == before


def test_the_header_says_how_far_it_is(task):
    header = answer(task, "api/header")
    assert header["job"] == HOSTILE
    status = header["status"]
    assert (status["events"], status["finished"], status["failed"], status["ended"]) == (12, 6, 1, False)
    assert (status["nodes"], status["warnings"]) == (1, [f"node n1: {HOSTILE}"])
    write_status(task, phase="ended", verdict="incomplete", exit_code=4)
    assert answer(task, "api/header")["status"]["exit_code"] == 4
    task.status.unlink()
    assert "not reported" in answer(task, "api/header")["problem"]
    task.status.write_text("{")
    assert "not JSON" in answer(task, "api/header")["problem"]


def test_the_overview_counts_what_the_ledger_has(task):
    told = answer(task, "api/overview")
    assert told["counts"] == {"open": 5, "stored": 2, "merged": 4, "failed": 1}
    assert told["attempts_failed"] == 2
    assert told["core_time"]["core_s"]["computing_kept"] == 120.0
    assert sum(told["finished"]) == 6
    assert sum(count for _, _, count in told["event_times"]) == 6


@pytest.mark.parametrize(
    ("query", "count", "first"),
    [
        ("", 12, [0, 1]),
        ("?state=failed", 1, [4]),
        ("?state=failed,stored&limit=2", 3, [4, 6]),
        ("?retried=1", 1, [4]),
        ("?offset=10", 12, [10, 11]),
        ("?offset=99", 12, []),
        ("?offset=-5&limit=1", 12, [0]),
        ("?node=n1&sort=start&limit=0", 7, [4]),
        ("?lfn=no-such-file", 0, []),
        ("?message=onerror", 1, [4]),
    ],
)
def test_ranges_are_found_page_by_page(task, query, count, first):
    told = answer(task, "api/ranges" + query)
    assert told["count"] == count
    assert [row["index"] for row in told["rows"]][:2] == first


def test_nobody_gets_more_than_a_page(task):
    assert len(answer(task, "api/ranges?limit=1000000000")["rows"]) == min(12, MOST_ROWS)


@pytest.mark.parametrize(
    "path",
    [
        "api/cores?host=n1",
        "api/cores?host=n1&from=0&to=nan",
        "api/scan",
        "api/ranges?sort=secret",
        "api/ranges?offset=x",
        "api/range?index=12",
        "api/range",
        "api/range?index=-1",
    ],
)
def test_questions_that_make_no_sense_are_refused(task, path):
    ((status, content, _),) = answers(task, path)
    assert (status, bool(content)) == (400, True)


def test_a_failed_range_is_a_click_from_what_explains_it(task):
    (cause,) = answer(task, "api/failures")["causes"]
    assert (cause["count"], cause["kind"]) == (1, "crash")
    assert cause["hint"]
    story = answer(task, f"api/range?index={cause['events'][0]['index']}")
    assert story["record"]["state"] == "failed"
    assert sorted(line["source"] for line in story["lines"]) == ["ledger", "ledger", "s1/n1.1/agent.log"]


def test_the_heat_map_has_a_byte_for_each_node_and_stretch(task):
    content = answer(task, "api/occupancy")
    length = int.from_bytes(content[:4], "little")
    about, cells = json.loads(content[4 : 4 + length]), content[4 + length :]
    assert (about["hosts"], len(cells)) == (["n1"], about["columns"])
    assert max(cells) == 255


@pytest.mark.parametrize("name", ["", "../job.json", "s1/../../job.json", "/etc/passwd", "s1", "s1/core-times.json", "no.log"])
def test_only_logs_of_the_task_are_shown(task, name):
    ((status, _, _),) = answers(task, f"api/log?name={name}")
    assert status == 400


def test_a_link_out_of_the_logs_is_not_followed(task, tmp_path):
    (tmp_path / "secret.log").write_text("secret")
    (task.logs / "s1" / "link.log").symlink_to(tmp_path / "secret.log")
    ((status, content, _),) = answers(task, "api/log?name=s1/link.log")
    assert (status, b"secret\n" in content) == (400, False)
    assert answer(task, "api/logs")["logs"]


def test_the_cores_of_a_node_are_told_in_a_stretch_of_time(task):
    told = answer(task, "api/cores?host=n1&from=1700000000&to=1700000100")
    assert (told["count"], told["cores"], len(told["slices"])) == (6, 6, 6)
    assert {slice[3] for slice in told["slices"]} == {0, 1, 2, 3, 6, 7}
    assert answer(task, "api/cores?host=n1&from=0&to=1")["count"] == 0


def test_too_many_events_of_a_node_are_counted(task, monkeypatch):
    monkeypatch.setattr("raythena.monitor.task_watch.MOST_SLICES", 5)
    told = answer(task, "api/cores?host=n1&from=1700000000&to=1700000100")
    assert (told["count"], told["slices"]) == (6, [])


def test_what_was_said_to_harvester_is_told(task):
    told = answer(task, "api/harvester")
    assert (told["given"], told["acknowledged"]) == (0, 0)
    (talk,) = told["talks"]
    assert (talk["session"], talk["said"]["asked"]["items"], talk["said"]["told"]["items"]) == ("s1", 12, 7)
    header = answer(task, "api/header")
    assert header["queue"] == "KIT_TEST_ES"


def test_a_job_that_hands_out_its_own_ranges_has_no_such_part(task):
    task.talk("s1").unlink()
    assert [content["talks"] for _, content, _ in answers(task, "api/overview", "api/header")[1:]] == [False]


def test_a_scan_is_read_once_for_each_look_that_found_something_new(task):
    read = []
    watch = TaskWatch(task, lambda: 0.0, lambda: 0.0, lambda: read.append(1) or {"count": len(read)})
    assert [watch.scan()["count"] for _ in range(3)] == [1, 1, 1]
    watch.look()
    assert watch.scan()["count"] == 2
    assert watch.header()["scan"]


def test_logs_are_told_apart_by_whose_they_are(task):
    (task.logs / "s1" / "n1.1" / "pilotlog.txt").write_text("pilot")
    (task.logs / "s1" / "n1.1" / "secret.json").write_text("{}")
    told = {log["name"]: log["of"] for log in answer(task, "api/logs")["logs"]}
    assert told == {
        "s1/coordinator.log": "coordinator",
        "s1/n1.1/agent.log": "nodes",
        "s1/n1.1/worker_1.log": "payloads",
        "s1/n1.1/pilotlog.txt": "payloads",
    }
    assert answer(task, "api/log?name=s1/n1.1/pilotlog.txt")["text"] == "pilot"


def test_the_verdict_so_far_is_told_until_there_is_one(task):
    assert answer(task, "api/header")["status"]["so_far"] == "incomplete so far: 1 event is given up"
    write_status(task, failed=0)
    assert answer(task, "api/header")["status"]["so_far"] == "good so far: no event is given up"
    write_status(task, failed=0, stored=0, merged=0)
    assert answer(task, "api/header")["status"]["so_far"] == "nothing is finished yet"
    write_status(task, phase="ended")
    assert answer(task, "api/header")["status"]["so_far"] == ""


def test_merges_tell_what_went_in(task):
    (row,) = answer(task, "api/merges")["rows"]
    assert (row["inputs"], row["events"]) == (1, 4)


def test_a_ledger_that_is_being_written_is_read_and_left_alone(task):
    """The writer commits while pages are served; every commit is there, and the page has seen the first ones."""
    ledger = Ledger.open(task.ledger, read_job(task))
    ledger.begin_session(SessionInfo("s2", "host", 1, 1.0))
    ledger.commit([GroupStored(group_of("c", "n2.1", 1, [5]))])
    assert answer(task, "api/overview")["counts"]["stored"] == 3
    ledger.commit([GroupStored(group_of("d", "n2.1", 3, [10]))])
    ledger.close()
    assert answer(task, "api/overview")["counts"]["stored"] == 4


def test_a_ledger_that_is_damaged_is_told_of(task):
    content = bytearray(task.ledger.read_bytes())
    content[:16] = b"x" * 16
    task.ledger.write_bytes(content)
    told = answers(task, "api/overview", "api/header")
    assert "not a Raythena ledger" in told[1][1]["problem"]


def test_viewers_are_told_when_something_changes(task):
    async def watch():
        async with page_of(task) as client:
            stream = await client.get("/api/stream")
            first = json.loads((await stream.content.readline()).removeprefix(b"data: "))
            write_status(task, merged=5)
            await stream.content.readline()
            second = json.loads((await stream.content.readline()).removeprefix(b"data: "))
            stream.close()
            return first["status"]["finished"], second["status"]["finished"]

    assert asyncio.run(watch()) == (6, 7)


def test_one_that_never_reads_keeps_nobody_waiting(task):
    async def crowd():
        async with page_of(task) as client:
            silent = [await client.get("/api/stream") for _ in range(10)]
            told = await asyncio.wait_for(client.get("/api/overview"), 20.0)
            for one in silent:
                one.close()
            return told.status

    assert asyncio.run(crowd()) == 200
