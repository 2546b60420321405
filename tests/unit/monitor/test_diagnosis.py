"""Each cause there is, from evidence made up for it: found, ranked first, with its figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page_kit import HOSTILE, task_in, write_status

from raythena.domain.core_time import CATEGORIES, Accounting, NodeAccount, Share
from raythena.domain.failure_causes import causes_of
from raythena.domain.progress import NodeProgress, Progress
from raythena.domain.records import AttemptFailed
from raythena.domain.results import FailureKind
from raythena.monitor.diagnosis import Evidence, diagnose
from raythena.monitor.diagnosis_reading import read_evidence
from raythena.monitor.snapshot import Snapshot

PROGRESS = Progress(
    job="sim",
    phase="running",
    events=1000,
    ready=500,
    leased=40,
    stored=100,
    merged=100,
    failed=0,
    attempts_failed=0,
    outputs=10,
    outputs_merged=1,
    merging=0,
    resumed=0,
    rate_per_s=1.0,
    remaining_s=None,
    elapsed_s=100.0,
    occupancy=0.9,
)


def node(name, state="up", *, busy=10, mean_event_s=2.0):
    return NodeProgress(name, state, 10, busy, 10, 20, 0.9, mean_event_s)


FOUR = tuple(node(f"n{number}") for number in range(4))


def running(**changes):
    return Snapshot(replace(PROGRESS, **{"nodes": FOUR, **changes}), 0.0, "host", 1, "", None)


def slow(**evidence):
    return diagnose(Evidence(**evidence)).slow


def failed(**evidence):
    return diagnose(Evidence(**evidence)).failed


def spent(host="n1", session="s1", thrown_away=None, **core_s):
    return NodeAccount(session, host, 10, 1000.0, core_s, thrown_away or {})


def test_of_a_job_that_does_well_nothing_is_said():
    accounting = Accounting((spent(computing_kept=995.0, tail=5.0),))
    found = diagnose(Evidence(snapshot=running(), accounting=accounting, n_events=1000))
    assert (found.slow, found.failed) == ((), ())


@pytest.mark.parametrize(("state", "name"), [("lost", "lost-nodes"), ("stalled", "disk"), ("aside", "set-aside")])
def test_nodes_in_trouble_weigh_as_much_as_their_cores(state, name):
    nodes = (*FOUR[:3], node("bad", state, busy=0))
    (cause,) = slow(snapshot=running(nodes=nodes))
    assert (cause.name, cause.weight, cause.figures["cores"]) == (name, 0.25, 10)
    assert "bad" in cause.text
    assert cause.advice


def test_slow_nodes_weigh_what_they_would_save():
    (cause,) = slow(snapshot=running(nodes=(*FOUR[:3], node("old", mean_event_s=8.0))))
    assert (cause.name, cause.weight) == ("slow-nodes", pytest.approx(0.25 * 0.75))
    assert cause.figures == {"nodes": 1, "median_event_s": 2.0, "slowest_event_s": 8.0}
    assert cause.text.endswith(": old")


def test_two_nodes_have_no_usual_time():
    assert slow(snapshot=running(nodes=(FOUR[0], node("old", mean_event_s=8.0)))) == ()


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({}, "500 events wait to be handed out"),
        ({"ready": 0}, "this is the tail"),
        ({"phase": "draining", "message": "the walltime is near"}, "ends early: the walltime is near"),
        ({"phase": "merging"}, "9 outputs are still to be merged"),
    ],
)
def test_idle_cores_say_what_they_wait_for(changes, phrase):
    nodes = tuple(replace(one, busy=4) for one in FOUR)
    (cause,) = slow(snapshot=running(nodes=nodes, **changes))
    assert (cause.name, cause.weight) == ("idle-cores", pytest.approx(0.6))
    assert phrase in cause.text


def test_a_job_without_nodes_waits_for_them():
    (cause,) = slow(snapshot=running(nodes=()))
    assert (cause.name, cause.weight) == ("no-nodes", 1.0)


def test_a_silent_coordinator_is_all_there_is_to_say_of_now():
    evidence = {"snapshot": running(nodes=(node("bad", "lost"),)), "silent": "its coordinator is gone"}
    assert [cause.name for cause in slow(**evidence)] == ["no-coordinator"]
    assert [cause.name for cause in failed(**evidence)] == ["no-coordinator"]


@pytest.mark.parametrize("category", [name for name in CATEGORIES if name not in (Share.KEPT, Share.UNDER_WAY)])
def test_every_way_to_lose_core_time_is_a_cause_with_advice(category):
    (cause,) = slow(accounting=Accounting((spent(computing_kept=600.0, **{category: 400.0}),)))
    assert (cause.name, cause.weight) == (f"core-time:{category}", pytest.approx(0.4))
    assert cause.figures == {"core_s": 400.0, "allocated_core_s": 1000.0}
    assert "40.0 %" in cause.text
    assert cause.advice


def test_what_was_thrown_away_is_told_with_its_reasons():
    account = spent(thrown_away={"crash": 60.0, "cut-off": 40.0}, computing_thrown_away=100.0)
    (cause,) = slow(accounting=Accounting((account,)))
    assert "(crash 1 min 00 s, cut-off 40 s)" in cause.text


def test_only_the_latest_allocation_is_asked():
    accounting = Accounting((spent(session="s1", tail=900.0), spent(session="s2", merging=100.0, tail=200.0)))
    causes = slow(accounting=accounting)
    assert [(cause.name, cause.weight) for cause in causes] == [("core-time:tail", 0.2), ("core-time:merging", 0.1)]


def test_the_one_node_that_has_most_of_it_is_named():
    others = tuple(spent(f"n{number}", between_events=1.0) for number in range(9))
    (cause,) = slow(accounting=Accounting((*others, spent("culprit", between_events=900.0))))
    assert cause.text.endswith("99.0 % of that on culprit")


def attempts(count, kind=FailureKind.CRASH, *, final=True):
    return [AttemptFailed(index, 1, "n1", kind, "killed by signal 11", final, 0.0) for index in range(count)]


def test_failures_are_ranked_by_the_events_they_cost():
    causes = causes_of([*attempts(3, FailureKind.HANG), *attempts(20)])
    first, second = failed(failures=causes, n_events=1000, attempts_failed={"hang": 3, "crash": 20})
    assert (first.name, first.weight, first.figures["events"]) == ("failed:crash", 0.02, 20)
    assert (first.figures["panda_code"], first.figures["first_node"]) == (1220, "n1")
    assert "killed by signal 11" in first.text
    assert second.name == "failed:hang"
    assert first.advice != second.advice


def test_what_ended_the_job_comes_first():
    error = {"who": "site", "what": "too many nodes were lost", "code": 1344, "hint": "Ask the site"}
    report = {"exitCode": 12, "exitMsg": "5 of 9 nodes are gone", "raythena": {"error": error}}
    first, second = failed(failures=causes_of(attempts(900)), n_events=1000, attempts_failed={"crash": 900}, job_report=report)
    assert (first.name, first.advice, first.figures) == (
        "verdict",
        "Ask the site",
        {"exit_code": 12, "panda_code": 1344, "who": "site"},
    )
    assert "5 of 9 nodes are gone" in first.text
    assert second.name == "failed:crash"


def test_a_report_of_another_shape_is_borne():
    assert failed(job_report={"exitCode": 0, "raythena": None}) == ()


def test_attempts_that_were_made_good_are_told_last():
    causes = failed(failures=causes_of(attempts(1)), n_events=10, attempts_failed={"crash": 1, "node-lost": 4})
    assert [cause.name for cause in causes] == ["failed:crash", "attempts"]
    assert causes[-1].text == "5 attempts failed, 1 of them the last at their event: node-lost 4, crash 1"


def test_weights_order_the_causes_of_all_kinds():
    nodes = (*FOUR[:3], node("bad", "lost"))
    causes = slow(snapshot=running(nodes=nodes), accounting=Accounting((spent(tail=400.0, merging=100.0),)))
    assert [cause.name for cause in causes] == ["core-time:tail", "lost-nodes", "core-time:merging"]


def test_a_task_directory_is_read_as_it_is(tmp_path):
    task = task_in(tmp_path)
    evidence = read_evidence(task, 4e9)
    assert (evidence.n_events, evidence.silent, evidence.job_report) == (12, "", {})
    assert evidence.attempts_failed == {"crash": 2}
    assert [cause.count for cause in evidence.failures] == [1]
    found = diagnose(evidence)
    assert "failed:crash" in [cause.name for cause in found.failed]
    assert HOSTILE.split("\x1b")[0].rstrip("\u202e") in found.failed[0].text


def test_a_report_of_an_earlier_session_is_no_evidence(tmp_path):
    task = task_in(tmp_path)
    task.report.write_text('{"exitCode": 4, "raythena": {"error": {"what": "old"}}}')
    assert read_evidence(task, 4e9).job_report == {}
    write_status(task, phase="ended", exit_code=4)
    assert read_evidence(task, 4e9).job_report["exitCode"] == 4


def test_a_task_without_a_ledger_has_little_to_tell(tmp_path):
    task = task_in(tmp_path)
    task.ledger.unlink()
    assert read_evidence(task, 4e9).n_events == 0
