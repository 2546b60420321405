"""Where a pilot's queue comes from, and what is said when it comes from nowhere."""

import json

import pytest

from raythena.domain.errors import InvalidInput, PayloadError
from raythena.payloads.pilot.pilot_options import PilotOptions, read_options
from raythena.payloads.pilot.queues import ENDPOINT_FILES, QUEUE_FILES, endpoints, queue_object

NOWHERE = {"ATLAS_SW_BASE": "/nonexistent"}
QUEUE = {"status": "online", "container_type": "apptainer:pilot", "container_options": "-B /x --foo='a b'"}
OTHER = {"status": "online", "container_type": "docker:wrapper"}


@pytest.fixture
def cvmfs(tmp_path):
    """An environment in which CVMFS is a directory of the test's, and that directory's place for CRIC's files."""
    place = tmp_path / "cvmfs" / "atlas.cern.ch" / "repo" / "sw" / "local" / "etc"
    place.mkdir(parents=True)
    return {"ATLAS_SW_BASE": str(tmp_path / "cvmfs")}, place


@pytest.fixture
def cacher(tmp_path):
    place = tmp_path / "cacher"
    place.mkdir()
    return place


def test_what_is_given_wins(cvmfs, cacher):
    environment, place = cvmfs
    for directory in (place, cacher):
        (directory / "cric_pandaqueues.json").write_text(json.dumps({"A": OTHER}))
    options = PilotOptions(queue="A", queuedata={"A": QUEUE, "B": {}}, cacher=cacher)
    assert queue_object(options, environment) == QUEUE
    assert queue_object(PilotOptions(queuedata=QUEUE), environment) == QUEUE
    with pytest.raises(PayloadError, match="no queue 'C'; it has A, B"):
        queue_object(PilotOptions(queue="C", queuedata={"A": QUEUE, "B": {}}), environment)


@pytest.mark.parametrize("name", QUEUE_FILES)
def test_the_cacher_comes_before_cvmfs(cvmfs, cacher, name):
    environment, place = cvmfs
    (place / "cric_pandaqueues.json").write_text(json.dumps({"A": OTHER, "B": OTHER}))
    (cacher / name).write_text(json.dumps({"A": QUEUE}))
    assert queue_object(PilotOptions(queue="A", cacher=cacher), environment) == QUEUE
    assert queue_object(PilotOptions(queue="B", cacher=cacher), environment) == OTHER
    assert queue_object(PilotOptions(queue="A"), environment) == OTHER


@pytest.mark.parametrize("name", ["A_queuedata.json", "A.json"])
def test_a_file_of_one_queue_will_do(cacher, name):
    (cacher / name).write_text(json.dumps(QUEUE))
    assert queue_object(PilotOptions(queue="A", cacher=cacher), NOWHERE) == QUEUE


def test_a_queue_may_have_the_name_of_a_field():
    assert queue_object(PilotOptions(queue="A", queuedata={"A": QUEUE, "status": OTHER}), NOWHERE) == QUEUE
    with pytest.raises(PayloadError, match="no queue 'B'"):
        queue_object(PilotOptions(queue="B", queuedata={"A": QUEUE, "status": OTHER}), NOWHERE)


def test_a_queue_nobody_knows_is_refused_with_every_place_looked_at(cvmfs, cacher):
    environment, place = cvmfs
    (place / "cric_pandaqueues.json").write_text(json.dumps({"A": OTHER}))
    with pytest.raises(InvalidInput) as problem:
        queue_object(PilotOptions(queue="MISSING", cacher=cacher), environment)
    for path in (cacher / "MISSING.json", *(cacher / name for name in QUEUE_FILES), place / "cric_pandaqueues.json"):
        assert str(path) in str(problem.value)
    assert "payload.options.queue: 'MISSING' is not known" in str(problem.value)


@pytest.mark.parametrize("content", ["{", "", "\0", '{"A": '])
def test_a_broken_file_is_an_error_and_not_passed_over(cvmfs, cacher, content):
    environment, place = cvmfs
    (place / "cric_pandaqueues.json").write_text(json.dumps({"A": OTHER}))
    (cacher / "cric_pandaqueues.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"cacher/cric_pandaqueues\.json cannot be read"):
        queue_object(PilotOptions(queue="A", cacher=cacher), environment)


@pytest.mark.parametrize("document", [[], "A", 3, {"A": [QUEUE]}, {**QUEUE, "name": "B"}])
def test_a_file_of_something_else_knows_no_queue(cacher, document):
    (cacher / "cric_pandaqueues.json").write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match="is not known"):
        queue_object(PilotOptions(queue="A", cacher=cacher), NOWHERE)


def test_a_hostile_name_leads_nowhere_else(tmp_path, cacher):
    (tmp_path / "A.json").write_text(json.dumps(QUEUE))
    with pytest.raises(InvalidInput, match="is not known"):
        queue_object(PilotOptions(queue="../A", cacher=cacher), NOWHERE)


def test_who_names_no_queue_gets_one_without_containers_and_transfers(cvmfs):
    environment, place = cvmfs
    (place / "cric_pandaqueues.json").write_text("{")
    made_up = queue_object(PilotOptions(), environment)
    assert (made_up["container_type"], made_up["status"]) == ("", "online")
    assert made_up["maxwdir"] > 0


@pytest.mark.parametrize("name", ENDPOINT_FILES)
def test_endpoints_are_looked_up_like_queues(cvmfs, cacher, name):
    environment, place = cvmfs
    (place / "cric_ddmendpoints.json").write_text('{"there": {}}')
    assert endpoints(PilotOptions(queue="A"), environment) == {"there": {}}
    (cacher / name).write_text('{"here": {}}')
    assert endpoints(PilotOptions(queue="A", cacher=cacher), environment) == {"here": {}}
    assert endpoints(PilotOptions(queue="A", cacher=cacher, ddmendpoints={"given": {}}), environment) == {"given": {}}
    assert endpoints(PilotOptions(queue="A"), NOWHERE) == {}


@pytest.mark.parametrize("content", ["[]", "3", "{"])
def test_endpoints_are_an_object(cacher, content):
    path = cacher / "cric_ddmendpoints.json"
    path.write_text(content)
    for options in (PilotOptions(queue="A", cacher=cacher), PilotOptions(ddmendpoints=path)):
        with pytest.raises(InvalidInput, match=r"ddmendpoints: .*cric_ddmendpoints\.json (holds no object|cannot be read)"):
            endpoints(options, NOWHERE)


def test_the_section_names_the_cachers_directory(tmp_path, cacher):
    assert read_options({"command": ["x"], "cacher": str(cacher)}, "job").cacher == cacher
    with pytest.raises(InvalidInput, match=r"cacher: .* is not there"):
        read_options({"command": ["x"], "cacher": str(tmp_path / "nowhere")}, "job")
    (cacher / "queues.json").touch()
    with pytest.raises(InvalidInput, match=r"cacher: .* is no directory"):
        read_options({"command": ["x"], "cacher": str(cacher / "queues.json")}, "job")
