"""What a pilot is answered. Requests are those recorded from pilots 3.7.0.36 and, in the newer dialect, 3.11.5.1."""

import gzip
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raythena.domain.ranges import EventRange
from raythena.payloads.pilot.panda_server import Answer, Confirmed, Finished, GaveUp, Hold, HoldTimes, Oddity, PandaServer
from raythena.payloads.pilot.range_queue import RangeQueue
from raythena.payloads.pilot.wire import BadRequest, read_call
from raythena.runtime.payload_interface import LeasedRange

JOB = {"PandaID": 4711, "jobsetID": 4710, "taskID": 5, "transformation": "Sim_tf.py"}
HOLD = HoldTimes(gather_s=0.3, busy_s=5.0, dry_s=1.0, idle_s=90.0)
ASK = {"pandaID": 4711, "jobsetID": 4710, "taskID": 5, "nRanges": 2}
NODE = {"siteName": "Q", "node": "slot1@n1", "mem": "64000", "diskSpace": "80943", "prodSourceLabel": "managed", "cpu": "2500.0"}
UPDATE = {"jobId": "4711", "timestamp": "2026-11-23T23:26:50+00:00", "siteName": "Q", "node": "n1", "attemptNr": "0"}


def form(path, fields):
    return read_call(path, "", urlencode(fields).encode())


def modern(path, fields):
    """As newer pilots send it: compressed JSON, except for event calls, which are forms."""
    body = json.dumps(fields).encode()
    return read_call(path, "", urlencode(fields).encode() if "EventRanges" in path else gzip.compress(body))


class Bench:
    """A server with ranges 1, 2, … on its queue, and a clock."""

    def __init__(self, count=0, cores=2, batch=2):
        self.range_queue = RangeQueue(cores)
        self.panda = PandaServer(JOB, self.range_queue, cores, HOLD)
        self.panda.batch_per_core = batch
        self.now = 100.0
        self.feed(*range(1, count + 1))

    def feed(self, *numbers):
        self.range_queue.add(LeasedRange(n, EventRange(f"EVNT-{n}", "EVNT", "/in/EVNT", "GUID", n, n)) for n in numbers)

    def call(self, name, fields, dialect=form, waited_s=0.0):
        return self.panda.answer(dialect(f"/server/panda/{name}", fields), self.now, self.now - waited_s)

    def ranges(self, waited_s=0.0, **changes):
        answer = self.call("getEventRanges", {**ASK, **changes}, waited_s=waited_s)
        return answer if isinstance(answer, Hold) else answer.document["eventRanges"]

    def report(self, *entries, dialect=form):
        told = [{"esOutput": {"numEvents": len(entries)}, "eventRanges": list(entries)}]
        answer = self.call("updateEventRanges", {"version": 1, "eventRanges": json.dumps(told)}, dialect)
        return answer.document["Returns"]

    def news(self, kind):
        return [one for one in self.panda.take_news() if isinstance(one, kind)]


OF_OLD = {
    "getJob": "pilot/acquire_jobs",
    "updateJob": "pilot/update_job",
    "getResourceTypes": "pilot/get_resource_types",
    "updateWorkerPilotStatus": "pilot/update_worker_status",
    "getEventRanges": "event/acquire_event_ranges",
    "updateEventRanges": "event/update_event_ranges",
}
SNAKE = {
    "jobId": "job_id",
    "pandaID": "job_id",
    "jobsetID": "jobset_id",
    "taskID": "task_id",
    "nRanges": "n_ranges",
    "eventRanges": "event_ranges",
    "state": "job_status",
    "nEvents": "n_events",
    "metaData": "meta_data",
    "siteName": "site_name",
    "attemptNr": "attempt_nr",
    "workerID": "worker_id",
}


def newest(path, fields, prefix=""):
    """The same call under /api/v1: other path, other names, compressed JSON throughout."""
    name = path.rpartition("/")[2]
    body = json.dumps({SNAKE.get(field, field): value for field, value in fields.items()}).encode()
    return read_call(f"{prefix}/api/v1/{OF_OLD[name]}", "", gzip.compress(body))


def through_curl(path, fields):
    """Where newer pilots fall back on curl they put the new path behind the old one."""
    return newest(path, fields, "/server/panda")


def finished(given, **changes):
    token = given["eventRangeID"]
    pfn = f"/run/PanDA_Pilot-4711/athenaMP-workers-EVNTtoHITS-sim/worker_0/HITS.{token}"
    return {"eventRangeID": token, "eventStatus": "finished", "pfn": pfn, "fsize": 123, "adler32": "0a0b0c0d", **changes}


@pytest.mark.parametrize("dialect", [form, modern, newest, through_curl], ids=["form", "json", "api", "api through curl"])
def test_a_whole_conversation_has_the_same_effect_in_all_dialects(dialect):
    panda = Bench(3)
    assert panda.call("updateWorkerPilotStatus", {"workerID": 1, "status": "started"}, dialect).document["StatusCode"] == 0
    assert panda.call("getResourceTypes", {}, dialect).document["ResourceTypes"] == {"ResourceTypes": []}
    assert panda.call("getJob", NODE, dialect).document.items() >= {**JOB, "StatusCode": 0}.items()
    for state in ("starting", "running"):
        assert panda.call("updateJob", {**UPDATE, "state": state}, dialect).document["command"] == "NULL"
    given = panda.call("getEventRanges", ASK, dialect).document["eventRanges"]
    assert [one["startEvent"] for one in given] == [1, 2, 3]
    assert given[0] | {"eventRangeID": ""} == {
        "eventRangeID": "",
        "startEvent": 1,
        "lastEvent": 1,
        "GUID": "GUID",
        "PFN": "/in/EVNT",
    }
    assert panda.report(finished(given[0]), finished(given[1]), dialect=dialect) == [True, True]
    failed = {
        "version": 0,
        "eventRanges": json.dumps([{"errorCode": 1220, "eventRangeID": given[2]["eventRangeID"], "eventStatus": "failed"}]),
    }
    assert panda.call("updateEventRanges", failed, dialect).document["Returns"] == [True]
    assert [(one.in_flight.index, one.size_bytes, one.adler32) for one in panda.news(Finished)] == [
        (1, 123, 0x0A0B0C0D),
        (2, 123, 0x0A0B0C0D),
    ]
    assert panda.call("getEventRanges", ASK, dialect, waited_s=200.0).document["eventRanges"] == []
    report = json.dumps({"exitCode": 0})
    panda.call("updateJob", {**UPDATE, "state": "finished", "nEvents": 2, "metaData": report}, dialect)
    record = panda.panda.record
    assert (record.state, record.n_events, record.n_reported, record.metadata, record.final_at) == (
        "finished",
        2,
        2,
        report,
        100.0,
    )
    assert panda.call("getJob", NODE, dialect).document["StatusCode"] == 20


def test_under_the_newest_paths_the_answer_is_in_an_envelope():
    panda = Bench(2)
    job = {**JOB, "StatusCode": 0}
    first = panda.call("getJob", {**NODE, "n_jobs": 1}, newest).document
    assert (first["success"], first["message"], first["data"]) == (True, "", {**job, "jobs": [job]})
    given = panda.call("getEventRanges", ASK, newest).document
    assert given["data"] == {"eventRanges": given["eventRanges"]} != {"eventRanges": []}
    second = panda.call("getJob", NODE, newest).document
    assert (second["success"], second["message"], second["data"]) == (False, "no jobs in PanDA", None)


def test_attributes_have_their_older_names_whatever_the_dialect():
    panda = Bench()
    panda.call("updateJob", {**UPDATE, "state": "failed", "pilot_error_code": 1305, "exe_error_diag": "x"}, newest)
    attributes = panda.panda.record.attributes
    assert (attributes["pilotErrorCode"], attributes["exeErrorDiag"], attributes["state"]) == (1305, "x", "failed")


def test_more_ranges_than_asked_for_but_no_more_than_a_batch():
    panda = Bench(50, batch=10)
    assert len(panda.ranges()) == 20
    panda.panda.batch_per_core = 1
    assert len(panda.ranges(nRanges=8)) == 8


def test_too_few_ranges_are_waited_for_a_moment():
    panda = Bench(1)
    assert panda.ranges() == Hold(100.0 + HOLD.gather_s)
    assert len(panda.ranges(waited_s=0.31)) == 1


def test_no_more_is_said_late_and_for_good():
    panda = Bench()
    assert isinstance(panda.ranges(waited_s=80.0), Hold)
    assert panda.ranges(waited_s=90.0) == []
    panda.feed(1, 2)
    assert panda.ranges() == []
    assert panda.panda.said_no_more


@pytest.mark.parametrize(("dry", "limit_s"), [(False, HOLD.busy_s), (True, HOLD.dry_s)])
def test_a_pilot_that_owes_results_is_not_held_long(dry, limit_s):
    panda = Bench(2)
    panda.ranges()
    panda.panda.dry = dry
    assert panda.ranges(waited_s=limit_s - 0.1) == Hold(100.0 + 0.1)
    assert panda.ranges(waited_s=limit_s) == []


@pytest.mark.parametrize(("event_s", "limit_s"), [(1.0, HOLD.busy_s), (100.0, 30.0), (3600.0, HOLD.idle_s)])
def test_the_longer_events_are_the_longer_ranges_are_waited_for(event_s, limit_s):
    panda = Bench(2)
    panda.ranges()
    panda.panda.event_s = event_s
    assert isinstance(panda.ranges(waited_s=limit_s - 0.1), Hold)
    assert panda.ranges(waited_s=limit_s) == []


def test_a_draining_node_says_no_more_at_once():
    panda = Bench(9)
    panda.panda.draining = True
    assert panda.ranges() == []
    assert panda.call("getJob", NODE).document["StatusCode"] == 20


def test_a_suspect_is_given_alone_and_then_there_is_no_more():
    panda = Bench(4)
    panda.ranges()
    panda.range_queue.begin(0.0)
    panda.range_queue.reclaim(crashed=True)
    panda.panda = PandaServer(JOB, panda.range_queue, 2, HOLD)
    assert [one["startEvent"] for one in panda.ranges()] == [1]
    assert panda.ranges() == []


@pytest.mark.parametrize("job", ["4712", "", "None", "4711 "])
def test_another_job_gets_nothing_and_ends_nothing(job):
    panda = Bench(4)
    assert panda.ranges(pandaID=job) == []
    assert "ranges were asked for job" in panda.news(Oddity)[0].text
    assert len(panda.ranges()) == 4


def test_an_update_of_another_job_changes_nothing():
    panda = Bench()
    panda.call("updateJob", {**UPDATE, "jobId": "99", "state": "finished"})
    assert panda.panda.record.final_at is None


@pytest.mark.parametrize("name", ["pandaID", "PandaID", "jobId"])
def test_results_of_another_job_are_refused(name):
    panda = Bench(1)
    (given,) = panda.ranges(waited_s=1.0)
    panda.call("updateEventRanges", {"eventRanges": json.dumps([{"eventRanges": [finished(given)]}]), name: "99"})
    assert panda.range_queue.out == 1
    assert [one.text for one in panda.news(Oddity)] == ["results of job 99; this is 4711"]


def test_a_range_counts_once():
    panda = Bench(1)
    (given,) = panda.ranges(waited_s=1.0)
    assert panda.report(finished(given), finished(given)) == [True, False]
    assert panda.report(finished(given)) == [False]
    assert panda.report(finished({"eventRangeID": "nobody-knows"})) == [False]
    news = panda.panda.take_news()
    assert [type(one) for one in news] == [Finished, Oddity, Oddity, Oddity]
    assert ["was reported before" in one.text for one in news[1:]] == [True, True, False]


def test_what_was_known_is_only_confirmed():
    panda = Bench(1)
    (given,) = panda.ranges(waited_s=1.0)
    panda.range_queue.settle(given["eventRangeID"], early=True)
    assert panda.report(finished(given), finished(given)) == [True, False]
    assert [one.path for one in panda.news(Confirmed)] == [finished(given)["pfn"]]
    assert panda.panda.record.n_reported == 1


def test_running_is_no_result():
    panda = Bench(1)
    (given,) = panda.ranges(waited_s=1.0)
    assert panda.report(finished(given, eventStatus="running")) == [True]
    assert panda.range_queue.out == 1


def test_a_failure_has_its_reason():
    panda = Bench(1)
    (given,) = panda.ranges(waited_s=1.0)
    panda.report(finished(given, eventStatus="fatal", errorCode=1220, errorDiag="it broke"))
    (failure,) = panda.news(GaveUp)
    assert (failure.in_flight.index, "1220" in failure.reason, "it broke" in failure.reason) == (1, True, True)


@pytest.mark.parametrize(
    "told", ["", "nonsense", "{}", "[1, null, {}]", '[{"eventRanges": 1}]', '[{"eventRanges": [{"eventRangeID": 3}]}]']
)
def test_nonsense_is_answered_politely(told):
    panda = Bench(2)
    answer = panda.call("updateEventRanges", {"version": 1, "eventRanges": told})
    assert answer.document["StatusCode"] == 0
    assert panda.news(Oddity)


def test_unknown_endpoints_are_a_success():
    panda = Bench()
    answer = panda.panda.answer(read_call("/api/v1/pilot/update_worker_node", "", b"{}"), 1.0, 1.0)
    assert answer.document == {"StatusCode": 0, "success": True, "message": "", "data": None}


def test_newer_endpoints_have_their_envelope():
    panda = Bench()
    answer = panda.panda.answer(read_call("/api/v1/pilot/acquire_jobs", "", b"{}"), 1.0, 1.0)
    assert answer.document["success"] is True
    assert answer.document["data"]["PandaID"] == 4711


JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=3))
NAMES = ["getJob", "updateJob", "getEventRanges", "updateEventRanges", "getResourceTypes", "other"]
FIELD = st.sampled_from(["pandaID", "jobId", "nRanges", "eventRanges", "state", "metaData", "nEvents", "version"])
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "eventRangeID": st.one_of(JUNK, st.integers(0, 30)),
        "eventStatus": st.sampled_from(["finished", "failed", "x"]),
        "pfn": JUNK,
        "fsize": JUNK,
        "adler32": JUNK,
    },
)
STEP = st.one_of(
    st.tuples(st.just("ask"), st.floats(0, 200), st.integers(0, 12)),
    st.tuples(st.just("feed"), st.integers(0, 6), st.just(0)),
    st.tuples(st.just("report"), st.lists(ENTRY, max_size=5), st.booleans()),
    st.tuples(st.just("junk"), st.sampled_from(NAMES), st.dictionaries(FIELD, JUNK, max_size=4)),
    st.tuples(st.just("bytes"), st.sampled_from(NAMES), st.binary(max_size=60)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_whatever_it_is_asked_it_answers_and_gives_no_range_twice(steps):
    panda, fed, tokens = Bench(cores=3), 0, []
    for kind, first, second in steps:
        panda.now += 1.0
        if kind == "feed":
            panda.feed(*range(fed, fed + first))
            fed += first
        elif kind == "ask":
            given = panda.ranges(waited_s=first, nRanges=second)
            tokens += [] if isinstance(given, Hold) else [one["eventRangeID"] for one in given]
        elif kind == "report":
            known = [
                {**one, "eventRangeID": tokens[one["eventRangeID"] % len(tokens)]}
                if tokens and isinstance(one.get("eventRangeID"), int)
                else one
                for one in first
            ]
            panda.report(*known)
        else:
            body = second if kind == "bytes" else json.dumps(second).encode()
            try:
                call = read_call(f"/server/panda/{first}", "", body)
            except BadRequest:
                continue
            answer = panda.panda.answer(call, panda.now, panda.now)
            assert isinstance(answer, Answer | Hold)
            if isinstance(answer, Answer):
                json.dumps(answer.document)
                tokens += [in_flight.token for in_flight in answer.given]
    assert len(tokens) == len(set(tokens))
    settled = [one.in_flight.token for one in panda.panda.take_news() if isinstance(one, Finished | GaveUp)]
    assert len(settled) == len(set(settled))
    assert set(settled) <= set(tokens)
    assert len(tokens) == len(settled) + panda.range_queue.out
