"""A worker's time in its access point: where its task is, what it says last, and what it says when nothing works."""

import json
from dataclasses import replace

import pytest
from access_point_kit import LOG, PANDA_ID, access_point, document, final_output, merging_job, put

from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.job import PayloadSpec
from raythena.domain.taxonomy import FAULTS
from raythena.gateways.harvester.access_point import AccessPoint
from raythena.gateways.harvester.deliverables import Deliverables
from raythena.gateways.harvester.harvester_config import FileNames, MapType
from raythena.gateways.harvester.jobs import SpecificationSearch
from raythena.gateways.harvester.last_word import Ending, last_word
from raythena.gateways.harvester.worker import HarvesterWorker

FAILED = Ending(12, "given up", FAULTS["failed-events"])


@pytest.fixture
def point(tmp_path):
    return access_point(tmp_path / "point")


def shift_at(point, **options):
    """A shift whose clock goes on by itself: nobody waits."""
    seconds = iter(range(1_000_000))
    return HarvesterWorker(point, clock=lambda: float(next(seconds)), sleep=lambda _: None, patience_s=5.0, **options)


def attributes(point):
    return json.loads((point.directory / "worker_attributes.json").read_text())


def test_each_job_of_a_task_has_a_directory_of_its_own(point, tmp_path):
    put(point, "task_workdir_path.txt", str(tmp_path / "tasks/30737678"))
    worker = shift_at(point, job=merging_job())
    expected = tmp_path / "tasks/30737678" / PANDA_ID
    assert worker.choose_task_directory(None) == expected
    # no line end: Harvester takes every byte for part of the path
    assert (point.directory / "task_workdir_path.txt").read_text() == str(expected)
    # started again, it is the same one
    assert shift_at(point, job=merging_job()).choose_task_directory(None) == expected


def test_bound_late_we_say_where_the_task_is(point, tmp_path):
    worker = shift_at(point, job=merging_job())
    directory = worker.choose_task_directory(None)
    assert directory == point.directory / f"task-{PANDA_ID}"
    assert (point.directory / "task_workdir_path.txt").read_text() == str(directory)
    assert worker.choose_task_directory(tmp_path / "elsewhere") == tmp_path / "elsewhere" / PANDA_ID


@pytest.mark.parametrize("kind", ["merging", "given"])
@pytest.mark.parametrize("base", [None, "elsewhere"])
def test_a_second_start_finds_the_task_of_the_first(point, tmp_path, kind, base):
    """Bound late, nobody but the first start has said where the task is."""
    job = replace(merging_job(), ranges_given=kind == "given")
    first = shift_at(point, job=job).choose_task_directory(base and tmp_path / base)
    assert shift_at(point, job=job).choose_task_directory(None) == first
    assert shift_at(point, job=job).choose_task_directory(None) == first
    if kind == "merging":
        assert (point.directory / "task_workdir_path.txt").read_text() == str(first)
    # what the command line says counts in any case
    assert shift_at(point, job=job).choose_task_directory(tmp_path / "moved") == tmp_path / "moved" / PANDA_ID


def test_a_job_that_was_refused_is_told_of(point):
    """Everything but the name of the log is wrong, and PanDA still learns why."""
    put(point, "HPCJobs.json", {PANDA_ID: document("merge") | {"fsize": "1,2,3"}})
    worker = shift_at(point)
    with pytest.raises(InvalidInput) as refused:
        worker.wait_for_job(PayloadSpec("python"), None, late_binding=False)
    word = worker.end(Ending(int(ExitCode.INVALID_INPUT), str(refused.value), FAULTS["InvalidInput"]))
    assert word.exit_code == 3
    assert attributes(point)["pilotErrorCode"] == 9004
    assert "fsize" in attributes(point)["pilotErrorDiag"]
    (entry,) = json.loads((point.directory / "event_status.dump.json").read_text())[PANDA_ID]
    assert (entry["type"], entry["path"]) == ("log", str(point.directory / LOG))
    assert entry["guid"] == document("merge")["logGUID"]


def test_without_any_job_there_is_a_log_and_an_error(point):
    worker = shift_at(point)
    with pytest.raises(InvalidInput):
        worker.wait_for_job(PayloadSpec("python"), None, late_binding=False)
    worker.end(Ending(3, "there is no job", FAULTS["InvalidInput"]))
    assert attributes(point)["pilotErrorDiag"].endswith("there is no job")
    assert (point.directory / "log.raythena.tgz").exists()
    assert not (point.directory / "event_status.dump.json").exists()


@pytest.mark.parametrize(("worker_id", "name"), [("17", f"{LOG}._17"), ("", "log.raythena.tgz")])
def test_several_workers_of_one_job_have_logs_of_their_own(point, worker_id, name):
    put(point, "HPCJobs.json", {PANDA_ID: document("merge")})
    SpecificationSearch(point).turn(0.0)
    shift_at(point, map_type=MapType.ONE_TO_MANY, worker_id=worker_id).end(FAILED)
    assert (point.directory / name).exists()
    # Harvester's own archive is made when none is reported
    assert (point.directory / "event_status.dump.json").exists() == bool(worker_id)


def test_an_error_of_an_earlier_start_is_taken_back(point):
    put(point, "HPCJobs.json", {PANDA_ID: document("merge")})
    SpecificationSearch(point).turn(0.0)
    shift_at(point).end(FAILED)
    assert attributes(point)["pilotErrorCode"] == 1228
    again = shift_at(point)
    with pytest.raises(InvalidInput):  # the inputs are not there; that is not the point
        again.wait_for_job(PayloadSpec("python"), None, late_binding=False)
    told = attributes(point)
    assert (told["pilotErrorCode"], told["pilotErrorDiag"]) == (0, "")


def test_a_partly_done_job_completed_by_a_later_start_is_told_complete(point, tmp_path, monkeypatch):
    """A batch job that was put back into the queue: what PanDA was told of skipped inputs would stick."""
    put(point, "HPCJobs.json", {PANDA_ID: document("merge")})
    SpecificationSearch(point).turn(0.0)
    job = merging_job()
    deliverables = Deliverables(job)
    monkeypatch.setattr(HarvesterWorker, "_deliverables", lambda _: deliverables)
    deliverables.add(final_output(tmp_path, job.outputs[0]))
    shift_at(point, job=job).end(FAILED)
    assert job.inputs[2].lfn in json.loads(attributes(point)["xml"])
    point.write_attributes({"nEvents": 25})  # what the gateway writes at work
    deliverables.add(final_output(tmp_path, job.outputs[1]))
    assert shift_at(point, job=job).end(Ending(0, "done", None)).exit_code == 0
    assert attributes(point)["xml"] is None


def test_a_job_done_leaves_the_report_to_harvester(point, tmp_path, monkeypatch):
    put(point, "HPCJobs.json", {PANDA_ID: document("merge")})
    SpecificationSearch(point).turn(0.0)
    job = merging_job()
    deliverables = Deliverables(job)
    monkeypatch.setattr(HarvesterWorker, "_deliverables", lambda _: deliverables)
    for lfn in job.outputs:
        deliverables.add(final_output(tmp_path, lfn))
    point.write_attributes({"xml": "{}"})
    shift_at(point, job=job).end(Ending(0, "done", None))
    assert attributes(point)["xml"] is None


def test_a_log_that_was_told_of_stays_what_it_was(point, tmp_path):
    """Started again after its end: Harvester may have the log already."""
    put(point, "HPCJobs.json", {PANDA_ID: document("merge")})
    SpecificationSearch(point).turn(0.0)
    shift_at(point, job=merging_job()).end(FAILED)
    before = (point.directory / LOG).read_bytes()
    (point.directory / "more.log").write_text("what happened later")
    shift_at(point, job=merging_job()).end(FAILED)
    assert (point.directory / LOG).read_bytes() == before
    assert (point.directory / "log.raythena.tgz").exists()


def test_what_was_told_is_told_on(point):
    """Harvester may not have read it yet; of what others wrote there, what PanDA would refuse is left out."""
    put(point, "worker_attributes.json", {"nEvents": 3, "node": "n1", "coreCount": "8", "jobStatus": "finished"})
    point.write_attributes({"nEvents": 5})
    assert attributes(point) == {"nEvents": 5, "node": "n1"}
    put(point, "worker_attributes.json", "torn")
    point.write_attributes({"nEvents": 6})
    assert attributes(point) == {"nEvents": 6}


def test_harvester_is_asked_to_kill_under_the_name_the_site_has_set(tmp_path):
    AccessPoint(tmp_path, FileNames(kill_worker_file="end_me.json")).ask_to_be_killed("the cluster is lost")
    assert json.loads((tmp_path / "end_me.json").read_text()) == {"reason": "the cluster is lost"}


def test_a_disk_that_refuses_everything_still_leaves_an_exit_code(point, caplog):
    (point.directory / ".raythena").write_text("in the way")
    for name in ("worker_attributes.json", "jobReport.json", "log.raythena.tgz"):
        (point.directory / name).mkdir()
    word = shift_at(point).end(FAILED)
    assert word.exit_code == 12
    assert "cannot make the log archive" in caplog.text
    assert "cannot write attributes" in caplog.text


def test_ranges_that_failed_are_no_failure_of_the_job():
    """PanDA is told of each of them."""
    some = Ending(int(ExitCode.INCOMPLETE), "3 failed", FAULTS["incomplete"], events=7)
    none = Ending(int(ExitCode.INCOMPLETE), "all failed", FAULTS["incomplete"])
    given = replace(merging_job(), ranges_given=True)
    assert last_word(some, given, None, None, MapType.ONE_TO_ONE).exit_code == 0
    assert last_word(none, given, None, None, MapType.ONE_TO_ONE).exit_code == 4


def test_a_job_whose_outputs_nobody_knows_is_not_done():
    """On-site merging, and the ledger cannot be read in the end."""
    word = last_word(Ending(0, "complete", None, events=7), merging_job(), None, None, MapType.ONE_TO_ONE)
    assert word.exit_code == 4
    assert "xml" not in word.attributes


def test_the_access_point_must_be_there(tmp_path):
    nowhere = AccessPoint(tmp_path / "none", FileNames())
    with pytest.raises(InvalidInput, match="access point"):
        HarvesterWorker(nowhere).wait_for_job(PayloadSpec("python"), None, late_binding=False)
