"""Agents and merges behind sockets: what a supervisor and a coordinator learn when something ends that they wait for."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from raythena.domain.errors import ClusterError, MergeError, RaythenaError, StorageError
from raythena.domain.ids import OutputNumber
from raythena.domain.job import MergeSpec
from raythena.domain.node_name import NodeName
from raythena.domain.results import ENTRY_DTYPE, GroupReport, MergedOutput
from raythena.engine.restarts import AgentEnd
from raythena.runtime.agent import AgentExit
from raythena.runtime.cluster import AgentDied, AgentUnreachable, Machine
from raythena.runtime.fork_requests import SERVER_SOCKET, TOKEN_FILE, LivingAgent, MergeEnd, MergeFailure
from raythena.runtime.local_calls import listen, serve
from raythena.runtime.merge_task import MergeOrder
from raythena.runtime.process_backend import ProcessBackend
from raythena.runtime.session_config import AgentOrder, SessionConfig
from raythena.testing.simulation.samples import small_job

TOKEN = bytes(range(32))
MACHINES = (Machine("1", "here-1", 2, alive=True), Machine("2", "here-2", 2, alive=True))
ORDER = AgentOrder("here-1.1", 2, SessionConfig("s", "/task", small_job()), number=3, coordinator=5)
MERGED = MergedOutput(OutputNumber(0), "OUT", "outputs/OUT", "GUID", 12, 34, 2, (7,), 0.5)


class MadeUpAgent:
    """An agent in this process."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.end: asyncio.Future[AgentExit] = asyncio.get_running_loop().create_future()
        self.pings = 0

    async def run(self, node: str, cores: int, number: int, coordinator: int) -> AgentExit:
        self.told.append((node, cores, number, coordinator))
        return await asyncio.shield(self.end)

    async def ping(self) -> None:
        self.pings += 1


class MadeUpServer:
    """A fork server that forks nothing."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self.agents: dict[str, asyncio.Task[None]] = {}
        self.made: dict[str, MadeUpAgent] = {}
        self.fates: dict[str, str] = {}
        self.merges: list[tuple[MergeOrder, bool]] = []
        self.merge_end = MergeEnd(MERGED)

    async def start_agent(self, name: str) -> str:
        path = self.directory / f"agent{len(self.made)}"
        self.made[name] = MadeUpAgent()
        self.agents[name] = asyncio.create_task(serve(self.made[name], listen(path), TOKEN))
        return str(path)

    async def living_agents(self) -> tuple[LivingAgent, ...]:
        return tuple(
            LivingAgent(name, str(self.directory / f"agent{number}"))
            for number, name in enumerate(self.made)
            if name not in self.fates
        )

    async def kill(self, name: str) -> None:
        self.die(name, "killed by signal 9")

    async def fate(self, name: str) -> str:
        return self.fates.get(name, "")

    async def merge(self, order: MergeOrder, only_sample: bool) -> MergeEnd:
        self.merges.append((order, only_sample))
        return self.merge_end

    def die(self, name: str, fate: str) -> None:
        """What is seen of a process that ends: its lines do, and its parent knows how."""
        if fate:
            self.fates[name] = fate
        self.agents[name].cancel()


def run(tmp_path, scenario):
    async def go():
        (tmp_path / TOKEN_FILE).write_bytes(TOKEN)
        server = MadeUpServer(tmp_path)
        task = asyncio.create_task(serve(server, listen(tmp_path / SERVER_SOCKET), TOKEN))
        try:
            await asyncio.wait_for(scenario(server, ProcessBackend(tmp_path, MACHINES)), 30)
        finally:
            for each in (task, *server.agents.values()):
                each.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await each

    asyncio.run(go())


def order_of_merge() -> MergeOrder:
    group = GroupReport("g", "n.1", OutputNumber(0), "staging/g.zip", 5, 6, np.zeros(1, ENTRY_DTYPE))
    return MergeOrder("/task", "s", "", OutputNumber(0), "OUT", "GUID", MergeSpec("concat"), (group,), 1, (), "outputs/x")


def test_machines_are_always_there(tmp_path):
    async def scenario(server, backend):
        assert await backend.cluster.machines() == list(MACHINES)

    run(tmp_path, scenario)


def test_an_agent_works_to_its_end_and_is_told_its_numbers(tmp_path):
    async def scenario(server, backend):
        agent = await backend.cluster.start_agent(NodeName("here-1", 1), "1")
        working = asyncio.create_task(agent.run(ORDER))
        await agent.ping()
        made = server.made["here-1.1"]
        assert (made.pings, made.told) == (1, [("here-1.1", 2, 3, 5)])
        made.end.set_result(AgentExit(AgentEnd.PAYLOAD_FAILED, "no release"))
        assert await working == AgentExit(AgentEnd.PAYLOAD_FAILED, "no release")

    run(tmp_path, scenario)


def test_an_agent_that_lives_is_found_and_not_started_twice(tmp_path):
    """By a coordinator that takes the place of a dead one."""

    async def scenario(server, backend):
        name = NodeName("here-1", 1)
        assert await backend.cluster.find_agent(name) is None
        await backend.cluster.start_agent(name, "1")
        again = ProcessBackend(tmp_path, MACHINES).cluster
        assert await again.living_agents() == [name]
        agent = await again.start_agent(name, "1")
        await agent.ping()
        assert (len(server.made), server.made[str(name)].pings) == (1, 1)

    run(tmp_path, scenario)


def test_an_agent_is_dead_when_its_parent_says_so(tmp_path):
    async def scenario(server, backend):
        name = NodeName("here-2", 4)
        agent = await backend.cluster.start_agent(name, "2")
        working = asyncio.create_task(agent.run(ORDER))
        await agent.ping()
        await agent.kill()
        agent._caller.close()  # as the death of the process closes it
        with pytest.raises(AgentDied, match="its process ended: killed by signal 9"):
            await working
        assert await backend.cluster.find_agent(name) is None

    run(tmp_path, scenario)


def test_an_agent_whose_line_ends_may_be_alive(tmp_path, monkeypatch):
    monkeypatch.setattr("raythena.runtime.process_backend._FATE_LIMIT_S", 0.1)

    async def scenario(server, backend):
        name = NodeName("here-1", 1)
        agent = await backend.cluster.start_agent(name, "1")
        (tmp_path / "agent0").unlink()
        with pytest.raises(AgentUnreachable):
            await agent.ping()

    run(tmp_path, scenario)


def test_a_fork_server_that_is_gone_is_no_proof_of_anything(tmp_path):
    (tmp_path / TOKEN_FILE).write_bytes(TOKEN)

    async def scenario():
        cluster = ProcessBackend(tmp_path, MACHINES).cluster
        with pytest.raises(ClusterError, match="fork server"):
            await cluster.living_agents()
        with pytest.raises(ClusterError, match="fork server"):
            await cluster.start_agent(NodeName("here-1", 1), "1")
        with pytest.raises(ClusterError, match="a merge was lost"):
            await ProcessBackend(tmp_path, MACHINES).merge(order_of_merge())

    asyncio.run(scenario())


def test_a_merge_and_a_sample(tmp_path):
    async def scenario(server, backend):
        assert await backend.merge(order_of_merge()) == MERGED
        server.merge_end = MergeEnd()
        assert await backend.check_sample(order_of_merge()) is None
        assert [only_sample for _, only_sample in server.merges] == [False, True]
        assert server.merges[0][0].groups[0].entries.dtype == ENTRY_DTYPE
        with pytest.raises(ClusterError, match="without a result"):
            await backend.merge(order_of_merge())

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (MergeError("bad outputs", (3, 4), ("empty", "twice")), MergeError),
        (StorageError("the disk is full"), StorageError),
        (ValueError("what is this"), RaythenaError),
    ],
)
def test_a_merge_that_fails_fails_here_as_it_did_there(tmp_path, raised, kind):
    async def scenario(server, backend):
        server.merge_end = MergeEnd(failure=MergeFailure.of(raised))
        with pytest.raises(kind, match=str(raised)) as problem:
            await backend.merge(order_of_merge())
        assert type(problem.value) is kind
        if isinstance(raised, MergeError):
            assert (problem.value.bad_ranges, problem.value.reasons) == (raised.bad_ranges, raised.reasons)

    run(tmp_path, scenario)
