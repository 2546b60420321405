"""The process on a node, run as a launcher runs it, before any Ray: what it takes, what it refuses, what it leaves."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from raythena.domain.errors import ClusterError
from raythena.launch import node_process
from raythena.launch.node_process import NodeOrder, NodeProcess, cores_here, heard, is_silent

ARGV = (sys.executable, "-P", "-m", "raythena.launch.node_process")


def started():
    return subprocess.Popen(ARGV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def last_word(output):
    said = [heard(line) for line in output.splitlines()]
    return next(one for one in reversed(said) if one)


def test_an_order_comes_back():
    order = NodeOrder("n1.1", "10.0.0.1:99", "secret", 8, "hsn0", "/scratch", "7", "n0")
    assert NodeOrder.parse(order.line()) == order
    assert order.line().count(b"\n") == 1


@pytest.mark.parametrize("line", [b"", b"hello\n", b"{}\n", b'{"name": 1, "head": 2, "token": 3, "more": 4}\n', b"[1]\n"])
def test_what_is_no_order(line):
    with pytest.raises(ClusterError, match="no order came through standard input"):
        NodeOrder.parse(line)


def test_lines_of_others_are_none_of_ours():
    assert heard(b"srun: job 7 queued and waiting\n") is None
    assert heard(b"raythena-node: {\n") is None
    assert heard(b'0: raythena-node: {"say": "ended", "reason": ""}\n') == {"say": "ended", "reason": ""}


@pytest.mark.parametrize("line", [b"", b"what?\n"])
def test_without_an_order_it_ends_and_says_so(line):
    process = started()
    output, _ = process.communicate(line, timeout=60)
    assert process.returncode == 1
    assert last_word(output)["reason"].startswith("no order came")


def test_an_order_in_a_file_is_as_good(tmp_path):
    letter = tmp_path / "letter"
    letter.write_bytes(NodeOrder("n1.1", "127.0.0.1:1", "t", 1, "lo", "", "", "").line())
    done = subprocess.run([*ARGV, f"--order={letter}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the head at 127.0.0.1:1 cannot be reached" in last_word(done.stdout)["reason"]


def test_an_order_in_a_file_that_is_gone_is_none(tmp_path):
    argv = [*ARGV, f"--order={tmp_path / 'gone'}"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert "the order cannot be read" in last_word(done.stdout)["reason"]


def test_a_head_that_does_not_answer_is_named():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = started()
    order = NodeOrder("n1.1", f"127.0.0.1:{port}", "a-secret-word", 1, "lo", "", "", "")
    output, _ = process.communicate(order.line(), timeout=60)
    assert process.returncode == 1
    reason = last_word(output)["reason"]
    assert f"the head at 127.0.0.1:{port} cannot be reached from 127.0.0.1: " in reason
    assert b"a-secret-word" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_before_the_order_ends_it(number):
    process = started()
    process.stdin.flush()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0


def test_a_head_is_silent_when_its_machine_is():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert not asyncio.run(is_silent(f"127.0.0.1:{port}")), "nobody listens, and the machine says so"
        listener.listen()
        assert not asyncio.run(is_silent(f"127.0.0.1:{port}"))


def test_a_machine_that_answers_nothing_is_silent(monkeypatch):
    monkeypatch.setattr(node_process, "_CONNECT_LIMIT_S", 0.2)

    async def never(*_, **__):
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio, "open_connection", never)
    assert asyncio.run(is_silent("192.0.2.7:1"))


@pytest.mark.parametrize(("answers", "looks"), [([True] * 3, 3), ([True, True, False] * 4 + [True] * 3, 15)])
def test_only_a_head_that_stays_silent_is_lost(monkeypatch, answers, looks):
    asked = []

    async def silent(head):
        asked.append(head)
        return answers[len(asked) - 1]

    monkeypatch.setattr(node_process, "is_silent", silent)
    monkeypatch.setattr(node_process, "_HEAD_LOOK_S", 0.01)
    monkeypatch.setattr(node_process, "_HEAD_PATIENCE_S", 0.03)
    node = NodeProcess(NodeOrder("n1.1", "h:1", "t", 0, "", "", "7", "n0"))
    asyncio.run(asyncio.wait_for(node._watch_head(), 10))
    assert len(asked) == looks
    assert node._over.is_set()
    assert "the head at h:1 has been silent" in node._head_lost


def test_cores_are_what_slurm_gave_and_the_kernel_allows(monkeypatch):
    allowed = len(os.sched_getaffinity(0))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "9999,1")
    monkeypatch.delenv("SLURM_HET_SIZE", raising=False)
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    order = json.loads(NodeOrder("n1.1", "h:1", "t", 0, "", "", "", "").line())
    assert cores_here(NodeOrder(**order)) == allowed
    monkeypatch.setenv("SLURMD_NODENAME", "n2")
    assert cores_here(NodeOrder(**order)) == 1
    assert cores_here(NodeOrder(**{**order, "cores": 5})) == 5
