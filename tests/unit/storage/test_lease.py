"""At most one coordinator holds a task; the dead are succeeded, the living are not."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from raythena.domain.errors import InternalError, LedgerBusy, StorageError
from raythena.storage.task_lease import Holder, TaskLease


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.lease"


def pretend(path: Path, *, silent_s: float = 0.0, **changes: object) -> None:
    """Make the lease name another holder, silent for a while."""
    at = time.time() - silent_s
    holder = {**json.loads(Holder.here("their-session", "77").packed()), "heartbeat": at, "since": at - 100, **changes}
    path.write_text(json.dumps(holder))
    os.utime(path, (at, at))


ELSEWHERE = {"host": "nid00042", "boot_id": "another machine", "pid": 123}


def test_acquire_beat_release_acquire(path: Path) -> None:
    for session in ("a", "b"):
        lease = TaskLease(path)
        lease.acquire(session, batch_job="9")
        lease.heartbeat()
        holder = lease.holder()
        assert holder is not None
        assert (holder.pid, holder.session, holder.batch_job) == (os.getpid(), session, "9")
        lease.release()
        lease.release()
        assert list(path.parent.iterdir()) == []


def test_a_living_holder_on_this_machine_is_respected_however_silent(path: Path) -> None:
    pretend(path, silent_s=10_000)
    with pytest.raises(LedgerBusy) as refusal:
        TaskLease(path).acquire("mine")
    text = str(refusal.value)
    for part in (f"process {os.getpid()}", "batch job 77", "session their-session", "since 2", f"kill {os.getpid()}"):
        assert part in text
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_whether_a_task_is_free_can_be_asked_without_taking_it(path: Path) -> None:
    lease = TaskLease(path)
    lease.check_free()
    pretend(path, silent_s=10_000)
    before = path.read_bytes()
    with pytest.raises(LedgerBusy, match="is being worked on by process"):
        lease.check_free()
    assert path.read_bytes() == before
    pretend(path, process_started="1")
    lease.check_free()
    pretend(path, silent_s=100, **ELSEWHERE)
    lease.check_free()
    pretend(path, silent_s=5, **ELSEWHERE)
    with pytest.raises(LedgerBusy, match="try again in 5"):
        lease.check_free()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_dead_process_is_succeeded_at_once(path: Path) -> None:
    program = """if True:
        import os, pathlib, sys
        from raythena.storage.task_lease import TaskLease
        TaskLease(pathlib.Path(sys.argv[1])).acquire("old")
        os._exit(1)
    """
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert path.exists()
    lease = TaskLease(path)
    lease.acquire("mine")
    lease.heartbeat()


def test_a_process_id_used_again_is_not_its_former_owner(path: Path) -> None:
    pretend(path, process_started="1")
    TaskLease(path).acquire("mine")


def test_a_zombie_is_dead(path: Path) -> None:
    child = subprocess.Popen(["true"])
    while "Z" not in Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2][:3]:
        time.sleep(0.01)
    pretend(path, pid=child.pid, process_started="1")
    TaskLease(path).acquire("mine")
    child.wait()


@pytest.mark.parametrize(("silent_s", "busy"), [(0.0, True), (50.0, True), (70.0, False)])
def test_a_holder_elsewhere_lives_as_long_as_it_is_heard(path: Path, silent_s: float, busy: bool) -> None:
    pretend(path, silent_s=silent_s, **ELSEWHERE)
    if busy:
        with pytest.raises(LedgerBusy, match=rf"nid00042.*try again in {60 - silent_s:.0f} s"):
            TaskLease(path).acquire("mine")
    else:
        TaskLease(path).acquire("mine")


def test_a_clock_ahead_of_ours_does_not_make_the_living_dead(path: Path) -> None:
    pretend(path, silent_s=0, **ELSEWHERE)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "heartbeat": time.time() - 4000}))
    with pytest.raises(LedgerBusy):
        TaskLease(path).acquire("mine")


def test_another_process_table_under_the_same_name_is_judged_by_heartbeat(path: Path) -> None:
    """A container on this machine: its process cannot be seen from here, which does not mean that it is dead."""
    pretend(path, pid_namespace="pid:[1]", pid=99_999_999)
    with pytest.raises(LedgerBusy):
        TaskLease(path).acquire("mine")


def test_the_same_session_takes_over_at_once_and_the_old_coordinator_learns_it(path: Path) -> None:
    old, new = TaskLease(path), TaskLease(path)
    old.acquire("session")
    new.acquire("session")
    with pytest.raises(LedgerBusy, match="taken over by process"):
        old.heartbeat()
    new.heartbeat()
    old.release()
    new.heartbeat()
    pretend(path, session="session", **ELSEWHERE)
    TaskLease(path).acquire("session")


def test_a_holder_whose_lease_was_removed_must_stop(path: Path) -> None:
    lease = TaskLease(path)
    lease.acquire("mine")
    path.unlink()
    with pytest.raises(LedgerBusy, match="was removed"):
        lease.heartbeat()
    assert not path.exists()
    lease.release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "x"}', "\0" * 100])
def test_an_unreadable_lease(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(LedgerBusy, match="unreadable"):
        TaskLease(path).acquire("mine")
    os.utime(path, (time.time() - 100,) * 2)
    TaskLease(path).acquire("mine")


def test_a_heartbeat_is_seen(path: Path) -> None:
    lease = TaskLease(path)
    lease.acquire("mine")
    before = lease.holder()
    time.sleep(0.02)
    lease.heartbeat()
    after = lease.holder()
    assert before is not None
    assert after is not None
    assert after.heartbeat > before.heartbeat
    assert after.since == before.since


def test_misuse_is_our_own_defect(path: Path) -> None:
    lease = TaskLease(path)
    with pytest.raises(InternalError):
        lease.heartbeat()
    lease.acquire("mine")
    with pytest.raises(InternalError):
        lease.acquire("mine")


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot take the lease"):
        TaskLease(tmp_path / "nowhere" / "coordinator.lease").acquire("mine")


def test_a_takeover_cut_short_does_not_lock_the_task(path: Path) -> None:
    pretend(path, process_started="1")
    gate = path.with_name("coordinator.lease.takeover")
    pretend(gate, process_started="2")
    TaskLease(path).acquire("mine")
    assert not gate.exists()


def contend(path: Path, name: str, ready: Barrier, over: Barrier, won: object) -> None:
    """Try once, together with all the others; a winner holds on until everybody has tried."""
    lease = TaskLease(path)
    ready.wait(60)
    try:
        lease.acquire(name)
    except LedgerBusy:
        pass
    else:
        lease.heartbeat()
        won.append(name)  # type: ignore[attr-defined]
    over.wait(60)


@pytest.mark.parametrize("left_behind", [False, True])
def test_of_many_who_want_it_one_gets_it(path: Path, left_behind: bool) -> None:
    """All at the same instant, on a free task and on one whose holder is dead."""
    if left_behind:
        pretend(path, process_started="1")
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        won = manager.list()
        ready, over = context.Barrier(8), context.Barrier(8)
        processes = [context.Process(target=contend, args=(path, f"s{index}", ready, over, won)) for index in range(8)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert len(won) == 1
