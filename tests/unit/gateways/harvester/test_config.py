"""The names of the files come from the site's own configuration."""

import pytest

from raythena.domain.errors import InvalidInput
from raythena.gateways.harvester.harvester_config import FileNames, MapType, load_file_names, load_map_type

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
