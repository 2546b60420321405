"""A file is there, whole, or it is as it was."""

from __future__ import annotations

import errno
import json
import os
import resource
import zlib
from pathlib import Path

import pytest

from raythena.domain.errors import StorageError
from raythena.storage.atomic import (
    adler32_of,
    durable_rename,
    free_bytes,
    is_disk_trouble,
    make_directory,
    overwrite_in_place,
    refusal,
    replacing,
    sync_file,
    write_atomically,
)


def test_bytes_and_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    write_atomically(path, "µ")
    assert path.read_text(encoding="utf-8") == "µ"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with replacing(path) as stream:
        stream.write(b"ne")
        stream.flush()
        assert path.read_text() == "old"
        stream.write(b"w")
    assert path.read_text() == "new"


def test_failure_inside_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(TypeError), replacing(path) as stream:
        stream.write("not bytes")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk."""
    path = tmp_path / "file"
    write_atomically(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=f"cannot write {path}: File too large"):
            write_atomically(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "doing",
    [
        lambda path: write_atomically(path / "file", "x"),
        lambda path: durable_rename(path / "file", path / "other"),
        lambda path: sync_file(path / "file"),
        lambda path: adler32_of(path / "file"),
        free_bytes,
    ],
)
def test_what_the_disk_refuses_is_a_storage_error_that_names_the_file(tmp_path: Path, doing) -> None:
    with pytest.raises(StorageError, match=r"nowhere.*No such file"):
        doing(tmp_path / "nowhere")


def test_rename_within_and_across_directories(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("x")
    durable_rename(tmp_path / "file", tmp_path / "renamed")
    durable_rename(tmp_path / "renamed", tmp_path / "a" / "b" / "moved")
    assert (tmp_path / "a" / "b" / "moved").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot create the directory"):
        make_directory(tmp_path / "file" / "below")


def test_adler32_of_more_than_a_chunk(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    assert adler32_of(tmp_path / "file") == zlib.adler32(content)


def test_free_bytes(tmp_path: Path) -> None:
    assert 0 < free_bytes(tmp_path) < 1 << 60


def test_a_disk_with_room_does_not_refuse(tmp_path: Path) -> None:
    assert refusal(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_too_little_room_refuses(tmp_path: Path) -> None:
    assert "no space left" in refusal(tmp_path, 1 << 62)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_no_matter_of_patience(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        refusal(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("number", "passes"), [(errno.ENOSPC, True), (errno.EIO, True), (errno.EROFS, True), (errno.ENOENT, False)]
)
def test_a_disks_trouble_is_found_behind_other_errors(number: int, passes: bool) -> None:
    def fail() -> None:
        try:
            raise OSError(number, os.strerror(number))
        except OSError as problem:
            raise ValueError("a library says it in its own words") from problem

    with pytest.raises(ValueError, match="own words") as told:
        fail()
    assert is_disk_trouble(told.value) is passes


def test_news_in_place_is_padded_and_takes_no_new_block(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text(json.dumps({"long": "x" * 100}))
    overwrite_in_place(path, b'{"short": 1}')
    assert json.loads(path.read_bytes()) == {"short": 1}
    with pytest.raises(StorageError, match="No space left"):
        overwrite_in_place(path, bytes(1 << 20))
    assert json.loads(path.read_bytes()) == {"short": 1}
