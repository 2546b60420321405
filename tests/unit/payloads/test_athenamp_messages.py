"""AthenaMP's messages, taken apart; and ranges as AthenaMP will understand them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athenamp_stand_in.scatterer import _taken_apart
from raythena.domain.ranges import EventRange
from raythena.payloads.athenamp.messages import (
    NO_SUCH_EVENT,
    RangeDone,
    RangeFailed,
    RangeReady,
    Unintelligible,
    decode,
    encode_flush,
    encode_range,
    token_of,
)

PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=',"\\'), min_size=1).map(
    lambda text: f"/{text}"
)
TOKENS = st.integers(0, 2**40 - 1).map(token_of)


def a_range(pfn="/in/EVNT.1.root", first=3, last=3):
    return EventRange("EVNT.1.root-3", "EVNT.1.root", pfn, "A-GUID", first, last)


def test_a_free_worker():
    assert decode(b"Ready for events") == decode(b"Ready for events\0") == RangeReady()


def test_a_result():
    token = token_of(7)
    text = f"/w/worker_0/HITS.1.{token},ID:{token},CPU:288,WALL:303.5"
    assert decode(text.encode()) == RangeDone(token, (f"/w/worker_0/HITS.1.{token}",), 288.0, 303.5)


@pytest.mark.parametrize("times", ["", ",CPU:?,WALL:", ",WALL:-3", ",CPU:nan,WALL:1e300"])
def test_times_that_are_none_are_nothing(times):
    token = token_of(7)
    message = decode(f"/out.{token},ID:{token}{times}".encode())
    assert (message.cpu_s, message.wall_s) == (0.0, 0.0)


def test_of_several_files_the_one_with_the_token_is_meant():
    token = token_of(7)
    message = decode(f"/w/HITS.{token_of(8)},/w/HITS.{token},ID:{token},CPU:1,WALL:1".encode())
    assert message.path == f"/w/HITS.{token}"
    assert decode(f"/w/HITS.{token},/w/AOD.{token},ID:{token},CPU:1,WALL:1".encode()).path == ""
    assert decode(f"/w/some,/w/thing,ID:{token}".encode()).path == ""


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("ERR_ATHENAMP_PROCESS {}: Seek failed", "ERR_ATHENAMP_PROCESS", "Seek failed"),
        ('ERR_ATHENAMP_PARSE "{{"eventRangeID": "{}", "PFN": "/a"}}": Wrong format', "ERR_ATHENAMP_PARSE", "Wrong format"),
        ("ERR_ATHENAMP_PROCESS {}: ", "ERR_ATHENAMP_PROCESS", "no reason given"),
        ("ERR_SOMETHING_NEW {}: well", "ERR_SOMETHING_NEW", "well"),
    ],
)
def test_failures(text, error, reason):
    assert decode(text.format(token_of(9)).encode()) == RangeFailed(token_of(9), error, reason)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"\xff\xfe", "no text"),
        (b"hello", "names no range"),
        (b"/out,CPU:1,WALL:2", "names no range"),
        (b"/out,ID:lfn-3,CPU:1", "no range of ours"),
        (b",ID:rt0000000001x,CPU:1", "names no output"),
        (b"ERR_ATHENAMP_PROCESS : Seek failed", "names 0 ranges"),
        (b"ERR_ATHENAMP_PARSE rt0000000001x rt0000000002x: two", "names 2 ranges"),
    ],
)
def test_what_is_no_message(message, problem):
    with pytest.raises(Unintelligible, match=problem):
        decode(message)


@given(st.binary())
def test_whatever_comes_is_a_message_or_unintelligible(content):
    try:
        decode(content)
    except Unintelligible:
        return


@given(PATHS, st.integers(1, 10**6), st.integers(0, 5), TOKENS)
def test_athenamp_understands_a_range(pfn, first, more, token):
    answer = encode_range(token, a_range(pfn.strip(), first, first + more)).decode()
    known = _taken_apart(answer)
    assert (known["eventRangeID"], known["PFN"], known["GUID"]) == (token, pfn.strip(), "A-GUID")
    assert (int(known["startEvent"]), int(known["lastEvent"])) == (first, first + more)
    assert len(json.loads(answer)) == 1


@given(TOKENS, TOKENS)
def test_no_token_is_part_of_another(one, other):
    assert (one in other) == (one == other)


@pytest.mark.parametrize("pfn", ["/a,b", '/a"b', "/a\\b", "/a\nb"])
def test_a_path_that_would_be_misread_is_refused(pfn):
    with pytest.raises(ValueError, match="AthenaMP misreads"):
        encode_range(token_of(1), a_range(pfn))


def test_a_flush_is_a_range_of_the_same_file_that_no_file_has():
    known = _taken_apart(encode_flush(token_of(1), a_range()).decode())
    assert known["PFN"] == "/in/EVNT.1.root"
    assert int(known["startEvent"]) == int(known["lastEvent"]) == NO_SUCH_EVENT < 2**31
