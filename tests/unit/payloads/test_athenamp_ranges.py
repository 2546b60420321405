"""Ranges that wait for AthenaMP, and ranges it has."""

import json

import pytest

from raythena.domain.ranges import EventRange
from raythena.payloads.athenamp.athenamp_ranges import AthenaRanges
from raythena.payloads.athenamp.channel import Given
from raythena.runtime.payload_interface import LeasedRange


def lease(index, pfn="/pfn"):
    return LeasedRange(index, EventRange(f"r-{index}", "lfn", pfn, "guid", index, index))


@pytest.fixture
def ranges():
    ranges = AthenaRanges()
    for index in (1, 2, 3):
        ranges.add(lease(index))
    return ranges


def give(ranges):
    """What the channel's thread does, and tells."""
    token, answer = ranges.queue.take()
    ranges.given(Given(token, 5.0, 4.0, starved=False), 1e9)
    return token, json.loads(answer)[0]


def test_a_range_given_out_is_in_flight_and_cannot_be_taken_back(ranges):
    token, told = give(ranges)
    assert (told["eventRangeID"], told["startEvent"]) == (token, 1)
    assert (ranges.in_flight[token].index, ranges.in_flight[token].since, ranges.in_flight[token].at) == (1, 5.0, 1e9)
    assert ranges.take_back([1, 3]) == [3]
    assert ranges.take_back() == [2]
    assert not ranges.are_waiting


def test_what_the_thread_has_just_taken_is_not_taken_back(ranges):
    ranges.queue.take()
    assert ranges.take_back() == [2, 3]
    assert ranges.are_waiting


def test_a_range_put_back_goes_first_under_its_token(ranges):
    token, _ = give(ranges)
    ranges.put_back(token)
    assert not ranges.in_flight
    assert ranges.queue.take()[0] == token


def test_a_range_that_would_be_misread_is_not_taken(ranges):
    with pytest.raises(ValueError, match="comma"):
        ranges.add(lease(4, "/a,b"))
    assert len(ranges.queue) == 3
    assert sorted(ranges.take_back()) == [1, 2, 3]


def test_a_flush_has_a_token_of_its_own_and_no_event(ranges):
    given, _ = give(ranges)
    token, message = ranges.flush()
    assert token != given
    assert json.loads(message)[0]["startEvent"] > 10**9
