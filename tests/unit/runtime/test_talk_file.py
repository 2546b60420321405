"""What a gateway has said, on disk: counted, kept over a restart, written now and then, never in the way."""

from __future__ import annotations

import asyncio

from raythena.domain.gateway_talk import Said, Saying, Talk
from raythena.runtime.talk_file import INTERVAL_S, TalkFile, read_talks
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.clocks import ManualClock


def talk_file(path, clock, session="s1"):
    return TalkFile(TaskDirectory(path), session, Talk("Harvester", "/point"), clock.monotonic_s, clock.wall_s)


def told(path):
    ((session, talk),) = read_talks(TaskDirectory(path))
    assert session == "s1"
    return talk


def test_what_is_said_is_counted(tmp_path):
    clock = ManualClock(100.0)
    file = talk_file(tmp_path, clock)
    file.note(Saying.ASKED, 10)
    file.note(Saying.ASKED, 5)
    file.note(Saying.GIVEN, 8)
    file.write()
    talk = told(tmp_path)
    assert talk.said == {Saying.ASKED: Said(2, 15, clock.wall_s()), Saying.GIVEN: Said(1, 8, clock.wall_s())}
    assert (talk.peer, talk.place) == ("Harvester", "/point")


def test_it_is_written_now_and_then_and_at_the_end(tmp_path):
    clock = ManualClock(100.0)
    file = talk_file(tmp_path, clock)
    for _ in range(3):
        file.note(Saying.TOLD, 1)
        file.write()
    assert told(tmp_path).said[Saying.TOLD].items == 1
    asyncio.run(clock.advance(INTERVAL_S))
    file.write()
    assert told(tmp_path).said[Saying.TOLD].items == 3
    file.note(Saying.ACKNOWLEDGED, 3)
    file.write(ended=True)
    assert told(tmp_path).said[Saying.ACKNOWLEDGED].items == 3


def test_nothing_new_is_not_written(tmp_path):
    file = talk_file(tmp_path, ManualClock(100.0))
    file.write(ended=True)
    assert read_talks(TaskDirectory(tmp_path)) == []


def test_trouble_is_told_until_it_is_over(tmp_path):
    file = talk_file(tmp_path, ManualClock(100.0))
    file.note_trouble("No space left on device")
    file.write(ended=True)
    assert told(tmp_path).trouble == "No space left on device"
    file.note_trouble("")
    file.write(ended=True)
    assert told(tmp_path).trouble == ""


def test_another_coordinator_of_the_session_goes_on_counting(tmp_path):
    clock = ManualClock(100.0)
    first = talk_file(tmp_path, clock)
    first.note(Saying.ASKED, 10)
    first.write()
    second = talk_file(tmp_path, clock)
    second.restore()
    second.note(Saying.ASKED, 1)
    second.write()
    assert told(tmp_path).said[Saying.ASKED].items == 11


def test_what_cannot_be_read_is_left_out(tmp_path):
    task = TaskDirectory(tmp_path)
    task.talk("s1").parent.mkdir(parents=True)
    task.talk("s1").write_text("{")
    file = talk_file(tmp_path, ManualClock(100.0))
    file.restore()
    assert read_talks(task) == []


def test_a_disk_that_refuses_costs_nothing_else(tmp_path, caplog):
    (tmp_path / "logs").write_text("a file where a directory should be")
    file = talk_file(tmp_path, ManualClock(100.0))
    file.note(Saying.ASKED, 1)
    file.write()
    assert "cannot write what was said to Harvester" in caplog.text
