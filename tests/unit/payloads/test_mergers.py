"""Mergers that know no format: bytes one after the other, and the user's own function."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raythena.domain.errors import InvalidInput, MergeError
from raythena.payloads.mergers.simple import CONTAINERS, merge_concat, merge_python
from raythena.runtime.merger_interface import MergeContext, merger_named

MODULE = """
def join(inputs, output, context):
    output.write_text(context.options.get("glue", "+").join(path.read_text() for path in inputs) + context.guid)
def explode(inputs, output, context): raise ValueError("cannot join these")
def idle(inputs, output, context): pass
number = 3
"""


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_text(path.name)
    return paths


@pytest.fixture
def place(tmp_path):
    (tmp_path / "joiners_of_text.py").write_text(MODULE)
    (tmp_path / "broken_joiner.py").write_text("raise RuntimeError('not today')")
    return str(tmp_path)


def context(**options):
    return MergeContext("OUT.1", "guid", options)


@given(contents=st.lists(st.binary(max_size=40), min_size=1, max_size=6))
def test_concat_is_concatenation(tmp_path_factory, contents):
    assume(not contents[0].startswith(tuple(start for start, _ in CONTAINERS.values())))
    place = tmp_path_factory.mktemp("concat")
    paths = [place / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    merge_concat(paths, place / "out", context())
    assert (place / "out").read_bytes() == b"".join(contents)


def test_concat_names_the_file_it_could_not_copy(files, tmp_path):
    with pytest.raises(MergeError, match=r"OUT\.1: copying .*gone"):
        merge_concat([*files, tmp_path / "gone"], tmp_path / "out", context())


def test_python_function_gets_inputs_in_order_and_its_options(files, tmp_path, place):
    merge_python(files, tmp_path / "out", context(function="joiners_of_text:join", path=[place], options={"glue": "-"}))
    assert (tmp_path / "out").read_text() == "a-bguid"


@pytest.mark.parametrize(("function", "complaint"), [("explode", "cannot join these"), ("idle", "wrote no file")])
def test_python_function_that_fails_is_a_merge_error(files, tmp_path, place, function, complaint):
    with pytest.raises(MergeError, match=complaint):
        merge_python(files, tmp_path / "out", context(function=f"joiners_of_text:{function}", path=[place]))


@pytest.mark.parametrize(
    ("options", "field", "problem"),
    [
        ({}, "function", "missing"),
        ({"function": "nocolon"}, "function", "not a function's name"),
        ({"function": 3}, "function", "not a function's name"),
        ({"function": "no.such.module:f"}, "function", "cannot be loaded"),
        ({"function": "broken_joiner:f"}, "function", "not today"),
        ({"function": "joiners_of_text:nothing"}, "function", "cannot be loaded"),
        ({"function": "joiners_of_text:number"}, "function", "is not a function"),
        ({"function": "joiners_of_text:join", "options": [1]}, "options", "not a mapping"),
        ({"function": "joiners_of_text:join", "functoin": "x"}, "functoin", "Did you mean function?"),
    ],
)
def test_python_options_that_cannot_work(files, place, options, field, problem):
    with pytest.raises(InvalidInput) as refusal:
        merge_python(files, files[0].with_name("out"), context(**({"path": [place]} | options)))
    assert refusal.value.field == f"merge.options.{field}"
    assert problem in str(refusal.value)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"root\0\0", "ROOT"),
        (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
        (b"PAR1", "Parquet"),
        (b"ARROW1\0\0", "Arrow"),
        (b"PK\3\4", "ZIP"),
        (b"SQLite format 3\0", "SQLite"),
    ],
)
def test_files_that_would_show_one_event_only_are_never_concatenated(tmp_path, start, kind):
    sample = tmp_path / "1"
    sample.write_bytes(start + bytes(100))
    context = MergeContext("OUT", "GUID", {})
    said = f"OUT: {kind} files one behind the other are no {kind} file"
    with pytest.raises(MergeError, match=said):
        merge_concat.check_sample(sample, context)
    with pytest.raises(MergeError, match=said):
        merge_concat([sample] * 2, tmp_path / "x", context)
    sample.write_bytes(b"\x1f\x8b gzip, text and much else can be put together")
    merge_concat.check_sample(sample, context)


def test_mergers_are_registered():
    assert merger_named("concat") is merge_concat
    assert merger_named("python") is merge_python
