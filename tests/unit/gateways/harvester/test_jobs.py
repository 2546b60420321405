"""Where a job comes from, and what is said when it does not come."""

import json

import pytest
from access_point_kit import PANDA_ID, access_point, document, put

from raythena.domain.errors import InvalidInput
from raythena.domain.job import PayloadSpec
from raythena.gateways.harvester.jobs import SpecificationSearch, load_harvester_job


def test_a_job_that_never_comes(tmp_path):
    search = SpecificationSearch(access_point(tmp_path))
    assert search.turn(0.0) is None
    with pytest.raises(InvalidInput, match="--late-binding"):
        search.turn(100.0)


def test_a_job_that_stays_torn(tmp_path):
    point = access_point(tmp_path)
    put(point, "HPCJobs.json", '{"1": ')
    search = SpecificationSearch(point)
    assert search.turn(0.0) is None
    with pytest.raises(InvalidInput, match="cut short"):
        search.turn(200.0)


def test_a_job_that_is_bound_late(tmp_path):
    point = access_point(tmp_path)
    search = SpecificationSearch(point, late_binding=True)
    request = tmp_path / "worker_requestjob.json"
    assert search.turn(0.0) is None
    assert json.loads(request.read_text()) == {"nJobs": 1}
    assert search.turn(5000.0) is None
    request.unlink()
    assert search.turn(5001.0) is None
    assert not request.exists()
    assert search.turn(5100.0) is None
    assert request.exists()
    put(point, "HPCJobs.json", {PANDA_ID: document("merge")})
    assert search.turn(5101.0) is not None


def test_a_second_start_does_not_ask_for_a_second_job(tmp_path):
    """The first start died while its wish was being answered: the job may be there already, and not be seen yet."""
    point = access_point(tmp_path)
    SpecificationSearch(point, late_binding=True).turn(0.0)
    request = tmp_path / "worker_requestjob.json"
    request.unlink()
    again = SpecificationSearch(point, late_binding=True)
    for now in (0.0, 20.0, 44.0):
        assert again.turn(now) is None
        assert not request.exists()
    # the file comes in two pieces: what is there is no reason to ask
    text = json.dumps({PANDA_ID: document("merge")})
    put(point, "HPCJobs.json", text[:200])
    assert again.turn(46.0) is None
    put(point, "HPCJobs.json", text)
    assert again.turn(60.0) == point.own("job", "HPCJobs.json")
    assert SpecificationSearch(point, late_binding=True).turn(0.0) == point.own("job", "HPCJobs.json")
    assert not request.exists()


def test_a_wish_nobody_has_answered_is_made_again_by_a_second_start(tmp_path):
    point = access_point(tmp_path)
    SpecificationSearch(point, late_binding=True).turn(0.0)
    (tmp_path / "worker_requestjob.json").unlink()
    again = SpecificationSearch(point, late_binding=True)
    assert again.turn(0.0) is again.turn(46.0) is None
    assert (tmp_path / "worker_requestjob.json").exists()


def test_a_worker_with_several_jobs_is_refused(tmp_path):
    path = put(access_point(tmp_path), "HPCJobs.json", {"1": document("merge") | {"PandaID": 1}, PANDA_ID: document("merge")})
    with pytest.raises(InvalidInput, match="holds 2 jobs"):
        load_harvester_job(path, tmp_path, PayloadSpec("python"), None)


def test_on_site_merging_merges_as_the_job_says(tmp_path):
    about = document("merge") | {"fsize": "5,5,5,5", "checksum": "NULL,NULL,NULL,NULL"}
    del about["inFilePaths"]
    for lfn in about["inFiles"].split(","):
        (tmp_path / lfn).write_bytes(b"event")
    path = put(access_point(tmp_path), "HPCJobs.json", {PANDA_ID: about})
    job = load_harvester_job(path, tmp_path, PayloadSpec("python"), None)
    assert not job.ranges_given
    assert job.merge.kind == "transform"
    assert job.n_events == 40
