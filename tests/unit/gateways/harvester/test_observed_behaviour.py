"""How Harvester really behaves, point by point, and what we do about it. The names say which point a test is about."""

import asyncio
import errno
import json
import os

import pytest
from access_point_kit import LOG, PANDA_ID, access_point, document, final_output, merging_job, messenger, put, some_ranges

from raythena.domain.errors import InternalError
from raythena.domain.progress import NodeProgress, Progress
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.domain.taxonomy import FAULTS
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.deliverables import Deliverables
from raythena.gateways.harvester.gateway import HarvesterGateway
from raythena.gateways.harvester.harvester_config import MapType
from raythena.gateways.harvester.jobs import SpecificationSearch
from raythena.gateways.harvester.last_word import Ending, last_word
from raythena.gateways.harvester.messenger import RangesArrived, RangesEnded, ReportsTaken
from raythena.gateways.harvester.worker import HarvesterWorker
from raythena.runtime.gateway_interface import GatewayContext

ARCHIVE = DeliveredFile("/run/one.zip", 100, 1)
STOPPED = Ending(5, "stopped by SIGTERM", FAULTS["SIGTERM"], events=20)
LOG_ENTRY = (LOG, documents.file_entry("log", f"/run/{LOG}", "680530c7-b957-4344-b5c5-17989be0adee", 645, 0xA9D13BF1))


def report(number, *ids, archive=ARCHIVE, status=RangeStatus.FINISHED):
    return RangeReport(number, tuple(ReportedRange(each, status) for each in ids), archive)


def dump_of(point):
    return json.loads((point.directory / "event_status.dump.json").read_text())[PANDA_ID]


def take(point):
    """Harvester takes the dump in."""
    entries = dump_of(point)
    (point.directory / "event_status.dump.json").rename(point.directory / "event_status.dump.json.read.1")
    return entries


def gateway(point, job):
    state = point.directory / "task" / "state.json"
    state.parent.mkdir()
    options = {"access_point": str(point.directory), "names": point.names.to_dict(), "state_file": str(state)}
    return HarvesterGateway(GatewayContext(job, "session", state.parent, options)), state


def progress(**changes):
    node = NodeProgress("n", "up", 8, 0, 0, 0, 0.0, 1.0)
    values = dict.fromkeys(Progress.__dataclass_fields__, 0) | {"nodes": (node,), "warnings": (), "remaining_s": None}
    return Progress(**(values | changes))


# ---- the numbered points


def test_point_1_outputs_are_streamed_and_listed(tmp_path):
    """A report that was acknowledged can still be lost: what is in the state of the task as well recovers."""
    point, job = access_point(tmp_path), merging_job()
    told, state = gateway(point, job)
    told.output_merged(final_output(tmp_path, job.outputs[0]))
    asyncio.run(told._turn())
    (entry,) = take(point)
    assert entry["type"] == "output"
    (listed,) = json.loads(state.read_text())["merged"][job.inputs[0].lfn].values()
    assert {key: entry[key] for key in listed} == listed


def test_point_2_an_archive_and_its_events_are_in_one_report(tmp_path):
    point = access_point(tmp_path)
    talk = messenger(point, max_entries=3)
    for number in range(3):
        ids = [f"{number}-{n}" for n in range(4)]
        talk.tell(documents.report_entries(report(number, *ids, archive=DeliveredFile(f"/run/{number}.zip", 1, 1))), number)
    seen = []
    for now in range(10):
        news, _ = talk.turn(float(now))
        seen += [number for each in news if isinstance(each, ReportsTaken) for number in each.numbers]
        if (point.directory / "event_status.dump.json").exists():
            entries = take(point)
            assert len(entries) == 4
            assert len({entry["path"] for entry in entries}) == 1
    assert seen == [0, 1, 2]


def test_point_2_files_of_events_are_es_output():
    """Harvester zips them per input file, with one transfer each; archives of ours cost one transfer per event."""
    ranges = (ReportedRange("a", RangeStatus.FINISHED, ARCHIVE),)
    (entry,) = documents.report_entries(RangeReport(1, ranges))
    assert entry["type"] == "es_output"


@pytest.mark.parametrize("map_type", MapType)
def test_point_3_a_job_that_is_done_is_the_same_in_both_mappings(tmp_path, map_type):
    job = merging_job()
    deliverables = Deliverables(job)
    for lfn in job.outputs:
        deliverables.add(final_output(tmp_path, lfn))
    word = last_word(Ending(0, "complete", None, 40, 8, 12.4), job, deliverables, LOG_ENTRY, map_type)
    figures = {"nEvents": 40, "coreCount": 8, "cpuConsumptionTime": 12, "cpuConsumptionUnit": "s"}
    assert (word.exit_code, word.attributes) == (0, {**figures, "xml": None})


def test_point_4_a_partly_done_job_says_what_it_skips(tmp_path):
    job = merging_job()
    deliverables = Deliverables(job)
    deliverables.add(final_output(tmp_path, job.outputs[0]))
    word = last_word(STOPPED, job, deliverables, LOG_ENTRY, MapType.ONE_TO_ONE)
    assert word.exit_code == 0
    assert "pilotErrorCode" not in word.attributes
    report = json.loads(word.attributes["xml"])
    assert list(report) == [job.outputs[0], LOG, job.inputs[2].lfn, job.inputs[3].lfn]
    assert report[LOG] == {"guid": "680530c7-b957-4344-b5c5-17989be0adee", "fsize": 645, "adler32": "a9d13bf1"}
    assert report[job.inputs[2].lfn] == {"guid": job.inputs[2].guid}


def test_point_4_where_a_partly_done_job_cannot_be_told_it_fails(tmp_path):
    job = merging_job()
    deliverables = Deliverables(job)
    deliverables.add(final_output(tmp_path, job.outputs[0]))
    word = last_word(STOPPED, job, deliverables, LOG_ENTRY, MapType.ONE_TO_MANY)
    assert word.exit_code == STOPPED.exit_code
    assert "OneToMany" in word.attributes["pilotErrorDiag"]


@pytest.mark.parametrize("wrong", [{"pilotErrorCode": "1305"}, {"token": "x"}, {"nEvents": True}, {"pilotErrorDiag": None}])
def test_point_5_attributes_are_strictly_typed(tmp_path, wrong):
    with pytest.raises(InternalError):
        access_point(tmp_path).write_attributes(wrong)
    assert not (tmp_path / "worker_attributes.json").exists()


def test_point_5_the_status_of_a_job_is_never_an_attribute(tmp_path):
    with pytest.raises(InternalError):
        access_point(tmp_path).write_attributes({"jobStatus": "finished"})


def test_point_5_no_error_is_told_before_the_end(tmp_path):
    """Attributes stick: a job that recovers would come out finished with an old error."""
    point = access_point(tmp_path)
    told, _ = gateway(point, merging_job())
    told.progressed(progress(failed=7, attempts_failed=30, stored=12))
    asyncio.run(told._turn())
    assert json.loads((tmp_path / "worker_attributes.json").read_text()) == {"nEvents": 12, "coreCount": 8}


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.code])
def test_point_6_a_failed_job_has_a_code_and_a_text_and_an_exit_code(name):
    word = last_word(
        Ending(1, "this is why", FAULTS[name]), merging_job(), Deliverables(merging_job()), LOG_ENTRY, MapType.ONE_TO_ONE
    )
    assert word.exit_code != 0
    assert word.attributes["pilotErrorCode"] == FAULTS[name].code
    assert "this is why" in word.attributes["pilotErrorDiag"]
    assert documents.attributes(word.attributes)


def test_point_6_attributes_are_written_last(tmp_path, monkeypatch):
    written = []
    point = access_point(tmp_path)
    put(point, "HPCJobs.json", {PANDA_ID: document("merge")})
    now = iter(range(10_000))
    worker = HarvesterWorker(point, clock=lambda: float(next(now)), sleep=lambda _: None, patience_s=1.0)
    SpecificationSearch(point).turn(0.0)
    rename = os.rename
    monkeypatch.setattr(type(tmp_path), "rename", lambda a, b: (written.append(b.name), rename(a, b))[1])
    word = worker.end(Ending(12, "given up", FAULTS["JobAborted"]))
    assert word.exit_code == 12
    assert written[-2:] == ["jobReport.json", "worker_attributes.json"]
    assert json.loads((tmp_path / "jobReport.json").read_text())["exitCode"] == 12
    assert json.loads((tmp_path / "worker_attributes.json").read_text())["pilotErrorCode"] == 9008


TRACEBACK = "".join(
    f"""Traceback (most recent call last):
  File "/opt/release/{n}.py", line {n}, in execute
    self.next({"x" * 60})
""" for n in range(30)
) + "RuntimeError: conditions database is down\n"  # fmt: skip


def test_point_6_the_end_of_a_long_reason_survives(tmp_path):
    """PanDA keeps 500 characters, and of a traceback the last line is the reason."""
    ending = Ending(12, f"given up: {TRACEBACK}", FAULTS["repeated-error"])
    word = last_word(ending, merging_job(), None, None, MapType.ONE_TO_ONE)
    point = access_point(tmp_path)
    point.write_attributes(word.attributes)
    told = point.attributes()["pilotErrorDiag"]
    assert len(told) <= 500
    assert told.startswith(FAULTS["repeated-error"].what)
    assert told.endswith("RuntimeError: conditions database is down")


@pytest.mark.parametrize("name", FAULTS)
def test_point_6_no_advice_is_given_that_a_worker_cannot_follow(name):
    """There is no `--resume` for a batch job."""
    told = last_word(Ending(12, "why", FAULTS[name]), merging_job(), None, None, MapType.ONE_TO_ONE).attributes
    assert "--resume" not in str(told)


def test_point_6_cpu_time_is_cpu_time():
    ending = Ending(0, "complete", None, events=4, cores=8, cpu_s=12.4)
    told = last_word(ending, merging_job(), Deliverables(merging_job()), LOG_ENTRY, MapType.ONE_TO_ONE).attributes
    assert (told["cpuConsumptionTime"], told["cpuConsumptionUnit"]) == (12, "s")


def test_point_7_an_event_nobody_can_compute_is_failed_and_not_fatal():
    entries = documents.report_entries(report(1, "a", archive=None, status=RangeStatus.FATAL))
    assert entries == [{"eventRangeID": "a", "eventStatus": "failed"}]


def test_point_7_nothing_is_twice_in_one_report(tmp_path):
    point = access_point(tmp_path)
    talk = messenger(point)
    for number in (1, 2):
        talk.tell(documents.report_entries(report(number, "a", "b")), number)
    talk.turn(0.0)
    assert [entry["eventRangeID"] for entry in dump_of(point)] == ["a", "b"]


def test_point_8_the_end_waits_until_harvester_has_read(tmp_path):
    """Post-processing writes over what is pending then."""
    point = access_point(tmp_path)
    put(point, "HPCJobs.json", {PANDA_ID: document("merge")})
    (tmp_path / "slurm-17.out").write_text("what the batch job said")
    SpecificationSearch(point).turn(0.0)
    naps = []

    def sleep(_):
        naps.append(1)
        if len(naps) == 20:
            assert [entry["type"] for entry in take(point)] == ["log"]

    worker = HarvesterWorker(point, clock=lambda: len(naps) * 1.0, sleep=sleep)
    worker.end(Ending(3, "refused", FAULTS["InvalidInput"]))
    assert len(naps) == 20
    assert not (tmp_path / "event_status.dump.json").exists()


def test_point_9_what_only_on_site_merging_has_is_not_asked_of_others(tmp_path):
    from raythena.domain.job import PayloadSpec
    from raythena.gateways.harvester.jobs import load_harvester_job

    about = document("events") | {"fsize": "5,5,5,5", "checksum": "NULL,NULL,NULL,NULL"}
    del about["inFilePaths"]
    for lfn in about["inFiles"].split(","):
        (tmp_path / lfn).write_bytes(b"event")
    path = put(access_point(tmp_path), "HPCJobs.json", {PANDA_ID: about})
    job = load_harvester_job(path, tmp_path, PayloadSpec("python"), None)
    assert job.ranges_given
    assert job.merge.kind == "none"
    assert [file.pfn for file in job.inputs] == [str(tmp_path / lfn) for lfn in about["inFiles"].split(",")]
    assert (job.job_id, job.task_id, job.jobset_id) == (PANDA_ID, "30737678", "5750099000")


# ---- the ideal worker


def test_ideal_a_pending_dump_is_never_written_over(tmp_path):
    point = access_point(tmp_path)
    put(point, "event_status.dump.json", {"somebody": "else's"})
    assert not point.publish(PANDA_ID, [{"eventRangeID": "a", "eventStatus": "failed"}])
    assert json.loads((tmp_path / "event_status.dump.json").read_text()) == {"somebody": "else's"}
    assert list(point.told()) == []


def test_ideal_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(type(tmp_path), "hardlink_to", refuse)
    point = access_point(tmp_path)
    assert point.publish(PANDA_ID, [{"eventRangeID": "a", "eventStatus": "failed"}])
    assert [entry["eventRangeID"] for entry in dump_of(point)] == ["a"]
    assert not point.publish(PANDA_ID, [{"eventRangeID": "b", "eventStatus": "failed"}])
    assert [entry["eventRangeID"] for entry in dump_of(point)] == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_ideal_what_was_told_is_kept_whatever_becomes_of_the_dump(tmp_path, monkeypatch, links):
    """Harvester's post-processing writes into the file it finds; what we have told is told again from our own copy."""
    if not links:
        monkeypatch.setattr(type(tmp_path), "hardlink_to", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no")))
    point = access_point(tmp_path)
    assert point.publish(PANDA_ID, [{"eventRangeID": "a", "eventStatus": "failed"}])
    dump = tmp_path / "event_status.dump.json"
    assert [path.name for path in point.own().iterdir()] == ["told"]
    with dump.open("r+") as stream:
        stream.truncate(3)
    dump.unlink()
    assert [[entry["eventRangeID"] for entry in told] for told in point.told()] == [["a"]]


def test_ideal_torn_ranges_are_read_again(tmp_path):
    point = access_point(tmp_path)
    talk = messenger(point)
    talk.want(5)
    talk.turn(0.0)
    text = json.dumps(some_ranges(5))
    stream = put(point, "JobsEventRanges.json", text[:100]).open("a")
    talk.turn(1.0)
    assert talk.turn(2.0)[0] == []
    # Harvester goes on writing into the file we have taken away
    with stream:
        stream.write(text[100:])
    arrived = [each for now in (3.0, 4.0, 6.0) for each in talk.turn(now)[0]]
    assert [len(each.ranges) for each in arrived] == [5]


def test_ideal_ranges_cut_short_for_good_are_said_and_asked_for_again(tmp_path, caplog):
    point = access_point(tmp_path)
    talk = messenger(point)
    talk.want(5)
    talk.turn(0.0)
    put(point, "JobsEventRanges.json", "{")
    request = tmp_path / "worker_requestevents.json"
    request.unlink()
    for now in range(1, 100):
        talk.turn(float(now))
    assert not request.exists()
    for now in range(100, 200):
        talk.turn(float(now))
    assert "cut short" in caplog.text
    assert request.exists()


def test_ideal_the_next_request_waits_until_the_last_one_is_gone(tmp_path):
    """Harvester removes it after it has written the ranges, and with it whatever stands there then."""
    point = access_point(tmp_path)
    talk = messenger(point)
    request = tmp_path / "worker_requestevents.json"
    talk.want(5)
    talk.turn(0.0)
    written = request.stat().st_ino
    put(point, "JobsEventRanges.json", some_ranges(5))
    talk.turn(1.0)
    (arrived,) = talk.turn(2.0)[0]
    talk.settled(arrived.claim)
    talk.want(7)
    talk.turn(3.0)
    assert request.stat().st_ino == written
    request.unlink()
    talk.turn(4.0)
    assert not request.exists()
    talk.turn(6.0)
    assert json.loads(request.read_text())[PANDA_ID]["nRanges"] == 7


def test_ideal_a_request_gone_without_an_answer_is_made_again(tmp_path):
    point = access_point(tmp_path)
    talk = messenger(point)
    request = tmp_path / "worker_requestevents.json"
    talk.want(5)
    talk.turn(0.0)
    request.unlink()
    for now in range(1, 40):
        talk.turn(float(now))
    assert not request.exists()
    talk.turn(60.0)
    assert request.exists()


def test_ideal_an_empty_answer_is_the_end(tmp_path):
    point = access_point(tmp_path)
    talk = messenger(point)
    talk.want(5)
    talk.turn(0.0)
    put(point, "JobsEventRanges.json", {PANDA_ID: []})
    talk.turn(1.0)
    assert talk.turn(2.0)[0] == [RangesEnded()]
    talk.want(5)
    (tmp_path / "worker_requestevents.json").unlink()
    for now in range(3, 200):
        assert talk.turn(float(now))[0] == []
    assert not (tmp_path / "worker_requestevents.json").exists()


def test_ideal_ranges_are_kept_until_they_are_safe(tmp_path):
    point = access_point(tmp_path)
    put(point, "JobsEventRanges.json", some_ranges(3))
    first = messenger(point)
    first.turn(0.0)
    (arrived,) = first.turn(1.0)[0]
    second = messenger(point)
    (again,) = second.turn(0.0)[0]
    assert isinstance(again, RangesArrived)
    assert again.ranges == arrived.ranges
    second.settled(again.claim)
    assert messenger(point).turn(0.0)[0] == []


def test_ideal_the_heart_beats_only_when_work_proceeds(tmp_path):
    point = access_point(tmp_path)
    told, _ = gateway(point, merging_job())
    heartbeat = tmp_path / "worker_heartbeat.json"
    told.progressed(progress())
    asyncio.run(told._turn())
    assert not heartbeat.exists()
    told.progressed(progress(stored=1))
    asyncio.run(told._turn())
    assert heartbeat.exists()


def test_ideal_the_job_is_found_again_even_if_it_was_renamed(tmp_path):
    point = access_point(tmp_path)
    about = {PANDA_ID: document("merge")}
    put(point, "HPCJobs.json.read.2026-11-22", about)
    found = SpecificationSearch(point).turn(0.0)
    assert json.loads(found.read_text()) == about
    (tmp_path / "HPCJobs.json.read.2026-11-22").unlink()
    assert SpecificationSearch(point).turn(0.0) == found


def test_ideal_the_job_is_found_under_the_name_harvester_has_for_it_without_configuration(tmp_path):
    point = access_point(tmp_path)
    about = {PANDA_ID: document("merge")}
    put(point, "pandaJobData.out", about)
    assert json.loads(SpecificationSearch(point).turn(0.0).read_text()) == about


def test_ideal_a_torn_job_is_waited_for(tmp_path):
    point = access_point(tmp_path)
    text = json.dumps({PANDA_ID: document("merge")})
    put(point, "HPCJobs.json", text[:500])
    search = SpecificationSearch(point)
    assert search.turn(0.0) is None
    put(point, "HPCJobs.json", text)
    assert search.turn(1.0) is not None


def test_ideal_a_file_is_durable_before_it_has_its_name(tmp_path, monkeypatch):
    """Written aside, synchronised, renamed: who reads meanwhile sees the old one whole."""
    point = access_point(tmp_path)
    point.write("jobReport.json", {"exitCode": 1})
    steps = []
    fsync, rename = os.fsync, os.rename

    def renamed(new, name):
        assert json.loads((tmp_path / "jobReport.json").read_text()) == {"exitCode": 1}
        assert new.parent == name.parent
        steps.append("rename")
        return rename(new, name)

    monkeypatch.setattr(os, "fsync", lambda descriptor: (steps.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(type(tmp_path), "rename", renamed)
    point.write("jobReport.json", {"exitCode": 0})
    assert steps[:2] == ["fsync", "rename"]
    assert json.loads((tmp_path / "jobReport.json").read_text()) == {"exitCode": 0}


def test_ideal_after_sigterm_everything_is_said_within_the_grace_time(tmp_path):
    """Harvester is away: what is left of the grace time is not spent on waiting for it."""
    point = access_point(tmp_path)
    put(point, "HPCJobs.json", {PANDA_ID: document("events")})
    SpecificationSearch(point).turn(0.0)
    slept = []
    worker = HarvesterWorker(point, clock=lambda: sum(slept), sleep=slept.append, job=merging_job())
    word = worker.end(STOPPED, 4.5)
    assert 4.5 <= sum(slept) < 6.0
    assert word.exit_code == STOPPED.exit_code
    assert json.loads((tmp_path / "worker_attributes.json").read_text())["pilotErrorCode"] == 1201
    assert json.loads((tmp_path / "jobReport.json").read_text())["exitCode"] == STOPPED.exit_code


@pytest.mark.parametrize("code", [0, 1, 3, 4, 5, 8, 12])
@pytest.mark.parametrize("merged", [0, 1, 2])
def test_ideal_the_exit_code_says_failed_exactly_when_the_job_has(tmp_path, code, merged):
    job = merging_job()
    deliverables = Deliverables(job)
    for lfn in job.outputs[:merged]:
        deliverables.add(final_output(tmp_path, lfn))
    word = last_word(Ending(code, "because", None, 20), job, deliverables, LOG_ENTRY, MapType.ONE_TO_ONE)
    assert (word.exit_code != 0) == (merged == 0)
    assert ("pilotErrorCode" in word.attributes) == (word.exit_code != 0)
