"""Directories on a node's own disk: private, where they were asked for, gone in the end."""

import stat
from pathlib import Path

import pytest

from raythena.launch.private import private_directory, temporary_directory
from raythena.runtime.process_guard import ProcessGuard


@pytest.fixture
def guard():
    return ProcessGuard()


def test_nobody_else_can_look_into_it(guard, tmp_path):
    with private_directory(guard, tmp_path) as directory:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert directory.parent == tmp_path
        (directory / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_two_of_one_job_on_one_node_are_two(guard, tmp_path):
    with private_directory(guard, tmp_path) as one, private_directory(guard, tmp_path) as other:
        assert one != other


@pytest.mark.parametrize(
    "asked",
    [("s", "v", "s"), ("", "v", "v"), ("missing", "v", "v"), ("", "", ""), ("missing", "missing", "")],
)
def test_temporary_files_go_where_they_were_asked_for(guard, tmp_path, monkeypatch, asked):
    scratch, variable, base = asked
    for name in ("s", "v", "own"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / variable) if variable else "")
    with temporary_directory(guard, tmp_path / "own", str(tmp_path / scratch) if scratch else "") as place:
        assert place.parent == tmp_path / (base or "own")
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    if base:
        assert list((tmp_path / base).iterdir()) == []


def test_paths_of_sockets_stay_short(guard):
    with private_directory(guard) as directory:
        assert directory.parent == Path("/tmp")
        assert len(str(directory / "r/session_2026-11-28_09-00-00_000000_1234567/sockets/plasma_store")) < 107
