"""The process on a node, run as a launcher runs it, before any Ray: what it takes, what it refuses, what it leaves."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from raythena.domain.errors import ClusterError
from raythena.engine.succession import Move, Sight
from raythena.launch import node_process
from raythena.launch.launcher import Continuation
from raythena.launch.node_process import NodeOrder, NodeProcess, cores_here, heard, is_silent

ARGV = (sys.executable, "-P", "-m", "raythena.launch.node_process")


def started():
    return subprocess.Popen(ARGV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def last_word(output):
    said = [heard(line) for line in output.splitlines()]
    return next(one for one in reversed(said) if one)


def test_an_order_comes_back():
    order = NodeOrder("n1.1", "10.0.0.1:99", "secret", 8, "hsn0", "/scratch", "7", "n0", rank=3)
    assert NodeOrder.parse(order.line()) == order
    goes_on = Continuation("s", "/task", ("raythena", "run"), "/", {"SLURM_JOB_ID": "7"})
    parsed = NodeOrder.parse(replace(order, continuation=goes_on).line())
    assert replace(parsed.continuation, argv=tuple(parsed.continuation.argv)) == goes_on
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


class Moves:
    """Rules that say what a test wants, one after the other."""

    doubts = True

    def __init__(self, *moves):
        self.moves = list(moves)
        self.sights = []
        self.failed = 0

    def look(self, sight, _):
        self.sights.append(sight)
        return self.moves.pop(0)

    def claim_failed(self, _):
        self.failed += 1


class Understudy:
    """A successor that is told what becomes of its claims."""

    is_head = False

    def __init__(self, *, gets_lease=True, succeeds=True):
        self._gets_lease, self._succeeds = gets_lease, succeeds
        self.did = []

    async def sight(self, *, ray_runs):
        return Sight(head_answers=False, ray_runs=ray_runs, holder="first", heartbeat=1.0)

    async def take_lease(self):
        self.did.append("lease")
        return self._gets_lease

    async def lead(self):
        self.did.append("lead")
        return self._succeeds

    def end(self):
        self.did.append("end")


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """What a node process says in the end that sees a silent head, and is told these moves."""

    async def silent(_):
        return True

    monkeypatch.setattr(node_process, "is_silent", silent)
    monkeypatch.setattr(node_process, "_DOUBT_LOOK_S", 0.01)

    def watch(*moves, successor=None):
        node = NodeProcess(NodeOrder("n1.1", "h:1", "t", 0, "", "", "7", "n0"))
        node._succession, node._successor = Moves(*moves), successor
        return node, asyncio.run(asyncio.wait_for(node._watch(tmp_path), 10))

    return watch


def test_a_head_that_nobody_follows_is_told_to_the_batch_system(watched):
    node, reason = watched(Move.WATCH, Move.WATCH, Move.GIVE_UP)
    assert (node.nobody_goes_on, reason) == (True, "the head at h:1 is silent")
    assert [sight.ray_runs for sight in node._succession.sights] == [True] * 3


def test_a_head_that_somebody_follows_is_left(watched):
    node, reason = watched(Move.WATCH, Move.STAND_BY, Move.LEAVE, successor=Understudy())
    assert (node.nobody_goes_on, reason) == (False, "the head at h:1 is silent, and another one is at work")
    assert [sight.ray_runs for sight in node._succession.sights] == [True, True, False], "who stands by has no Ray"


def test_whoever_gets_the_lease_is_the_head_to_the_end(watched):
    understudy = Understudy()
    _, reason = watched(Move.CLAIM, successor=understudy)
    assert (understudy.did, reason) == (["lease", "lead", "end"], "")


def test_a_claim_that_is_refused_is_no_failure(watched):
    understudy = Understudy(gets_lease=False)
    node, _ = watched(Move.CLAIM, Move.LEAVE, successor=understudy)
    assert (understudy.did, node._succession.failed) == (["lease"], 0)


def test_a_claim_that_comes_to_nothing_is_one(watched):
    node, _ = watched(Move.CLAIM, Move.GIVE_UP, successor=Understudy(succeeds=False))
    assert (node._succession.failed, node.nobody_goes_on) == (1, True)


@pytest.mark.parametrize(("is_head", "ends"), [(False, True), (True, False)])
def test_the_channel_to_a_dead_head_says_nothing_to_its_successor(is_head, ends):
    node = NodeProcess(NodeOrder("n1.1", "h:1", "t", 0, "", "", "7", "n0"))
    node._successor = Understudy()
    node._successor.is_head = is_head
    node.channel_closed()
    assert node._told is ends


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
