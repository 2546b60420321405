"""Jobs from the first event to the job report, with nothing going wrong, and with events that do."""

import json

import pytest
import yaml

from job_kit import ToyJob, attempts, failed_ids, make_job
from raythena.domain.errors import ExitCode
from raythena.domain.reopening import RetryRequest

TWO_STREAMS = """
import json
from pathlib import Path

def simulate(event_range, context):
    number = event_range.first_event
    hits = json.dumps({"event": number, "of": "HITS"}).encode() + b"\\n"
    log = json.dumps({"event": number, "of": "LOG"}).encode() + b"\\n"
    path = context.new_output(".hits")
    path.write_bytes(hits)
    if event_range.range_id == "f1.evnt-7" and not Path(context.options["mended"]).exists():
        return {"HITS": path}
    return {"HITS": path, "LOG": log}
"""
SHAPES = {
    "1→1": ([30, 30], 30),
    "1→N": ([60], 20),
    "N→1": ([10, 10, 10, 10, 10, 10], 30),
    "uneven": ([7, 41, 5, 3, 1], 13),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_event_is_in_its_place(cluster, tmp_path, shape):
    inputs, events_per_file = SHAPES[shape]
    toy = make_job(tmp_path, inputs, events_per_file, {"cpu_s": 0.005, "spread": 1.0, "as_file": shape != "1→N"})
    result = cluster.run(toy)
    assert (result.outcome, result.exit_code) == ("complete", ExitCode.OK)
    toy.assert_complete()
    report = toy.report()
    entries = [one["nentries"] for file in report["files"]["output"] for one in file["subFiles"]]
    assert sum(entries) == toy.job.n_events
    status = json.loads((toy.task / "status.json").read_text())
    assert (status["phase"], status["verdict"], status["merged"]) == ("ended", "complete", toy.job.n_events)


def test_files_on_the_shared_disk_grow_with_groups_not_with_events(cluster, tmp_path):
    toy = make_job(tmp_path, [1500], 1500, {"as_file": False})
    most = 0
    with cluster.session(toy, runtime__group_age_s=5.0) as session:
        while not session.session.has_ended(0.05):
            most = max(most, sum(1 for path in (toy.task / "staging").rglob("*") if path.is_file()))
        assert session.session.result().exit_code is ExitCode.OK
    toy.assert_complete()
    groups = toy.summary().groups
    assert 0 < groups <= 1500 / 50
    assert most <= groups


def test_streams_hold_the_same_events_whatever_is_lost_of_an_event(cluster, tmp_path):
    """One event never writes its log, until its program is mended and it is tried again."""
    (tmp_path / "two_streams.py").write_text(TWO_STREAMS)
    toy = make_job(
        tmp_path, [25, 15], 20, payload={"python": "two_streams:simulate", "options": {"mended": str(tmp_path / "mended")}}
    )
    document = yaml.safe_load(toy.path.read_text())
    streams = [{"stream": "HITS", "name": "HITS.{n}", "merge": "concat"}, {"stream": "LOG", "name": "log.{n}", "merge": "concat"}]
    del document["merge"]
    toy.path.write_text(yaml.safe_dump({**document, "outputs": {"events_per_file": 20, "streams": streams}}))
    toy = ToyJob(toy.path)
    assert cluster.run(toy, engine__max_attempts=2).exit_code is ExitCode.INCOMPLETE
    assert failed_ids(toy) == {"f1.evnt-7": "bad-output"}
    lacking = toy.contents()
    assert {name: len(text.splitlines()) for name, text in lacking.items()} == streams_of([19, 5, 15])
    numbers = {name: [json.loads(line)["event"] for line in text.splitlines()] for name, text in lacking.items()}
    assert all(numbers[f"HITS.{n}"] == numbers[f"log.{n}"] for n in (1, 2, 3))
    (tmp_path / "mended").touch()
    again = cluster.session(toy, resume=True)
    again.change(retry=RetryRequest())
    with again as session:
        assert session.end().exit_code is ExitCode.OK
    assert {name: len(text.splitlines()) for name, text in toy.contents().items()} == streams_of([20, 5, 15])
    assert {name for name, text in toy.contents().items() if lacking[name] != text} == {"HITS.1", "log.1"}
    entries = [one["nentries"] for file in toy.report()["files"]["output"] for one in file["subFiles"]]
    assert sorted(entries) == [5, 5, 15, 15, 20, 20]
    assert toy.report()["raythena"]["events"] == {"total": 40, "merged": 40, "stored": 0, "failed": 0, "unfinished": 0}
    toy.assert_tidy()


def streams_of(counts):
    return {f"{stream}.{number}": count for stream in ("HITS", "log") for number, count in enumerate(counts, start=1)}


def test_the_cpp_example(cluster, tmp_path, event_loop_program):
    payload = {"process": [str(event_loop_program), "--event-ms", "2", "--mode", "spool"]}
    toy = make_job(tmp_path, [40, 25], 20, payload=payload)
    result = cluster.run(toy)
    assert result.exit_code is ExitCode.OK
    events = [json.loads(line)["EventNumber"] for content in toy.contents().values() for line in content.splitlines()]
    assert events == [*range(1, 41), *range(1, 26)]
    toy.assert_tidy()


def test_poison_events_cost_themselves_only(cluster, tmp_path):
    """Each in its own way, after `max_attempts`; the others of the same outputs are merged."""
    misdeeds = {
        "fail": ["f1.evnt-3"],
        "crash": ["f1.evnt-17", "f2.evnt-1"],
        "hang": ["f2.evnt-9"],
        "bad_output": ["f1.evnt-20"],
    }
    kinds = {"fail": "reported", "crash": "crash", "hang": "hang", "bad_output": "bad-output"}
    toy = make_job(tmp_path, [40, 20], 30, {"cpu_s": 0.005, **misdeeds})
    result = cluster.run(
        toy,
        engine__max_attempts=2,
        payload__min_time_limit_s=1.0,
        payload__first_time_limit_s=3.0,
        payload__time_limit_factor=2.0,
    )
    assert (result.outcome, result.exit_code) == ("incomplete", ExitCode.INCOMPLETE)
    failed = {one: kinds[misdeed] for misdeed, ids in misdeeds.items() for one in ids}
    assert failed_ids(toy) == failed
    assert set(attempts(toy).values()) == {2}
    assert toy.contents() == toy.expected(without=failed.keys())
    toy.assert_tidy()
    report = json.dumps(toy.report())
    assert toy.report()["exitCode"] == ExitCode.INCOMPLETE
    assert all(one in report for one in failed)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"python": "no_such_module:process"}, "no_such_module"),
        ({"python": "json:no_such_function"}, "no_such_function"),
        ({"python": "json:loads", "setup": "os:abort"}, "abort() takes no arguments"),
        ({"process": ["/no/such/program"]}, "/no/such/program"),
        ({"process": ["false"]}, "died before they were ready"),
    ],
    ids=["module", "function", "setup", "program", "exits"],
)
def test_a_payload_that_cannot_start_ends_the_job(cluster, tmp_path, payload, words):
    toy = make_job(tmp_path, [20], 20, payload=payload)
    result = cluster.run(toy)
    assert result.exit_code is ExitCode.PAYLOAD
    assert words in result.reason
    assert toy.report()["exitCode"] == ExitCode.PAYLOAD
    assert words in toy.report()["exitMsg"]
