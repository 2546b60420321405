"""Notes of results that nobody has acknowledged: what comes back, and what is left out."""

import numpy as np
import pytest

from raythena.domain.ids import OutputNumber
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.storage.unacknowledged import keep_unacknowledged, read_unacknowledged


def report(task, number, node="n2-1"):
    """A group of two events that lies there."""
    path = f"staging/s/{node}/{number:06d}.zip"
    (task / path).parent.mkdir(parents=True, exist_ok=True)
    (task / path).write_bytes(b"x" * 100)
    entries = np.zeros(2, dtype=ENTRY_DTYPE)
    entries["range"] = [2 * number, 2 * number + 1]
    entries["adler32"] = 2**32 - 1
    entries["start"] = 1.7e9
    return GroupReport(f"s/{node}/{number:06d}", node, OutputNumber(3), path, 100, 77, entries)


def same(found, kept):
    assert [one.name for one in found] == [one.name for one in kept]
    for left, right in zip(found, kept, strict=True):
        assert (left.node, left.output, left.path, left.size_bytes, left.adler32) == (
            right.node,
            right.output,
            right.path,
            right.size_bytes,
            right.adler32,
        )
        assert (left.entries == right.entries).all()


def test_everything_comes_back(tmp_path):
    staging = tmp_path / "staging"
    first, second = [report(tmp_path, 1), report(tmp_path, 2)], [report(tmp_path, 1, "n3-1")]
    keep_unacknowledged(staging, "s", "n2-1", first[:1])
    keep_unacknowledged(staging, "s", "n2-1", first)
    keep_unacknowledged(staging, "s", "n3-1", second)
    same(read_unacknowledged(tmp_path, staging), [*first, *second])


def test_without_notes_there_is_nothing(tmp_path):
    report(tmp_path, 1)
    assert read_unacknowledged(tmp_path, tmp_path / "staging") == []
    assert read_unacknowledged(tmp_path, tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", [b"x" * 99, None])
def test_a_group_that_is_not_whole_is_computed_again(tmp_path, content):
    good, bad = report(tmp_path, 1), report(tmp_path, 2)
    keep_unacknowledged(tmp_path / "staging", "s", "n2-1", [good, bad])
    (tmp_path / bad.path).unlink()
    if content is not None:
        (tmp_path / bad.path).write_bytes(content)
    same(read_unacknowledged(tmp_path, tmp_path / "staging"), [good])


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"entries": "AAAA"}]', '[{"entries": "!"}]', "7"])
def test_a_note_that_is_torn_costs_itself_only(tmp_path, text):
    good = report(tmp_path, 1, "n3-1")
    keep_unacknowledged(tmp_path / "staging", "s", "n3-1", [good])
    torn = tmp_path / "staging" / "s" / "n2-1" / "unacknowledged.json"
    torn.parent.mkdir(parents=True)
    torn.write_text(text)
    same(read_unacknowledged(tmp_path, tmp_path / "staging"), [good])
