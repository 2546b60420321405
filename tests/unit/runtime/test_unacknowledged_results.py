"""Results that the coordinator had not acknowledged when it died: noted by their node, and taken in by the next one."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from raythena.domain.errors import ClusterError
from raythena.domain.ids import OutputNumber
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.ranges import RangeState
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.engine.node_messages import CoordinatorReply
from raythena.runtime import agent as agent_module
from raythena.runtime import unacknowledged_results
from raythena.runtime.agent import Agent
from raythena.runtime.coordinator import Coordinator
from raythena.runtime.payload_interface import Done, PayloadPlugin
from raythena.runtime.session_config import AgentOrder, SessionConfig
from raythena.runtime.unacknowledged_results import UnacknowledgedResults
from raythena.storage.groups import Member, write_group
from raythena.storage.unacknowledged import keep_unacknowledged, read_unacknowledged

EVENTS = 12


def config(directory, session):
    job = Job("toy", (InputFile("f.evnt", "/f.evnt", EVENTS),), ("OUT",), PayloadSpec("python"), MergeSpec(), EVENTS)
    return SessionConfig(session, str(directory), job, commit_interval_s=0.0)


async def no_merge(order):
    raise AssertionError("nothing is to be merged here")


def group(directory, number, indices):
    """A durable group of a node of session `s1`."""
    output = directory / f"output-{number}"
    output.write_text("an event")
    path = f"staging/s1/n2.1/{number:06d}.zip"
    written = write_group(directory / path, [Member(index, output) for index in indices])
    entries = np.zeros(len(indices), dtype=ENTRY_DTYPE)
    entries["range"], entries["size"], entries["adler32"] = written.indices, written.sizes, written.adlers
    return GroupReport(f"s1/n2.1/{number:06d}", "n2.1", OutputNumber(0), path, written.size_bytes, written.adler32, entries)


async def taken_over(directory, session):
    """How many events are stored before any node is there, and how often each group is in the ledger."""
    coordinator = await Coordinator.take_over(config(directory, session), no_merge)
    await coordinator._writer.settled()
    await asyncio.sleep(0)
    stored = coordinator._node_exchange.engine.table.count(RangeState.STORED)
    coordinator.stop("enough")
    await asyncio.wait_for(coordinator.ended(), 60)
    return stored


def test_what_was_noted_is_stored_once(tmp_path):
    """Also when two notes tell of the same event, and when the next coordinator dies before it can clean up."""
    reports = [group(tmp_path, 1, [0, 1, 2]), group(tmp_path, 2, [2, 3])]
    for _ in range(2):
        keep_unacknowledged(tmp_path / "staging", "s1", "n2.1", reports)
        assert asyncio.run(taken_over(tmp_path, "s2")) == 4
    assert (tmp_path / reports[0].path).exists(), "it waits for its merge"


def test_a_note_is_gone_when_the_session_ends(tmp_path):
    keep_unacknowledged(tmp_path / "staging", "s1", "n2.1", [group(tmp_path, 1, [0])])
    asyncio.run(taken_over(tmp_path, "s2"))
    assert read_unacknowledged(tmp_path, tmp_path / "staging") == []


# ---- the node


class Computer:
    """A payload that needs no time."""

    appetite = 4

    def __init__(self):
        self._done = []

    async def start(self, context):
        self._scratch = context.scratch

    def feed(self, leases):
        for lease in leases:
            path = self._scratch / f"{lease.index}.out"
            path.write_text("an event")
            self._done.append(Done(lease.index, path, 8, 1000.0, 0.01, 0.01))

    def collected(self, stretches):
        """Nothing is kept."""

    async def poll(self, timeout_s):
        await asyncio.sleep(0.005)
        done, self._done = self._done, []
        return done

    async def stop(self):
        """Nothing runs."""


class DyingCoordinator:
    """Leases everything, then answers no more; gives the node up when it is `over`."""

    def __init__(self, over):
        self._over = over

    async def register(self, node, cores, held):
        return CoordinatorReply(leases=(np.arange(EVENTS, dtype=np.int64),))

    async def exchange(self, message):
        await asyncio.to_thread(self._over)
        raise ClusterError("the coordinator has not answered for 120 s")


def test_a_node_that_loses_its_coordinator_leaves_its_results_to_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(unacknowledged_results, "AWAY_AFTER_S", 0.01)
    monkeypatch.setattr(agent_module, "payload_plugin", lambda kind: PayloadPlugin(kind, Computer))

    def over():
        while sum(len(report.entries) for report in read_unacknowledged(tmp_path, tmp_path / "staging")) < EVENTS:
            pass

    agent = Agent(AgentOrder("n2.1", 2, config(tmp_path, "s1")), DyingCoordinator(over))
    with pytest.raises(ClusterError):
        asyncio.run(asyncio.wait_for(agent.run(), 60))
    assert asyncio.run(taken_over(tmp_path, "s2")) == EVENTS


@pytest.fixture
def results(tmp_path):
    order = SimpleNamespace(node="n1-1", config=SimpleNamespace(task_directory=str(tmp_path), session="s"))
    return UnacknowledgedResults(order, 0.0)


def report(name):
    return GroupReport(name, "n1-1", OutputNumber(0), "staging", 1, 1, np.zeros(1, dtype=ENTRY_DTYPE))


def looks(results, *moments):
    """The note after each of these looks: (groups, now)."""

    async def scene():
        notes = []
        for names, now in moments:
            results.look({name: report(name) for name in names}, now)
            if results._writing is not None:
                await results._writing
            notes.append([one.name for one in read_unacknowledged(Path(results._staging).parent, results._staging)])
        return notes

    Path(results._staging).mkdir(parents=True, exist_ok=True)
    return asyncio.run(scene())


def test_nothing_is_noted_while_the_coordinator_answers(results):
    results.answered(8.0)
    assert looks(results, ("a", 12.9), ("", 100.0)) == [[], []]


def test_each_new_group_is_noted(results):
    assert looks(results, ("a", 5.1), ("a", 6.0), ("ab", 7.0)) == [["a"], ["a"], ["a", "b"]]


def test_a_disk_that_refuses_is_asked_again(results, monkeypatch, tmp_path):
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "s").write_text("in the way")
    assert looks(results, ("a", 6.0)) == [[]]
    (tmp_path / "staging" / "s").unlink()
    assert looks(results, ("a", 7.0)) == [["a"]]
