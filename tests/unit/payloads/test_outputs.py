"""A worker's word about its outputs is checked before anybody relies on it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.payloads.workers.output_inspection import REMEMBERED_NAMES, BadOutput, OutputInspector
from raythena.payloads.workers.protocol import DoneMessage


@pytest.fixture
def scratch(tmp_path):
    place = tmp_path / "w0"
    place.mkdir()
    return place


@pytest.fixture
def inspector(scratch):
    return OutputInspector(scratch)


def told(output, offset=None, size=None):
    return DoneMessage("1", str(output), 0.0, 0.0, 0.0, offset, size)


def write(path, text="content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_in_the_scratch_directory_is_taken(inspector, scratch):
    output = inspector.inspect(told(write(scratch / "a")))
    assert (output.path, output.size_bytes, output.offset, output.spool) == (scratch / "a", 7, 0, None)


def test_relative_names_are_relative_to_the_scratch_directory(inspector, scratch):
    write(scratch / "deep" / "er" / "a")
    assert inspector.inspect(told("deep/er/a")).path == scratch / "deep/er/a"


def test_a_link_inside_is_followed(inspector, scratch):
    write(scratch / "real")
    (scratch / "link").symlink_to("real")
    assert inspector.inspect(told(scratch / "link")).path == scratch / "real"


def test_a_scratch_directory_reached_through_a_link_is_no_obstacle(tmp_path, scratch):
    (tmp_path / "short").symlink_to(scratch)
    write(scratch / "a")
    inspector = OutputInspector(tmp_path / "short")
    assert inspector.inspect(told(tmp_path / "short" / "a")).size_bytes == 7


def outside(scratch):
    return write(scratch.parent / "elsewhere")


def link_outside(scratch):
    (scratch / "link").symlink_to(outside(scratch))
    return scratch / "link"


def linked_directory(scratch):
    write(scratch.parent / "other" / "a")
    (scratch / "sub").symlink_to(scratch.parent / "other")
    return scratch / "sub" / "a"


def fifo(scratch):
    os.mkfifo(scratch / "fifo")
    return scratch / "fifo"


def circle(scratch):
    (scratch / "x").symlink_to("x")
    return scratch / "x"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (outside, "outside"),
        (link_outside, "outside"),
        (linked_directory, "outside"),
        (lambda scratch: f"{write(scratch / 'sub' / 'a').parent}/../../elsewhere-{outside(scratch).name}", "No such file"),
        (lambda scratch: f"../{outside(scratch).name}", "outside"),
        (lambda scratch: scratch / "missing", "No such file"),
        (lambda scratch: write(scratch / "empty", ""), "empty"),
        (lambda scratch: scratch, "outside"),
        (lambda scratch: ".", "not a regular file"),
        (lambda scratch: "", "not a regular file"),
        (lambda scratch: "..", "outside"),
        (lambda scratch: write(scratch / "sub" / "a").parent, "not a regular file"),
        (fifo, "not a regular file"),
        (circle, "symbolic links"),
        (lambda scratch: "a\0b", "null"),
        (lambda scratch: "x" * 5000, "too long"),
        (lambda scratch: "\ud800", "surrogates"),
        (lambda scratch: "/dev/zero", "outside"),
        (lambda scratch: "/proc/self/mem", "outside"),
    ],
)
def test_what_cannot_be_an_output_is_refused(inspector, scratch, make, complaint):
    with pytest.raises(BadOutput, match=complaint):
        inspector.inspect(told(make(scratch)))


@given(name=st.text(max_size=20), offset=st.none() | st.integers(0, 9), size=st.none() | st.integers(0, 9))
def test_no_name_raises_anything_else(tmp_path_factory, name, offset, size):
    place = tmp_path_factory.mktemp("any")
    with pytest.raises(BadOutput):
        OutputInspector(place).inspect(told(name, offset, size))


def test_a_name_used_again_is_refused_under_any_spelling(inspector, scratch):
    write(scratch / "a")
    inspector.inspect(told("a"))
    for spelling in ("a", "./a", str(scratch / "a"), "sub/../a"):
        with pytest.raises(BadOutput, match="name of its own"):
            inspector.inspect(told(spelling))


def test_the_memory_for_names_is_bounded(inspector, scratch):
    for number in range(REMEMBERED_NAMES + 50):
        inspector.inspect(told(write(scratch / str(number))))
    assert len(inspector._names) == len(inspector._order) == REMEMBERED_NAMES


def test_stretches_of_a_spool(inspector, scratch):
    spool = write(scratch / "spool", "aaabbbb")
    first, second = inspector.inspect(told(spool, 0, 3)), inspector.inspect(told(spool, 3, 4))
    assert (first.offset, first.size_bytes, second.offset, second.size_bytes) == (0, 3, 3, 4)
    assert first.spool is second.spool


def test_a_spool_may_grow(inspector, scratch):
    spool = write(scratch / "spool", "aaa")
    inspector.inspect(told(spool, 0, 3))
    write(spool, "aaabbb")
    assert inspector.inspect(told(spool, 3, 3)).offset == 3


@pytest.mark.parametrize(
    ("offset", "size", "complaint"),
    [
        (2, 2, "overlaps"),
        (0, 3, "overlaps"),
        (5, 3, "ends at 7"),
        (3, 0, "0 bytes"),
        (3, None, "together"),
        (None, 3, "together"),
    ],
)
def test_stretches_that_cannot_be(inspector, scratch, offset, size, complaint):
    spool = write(scratch / "spool", "aaabbbb")
    inspector.inspect(told(spool, 0, 3))
    with pytest.raises(BadOutput, match=complaint):
        inspector.inspect(told(spool, offset, size))


def test_a_new_spool_closes_the_one_before(inspector, scratch):
    first, second = write(scratch / "one", "aaaa"), write(scratch / "two", "bbbb")
    inspector.inspect(told(first, 0, 2))
    assert inspector.retired == []
    inspector.inspect(told(second, 0, 2))
    assert [spool.path for spool in inspector.retired] == [first]
    with pytest.raises(BadOutput, match="another spool"):
        inspector.inspect(told(first, 2, 2))


def test_a_file_and_a_spool_are_different_things(inspector, scratch):
    write(scratch / "a"), write(scratch / "b")
    inspector.inspect(told("a"))
    with pytest.raises(BadOutput, match="whole file"):
        inspector.inspect(told("a", 0, 2))
    inspector.inspect(told(scratch / "b", 0, 2))
    with pytest.raises(BadOutput, match="earlier event"):
        inspector.inspect(told(scratch / "b"))
