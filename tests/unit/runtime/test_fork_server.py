"""A real fork server and what it forks: coordinators come back, agents are told apart, merges end with whoever ordered them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from raythena.domain.ids import OutputNumber
from raythena.domain.job import MergeSpec
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.runtime.cluster import Machine
from raythena.runtime.fork_requests import (
    COORDINATOR_SOCKET,
    SERVER_SOCKET,
    TOKEN_FILE,
    ForkRequests,
    MergeEnd,
    SessionPlan,
    address_in,
)
from raythena.runtime.local_calls import Address, BlockingCall, RemoteFailure, Unanswered
from raythena.runtime.merge_task import MergeOrder
from raythena.runtime.message_codec import to_text
from raythena.runtime.process_guard_main import living_processes
from raythena.runtime.process_session import CoordinatorCalls
from raythena.runtime.served_agent import ServedAgent
from raythena.runtime.session_config import SessionConfig
from raythena.storage.groups import Member, write_group
from raythena.testing.simulation.samples import small_job

PATIENCE_S = 60.0
SLOW = """
import time

def merge(inputs, output, context):
    output.with_suffix(".begun").touch()
    time.sleep(600)
"""


def eventually(condition, what):
    until = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < until, what
        time.sleep(0.02)
    return value


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it has ended since it was seen
        return ""


class Server:
    """The program in a directory of its own, with a session that has begun."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "d"
        self.directory.mkdir(mode=0o700)
        (self.directory / TOKEN_FILE).write_bytes(os.urandom(32))
        self.task = place / "task"
        for part in ("staging", "outputs", "scratch"):
            (self.task / part).mkdir(parents=True)
        with (place / "said").open("wb") as said:
            program = [sys.executable, "-P", "-m", "raythena.runtime.fork_server", str(self.directory)]
            self.process = subprocess.Popen(program, stdout=said, stderr=said)
        eventually((self.directory / SERVER_SOCKET).exists, "the server's socket")

    def ask(self, method, *arguments):
        return BlockingCall(address_in(self.directory, SERVER_SOCKET), ForkRequests, method, *arguments).value(PATIENCE_S)

    def begin(self) -> None:
        config = SessionConfig("s", str(self.task), small_job())
        self.ask("begin", to_text(SessionPlan(config, (Machine("1", "here-1", 1, alive=True),))))

    def children(self, name: str) -> list[int]:
        found = [pid for pid, parent in living_processes() if parent == self.process.pid]
        return [pid for pid in found if name_of(pid) == name]

    def merge_order(self, kind: str = "concat", **options) -> MergeOrder:
        members = []
        for index, content in enumerate((b"one,", b"two")):
            source = self.task / f"{index}.out"
            source.write_bytes(content)
            members.append(Member(index, source))
        written = write_group(self.task / "staging" / "g.zip", members)
        entries = np.zeros(2, ENTRY_DTYPE)
        entries["range"], entries["size"], entries["adler32"] = written.indices, written.sizes, written.adlers
        group = GroupReport("g", "n", OutputNumber(0), "staging/g.zip", written.size_bytes, written.adler32, entries)
        spec = MergeSpec(kind, options)
        places = (str(self.task), "s", str(self.task / "scratch"))
        return MergeOrder(*places, OutputNumber(0), "OUT", "G", spec, (group,), 2, (), "outputs/OUT.new")

    def merging(self, order: MergeOrder, *, only_sample: bool = False) -> BlockingCall:
        return BlockingCall(address_in(self.directory, SERVER_SOCKET), ForkRequests, "merge", order, only_sample)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("forks"))
    yield made
    children = [pid for pid, parent in living_processes() if parent == made.process.pid]
    made.process.kill()
    made.process.wait()
    eventually(lambda: not set(children) & {pid for pid, _ in living_processes()}, "what it forked dies with it")


@pytest.fixture(scope="module")
def begun(server):
    with pytest.raises(RemoteFailure, match="no session has begun"):
        server.ask("start_agent", "here-1.1")
    server.begin()
    return server


def test_nobody_without_the_token_is_heard(server):
    wrong = Address(str(server.directory / SERVER_SOCKET), os.urandom(32))
    with pytest.raises(Unanswered):
        BlockingCall(wrong, ForkRequests, "living_agents").value(PATIENCE_S)
    assert server.process.poll() is None


def test_what_is_no_plan_is_refused(server):
    with pytest.raises(RemoteFailure, match="BadMessage: no SessionPlan"):
        server.ask("begin", '{"config": 1}')


def test_a_coordinator_that_is_killed_comes_back_at_the_same_address(begun):
    (first,) = eventually(lambda: begun.children("rt-coordinator"), "a coordinator")
    os.kill(first, signal.SIGKILL)
    (second,) = eventually(lambda: [pid for pid in begun.children("rt-coordinator") if pid != first], "another coordinator")
    assert second != first
    with pytest.raises(RemoteFailure, match="nothing is called"):
        BlockingCall(address_in(begun.directory, COORDINATOR_SOCKET), ForkRequests, "living_agents").value(PATIENCE_S)
    assert {"start", "progress", "stop", "ended"} <= set(vars(CoordinatorCalls))


def test_agents_are_started_found_killed_and_their_fate_is_known(begun):
    places = {name: begun.ask("start_agent", name) for name in ("here-1.1", "here-2.1")}
    assert {agent.name: agent.socket for agent in begun.ask("living_agents")} == places
    token = address_in(begun.directory, "").token
    for place in places.values():
        assert BlockingCall(Address(place, token), ServedAgent, "ping").value(PATIENCE_S) is None
    assert len(begun.children("rt-agent")) == 2
    begun.ask("kill", "here-1.1")
    begun.ask("kill", "nobody.1")
    assert eventually(lambda: begun.ask("fate", "here-1.1"), "its end") == "killed by signal 9"
    assert begun.ask("fate", "here-2.1") == ""
    assert begun.ask("fate", "nobody.1") == "nobody knows it"
    assert [agent.name for agent in begun.ask("living_agents")] == ["here-2.1"]
    with pytest.raises(Unanswered):
        BlockingCall(Address(places["here-1.1"], token), ServedAgent, "ping").value(PATIENCE_S)


def test_a_merge_in_a_process_of_its_own(begun):
    end: MergeEnd = begun.merging(begun.merge_order()).value(PATIENCE_S)
    assert end.failure is None
    assert (begun.task / end.merged.path).read_bytes() == b"one,two"
    assert end.merged.n_events == 2
    assert begun.merging(begun.merge_order(), only_sample=True).value(PATIENCE_S).failure is not None, "two are no sample"


def test_a_merge_that_fails_says_how(begun):
    end: MergeEnd = begun.merging(begun.merge_order("python", function="no_such_module:merge")).value(PATIENCE_S)
    assert "no_such_module" in end.failure.text
    assert end.failure.is_merge


def slow_merge(begun) -> MergeOrder:
    (begun.task / "slow.py").write_text(SLOW)
    return begun.merge_order("python", function="slow:merge", path=[str(begun.task)])


def test_a_merge_that_is_killed_is_told_as_such(begun):
    waiting = begun.merging(slow_merge(begun))
    (pid,) = eventually(lambda: begun.children("rt-merge"), "a merge")
    os.kill(pid, signal.SIGKILL)
    assert waiting.value(PATIENCE_S).failure.text == "the process that merged ended: killed by signal 9"


def test_a_merge_nobody_waits_for_is_ended(begun):
    waiting = begun.merging(slow_merge(begun))
    eventually(lambda: begun.children("rt-merge"), "a merge")
    waiting.close()
    eventually(lambda: not begun.children("rt-merge"), "the end of the merge")
