"""`raythena run` as a user has it: its exit codes, its signals, its death, and what it leaves behind."""

import signal

import pytest

from job_kit import Command, eventually, make_job, raythena_processes
from raythena.cli.session import prepare_task
from raythena.domain.errors import ExitCode
from raythena.storage.ledger import Ledger

EVENTS = {"wall_s": 0.02, "as_file": False}


def test_from_beginning_to_end(tmp_path, mark):
    toy = make_job(tmp_path, [40, 20], 30, EVENTS)
    command = Command(mark, toy)
    assert command.wait() == ExitCode.OK
    assert raythena_processes(mark) == []
    assert command.errors == ""
    *_, last = command.lines()
    assert (last["result"], last["events"], last["finished"]) == ("complete", 60, 60)
    assert toy.report()["cmdLine"].startswith(f"raythena run {toy.path} --taskdir {toy.task} --json")
    toy.assert_complete()


def test_stopped_twice_and_resumed(tmp_path, mark):
    """What was finished when the signal came is kept; the next session computes the rest, and only that."""
    toy = make_job(tmp_path, [300, 100], 100, EVENTS)
    command = Command(mark, toy, nodes=1)
    for session, (number, goal) in enumerate([(signal.SIGINT, 30), (signal.SIGTERM, 150)], start=1):
        command.until_finished(goal)
        command.send(number)
        assert command.wait() == ExitCode.STOPPED, command.errors
        assert raythena_processes(mark) == []
        assert command.errors == ""
        report = toy.report()
        assert report["exitCode"] == ExitCode.STOPPED
        done = toy.committed()
        assert goal <= len(done) < 400
        assert set(done.values()) == set(range(1, session + 1))
        *_, last = command.lines()
        assert last["finished"] == len(done)

        command = Command(mark, toy, "--resume", nodes=1)
    assert command.wait() == ExitCode.OK
    toy.assert_complete()
    at_last = toy.committed()
    assert all(at_last[index] == session for index, session in done.items())
    assert {at_last[index] for index in set(at_last) - set(done)} == {3}
    accounting = toy.report()["raythena"]["accounting"]
    assert len({node["session"] for node in accounting["nodes"]}) == 3
    assert accounting["accounted"] >= 0.995, accounting


def test_killed_and_resumed(tmp_path, mark):
    """With the command dies its cluster, down to the last worker. Nothing committed is computed again."""
    toy = make_job(tmp_path, [300], 100, EVENTS)
    command = Command(mark, toy)
    command.until_finished(60)
    assert len(command.find("worker")) == 2
    command.send(signal.SIGKILL)
    command.wait()
    eventually(lambda: not raythena_processes(mark), "no process left")
    done = toy.committed()
    assert 60 <= len(done) < 300
    resumed = Command(mark, toy, "--resume")
    assert resumed.wait() == ExitCode.OK, resumed.errors
    toy.assert_complete()
    assert {index for index, session in toy.committed().items() if session == 1} == set(done)
    assert resumed.last_progress()["resumed"] == len(done)


def test_a_task_is_not_begun_anew_by_accident(tmp_path, mark):
    toy = make_job(tmp_path, [10], 10, EVENTS)
    task = prepare_task(toy.job, toy.task, resume=False)
    Ledger.create(task.ledger, toy.job).close()
    command = Command(mark, toy)
    assert command.wait() == ExitCode.INVALID_INPUT
    assert "--resume" in command.errors


def test_the_second_of_two_commands_is_refused(tmp_path, mark):
    toy = make_job(tmp_path, [900], 300, {"wall_s": 0.1})
    first = Command(mark, toy, nodes=1)
    first.until_finished(10)
    second = Command(mark, toy, "--resume", nodes=1)
    assert second.wait() == ExitCode.LEDGER
    assert "is being worked on by process" in second.errors
    assert "kill" in second.errors
    assert "Traceback" not in second.errors
    progress = first.last_progress()
    first.until_finished(progress["stored"] + progress["merged"] + 10)
    first.send(signal.SIGINT)
    assert first.wait() == ExitCode.STOPPED
    assert set(toy.committed().values()) == {1}
    assert len(toy.summary().sessions) == 1


def test_a_damaged_ledger_is_refused_and_left_alone(tmp_path, mark):
    toy = make_job(tmp_path, [10], 10, EVENTS)
    task = prepare_task(toy.job, toy.task, resume=False)
    Ledger.create(task.ledger, toy.job).close()
    content = bytearray(task.ledger.read_bytes())
    middle = len(content) // 2
    content[middle - 2000 : middle + 2000] = bytes(4000)
    task.ledger.write_bytes(content)
    command = Command(mark, toy, "--resume", nodes=1)
    assert command.wait() == ExitCode.LEDGER
    assert "damaged" in command.errors
    assert "Traceback" not in command.errors
    assert task.ledger.read_bytes() == content
    assert [path.name for path in toy.task.glob("ledger*")] == ["ledger.sqlite"]
    assert not task.lease.exists()


def test_an_impatient_user(tmp_path, mark):
    """The first Ctrl-C waits for the running event, the second one does not."""
    toy = make_job(tmp_path, [50], 50, {**EVENTS, "hang": ["f1.evnt-20"]})
    command = Command(mark, toy, nodes=1)
    command.until_finished(5)
    command.send(signal.SIGINT)
    command.until(lambda progress: progress["phase"] == "draining", "the job drains")
    command.send(signal.SIGINT)
    assert command.wait() == 130
    assert raythena_processes(mark) == []
    assert "Traceback" not in command.errors


def test_a_signal_while_the_session_starts(tmp_path, mark):
    """It is not lost: the job stops as soon as it can."""
    toy = make_job(tmp_path, [900], 900, EVENTS)
    command = Command(mark, toy, nodes=1)
    eventually(lambda: command.find("coordinator"), "the coordinator", pause_s=0.01)
    command.send(signal.SIGINT)
    assert command.wait() == ExitCode.STOPPED
    assert command.errors == ""
    assert len(toy.committed()) < 900


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_as_soon_as_there_is_a_process(tmp_path, mark, number, status):
    toy = make_job(tmp_path, [10], 10, EVENTS)
    command = Command(mark, toy)
    eventually(lambda: command.find("head"), "the first process of the cluster")
    command.send(number)
    assert command.wait() in (status, -number, ExitCode.STOPPED), "before there is a session, or as early as it can be stopped"
    eventually(lambda: not raythena_processes(mark), "no process left")
    assert "Traceback" not in command.errors
