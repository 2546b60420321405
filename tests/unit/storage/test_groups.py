"""A group gives back what was put in, is a ZIP archive to everybody else, and loses only what is really bad."""

from __future__ import annotations

import random
import subprocess
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from needed_programs import missing_programs, need
from raythena.domain.errors import StorageError
from raythena.domain.results import ENTRY_DTYPE, member_name
from raythena.storage import groups
from raythena.storage.groups import Member, WrittenGroup, read_members, write_group


def entries_of(written: WrittenGroup) -> np.ndarray:
    entries = np.zeros(len(written.indices), dtype=ENTRY_DTYPE)
    entries["range"], entries["size"], entries["adler32"] = written.indices, written.sizes, written.adlers
    return entries


def spooled(directory: Path, contents: list[bytes], first: int = 0) -> list[Member]:
    """Outputs one behind the other in a spool."""
    spool = directory / "spool"
    spool.write_bytes(b"".join(contents))
    offsets = np.cumsum([0, *map(len, contents)]).tolist()
    return [Member(first + index, spool, offsets[index], len(content)) for index, content in enumerate(contents)]


def read_back(path: Path, written: WrittenGroup) -> tuple[dict[int, bytes], dict[int, str]]:
    bad: dict[int, str] = {}
    return dict(read_members(path, entries_of(written), bad)), bad


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(contents=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20), first=st.integers(0, 2**32 - 100))
def test_what_goes_in_comes_out(tmp_path: Path, contents: list[bytes], first: int) -> None:
    path = tmp_path / "group.zip"
    written = write_group(path, spooled(tmp_path, contents, first))
    assert (written.size_bytes, written.adler32) == (path.stat().st_size, zlib.adler32(path.read_bytes()))
    assert written.adlers.tolist() == [zlib.adler32(content) for content in contents]
    assert read_back(path, written) == ({first + index: content for index, content in enumerate(contents)}, {})
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert [archive.read(member_name(first + index)) for index in range(len(contents))] == contents


def test_whole_files_large_and_small(tmp_path: Path) -> None:
    large = random.Random(1).randbytes(3 * groups.CHUNK_BYTES + 17)
    (tmp_path / "large").write_bytes(large)
    (tmp_path / "small").write_bytes(b"small")
    path = tmp_path / "staging" / "session" / "node" / "000001.zip"
    written = write_group(
        path, [Member(5, tmp_path / "large"), Member(3, tmp_path / "small"), Member(4, tmp_path / "large", 3, 10)]
    )
    assert read_back(path, written)[0] == {5: large, 3: b"small", 4: large[3:13]}
    assert written.indices.tolist() == [5, 3, 4]


def test_unzip_accepts_it(tmp_path: Path) -> None:
    need("unzip")
    path = tmp_path / "group.zip"
    write_group(path, spooled(tmp_path, [b"one", b"two" * 1000]))
    subprocess.run(["unzip", "-tq", path], check=True, capture_output=True)
    subprocess.run(["unzip", "-q", path, "-d", tmp_path / "out"], check=True, capture_output=True)
    assert (tmp_path / "out" / member_name(1)).read_bytes() == b"two" * 1000


@pytest.mark.parametrize("limit", ["_LIMIT_BYTES", "_LIMIT_COUNT"])
def test_archives_beyond_the_limits_of_old_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """The 64-bit forms, provoked by lowering the limits at which they begin."""
    monkeypatch.setattr(groups, limit, 50)
    path = tmp_path / "group.zip"
    contents = [bytes([index]) * index for index in range(1, 120)]
    written = write_group(path, spooled(tmp_path, contents))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert [archive.read(member_name(index)) for index in range(len(contents))] == contents
    assert read_back(path, written) == (dict(enumerate(contents)), {})
    if not missing_programs(["unzip"]):
        subprocess.run(["unzip", "-tq", path], check=True, capture_output=True)
    damaged = path.read_bytes()[:-30]
    path.write_bytes(damaged)
    assert read_back(path, written) == (dict(enumerate(contents)), {})


def test_more_members_than_old_zip_can_count(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_bytes(b"x" * 70_000)
    path = tmp_path / "group.zip"
    written = write_group(path, [Member(index, spool, index, 1) for index in range(70_000)])
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 70_000
    assert len(read_back(path, written)[0]) == 70_000


def test_the_same_outputs_give_the_same_bytes(tmp_path: Path) -> None:
    members = spooled(tmp_path, [b"one", b"two"])
    written = [write_group(tmp_path / name, members) for name in ("a.zip", "b.zip")]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert written[0].adler32 == written[1].adler32


def test_bad_outputs_cost_only_themselves(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "empty").touch()
    path = tmp_path / "group.zip"
    members = [
        Member(1, tmp_path / "missing"),
        Member(2, tmp_path / "good"),
        Member(3, tmp_path / "empty"),
        Member(4, tmp_path / "good", 0, 5),
        Member(5, tmp_path / "good", 9, 1),
        Member(6, tmp_path),
        Member(7, tmp_path / "good", 1),
    ]
    written = write_group(path, members)
    assert sorted(written.bad) == [1, 3, 4, 5, 6]
    assert "missing" in written.bad[1]
    assert "empty" in written.bad[3]
    assert "ends after 4 of 5 bytes" in written.bad[4]
    assert read_back(path, written)[0] == {2: b"good", 7: b"ood"}


def test_no_good_output_no_group(tmp_path: Path) -> None:
    path = tmp_path / "new" / "group.zip"
    written = write_group(path, [Member(1, tmp_path / "missing")])
    assert (list(written.bad), len(written.indices), written.size_bytes) == ([1], 0, 0)
    assert list(path.parent.iterdir()) == []


def test_a_refusing_disk_leaves_nothing(tmp_path: Path) -> None:
    members = spooled(tmp_path, [b"one"])
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        write_group(tmp_path / "file" / "group.zip", members)
    (tmp_path / "taken.zip").mkdir()
    (tmp_path / "taken.zip" / "inside").touch()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=r"taken\.zip"):
        write_group(tmp_path / "taken.zip", members)
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def group(tmp_path: Path) -> tuple[Path, WrittenGroup, list[bytes]]:
    contents = [bytes([65 + index]) * 50 for index in range(20)]
    path = tmp_path / "group.zip"
    return path, write_group(path, spooled(tmp_path, contents)), contents


def test_only_what_is_asked_for_is_read(group: tuple[Path, WrittenGroup, list[bytes]]) -> None:
    path, written, contents = group
    bad: dict[int, str] = {}
    assert list(read_members(path, entries_of(written)[[7, 2]], bad)) == [(7, contents[7]), (2, contents[2])]
    assert bad == {}


def test_what_was_promised_is_checked(group: tuple[Path, WrittenGroup, list[bytes]]) -> None:
    path, written, contents = group
    entries = entries_of(written)
    entries["size"][3] += 1
    entries["adler32"][5] ^= 1
    entries["range"][7] = 99
    bad: dict[int, str] = {}
    read = dict(read_members(path, entries, bad))
    assert sorted(bad) == [3, 5, 99]
    assert "50 bytes instead of 51" in bad[3]
    assert "checksum" in bad[5]
    assert read == {index: contents[index] for index in range(20) if index not in (3, 5, 7)}


def test_a_missing_group_loses_all_and_raises_nothing(group: tuple[Path, WrittenGroup, list[bytes]]) -> None:
    path, written, _ = group
    path.unlink()
    read, bad = read_back(path, written)
    assert read == {}
    assert sorted(bad) == list(range(20))


def test_a_truncated_group_keeps_what_lies_before_the_cut(group: tuple[Path, WrittenGroup, list[bytes]]) -> None:
    path, written, contents = group
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        read, bad = read_back(path, written)
        complete = min(20, length // 90)
        assert read == {index: contents[index] for index in range(complete)}
        assert sorted(bad) == list(range(complete, 20))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0, 10_000), value=st.integers(1, 255))
def test_a_damaged_byte_never_gives_altered_content(
    group: tuple[Path, WrittenGroup, list[bytes]], position: int, value: int
) -> None:
    path, written, contents = group
    whole = bytearray(path.read_bytes())
    damaged = bytearray(whole)
    damaged[position % len(whole)] ^= value
    path.write_bytes(damaged)
    try:
        read, bad = read_back(path, written)
    finally:
        path.write_bytes(whole)
    assert all(contents[index] == content for index, content in read.items())
    assert sorted([*read, *bad]) == list(range(20))
    if position % len(whole) < 20 * 90:
        assert len(bad) <= 1, "damage to one member costs that member"
