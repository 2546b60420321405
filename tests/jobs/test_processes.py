"""What only processes without Ray have: a fork server, sockets, and nothing of Ray's."""

import os
import signal
import stat
from pathlib import Path

import pytest

from job_kit import Command, eventually, make_job, raythena_processes
from raythena.domain.errors import ExitCode
from raythena.runtime.actor import CoordinatorActor
from raythena.runtime.fork_requests import COORDINATOR_SOCKET, SERVER_SOCKET, ForkRequests
from raythena.runtime.local_calls import Address, BlockingCall, Unanswered
from socket_probe import listening

EVENTS = {"wall_s": 0.05, "as_file": False}


def directory_of(command: Command) -> Path:
    """The private directory of a run: the last word of its fork server's command line."""
    (server,) = eventually(lambda: command.find("head"), "the fork server")
    return Path(server.command.split()[-1])


def told_of(process, what):
    """What the kernel tells of a process; nothing of one that has ended since it was seen."""
    try:
        return Path(f"/proc/{process.pid}/{what}").read_bytes()
    except OSError:
        return b""


def test_nothing_of_ray_is_loaded_and_nobody_else_gets_in(tmp_path, mark):
    toy = make_job(tmp_path, [200], 100, EVENTS)
    command = Command(mark, toy)
    command.until_finished(10)
    place = directory_of(command)
    processes = raythena_processes(mark)
    assert {one.name for one in processes} >= {"rt-fork-server", "rt-coordinator", "rt-agent"}
    token = (place / "token").read_bytes()
    for one in processes:
        assert b"_raylet" not in told_of(one, "maps"), one
        assert token not in told_of(one, "environ"), one
    assert listening([one.pid for one in processes]) == []
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "token").stat().st_mode) == 0o600
    for name, called, method in (
        (SERVER_SOCKET, ForkRequests, "living_agents"),
        (COORDINATOR_SOCKET, CoordinatorActor, "progress"),
    ):
        assert BlockingCall(Address(str(place / name), (place / "token").read_bytes()), called, method).value(30)
        with pytest.raises(Unanswered):
            BlockingCall(Address(str(place / name), os.urandom(32)), called, method).value(30)
    command.send(signal.SIGINT)
    assert command.wait() == ExitCode.STOPPED
    assert not place.exists()


@pytest.mark.parametrize("role", ["head", "guard of everything"])
def test_what_holds_everything_is_killed(tmp_path, mark, role):
    """The command says so and ends, nothing is left behind, and what was committed counts."""
    toy = make_job(tmp_path, [200], 100, EVENTS)
    command = Command(mark, toy)
    command.until_finished(20)
    place = directory_of(command)
    (server,) = command.find("head")
    victim = server.pid if role == "head" else server.parent
    os.kill(victim, signal.SIGKILL)
    assert command.wait() == ExitCode.CLUSTER, command.errors
    assert "the fork server ended with -9" in command.errors
    eventually(lambda: not raythena_processes(mark), "no process left")
    assert not place.exists()
    done = toy.committed()
    assert 20 <= len(done) < 200
    assert Command(mark, toy, "--resume").wait() == ExitCode.OK
    toy.assert_complete()
    assert {index for index, session in toy.committed().items() if session == 1} == set(done)
