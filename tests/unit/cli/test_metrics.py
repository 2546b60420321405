"""`raythena metrics`: printed once, and in a file that is replaced as a whole."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def described(task, job):
    task.job.write_text(json.dumps(job.to_dict()))
    return task


def test_metrics_are_printed_once(run, described, write_status):
    write_status()
    told = run("metrics", described.root)
    assert told.code == 0
    assert "raythena_events 12.0\n" in told.out
    assert told.out.startswith("# HELP raythena_build_info")


def test_the_file_is_there_when_the_job_has_ended_and_nothing_beside_it(run, described, write_status, tmp_path):
    write_status(phase="ended", exit_code=0)
    place = tmp_path / "collector"
    place.mkdir()
    place.joinpath("raythena.prom").write_text("old")
    assert run("metrics", described.root, "--textfile", place / "raythena.prom").code == 0
    assert [path.name for path in place.iterdir()] == ["raythena.prom"]
    assert "raythena_exit_code 0.0\n" in place.joinpath("raythena.prom").read_text()


def test_the_file_is_replaced_until_the_end(run, described, write_status, tmp_path, monkeypatch):
    file, looks = tmp_path / "raythena.prom", []

    def slept(seconds):
        looks.append((seconds, "raythena_exit_code" in file.read_text()))
        write_status(**({"phase": "ended", "exit_code": 4} if len(looks) == 2 else {}))

    monkeypatch.setattr("raythena.cli.metrics_command.time.sleep", slept)
    write_status()
    assert run("metrics", described.root, "--textfile", file, "--every", "3").code == 0
    assert looks == [(3.0, False), (3.0, False)]
    assert "raythena_exit_code 4.0\n" in file.read_text()


def test_a_place_that_cannot_be_written_is_said(run, described, write_status, tmp_path):
    write_status()
    told = run("metrics", described.root, "--textfile", tmp_path / "nowhere" / "raythena.prom")
    assert told.code == 7
    assert "nowhere" in told.err


def test_one_way_at_a_time(run, described, tmp_path):
    told = run("metrics", described.root, "--textfile", tmp_path / "a.prom", "--serve", tmp_path / "token")
    assert told.code == 3
    assert not (tmp_path / "token").exists()
