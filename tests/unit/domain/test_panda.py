from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.panda import PandaJob, is_panda, parse_panda_jobs, to_given_job, to_job

FIXTURES = Path(__file__).parents[2] / "fixtures" / "harvester"
PANDA_ID = "5750099001"


def fixture(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FIXTURES / name).read_text())
    return document


def only(document: dict[str, Any]) -> PandaJob:
    (job,) = parse_panda_jobs(document, "HPCJobs.json").values()
    return job


def run(job: PandaJob, **options: Any) -> Job:
    place = FieldPath("HPCJobs.json", "", job.document)
    return to_job(job, PayloadSpec("python", {"function": "m:f"}), MergeSpec("root"), place=place, **options)


@pytest.fixture
def merge_job() -> dict[str, Any]:
    inner: dict[str, Any] = fixture("merge-HPCJobs.json")[PANDA_ID]
    return inner


def test_a_real_job_with_on_site_merging_becomes_a_job():
    job = run(only(fixture("merge-HPCJobs.json")))
    assert (job.name, job.job_id, job.task_id, job.jobset_id) == ("panda-5750099001", PANDA_ID, "30737678", "5750099000")
    assert [file.n_events for file in job.inputs] == [10, 10, 10, 10]
    assert job.inputs[1].lfn == "EVNT.30737679._000002.pool.root.1"
    assert job.inputs[1].pfn == "/run/inputs/EVNT.30737679._000002.pool.root.1"
    assert job.inputs[1].guid == "3621762D-0193-56D7-B7D6-3EB9FA87628F"
    assert (job.inputs[1].size_bytes, job.inputs[1].checksum) == (2064, "ad:fbbcf62d")
    assert job.outputs == ("HITS.30737678._000001.pool.root.1", "HITS.30737678._000002.pool.root.1")
    assert (job.events_per_output, job.log_file) == (20, "log.30737678._5750099001.job.log.tgz")
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def test_a_real_event_service_job_is_read():
    job = only(fixture("events-HPCJobs.json"))
    assert job.event_service
    assert not job.on_site_merging
    assert job.n_events_per_input_file is None
    assert job.job_pars.endswith('--conditionsTag "default:OFLCOND-MC23-SDR-RUN3-01"')
    assert (job.transformation, job.sw_release, job.cmt_config) == ("Sim_tf.py", "Atlas-23.0.53", "x86_64-centos7-gcc11-opt")
    assert (job.core_count, job.max_walltime, job.attempt_nr) == (4, 172800, 0)
    assert job.destination_d_block_token == ("", "", "")


def test_unknown_fields_are_kept_and_the_document_is_untouched(merge_job):
    merge_job["newInPanda"] = {"a": [1, "NULL"]}
    job = only(merge_job)
    assert job.model_extra is not None
    assert job.model_extra["newInPanda"] == {"a": [1, "NULL"]}
    assert job.document == merge_job
    assert run(job).source == merge_job


def test_a_bare_specification_is_an_envelope_of_one(merge_job):
    assert only(merge_job) == only({PANDA_ID: merge_job})


@pytest.mark.parametrize("value", ["True", "true", "TRUE", True, 1, "1"])
def test_true_has_many_spellings(merge_job, value):
    assert only(merge_job | {"eventService": value}).event_service


@pytest.mark.parametrize("value", ["False", "false", False, 0, "0", None, "NULL", ""])
def test_false_has_more(merge_job, value):
    assert not only(merge_job | {"eventService": value}).event_service


@pytest.mark.parametrize("absent", [None, "NULL", "", "None"])
def test_absent_values_are_absent(merge_job, absent):
    keys = ("taskID", "jobsetID", "coreCount", "GUID", "fsize", "scopeIn", "transformation", "attemptNr", "logGUID", "checksum")
    job = run(only(merge_job | dict.fromkeys(keys, absent)))
    assert (job.task_id, job.jobset_id) == ("", "")
    assert {(file.guid, file.size_bytes, file.checksum, file.scope) for file in job.inputs} == {("", None, "", "")}


def test_numbers_may_be_text_and_lists_may_be_lists(merge_job):
    merge_job |= {"nEventsPerInputFile": "10", "taskID": "30737678", "fsize": [1, 2, "3", 0], "inFiles": ["a", "b", "c", "d"]}
    job = run(only(merge_job))
    assert [file.size_bytes for file in job.inputs] == [1, 2, 3, None]
    assert [file.lfn for file in job.inputs] == ["a", "b", "c", "d"]
    assert job.task_id == "30737678"


def test_inputs_without_paths_are_in_the_directory_given(merge_job):
    del merge_job["inFilePaths"]
    assert run(only(merge_job), input_directory="/run/../data").inputs[0].pfn == "/data/EVNT.30737678._000001.pool.root.1"


def test_a_log_file_elsewhere_or_nowhere_is_no_output(merge_job):
    merge_job |= {"logFile": "", "outFiles": "a,b", "scopeOut": "s,s"}
    for key in [key for key, value in merge_job.items() if isinstance(value, str) and value.count(",") == 2]:
        del merge_job[key]
    assert run(only(merge_job)).outputs == ("a", "b")


@pytest.mark.parametrize(
    ("per_input", "per_output", "outputs"),
    [(10, 10, 4), (10, 20, 2), (10, 40, 1), (10, 30, 2), (10, 5, 8), (10, 4, 12), (10, 1000, 1), (10, 25, 2)],
)
def test_the_mapping_decides_how_many_outputs_there_are(merge_job, per_input, per_output, outputs):
    log = merge_job["logFile"]
    names = [f"HITS.{n}" for n in range(outputs)]
    for key in ("realDatasets", "destinationDblock", "destinationDBlockToken", "fileDestinationSE", "ddmEndPointOut", "scopeOut"):
        del merge_job[key]
    del merge_job["dispatchDBlockTokenForOut"]
    merge_job |= {"outFiles": ",".join([*names, log]), "nEventsPerInputFile": per_input}
    merge_job["esmergeSpec"] |= {"nEventsPerOutputFile": per_output}
    assert run(only(merge_job)).outputs == tuple(names)


def test_a_panda_document_is_recognised(merge_job):
    assert is_panda(merge_job)
    assert is_panda({"12": {}})
    assert not any(is_panda(other) for other in ({"name": "x"}, {}, [], None, {"12": {}, "name": 1}))


@pytest.mark.parametrize("word", ["--skipEvents=4550", "--skipEvents first:10", "--skipE=3"])
def test_a_job_that_skips_events_of_files_that_are_cut_here_is_refused(word):
    inner: dict[str, Any] = fixture("merge-HPCJobs.json")[PANDA_ID]
    inner["jobPars"] = inner["jobPars"].replace("--skipEvents=0", word)
    with pytest.raises(InvalidInput, match=r"jobPars: says --skipEvents="):
        run(only({PANDA_ID: inner}))


def test_a_job_whose_ranges_panda_hands_out_may_say_so():
    inner: dict[str, Any] = fixture("events-HPCJobs.json")[PANDA_ID]
    inner["jobPars"] = inner["jobPars"].replace("--skipEvents=0", "--skipEvents=10")
    job = only({PANDA_ID: inner})
    assert to_given_job(job, PayloadSpec("python"), place=FieldPath("HPCJobs.json", "", job.document)).ranges_given
