from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.document import FieldPath
from raythena.domain.errors import InvalidInput
from raythena.domain.panda_ranges import EventRangeId, LocalRangeId, parse_event_ranges, parse_range_id
from raythena.domain.ranges import EventRange

FIXTURES = Path(__file__).parents[2] / "fixtures" / "harvester"
LFN = "EVNT.30737678._000001.pool.root.1"
PFN = {LFN: f"/data/{LFN}"}

numbers = st.integers(0, 10**12)


def parse_id(text: Any) -> EventRangeId | LocalRangeId:
    return parse_range_id(FieldPath("ranges.json", "eventRangeID", text))


@given(st.builds(EventRangeId, numbers, numbers, numbers, numbers, st.integers(0, 100)))
def test_panda_ids_are_read_as_they_are_printed(range_id):
    assert parse_id(str(range_id)) == range_id


@given(st.builds(LocalRangeId, st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,30}", fullmatch=True), st.integers(1, 10**9)))
def test_local_ids_are_read_as_they_are_printed(range_id):
    assert parse_id(str(range_id)) == range_id


def test_the_five_fields_are_what_panda_says_they_are():
    assert parse_id("30737678-5750099001-7000-2-3") == EventRangeId(30737678, 5750099001, 7000, 2, 3)


@pytest.mark.parametrize("text", ["", "x", "x-0", "x-", "-1", "1-2", "../x-1", "a b-1", "1-2-3-4-5-", "x-1\n", None, 5, "x-٣"])
def test_what_is_no_id_is_refused(text):
    if text == "1-2":  # a file may well be called "1"
        assert parse_id(text) == LocalRangeId("1", 2)
        return
    with pytest.raises(InvalidInput) as refusal:
        parse_id(text)
    assert (refusal.value.source, refusal.value.field) == ("ranges.json", "eventRangeID")


def test_real_ranges_are_read():
    ranges = parse_event_ranges((FIXTURES / "JobsEventRanges.json").read_text(), "JobsEventRanges.json", PFN)
    guid = "E704048D-E740-5A06-B086-C58344500B35"
    assert ranges["5750099001"] == (
        EventRange("30737678-5750099001-7000-1-3", LFN, PFN[LFN], guid, 1, 1, "mc23_13p6TeV"),
        EventRange("30737678-5750099001-7000-2-3", LFN, PFN[LFN], guid, 2, 2, "mc23_13p6TeV"),
    )


def test_a_range_goes_back_on_the_wire_as_it_came():
    text = (FIXTURES / "JobsEventRanges.json").read_text()
    ranges = parse_event_ranges(text, "x", PFN)
    assert {key: [item.to_panda() for item in items] for key, items in ranges.items()} == json.loads(text)


def test_no_more_ranges_is_an_answer():
    assert parse_event_ranges('{"12": []}', "x", PFN) == {"12": ()}


def one(**changes: Any) -> str:
    entry = {"eventRangeID": "1-12-3-4-5", "startEvent": 4, "lastEvent": 6, "LFN": LFN, "GUID": "", "scope": ""} | changes
    return json.dumps({"12": [{key: value for key, value in entry.items() if value is not ...}]})


def test_several_events_and_numbers_as_text_are_read():
    (item,) = parse_event_ranges(one(startEvent="4"), "x", PFN)["12"]
    assert (item.first_event, item.last_event, item.guid, item.scope) == (4, 6, "", "")


@pytest.mark.parametrize(
    ("text", "field", "problem", "remedy"),
    [
        ("", "", "is empty", ""),
        ('{"12": [{"eventRangeID": "1-1', "line 1", "ends in the middle", "still be being written"),
        ('{"12": [', "line 1", "ends in the middle", "still be being written"),
        ("[]", "", "is []", "ranges by job"),
        ('{"12": null}', "12", "is null", "a list"),
        ('{"12": ["..."]}', "12[0]", "is '...'", "a range with eventRangeID"),
        ('{"x": []}', "x", "stands under 'x'", "a PandaID"),
        ('{"12": [], "12": []}', "12", "given twice", "every key once"),
        (one(eventRangeID=...), "12[0].eventRangeID", "is null", "taskID-PandaID"),
        (one(eventRangeID="1-2-3-4-"), "12[0].eventRangeID", "is '1-2-3-4-'", "taskID-PandaID"),
        (one(LFN=...), "12[0].LFN", "is null", "the name of an input file"),
        (one(LFN="../x"), "12[0].LFN", "'../x' is no input file of the job", f"one of {LFN}"),
        (one(LFN="other"), "12[0].LFN", "'other' is no input file of the job", f"one of {LFN}"),
        (one(GUID="x"), "12[0].GUID", "is 'x'", "a GUID"),
        (one(startEvent=...), "12[0].startEvent", "is missing", "an event number"),
        (one(startEvent=0), "12[0].startEvent", "is 0", "at least 1"),
        (one(startEvent=-1), "12[0].startEvent", "is -1", "at least 1"),
        (one(startEvent="-1"), "12[0].startEvent", "is -1", "at least 1"),
        (one(startEvent=1.5), "12[0].startEvent", "is 1.5", "a whole number"),
        (one(startEvent=True), "12[0].startEvent", "is true", "a whole number"),
        (one(lastEvent=3), "12[0].lastEvent", "is 3", "at least 4"),
        (one(lastEvent=10**10), "12[0].lastEvent", "is 10000000000", "at most 4,000,000,000"),
        (one(scope=7), "12[0].scope", "is 7", "text"),
    ],
)
def test_bad_ranges_are_refused_where_they_are_bad(text, field, problem, remedy):
    with pytest.raises(InvalidInput) as refusal:
        parse_event_ranges(text, "JobsEventRanges.json", PFN)
    assert refusal.value.source == "JobsEventRanges.json"
    assert refusal.value.field == field
    assert problem in refusal.value.problem
    assert remedy in f"{refusal.value.expected} {refusal.value.hint}"


def test_a_range_listed_twice_is_refused():
    document = json.loads(one())
    document["12"] *= 2
    with pytest.raises(InvalidInput, match=r"12\[1\].eventRangeID: the range 1-12-3-4-5 is listed twice; .*12\[0\]"):
        parse_event_ranges(json.dumps(document), "x", PFN)


@given(st.data())
def test_a_file_torn_anywhere_is_refused(data):
    text = (FIXTURES / "JobsEventRanges.json").read_text().rstrip()
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(InvalidInput) as refusal:
        parse_event_ranges(text[:cut], "JobsEventRanges.json", PFN)
    assert any(words in refusal.value.problem for words in ("ends in the middle", "is empty"))
