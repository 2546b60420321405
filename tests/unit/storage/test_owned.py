"""Directories of the dead are removed, all others are left alone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from raythena.domain.errors import StorageError
from raythena.storage import owned
from raythena.storage.owned import owned_directory
from raythena.storage.task_lease import Holder


def left_by_a_dead_process(base: Path) -> Path:
    program = """if True:
        import os, pathlib, sys
        from raythena.storage.owned import owned_directory
        made = owned_directory(pathlib.Path(sys.argv[1]), "rt-")
        (made / "ray").mkdir()
        (made / "ray" / "log").write_text("last words")
        print(made, flush=True)
        os._exit(1)
    """
    told = subprocess.run([sys.executable, "-c", program, str(base)], check=False, stdout=subprocess.PIPE, text=True).stdout
    return Path(told.strip())


def test_what_a_dead_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = left_by_a_dead_process(tmp_path)
    assert (left / "ray" / "log").exists()
    mine = owned_directory(tmp_path, "rt-")
    assert list(tmp_path.iterdir()) == [mine]
    assert mine.stat().st_mode & 0o777 == 0o700


def test_directories_of_another_kind_are_left_alone(tmp_path: Path) -> None:
    left = left_by_a_dead_process(tmp_path)
    owned_directory(tmp_path, "other-")
    assert left.exists()


def test_directories_of_the_living_are_left_alone(tmp_path: Path) -> None:
    first, second = owned_directory(tmp_path, "rt-"), owned_directory(tmp_path, "rt-")
    assert sorted(tmp_path.iterdir()) == sorted([first, second])


@pytest.mark.parametrize(
    "owner",
    [
        None,
        "no record",
        json.dumps({**json.loads(Holder.here("", "").packed()), "pid": 2**22 + 1, "boot_id": "another machine", "host": "other"}),
        json.dumps({**json.loads(Holder.here("", "").packed()), "pid": 2**22 + 1, "pid_namespace": "another container"}),
    ],
    ids=["nameless", "garbled", "elsewhere", "contained"],
)
def test_directories_of_whoever_is_not_provably_dead_are_left_alone(tmp_path: Path, owner: str | None) -> None:
    left = tmp_path / "rt-old"
    left.mkdir()
    if owner is not None:
        (left / "owner").write_text(owner)
    owned_directory(tmp_path, "rt-")
    assert left.exists()


@pytest.mark.parametrize(("file_system", "stays"), [("ext4", False), ("tmpfs", False), ("nfs4", True), ("lustre", True)])
def test_what_is_left_from_before_a_boot_is_removed_where_only_this_machine_writes(tmp_path, monkeypatch, file_system, stays):
    """Power was lost, and nobody could remove anything; on a shared disk it may be another machine of the same name."""
    monkeypatch.setattr(owned, "mounted_at", lambda path: (file_system, "rw"))
    left = tmp_path / "rt-old"
    left.mkdir()
    record = {**json.loads(Holder.here("", "").packed()), "boot_id": "the boot before"}
    (left / "owner").write_text(json.dumps(record))
    owned_directory(tmp_path, "rt-")
    assert left.exists() is stays


def test_a_link_to_somewhere_else_is_not_followed(tmp_path: Path) -> None:
    left, base = left_by_a_dead_process(tmp_path), tmp_path / "base"
    base.mkdir()
    (base / "rt-link").symlink_to(left)
    (base / "rt-file").write_text("a file")
    owned_directory(base, "rt-")
    assert (left / "ray" / "log").exists()
    assert len(list(base.iterdir())) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make somebody else's directory")
def test_directories_of_other_users_are_left_alone(tmp_path: Path) -> None:
    left = left_by_a_dead_process(tmp_path)
    os.chown(left, 12345, 12345)
    owned_directory(tmp_path, "rt-")
    assert left.exists()


# ---- a short place for sockets


def refusing(monkeypatch, *places):
    """These places take nothing."""
    made = owned.owned_directory

    def refuse(base, prefix):
        if str(base) in places:
            raise OSError(errno.EROFS, "Read-only file system")
        return made(base, prefix)

    monkeypatch.setattr(owned, "owned_directory", refuse)


@pytest.fixture
def short():
    """A place whose path is short, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="o", dir="/tmp") as directory:
        yield Path(directory)


def test_a_chosen_place_is_taken(short):
    made = owned.short_directory("rt-", str(short))
    assert made.parent == short
    assert made.stat().st_mode & 0o777 == 0o700


def test_where_tmp_refuses_the_users_own_place_is_taken(monkeypatch, short):
    refusing(monkeypatch, "/tmp")
    monkeypatch.setenv("TMPDIR", str(short))
    assert owned.short_directory("rt-").parent == short


def test_a_full_disk_is_noticed_at_once_and_nothing_is_left(monkeypatch, short):
    def full(directory):
        shutil.rmtree(directory)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(owned, "_tried", full)
    with pytest.raises(StorageError, match="No space left on device"):
        owned.short_directory("rt-", str(short))
    assert list(short.iterdir()) == []


def test_when_every_place_refuses_each_is_told_with_its_reason(monkeypatch, tmp_path):
    refusing(monkeypatch, "/tmp", "/dev/shm")
    monkeypatch.setenv("TMPDIR", "/" + "x" * 60)
    with pytest.raises(StorageError) as caught:
        owned.short_directory("rt-")
    for words in ("/tmp: Read-only file system", "/dev/shm: Read-only", "longer than 40 characters", "runtime.ray_dir"):
        assert words in str(caught.value)


@pytest.mark.parametrize("place", ["/does/not/exist", "/etc/passwd"])
def test_a_chosen_place_that_cannot_be_used_is_not_replaced_by_another(place):
    with pytest.raises(StorageError, match=place):
        owned.short_directory("rt-", place)
