"""Outputs left as single files: whole and durable, or not there; one bad output costs itself."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from raythena.domain.errors import StorageError
from raythena.storage.groups import Member, remove_group
from raythena.storage.single_files import write_files


def spool(directory: Path, content: bytes = b"0123456789") -> Path:
    path = directory / "spool"
    path.write_bytes(content)
    return path


def test_each_output_is_a_file_with_its_own_checksum(tmp_path):
    source = spool(tmp_path)
    target = tmp_path / "out" / "s" / "n.1" / "000001"
    written = write_files(target, [Member(7, source, 2, 3, "HITS.a"), Member(9, source, 5, None, "HITS.b")])
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"HITS.a": b"234", "HITS.b": b"56789"}
    assert (written.indices.tolist(), written.sizes.tolist()) == ([7, 9], [3, 5])
    assert written.adlers.tolist() == [zlib.adler32(b"234"), zlib.adler32(b"56789")]
    assert (written.size_bytes, written.bad) == (8, {})
    assert sorted(path.name for path in target.parent.iterdir()) == ["000001"]


def test_a_bad_output_costs_nobody_else(tmp_path):
    source = spool(tmp_path)
    target = tmp_path / "group"
    members = [Member(1, tmp_path / "gone", name="a"), Member(2, source, 0, 99, "b"), Member(3, source, name="c")]
    written = write_files(target, members)
    assert written.indices.tolist() == [3]
    assert set(written.bad) == {1, 2}
    assert [path.name for path in target.iterdir()] == ["c"]


def test_without_a_good_output_there_is_nothing(tmp_path):
    written = write_files(tmp_path / "group", [Member(1, tmp_path / "gone", name="a")])
    assert (len(written.indices), set(written.bad)) == (0, {1})
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_leaves_nothing(tmp_path):
    source = spool(tmp_path)
    target = tmp_path / "out" / "group"
    with pytest.raises(StorageError, match="group"):
        write_files(target, [Member(1, source, name="a"), Member(2, source, name="a")])
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("single", [True, False])
def test_a_group_is_removed_whatever_it_is(tmp_path, single):
    target = tmp_path / "group"
    if single:
        write_files(target, [Member(1, spool(tmp_path), name="a")])
    else:
        target.write_bytes(b"archive")
    remove_group(target)
    remove_group(target)
    assert not target.exists()
