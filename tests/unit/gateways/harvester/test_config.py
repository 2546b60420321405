"""The names of the files come from the site's own configuration."""

import json
from dataclasses import fields

import pytest

from raythena.domain.errors import InvalidInput
from raythena.gateways.harvester.harvester_config import (
    QUEUE_NAMES,
    FileNames,
    MapType,
    Queue,
    load_file_names,
    load_map_type,
    load_queue,
)

SITE = """
[master]
uname = %(unknown)s
[payload_interaction]
# as on one machine
workerAttributesFile = attributes.json
jobSpecFile = pandaJobData.json   ; another name
eventStatusDumpXmlFile = _event_status.dump
taskWorkBaseDir = /tmp/workdir
"""


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "panda_harvester.cfg"
    path.write_text(SITE)
    return path


def test_without_anything_harvesters_defaults_hold():
    assert load_file_names(None, {}) == FileNames()
    assert FileNames(**FileNames().to_dict()) == FileNames()


def test_the_sites_file_says_otherwise(site):
    names = load_file_names(site, {})
    assert (names.worker_attributes_file, names.job_spec_file) == ("attributes.json", "pandaJobData.json")
    assert names.event_ranges_file == "JobsEventRanges.json"
    assert load_file_names(None, {"HARVESTER_CONFIG": str(site)}) == names


def test_the_environment_has_the_last_word(site):
    names = load_file_names(site, {"HARVESTER_JOB_SPEC_FILE": "job.json", "HARVESTER_ID": "something else"})
    assert (names.job_spec_file, names.worker_attributes_file) == ("job.json", "attributes.json")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("[payload_interaction]\njobSpecFile = ../job.json\n", "jobSpecFile"),
        ("[payload_interaction]\njobSpecFile =\n", "jobSpecFile"),
        ("[payload_interaction]\njobSpecFile = jobReport.json\n", "jobSpecFile"),
        ("[messenger]\n", "[payload_interaction]"),
        ("nothing", ""),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, content, field):
    path = tmp_path / "panda_harvester.cfg"
    path.write_text(content)
    with pytest.raises(InvalidInput) as refused:
        load_file_names(path, {})
    assert (refused.value.source, refused.value.field) == (str(path), field)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_file_names(tmp_path / "none.cfg", {})


def test_the_mapping_of_the_queue():
    assert load_map_type(None, {}) is MapType.ONE_TO_ONE
    assert load_map_type("onetomany", {}) is MapType.ONE_TO_MANY
    assert load_map_type(None, {"HARVESTER_MAP_TYPE": "OneToMany"}) is MapType.ONE_TO_MANY
    with pytest.raises(InvalidInput, match="several jobs"):
        load_map_type("ManyToOne", {})


# ---- queues

QUEUES = {
    "NERSC_TEMPLATE": {"mapType": "OneToMany", "messenger": {"name": "SharedFileMessenger", "jobSpecFileName": "job.json"}},
    "A": {"templateQueueName": "NERSC_TEMPLATE", "messenger": {"jsonOutputsFileName": "dump.json"}},
    "B": {"mapType": "OneToOne"},
}


@pytest.fixture
def queues(tmp_path):
    path = tmp_path / "panda_queueconfig.json"
    path.write_text(json.dumps(QUEUES))
    return path


def test_without_jobspecfile_harvester_has_a_name_of_its_own(tmp_path):
    path = tmp_path / "panda_harvester.cfg"
    path.write_text("[payload_interaction]\nheartbeatFile = beat.json\n")
    assert load_file_names(path, {}).job_spec_file == "pandaJobData.out"


def test_every_name_can_be_a_queues():
    assert QUEUE_NAMES.keys() == {field.name for field in fields(FileNames)}
    assert len(set(QUEUE_NAMES.values())) == len(QUEUE_NAMES)


def test_a_queue_renames_files_and_takes_what_its_template_says(queues, site):
    queue = load_queue(queues, "A", {})
    renamed = {"job_spec_file": "job.json", "event_status_dump_json_file": "dump.json"}
    assert queue == Queue("A", str(queues), renamed, "OneToMany")
    names = load_file_names(site, {}, queue)
    assert (names.job_spec_file, names.event_status_dump_json_file) == ("job.json", "dump.json")
    assert names.worker_attributes_file == "attributes.json"
    assert load_file_names(site, {"HARVESTER_JOB_SPEC_FILE": "mine.json"}, queue).job_spec_file == "mine.json"


def test_file_and_queue_may_come_from_the_environment(queues):
    assert load_queue(None, None, {}) is None
    assert load_queue(None, None, {"HARVESTER_QUEUE_CONFIG": str(queues), "HARVESTER_QUEUE": "B"}).map_type == "OneToOne"


def test_the_only_queue_needs_no_name(tmp_path):
    path = tmp_path / "queues.json"
    path.write_text(json.dumps({"SITE": {}, "X_TEMPLATE": {}}))
    assert load_queue(path, None, {}) == Queue("SITE", str(path), {}, "")


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (json.dumps(QUEUES), None, "several queues"),
        (json.dumps(QUEUES), "C", "no queue 'C'"),
        (json.dumps(QUEUES), "NERSC_TEMPLATE", "one of A, B"),
        ("{", "A", "no JSON"),
        ("[1]", "A", "no mapping of queues"),
        ('{"A": {"messenger": {"jobSpecFileName": "x/y"}}}', "A", "A.messenger.jobSpecFileName: is 'x/y'"),
        ('{"A": {"messenger": {"jobSpecFileName": 7}}}', "A", "A.messenger.jobSpecFileName"),
        ('{"A": {"messenger": {"jobSpecFileFormat": "cgi"}}}', "A", "expected json"),
    ],
)
def test_queues_that_cannot_be_are_refused(tmp_path, content, name, words):
    path = tmp_path / "queues.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=words):
        load_queue(path, name, {})


def test_a_queue_without_a_file_is_refused():
    with pytest.raises(InvalidInput, match="--queue-config"):
        load_queue(None, "A", {})


def test_the_mapping_is_the_queues_and_nobody_may_say_otherwise(queues):
    queue = load_queue(queues, "A", {})
    assert load_map_type(None, {}, queue) is MapType.ONE_TO_MANY
    assert load_map_type("OneToMany", {}, queue) is MapType.ONE_TO_MANY
    with pytest.raises(InvalidInput, match="OneToMany, as"):
        load_map_type("OneToOne", {}, queue)
