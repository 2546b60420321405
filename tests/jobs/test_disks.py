"""Disks that are full: nothing is acknowledged or handed out, the job says so, and goes on when there is room again.

The disks are small file systems in memory, mounted for the test: that takes root, and permission to mount.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from job_kit import ToyJob, eventually, make_job
from needed_programs import need
from raythena.domain.errors import ExitCode
from raythena.domain.results import FailureKind
from raythena.storage.ledger_view import LedgerView

EVENTS = {"wall_s": 0.02, "as_file": False}


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own at `place`; gives a file that fills it when written by `fill`."""
    need("mount")
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mount = subprocess.run(command, capture_output=True, text=True, check=False)
    if mount.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mount.stderr.strip()}")
    try:
        yield place / "ballast"
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(path: Path) -> None:
    """Leave no byte on a file system."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 512, 1):
            with contextlib.suppress(OSError):
                while stream.write(bytes(size)) == size:
                    pass


def status_message(toy: ToyJob) -> str:
    """What `raythena status` has to say."""
    try:
        return str(json.loads((toy.task / "status.json").read_text())["message"])
    except ValueError:  # it is being overwritten
        return ""


def kinds(toy: ToyJob) -> set[FailureKind]:
    """Of everything that failed, for good or not."""
    with LedgerView.read(toy.task / "ledger.sqlite") as ledger:
        return {failure.kind for failure in ledger.failures()}


def test_a_task_directory_that_is_full_for_a_while(cluster, tmp_path):
    """Nothing new is handed out or acknowledged, and the nodes stay; then the job goes on."""
    toy = make_job(tmp_path, [200], 100, EVENTS)
    with small_disk(toy.task, "3m") as ballast:
        with cluster.session(toy) as session:
            session.until_finished(20)
            fill(ballast)
            session.until(lambda progress: "disk refuses" in progress.message, "the job says that the disk is full")
            eventually(lambda: "disk refuses" in status_message(toy), "the status file says it, though the disk is full")
            waiting = session.until(lambda progress: not any(node.leased for node in progress.nodes), "everything is given back")
            assert waiting.ready > 0
            assert waiting.finished <= len(toy.committed()), "a result counts that is not in the ledger"
            assert session.find("worker"), "the nodes wait, they do not leave"
            ballast.unlink()
            assert session.end().exit_code is ExitCode.OK
        toy.assert_complete()
        assert kinds(toy) == set()


def test_a_task_directory_that_stays_full(cluster, tmp_path):
    """The job ends with a clear error; later it is resumed, and nothing that was acknowledged is computed again."""
    toy = make_job(tmp_path, [200], 100, EVENTS)
    with small_disk(toy.task, "3m") as ballast:
        with cluster.session(toy, runtime__storage_patience_s=4.0) as session:
            session.until_finished(20)
            fill(ballast)
            result = session.end()
            assert result.exit_code is ExitCode.STORAGE
            assert "refused" in result.reason
            assert "full" in result.reason or "No space left" in result.reason
        ballast.unlink()
        before = toy.committed()
        assert 20 <= len(before) < 200
        assert cluster.run(toy, resume=True).exit_code is ExitCode.OK
        toy.assert_complete()
        after = toy.committed()
        assert all(after[index] == session for index, session in before.items()), "a committed event was computed again"
        assert kinds(toy) <= {FailureKind.SCRATCH_REFUSED, FailureKind.NODE_LOST}


@pytest.mark.parametrize("as_file", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["files", "spool"])
def test_a_scratch_disk_that_is_full_for_a_while(cluster, tmp_path, as_file):
    """The nodes take no work and say so; no event loses an attempt."""
    toy = make_job(tmp_path, [200], 100, {**EVENTS, "as_file": as_file})
    with small_disk(toy.scratch, "6m") as ballast:
        with cluster.session(toy) as session:
            session.until_finished(20)
            fill(ballast)
            full = session.until(lambda progress: all(node.state == "stalled" for node in progress.nodes), "the nodes say so")
            assert any("takes no work" in warning for warning in full.warnings)
            waiting = session.until(lambda progress: progress.leased == 0, "every event that was not finished is given back")
            assert "no node can take work" in waiting.message
            assert waiting.failed == 0
            assert waiting.ready == 200 - waiting.finished
            ballast.unlink()
            assert session.end().exit_code is ExitCode.OK
        assert {path.name for path in toy.scratch.iterdir()} == set()
        toy.assert_complete()
    assert kinds(toy) <= {FailureKind.SCRATCH_REFUSED}


@pytest.mark.slow
def test_scratch_disks_that_stay_full(cluster, tmp_path):
    """Nodes that wait in vain leave; with the last one the job ends, and can be resumed."""
    toy = make_job(tmp_path, [200], 100, EVENTS)
    with small_disk(toy.scratch, "6m") as ballast:
        with cluster.session(toy, runtime__storage_patience_s=2.0) as session:
            session.until_finished(20)
            fill(ballast)
            result = session.end()
        assert result.exit_code is ExitCode.STORAGE
        assert "no node is left" in result.reason
        assert "scratch disk has refused" in result.reason
        assert toy.report()["exitCode"] == ExitCode.STORAGE
        assert kinds(toy) <= {FailureKind.SCRATCH_REFUSED, FailureKind.NODE_LOST}
        ballast.unlink()
        assert cluster.run(toy, resume=True).exit_code is ExitCode.OK
        toy.assert_complete()


def test_no_room_for_merged_outputs(cluster, tmp_path):
    """Merges wait, as often as need be; events are computed meanwhile, and none is computed again."""
    toy = make_job(tmp_path, [120], 60, {**EVENTS, "output_bytes": 4096})
    session = cluster.session(toy)
    with small_disk(toy.task / "outputs", "1m") as ballast:
        fill(ballast)
        with session:
            waiting = session.until(lambda progress: "merging waits" in progress.message, "the job says that merges wait")
            assert waiting.outputs_merged == 0
            session.until_finished(120)
            eventually(lambda: session.log().count("merging waits for the disk") > 5, "more tries than a merge has chances")
            ballast.unlink()
            assert session.end().exit_code is ExitCode.OK
        toy.assert_complete()
    assert kinds(toy) == set()
