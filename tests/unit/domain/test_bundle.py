"""Bundles: the outputs of an event's streams as one, whole or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.client import bundled as bundled_by_programs
from raythena.domain.bundle import MAX_HEADER_BYTES, BadBundle, bundled, sections

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", fullmatch=True)
CONTENTS = st.dictionaries(NAMES, st.binary(min_size=1, max_size=60), min_size=2, max_size=5)
BOTH = ("HITS", "LOG")


def parts(bundle, streams):
    found = sections(bundle[:MAX_HEADER_BYTES], len(bundle), streams)
    return {name: bundle[section.offset :][: section.size_bytes] for name, section in found.items()}


@given(CONTENTS)
def test_what_goes_in_comes_out_whoever_bundled_it(contents):
    assert parts(bundled(contents), contents) == contents
    assert bundled_by_programs(contents) == bundled(contents)


@given(CONTENTS, st.data())
def test_a_bundle_that_is_cut_off_or_goes_on_is_none(contents, data):
    whole = bundled(contents)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for damaged in (whole[:cut], whole + b"x"):
        with pytest.raises(BadBundle):
            parts(damaged, contents)


@given(CONTENTS, st.data())
def test_without_one_of_its_streams_an_event_has_none(contents, data):
    lost = data.draw(st.sampled_from(sorted(contents)))
    partial = bundled({name: content for name, content in contents.items() if name != lost})
    with pytest.raises(BadBundle, match=f"lacks the stream {lost}$"):
        parts(partial, contents)
    with pytest.raises(BadBundle, match=f"has, unexpected, the stream {lost}$"):
        parts(bundled(contents), contents.keys() - {lost})


@pytest.mark.parametrize(
    ("bundle", "told"),
    [
        (b"", "its first line does not end"),
        (b"x" * 20000 + b"\n", "its first line does not end"),
        (b"hits\nhits", "it begins with b'hits'"),
        (b"[1]\n1", "it begins with"),
        (b'{"streams":7}\n', "it begins with"),
        (b'{"streams":[["HITS"]]}\n', "it begins with"),
        (b'{"streams":[["HITS",true],["LOG",1]]}\nxx', "lists 'HITS' with True bytes"),
        (b'{"streams":[["HITS",-1],["LOG",1]]}\nxx', "lists 'HITS' with -1 bytes"),
        (b'{"streams":[["HITS",1.0],["LOG",1]]}\nxx', "lists 'HITS' with 1.0 bytes"),
        (b'{"streams":[[3,1],["LOG",1]]}\nxx', "lists 3 with 1 bytes"),
        (b'{"streams":[["HITS",0],["LOG",1]]}\nx', "nothing in its stream HITS"),
        (b'{"streams":[["HITS",1],["HITS",1]]}\nxx', "the stream HITS twice"),
        (b'{"streams":[["HITS",1],["LOG",5]]}\nxx', "where its streams take"),
        (b'{"streams":[]}\n', "lacks the streams HITS, LOG"),
        (b"[" * 5000 + b"\n", "it begins with"),
    ],
)
def test_what_is_no_bundle_says_why(bundle, told):
    with pytest.raises(BadBundle) as problem:
        parts(bundle, BOTH)
    assert told in str(problem.value)
