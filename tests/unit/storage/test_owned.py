"""Directories of the dead are removed, all others are left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
        json.dumps({**json.loads(Holder.here("", "").packed()), "pid": 2**22 + 1, "boot_id": "another machine"}),
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
