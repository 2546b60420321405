"""Requests are understood whatever dialect they speak, and refused without harm when they make no sense."""

import gzip
import json
import zlib
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.payloads.pilot import wire
from raythena.payloads.pilot.wire import BadRequest, read_call, read_fields

FIELDS = {"jobId": "4711", "state": "running", "node": "n 1 & co", "metaData": '{"a": "ü"}'}


@pytest.mark.parametrize(
    "body",
    [
        urlencode(FIELDS).encode(),
        json.dumps(FIELDS).encode(),
        b"  \n" + json.dumps(FIELDS).encode(),
        gzip.compress(json.dumps(FIELDS).encode()),
        gzip.compress(urlencode(FIELDS).encode()),
    ],
    ids=["form", "json", "json after blanks", "compressed json", "compressed form"],
)
def test_every_dialect_says_the_same(body):
    assert read_fields(body) == FIELDS


def test_what_cannot_be_sent_in_a_file_comes_in_the_address():
    call = read_call("/server/panda/updateJob", "jobId=4711&state=", b"")
    assert (call.text("jobId"), call.text("state"), call.text("node")) == ("4711", "", "")


@pytest.mark.parametrize(
    ("path", "endpoint", "modern"),
    [
        ("/server/panda/getJob", "getJob", False),
        ("//server/panda/getJob/", "getJob", False),
        ("/api/v1/pilot/acquire_jobs", "getJob", True),
        ("/api/v1/pilot/update_worker_node", "update_worker_node", True),
        ("/server/panda/api/v1/pilot/update_job", "updateJob", True),
        ("/server/panda/update_job", "update_job", False),
        ("/", "", False),
    ],
)
def test_endpoints(path, endpoint, modern):
    call = read_call(path, "", b"")
    assert (call.endpoint, call.modern) == (endpoint, modern)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[1]", b'{"a": 1', b"[" * 100_000, b"\x1f\x8bnonsense", gzip.compress(b"{}" * 999)[:20], gzip.compress(b"[1]")],
    ids=["torn", "a list", "torn object", "deep", "no gzip", "torn gzip", "a list in gzip"],
)
def test_nonsense_is_refused(body):
    with pytest.raises(BadRequest):
        read_fields(body)


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 1000)
    bomb = gzip.compress(b"a=" + b"0" * 10_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(BadRequest, match="decompressed"):
        read_fields(bomb)
    with pytest.raises(BadRequest, match="more than"):
        read_fields(b"x" * 1001)


@pytest.mark.parametrize(("told", "count"), [("8", 8), (8, 8), ("-8", 1), ("8.5", 1), ("", 1), (None, 1), ("9" * 30, 1)])
def test_counts(told, count):
    assert wire.Call("x", {"nRanges": told}).count("nRanges", 1) == count


@given(st.binary(max_size=400))
def test_any_bytes_are_fields_or_refused(body):
    for sent in (body, zlib.compress(body, wbits=31), b"{" + body, b"\x1f\x8b" + body):
        try:
            assert isinstance(read_fields(sent), dict)
        except BadRequest as refusal:
            assert str(refusal)
