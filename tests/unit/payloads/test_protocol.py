"""Messages are decoded strictly, and nothing but ProtocolViolation comes out of the decoder, whatever goes in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.payloads.workers.protocol import (
    MAX_LINE_BYTES,
    CancelMessage,
    DoneMessage,
    DrainMessage,
    FailedMessage,
    LineCutter,
    ProtocolViolation,
    RangeMessage,
    Ready,
    ReleasedMessage,
    decode,
    encode,
)

DONE = {"type": "done", "range": "1", "output": "/s/1", "cpu_s": 0.1, "wall_s": 0.2, "started_at": 1.0}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def line(**fields):
    return json.dumps(fields).encode()


def test_every_worker_message_is_understood():
    assert decode(line(type="ready", version=1, pid=7)) == Ready(1, 7)
    assert decode(line(**DONE)) == DoneMessage("1", "/s/1", 0.1, 0.2, 1.0)
    assert decode(line(**DONE, offset=0, size=5)).size == 5
    assert decode(line(type="failed", range="1", reason="é\n")) == FailedMessage("1", "é\n")
    assert decode(line(type="released", range="1")) == ReleasedMessage("1")


def test_whole_numbers_are_times_too():
    assert decode(line(**{**DONE, "cpu_s": 0, "wall_s": 1})).wall_s == 1.0


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (b"", "truncated"),
        (b"ready", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"type": "ready"', "truncated"),
        (b"\xff\xfe", "malformed"),
        (line(type="hello"), "Invalid value 'hello'"),
        (line(version=1, pid=7), "missing required field `type`"),
        (line(type="ready", version="1", pid=7), "Expected `int`, got `str` - at `$.version`"),
        (line(**{**DONE, "wall_s": -1}), "Expected `float` >= 0.0 - at `$.wall_s`"),
        (line(**{**DONE, "wall_s": float("nan")}), "malformed"),
        (line(**{**DONE, "cpu_s": 1e300}), "<= 1000000000000.0"),
        (line(**{**DONE, "range": 1}), "at `$.range`"),
        (line(**{**DONE, "range": ""}), "length >= 1"),
        (line(**{**DONE, "range": "9" * 201}), "length <= 200"),
        (line(**{**DONE, "offset": -4, "size": 4}), "at `$.offset`"),
        (line(**{**DONE, "size": 1 << 80}), "at `$.size`"),
        (line(**{**DONE, "walltime": 3}), "unknown field `walltime`"),
        (line(type="failed", range="1"), "missing required field `reason`"),
        (line(type="range", range="1"), "Invalid value 'range'"),
        (b" " * MAX_LINE_BYTES, "at most 65536"),
        (b"[" * 5000, ""),
    ],
)
def test_what_is_not_a_message_is_refused_with_a_reason(bad, complaint):
    with pytest.raises(ProtocolViolation) as refusal:
        decode(bad)
    assert complaint in str(refusal.value)
    assert len(str(refusal.value)) < 500


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_raises_only_protocol_violations(data):
    try:
        message = decode(data)
    except ProtocolViolation:
        return
    assert isinstance(message, Ready | DoneMessage | FailedMessage | ReleasedMessage)


@given(JSON, st.sampled_from(sorted(DONE)))
def test_any_value_in_any_field_is_accepted_or_refused_cleanly(value, field):
    try:
        message = decode(line(**{**DONE, field: value}))
    except ProtocolViolation:
        return
    assert isinstance(message, DoneMessage)
    assert 0 <= message.wall_s <= 1e12


@given(st.lists(st.binary(max_size=30).filter(lambda text: b"\n" not in text), max_size=8), st.data())
def test_lines_do_not_depend_on_how_the_stream_is_cut(lines, data):
    stream = b"".join(text + b"\n" for text in lines) + b"rest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    cutter = LineCutter()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [found for piece in pieces for found in cutter.feed(piece)] == lines


def test_a_line_without_end_is_not_collected_for_ever():
    cutter = LineCutter()
    given_out = [found for _ in range(100) for found in cutter.feed(b"x" * 4096)]
    assert len(given_out) >= 1
    with pytest.raises(ProtocolViolation, match="at most 65536"):
        decode(given_out[0])


def test_messages_to_workers_are_single_lines_with_their_type():
    message = RangeMessage("5", "a\nb", "lfn", "/p", "g", 1, 2, 3)
    text = encode(message)
    assert text.count(b"\n") == 1
    assert json.loads(text) == {
        **{"type": "range", "range": "5", "id": "a\nb", "lfn": "lfn", "pfn": "/p", "guid": "g"},
        **{"first": 1, "last": 2, "attempt": 3},
    }
    assert json.loads(encode(CancelMessage(["1", "2"]))) == {"type": "cancel", "ranges": ["1", "2"]}
    assert json.loads(encode(DrainMessage())) == {"type": "drain"}


def fed(data, piece=50_000):
    cutter = LineCutter()
    return [found for begin in range(0, len(data), piece) for found in cutter.feed(data[begin : begin + piece])]


@pytest.mark.parametrize("piece", [4096, 50_000, 40_000_000])
def test_a_reason_of_thirty_megabytes_fails_its_range_and_breaks_nothing(piece):
    text = '{"type":"failed","range":"17","reason":"ValueError: ' + "x" * 30_000_000 + ' the end"}\n'
    (found,) = fed(text.encode() + b'{"type":"released","range":"18"}\n', piece)[:1]
    message = decode(found)
    assert isinstance(message, FailedMessage)
    assert message.range == "17"
    assert message.reason.startswith("ValueError: xxx")
    assert message.reason.endswith("xxx the end")
    assert decode(fed(text.encode() + b'{"type":"released","range":"18"}\n', piece)[-1]) == ReleasedMessage("18")


REASONS = [b"\\ud800 half", b"\xff\xfe not UTF-8", b"\x1b[31m raw escape \x01", b'a \\" and \\q no escape', b"\\ud800" * 9]
UNANSWERABLE = [b'{"type":"failed","reason":"\xff"}', b'{"type":"done","range":"1","reason":"\xff"}', b'"type":"failed"\xff']


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_that_is_no_proper_text_fails_its_range_and_breaks_nothing(reason):
    message = decode(b'{"type": "failed", "range": "5", "reason": "why: ' + reason + b' end"}')
    assert isinstance(message, FailedMessage)
    assert message.range == "5"
    assert message.reason.startswith("why: ")
    assert message.reason.endswith("end")


@pytest.mark.parametrize("bad", UNANSWERABLE)
def test_other_garbage_is_refused_as_ever(bad):
    with pytest.raises(ProtocolViolation):
        decode(bad)


def test_a_failure_of_blanks_is_read_at_once():
    """Its reason is no proper text and ends in what looks like the end of the message, again and again."""
    line = b'{"type": "failed", "range": "r1", "reason": "\xff' + b'" ' * 100_000 + b" " * 1_000_000 + b'x"}'
    told = decode(line)
    assert isinstance(told, FailedMessage)
    assert told.range == "r1"
    assert told.reason.endswith(" x")
