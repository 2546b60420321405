"""What a node says of itself is what the machine says; whatever is asked, there is an answer."""

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from raythena.launch.node_probe import (
    MARK,
    NONCE_FILE,
    FactsRequest,
    Listener,
    Probe,
    control_group_limit,
    directory_facts,
    facts,
    mounted_at,
    proxies,
    proxy_problem,
    reach,
    serve,
)


def test_the_facts_of_this_machine(tmp_path):
    (tmp_path / NONCE_FILE).write_text("7")
    found = facts(FactsRequest(node="here", shared=str(tmp_path), scratch=str(tmp_path), nonce="7", measure=False))
    assert (found.node, found.cores_usable) == ("here", len(os.sched_getaffinity(0)))
    assert found.versions["python"] == sys.version.split()[0]
    assert "127.0.0.1" in {one.address for one in found.addresses}
    assert (found.chosen_address, found.address_problem, found.proxy_problem, found.problems) == ("127.0.0.1", "", "", {})
    assert found.shared_seen
    assert found.shared.free_bytes > 0
    assert found.shared.syncs_per_s > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [NONCE_FILE]


def test_another_directory_under_the_same_path_is_noticed(tmp_path):
    request = FactsRequest(node="here", shared=str(tmp_path), nonce="7", measure=False)
    assert not facts(request).shared_seen
    (tmp_path / NONCE_FILE).write_text("8")
    assert not facts(request).shared_seen


def test_a_directory_that_is_not_there_or_refuses():
    assert "No such file" in directory_facts("/nowhere/at/all", measure=False).problem
    assert directory_facts("/proc", measure=False).problem


def test_file_systems_are_told_by_the_deepest_mount(tmp_path):
    table = tmp_path / "mounts"
    (tmp_path / "deep dir").mkdir()
    space = str(tmp_path / "deep dir").replace(" ", "\\040")
    table.write_text(
        f"disk / ext4 rw 0 0\nserver {tmp_path} nfs4 rw,hard 0 0\nram {space} tmpfs rw 0 0\nx {tmp_path}x ext3 rw 0 0\n"
    )
    assert mounted_at("/", str(table)) == ("ext4", "rw")
    assert mounted_at(str(tmp_path / "task"), str(table)) == ("nfs4", "rw,hard")
    assert mounted_at(str(tmp_path / "deep dir"), str(table)) == ("tmpfs", "rw")


def test_limits_of_control_groups_are_those_of_the_tightest_group_above(tmp_path):
    own = tmp_path / "own"
    group = tmp_path / "v2" / "job" / "step"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("4000000000\n")
    own.write_text("0::/job/step\n")
    assert control_group_limit("memory.max", str(tmp_path / "v2"), str(own)) == 4_000_000_000
    assert control_group_limit("pids.max", str(tmp_path / "v2"), str(own)) == -1
    older = tmp_path / "v1" / "memory" / "slurm" / "job_7"
    older.mkdir(parents=True)
    (older / "memory.limit_in_bytes").write_text("2000000000\n")
    (older.parent / "memory.limit_in_bytes").write_text(str(0x7FFFFFFFFFFFF000))
    own.write_text("9:memory:/slurm/job_7\n3:cpu,cpuacct:/slurm\n")
    assert control_group_limit("memory.max", str(tmp_path / "v1"), str(own)) == 2_000_000_000
    assert control_group_limit("memory.max", str(tmp_path), str(tmp_path / "missing")) == -1


def test_proxies_are_told_without_their_passwords():
    told = proxies({"HTTP_PROXY": "http://me:secret@proxy:3128", "no_proxy": "localhost", "https_proxy": "", "PATH": "/bin"})
    assert told == {"HTTP_PROXY": "http://...@proxy", "no_proxy": "localhost"}


def test_a_proxy_that_swallows_local_traffic_is_found(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_problem("127.0.0.1") == ""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert "refused" in proxy_problem("127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert proxy_problem("127.0.0.1") == ""


def test_who_answers_is_told_from_who_does_not():
    with Listener("127.0.0.1") as listener:
        assert reach("127.0.0.1", listener.port) == ""
        port = listener.port
    assert "refused" in reach("127.0.0.1", port)


def test_a_lock_held_by_another_process_is_refused_until_it_is_given_back(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    program = [sys.executable, "-P", "-m", "raythena.launch.node_probe"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as other:

        def ask(**request: object) -> object:
            other.stdin.write(json.dumps(request) + "\n")
            return json.loads(other.stdout.readline().removeprefix(MARK))

        assert ask(do="lock", path=str(path)) == {"granted": True}
        mine = Probe()
        assert mine.answer({"do": "lock", "path": str(path)}) == {"granted": False}
        assert ask(do="unlock") == {}
        assert mine.answer({"do": "lock", "path": str(path)}) == {"granted": True}
        assert ask(do="lock", path=str(path)) == {"granted": False}
        mine.close()
        other.stdin.close()
        assert other.wait(10) == 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"do": "fly"}',
        b'{"do": "lock"}',
        b'{"do": "facts", "node": 3}',
        b'{"do": "connect", "address": 1}',
    ],
)
def test_every_request_is_answered(line):
    answers = io.BytesIO()
    serve(io.BytesIO(line + b"\n"), answers)
    (told,) = answers.getvalue().decode().splitlines()
    assert json.loads(told.removeprefix(MARK))["problem"]


def test_nothing_is_left_open(tmp_path):
    probe = Probe()
    port = probe.answer({"do": "listen", "address": "127.0.0.1"})["port"]
    assert probe.answer({"do": "listen", "address": "127.0.0.1"})["port"] == port
    probe.close()
    assert reach("127.0.0.1", port)
    assert Path(tmp_path).is_dir()
