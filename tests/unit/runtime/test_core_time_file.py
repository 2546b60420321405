"""The account of core time on disk: complete after a coordinator is replaced, harmless when the disk refuses."""

from __future__ import annotations

from raythena.domain.core_time import NodeTimes
from raythena.runtime.core_time_file import CoreTimeFile, extend_session, read_sessions
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.clocks import ManualClock


def life(node, as_of=20.0):
    return NodeTimes(
        node=node,
        cores=4,
        began_at=10.0,
        as_of=as_of,
        computed_s=30.0,
        open_s=2.0,
        thrown_away_s={"crash": 1.0},
        idle_s={"tail": 7.0},
    )


def file_in(tmp_path, clock, began_at=5.0):
    return CoreTimeFile(TaskDirectory(tmp_path), "s1", began_at, clock)


def test_what_is_written_is_read(tmp_path):
    file = file_in(tmp_path, ManualClock())
    file.note(life("a.1"))
    file.note(life("a.1", as_of=25.0))
    file.note(None)
    file.lose("b.1")
    file.write()
    (session,) = read_sessions(TaskDirectory(tmp_path))
    assert session.lives == (life("a.1", as_of=25.0),)
    assert (session.session, session.began_at, session.ended_at, session.lost) == ("s1", 5.0, None, {"b.1"})


def test_a_coordinator_that_replaces_another_one_keeps_the_nodes_that_are_gone(tmp_path):
    first = file_in(tmp_path, ManualClock())
    for node in ("a.1", "b.1"):
        first.note(life(node))
    first.lose("a.1")
    first.write()
    second = file_in(tmp_path, ManualClock(), began_at=9.0)
    second.restore()
    second.note(life("b.1", as_of=40.0))
    second.write(ended=True)
    (session,) = read_sessions(TaskDirectory(tmp_path))
    assert {one.node: one.as_of for one in session.lives} == {"a.1": 20.0, "b.1": 40.0}
    assert (session.began_at, session.lost) == (5.0, {"a.1"})
    assert session.ended_at is not None


def test_a_node_that_speaks_again_is_not_lost(tmp_path):
    file = file_in(tmp_path, ManualClock())
    file.lose("a.1")
    file.note(life("a.1"))
    file.write()
    assert read_sessions(TaskDirectory(tmp_path))[0].lost == frozenset()


def test_the_end_of_the_cluster_is_the_end_of_the_session(tmp_path):
    file = file_in(tmp_path, ManualClock())
    file.note(life("a.1"))
    file.write(ended=True)
    extend_session(TaskDirectory(tmp_path), "s1", 77.0)
    extend_session(TaskDirectory(tmp_path), "s2", 77.0)
    (session,) = read_sessions(TaskDirectory(tmp_path))
    assert (session.ended_at, session.lives) == (77.0, (life("a.1"),))


def test_a_disk_that_refuses_costs_the_account_and_nothing_else(tmp_path):
    (tmp_path / "logs").write_text("no directory")
    file = file_in(tmp_path, ManualClock())
    file.note(life("a.1"))
    file.write()
    assert read_sessions(TaskDirectory(tmp_path)) == []


def test_it_is_written_now_and_then(tmp_path):
    clock = ManualClock()
    file = file_in(tmp_path, clock)
    assert file.is_due()
    file.write()
    assert not file.is_due()
