"""Jobs from the first event to the job report, with nothing going wrong, and with events that do."""

import json

import pytest

from job_kit import attempts, failed_ids, make_job
from raythena.domain.errors import ExitCode

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
