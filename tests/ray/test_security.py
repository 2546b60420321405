"""What docs/security.md claims, on a real job: the token, what listens and answers, who can read and write what we write."""

import os
import signal
import socket
from pathlib import Path

import pytest

from job_kit import Command, make_job, raythena_processes
from raythena.domain.errors import ExitCode
from socket_probe import grpc_answer, is_private, listening, unix_sockets, what_a_stranger_gets

EVENTS = {"cpu_s": 0.1, "as_file": False}
pytestmark = pytest.mark.timeout(600)  # a port that says nothing is waited for
TOKEN_PATH = b"RAY_AUTH_TOKEN_PATH="


def started(tmp_path, mark, umask, events=200):
    before = os.umask(umask)
    try:
        toy = make_job(tmp_path / "job", [events], 100, EVENTS)
        command = Command(mark, toy)
    finally:
        os.umask(before)
    command.until_finished(10)
    return toy, command, [process.pid for process in raythena_processes(mark)]


def token_of(pids):
    """The session's token, and where it is kept, as any process of ours could find it."""
    for pid in pids:
        for entry in _read(f"/proc/{pid}/environ").split(b"\0"):
            if entry.startswith(TOKEN_PATH):
                path = Path(os.fsdecode(entry.removeprefix(TOKEN_PATH)))
                return path, path.read_bytes()
    raise AssertionError("no process knows a token")


def _read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def files_with(secret, directory):
    return [path for path in directory.rglob("*") if path.is_file() and secret in _read(path)]


def open_to_others(directory, bits):
    return [path for path in directory.rglob("*") if not path.is_symlink() and path.stat().st_mode & bits]


def answers_with_token(one, token):
    method = "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"
    return grpc_answer(one.address or "127.0.0.1", one.port, method, token.decode(), patience_s=60.0)


def test_a_job_tells_strangers_nothing(tmp_path, mark):
    toy, command, pids = started(tmp_path, mark, 0o022, events=20_000)
    path, token = token_of(pids)
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_private(path)
    for pid in pids:
        assert token not in _read(f"/proc/{pid}/cmdline")
        assert token not in _read(f"/proc/{pid}/environ")
    assert files_with(token, path.parent) == [path]

    paths = [name for name in unix_sockets(pids) if name.startswith("/")]
    assert paths
    assert [name for name in paths if not is_private(name)] == []

    found = listening(pids)
    assert found
    told = {one: what_a_stranger_gets(one.address or "127.0.0.1", one.port) for one in found}
    assert {one: answers for one, answers in told.items() if answers} == {}
    heads = {process.pid for process in command.find("head")}
    assert any(answers_with_token(one, token) for one in found if one.pid in heads), "the question is a real one"
    assert command.running, "the job still runs"

    command.send(signal.SIGTERM)
    assert command.wait() == ExitCode.STOPPED, command.errors
    assert files_with(token, tmp_path) == []
    assert open_to_others(toy.task, 0o022) == []
    assert not path.parent.exists()


def test_under_a_strict_umask_nothing_can_be_read_by_others(tmp_path, mark):
    toy, command, pids = started(tmp_path, mark, 0o077, events=60)
    assert is_private(token_of(pids)[0])
    assert command.wait() == ExitCode.OK, command.errors
    assert open_to_others(toy.task, 0o077) == []


def test_the_probe_sees_what_is_told(tmp_path):
    """The questions of `socket_probe` get an answer from a server that gives one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert [one.address for one in listening([os.getpid()]) if one.port == port] == ["127.0.0.1"]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert str(tmp_path / "s") in unix_sockets([os.getpid()])
    open_directory = tmp_path / "open"
    open_directory.mkdir(mode=0o755)
    assert is_private("/nowhere/x") is False
    (open_directory / "closed").mkdir(mode=0o700)
    assert is_private(open_directory / "closed" / "x")
