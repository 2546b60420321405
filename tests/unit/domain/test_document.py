from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.document import MAX_DEPTH, FieldPath, nearest, read_json, read_yaml, shown
from raythena.domain.errors import InvalidInput

trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text("abc xyzé", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=15,
)


@given(trees)
def test_json_is_read_as_json(tree):
    assert read_json(json.dumps(tree), "x") == tree


@given(trees)
def test_yaml_is_read_as_yaml(tree):
    # the dumper writes anchors for objects that occur twice, hence the copy
    text = yaml.safe_dump(json.loads(json.dumps(tree)))
    assert read_yaml(text, "x") == tree


@given(trees)
def test_plain_values_stay_what_they_are(tree):
    assert FieldPath("x", "", tree).plain() == tree


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_garbage_is_read_or_refused_never_more(text):
    for read in (read_yaml, read_json):
        try:
            read(text, "x")
        except InvalidInput as refusal:
            assert refusal.source == "x"


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("a: [" * (MAX_DEPTH + 1), "line 1", "nested too deeply"),
        ("a: " + "[" * 100_000, "line 1", "nested too deeply"),
        ("a: &x [1]\nb: *x", "line 1", "anchor"),
        ("b: 1\nb: 2", "line 2", "'b' is given twice"),
        ("x:\n  b: 1\n  c: 3\n  b: 2", "line 4", "'b' is given twice"),
        ("[1]: 2", "line 1", "as a key"),
        ("a: 1\n---\nb: 1", "line 2", "single document"),
        ("a: !!python/object/apply:os.system [x]", "line 1", "tag"),
        ("a:\n\t- b", "line 2", "not valid YAML"),
        ("a: 2024-13-45", "", "month"),
        ("a: " + "9" * 5000, "", "cannot be read"),
        ("a: \x01", "", "control characters"),
        ("a: 'b", "line 1", "not valid YAML"),
    ],
)
def test_bad_yaml_is_refused_where_it_is_bad(text, field, problem):
    with pytest.raises(InvalidInput) as refusal:
        read_yaml(text, "job.yaml")
    assert refusal.value.source == "job.yaml"
    assert refusal.value.field == field
    assert problem in refusal.value.problem


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("", "", "is empty"),
        (" \n", "", "is empty"),
        ("{", "line 1", "ends in the middle"),
        ('{"a": [1, 2', "line 1", "ends in the middle"),
        ('{"a": "tor', "line 1", "ends in the middle"),
        ('{"a": 1,', "line 1", "ends in the middle"),
        ('{"a": 1}}', "line 1", "Extra data"),
        ("{'a': 1}", "line 1", "not valid JSON"),
        ('{"a": {"b": 1, "b": 2}}', "b", "given twice"),
        ('{"a": NaN}', "", "NaN"),
        ('{"a": -Infinity}', "", "Infinity"),
        ("[" * 100_000, "", "nested too deeply"),
        ("9" * 5000, "", "number"),
    ],
)
def test_bad_json_is_refused_where_it_is_bad(text, field, problem):
    with pytest.raises(InvalidInput) as refusal:
        read_json(text, "x.json")
    assert problem in refusal.value.problem
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"a": float("nan")}, "a"),
        ({"a": [1, {"b": object()}]}, "a[1].b"),
        ({"a": {1: 2}}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"a": b"bytes"}, "a"),
        ({"a": {1, 2}}, "a"),
    ],
)
def test_what_json_cannot_carry_is_refused_where_it_stands(value, field):
    with pytest.raises(InvalidInput) as refusal:
        FieldPath("x", "", value).plain()
    assert refusal.value.field == field


def test_a_tree_that_contains_itself_is_refused():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidInput, match="nested too deeply"):
        FieldPath("x", "", loop).plain()


def test_a_suggestion_is_made_only_when_something_is_close():
    assert nearest("inputz", ["inputs", "outputs"]) == "Did you mean 'inputs'?"
    assert nearest("zebra", ["inputs", "outputs"]) == ""


def test_values_in_messages_are_short_and_on_one_line():
    assert len(shown("x" * 1000)) == 80
    assert "\n" not in shown("a\nb")
    assert (shown(None), shown(True)) == ("null", "true")


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 11])
def test_a_count_is_a_whole_number_in_bounds(value):
    with pytest.raises(InvalidInput, match="at least 1 and at most 10"):
        FieldPath("x", "n", value).count(maximum=10)


MISREAD = {
    "010": "8",
    "-010": "-8",
    "00": "0",
    "1:30": "90",
    "1:30.5": "90.5",
    "0x1f": "31",
    "0b11": "3",
    "1_000": "1000",
    "1_0.5": "10.5",
    "!!int '010'": "8",
}
PLAIN = ["0", "10", "-3", "+4", "0.5", "1.", "2.5e+3", ".5", "1.5E-3", "'010'", "1:30:x", "v010", "0o10", "12e3"]


@pytest.mark.parametrize(("text", "read"), MISREAD.items())
def test_a_number_that_yaml_reads_as_another_one_is_refused(text, read):
    for document in (f"events: {text}\n", f"list:\n- a\n- {text}\n", text):
        with pytest.raises(InvalidInput, match="not written as a plain decimal") as caught:
            read_yaml(document, "job.yaml")
        assert f"YAML reads it as {read}" in str(caught.value)
        assert caught.value.field == f"line {document.rstrip().count(chr(10)) + 1}"


@pytest.mark.parametrize("text", PLAIN)
def test_plain_numbers_and_text_are_taken(text):
    read_yaml(f"value: {text}\n", "job.yaml")


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_every_number_that_yaml_writes_it_reads(number):
    assert read_yaml(yaml.safe_dump({"value": number}), "job.yaml") == {"value": number}
