"""What we write has the shape of what was seen in the wild, and what was seen there is read."""

import json

import pytest
from access_point_kit import PANDA_ID, document, final_output, fixture, merging_job, shape
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.errors import InternalError, InvalidInput
from raythena.domain.panda_ranges import parse_event_ranges
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.deliverables import Deliverables

FILE = DeliveredFile("/run/esOutput/one.zip", 30720, 0x191DA96D)


def finished(*ids, archive=None, file=None):
    return RangeReport(1, tuple(ReportedRange(each, RangeStatus.FINISHED, file) for each in ids), archive)


def test_a_wish_for_ranges():
    written = documents.event_request(PANDA_ID, "30737678", "5750099000", 8)
    assert json.dumps(written) == json.dumps(fixture("worker_requestevents.json"))


def test_a_wish_for_a_job():
    assert documents.job_request() == fixture("worker_requestjob.json")


def test_a_dump_of_archives():
    captured = fixture("event_status.dump.json-zip_output.json")
    entries = documents.report_entries(finished("30737678-5750099001-7000-1-3", archive=FILE))
    written = documents.dump(PANDA_ID, entries)
    assert json.dumps(shape(written)) == json.dumps(shape(captured))
    assert written[PANDA_ID][0]["chksum"] == captured[PANDA_ID][0]["chksum"]


def test_a_dump_of_files_of_events():
    (entry,) = documents.report_entries(finished("1-2-3-4-5", file=FILE))
    assert entry["type"] == "es_output"
    assert (entry["fsize"], entry["chksum"]) == (30720, "191da96d")


def test_a_dump_of_final_outputs():
    captured = fixture("event_status.dump.json-by-post-processing.json")[PANDA_ID][1]
    written = documents.file_entry("output", captured["path"], captured["guid"], captured["fsize"], int(captured["chksum"], 16))
    assert written == captured


def test_the_state_of_a_task(tmp_path):
    captured = fixture("state.json")
    job = merging_job()
    deliverables = Deliverables(job)
    for lfn in job.outputs:
        deliverables.add(final_output(tmp_path, lfn))
    written = deliverables.state()
    assert {name: list(outputs) for name, outputs in written["merged"].items()} == {
        name: list(outputs) for name, outputs in captured["merged"].items()
    }
    (described, *_) = written["merged"][job.inputs[0].lfn].values()
    assert list(described) == ["path", "guid", "fsize", "chksum"]


def test_attributes():
    captured = fixture("worker_attributes.json")
    assert documents.attributes(captured) == captured


def test_captured_ranges_are_read():
    captured = {PANDA_ID: [one for one in fixture("JobsEventRanges.json")[PANDA_ID] if one != "..."]}
    assert documents.ranges_of_job(captured, PANDA_ID, "ranges") == captured[PANDA_ID]
    pfn_of = {lfn: f"/in/{lfn}" for lfn in document("events")["inFiles"].split(",")}
    (ranges,) = parse_event_ranges(json.dumps(captured), "ranges", pfn_of).values()
    assert [one.first_event for one in ranges] == [1, 2]


@pytest.mark.parametrize("content", [{}, {"1": []}, [], {PANDA_ID: {}}, {PANDA_ID: None}])
def test_ranges_that_are_not_ours_are_refused(content):
    with pytest.raises(InvalidInput):
        documents.ranges_of_job(content, PANDA_ID, "ranges")


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none(), st.booleans(), st.floats())))
def test_no_attribute_is_unknown_or_of_another_type(values):
    try:
        told = documents.attributes(values)
    except InternalError:
        assert any(type(value) is not documents.ATTRIBUTE_TYPES.get(name) for name, value in values.items())
    else:
        assert all(type(value) is documents.ATTRIBUTE_TYPES[name] for name, value in told.items())


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), max_size=40))
def test_bundles_keep_archives_together_and_lose_nothing(pairs):
    entries = []
    for number, archive in pairs:
        entry = {"eventRangeID": str(number), "path": f"/a/{archive}", "type": "zip_output" if archive else "es_output"}
        entries.append(entry)
    bundles = documents.bundles(entries)
    assert sorted(str(entry) for bundle in bundles for entry in bundle) == sorted(map(str, entries))
    archives = [{entry["path"] for entry in bundle if entry["type"] == "zip_output"} for bundle in bundles]
    together = [path for paths in archives for path in paths]
    assert len(together) == len(set(together))
