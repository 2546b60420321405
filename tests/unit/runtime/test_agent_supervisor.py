"""The supervisor with machines and agents that are made up, and a clock turned by hand: every word it says, none of Ray."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from raythena.domain.errors import ClusterError, JobAborted, NumbersExhausted, PayloadError, StorageError
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.node_name import NodeName
from raythena.engine.restarts import AgentEnd
from raythena.runtime.agent import AgentExit
from raythena.runtime.agent_supervisor import Supervisor
from raythena.runtime.cluster import AgentDied, AgentUnreachable, Machine
from raythena.runtime.session_config import SessionConfig
from raythena.testing.clocks import ManualClock

JOB = Job("test", (InputFile("f.evnt", "/in/f.evnt", 4),), ("out",), PayloadSpec("here"), MergeSpec("concat"), 4)


class MadeUpAgent:
    """Works until it is told how to end. `answers`: whether it says that it lives when it is asked."""

    def __init__(self, name: NodeName) -> None:
        self.name = name
        self.order = None
        self.end = asyncio.get_running_loop().create_future()
        self.answers = True
        self.unreachable = 0
        self.killed = False

    async def run(self, order):
        if self.unreachable:
            self.unreachable -= 1
            raise AgentUnreachable("the line is cut")
        self.order = self.order or order
        return await asyncio.shield(self.end)

    async def ping(self):
        if not self.answers:
            await asyncio.get_running_loop().create_future()

    async def kill(self):
        self.killed = True
        if not self.end.done():
            self.die("killed")

    def die(self, why: str) -> None:
        self.end.set_exception(AgentDied(why))

    def leave(self, how: AgentEnd, message: str = "") -> None:
        self.end.set_result(AgentExit(how, message))


@dataclass
class MadeUpCluster:
    machines_there: list[Machine] = field(default_factory=list)
    agents: dict[NodeName, MadeUpAgent] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    unwell: int = 0

    async def machines(self):
        if self.unwell:
            self.unwell -= 1
            raise ClusterError("nobody answers")
        return list(self.machines_there)

    async def living_agents(self):
        return [name for name, agent in self.agents.items() if not agent.end.done()]

    async def start_agent(self, name, machine_id):
        if name not in self.agents:
            self.agents[name] = MadeUpAgent(name)
            self.started.append(str(name))
        return self.agents[name]

    async def find_agent(self, name):
        return self.agents.get(name)

    def add(self, host: str, cores: int = 2, *, alive: bool = True) -> None:
        self.machines_there = [machine for machine in self.machines_there if machine.host != host]
        self.machines_there.append(Machine(f"id-{host}", host, cores, alive))

    def agent(self, name: str) -> MadeUpAgent:
        return self.agents[NodeName.parse(name)]


@dataclass
class MadeUpCoordinator:
    number: int = 7
    over: bool = False
    silent: dict[str, float] = field(default_factory=dict)
    lost: list[tuple[str, str]] = field(default_factory=list)
    stopped: list[tuple[str, BaseException | None]] = field(default_factory=list)
    defects: list[BaseException | None] = field(default_factory=list)

    def silence_s(self, node):
        return self.silent.get(node, 0.0)

    def node_lost(self, node, reason):
        self.lost.append((node, reason))

    def stop(self, reason, cause=None):
        self.stopped.append((reason, cause))
        self.over = True

    def give_up(self, problem):
        self.defects.append(problem)


class Scene:
    """A supervisor at work."""

    def __init__(self, config: SessionConfig) -> None:
        self.clock = ManualClock()
        self.cluster = MadeUpCluster()
        self.coordinator = MadeUpCoordinator()
        self.supervisor = Supervisor(config, self.coordinator, self.cluster, self.clock)
        self._work = None

    async def begin(self, *hosts: str) -> None:
        for host in hosts:
            self.cluster.add(host)
        self._work = asyncio.create_task(self.supervisor.run())
        await self.wait(1.0)

    def unnamed(self) -> bool:
        """Whether the first name of some host's agent is still being looked for."""
        hosts = self.supervisor._hosts.values()
        return any(host.alive and not host.name.incarnation for host in hosts) and not self.coordinator.over

    async def wait(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        while self.unnamed():  # noqa: ASYNC110 (the names in the log directory are read in a thread, which sets no event of ours)
            await asyncio.sleep(0.001)
        await self.clock.advance(0.0)

    async def end(self) -> None:
        self.coordinator.over = True
        await self.wait(60.0)
        assert self._work.done()
        assert self.coordinator.defects == []


@pytest.fixture
def play(tmp_path):
    """Runs a test's coroutine with a scene that begins with the hosts named."""

    def run(story, *hosts: str, seen: tuple[str, ...] = ()) -> None:
        logs = tmp_path / "task" / "logs" / "s1"
        logs.mkdir(parents=True)
        for name in seen:
            (logs / name).mkdir()

        async def whole() -> None:
            scene = Scene(SessionConfig("s1", str(tmp_path / "task"), JOB))
            await scene.begin(*hosts)
            await story(scene)
            await scene.end()

        asyncio.run(asyncio.wait_for(whole(), 60))

    return run


def test_every_machine_with_cores_gets_an_agent_however_late_it_comes(play):
    async def story(scene):
        scene.cluster.add("head", cores=0)
        scene.cluster.add("c")
        await scene.wait(1.0)
        assert sorted(scene.cluster.started) == ["a.1", "b.1", "c.1"]
        orders = [scene.cluster.agent(name).order for name in scene.cluster.started]
        assert sorted((order.node, order.cores, order.coordinator) for order in orders) == [
            ("a.1", 2, 7),
            ("b.1", 2, 7),
            ("c.1", 2, 7),
        ]
        assert sorted(order.number for order in orders) == [0, 1, 2]

    play(story, "a", "b")


def test_an_agent_that_dies_is_replaced_under_another_name_after_a_pause(play):
    async def story(scene):
        scene.cluster.agent("a.1").die("out of memory")
        await scene.wait(0.4)
        assert scene.coordinator.lost == [("a.1", "out of memory")]
        assert scene.cluster.started == ["a.1"]
        await scene.wait(0.2)
        assert scene.cluster.started == ["a.1", "a.2"]

    play(story, "a")


def test_an_agent_that_keeps_dying_ends_the_job_when_no_other_node_is_left(play):
    async def story(scene):
        for number in range(1, 6):
            scene.cluster.agent(f"a.{number}").die("out of memory")
            await scene.wait(5.0)
        assert scene.cluster.started == ["a.1", "a.2", "a.3", "a.4", "a.5"]
        ((reason, cause),) = scene.coordinator.stopped
        assert reason == "no node is left to work on; the last one failed with out of memory"
        assert isinstance(cause, JobAborted)

    play(story, "a")


@pytest.mark.parametrize(("how", "error"), [(AgentEnd.PAYLOAD_FAILED, PayloadError), (AgentEnd.DISK_REFUSED, StorageError)])
def test_a_node_whose_agent_gave_up_is_not_used_again(play, how, error):
    async def story(scene):
        scene.cluster.agent("a.1").leave(how, "nothing works")
        await scene.wait(60.0)
        assert sorted(scene.cluster.started) == ["a.1", "b.1"]
        assert scene.coordinator.stopped == []
        scene.cluster.agent("b.1").leave(how, "here neither")
        await scene.wait(1.0)
        ((reason, cause),) = scene.coordinator.stopped
        assert reason.endswith("here neither")
        assert type(cause) is error

    play(story, "a", "b")


def test_the_error_of_an_agent_without_numbers_is_the_jobs_in_the_end(play):
    async def story(scene):
        for number in range(1, 6):
            scene.cluster.agent(f"a.{number}").leave(AgentEnd.NUMBERS_EXHAUSTED, "no number")
            await scene.wait(5.0)
        assert type(scene.coordinator.stopped[0][1]) is NumbersExhausted

    play(story, "a")


def test_a_machine_that_vanishes_is_told_and_one_that_comes_back_is_new(play):
    async def story(scene):
        scene.cluster.add("a", alive=False)
        await scene.wait(1.0)
        scene.cluster.agent("a.1").die("its machine is gone")
        await scene.wait(10.0)
        assert scene.coordinator.lost == [("a.1", "its Ray node is dead"), ("a.1", "its machine is gone")]
        assert scene.cluster.started == ["a.1"]
        assert scene.coordinator.stopped == []

    play(story, "a")


def test_an_agent_out_of_reach_gets_no_second_one_beside_it(play):
    async def story(scene):
        scene.cluster.agents[NodeName("b", 1)] = cut_off = MadeUpAgent(NodeName("b", 1))
        cut_off.unreachable = 5
        scene.cluster.add("b")
        await scene.wait(10.0)
        assert scene.cluster.started == ["a.1"]
        assert scene.coordinator.lost == []
        assert cut_off.order is not None

    play(story, "a")


def test_a_frozen_agent_is_killed_and_replaced(play):
    async def story(scene):
        scene.cluster.agent("a.1").answers = False
        scene.coordinator.silent["a.1"] = 11.0
        await scene.wait(19.0)
        assert not scene.cluster.agent("a.1").killed
        await scene.wait(5.0)
        assert scene.cluster.agent("a.1").killed
        assert scene.cluster.started == ["a.1", "a.2"]

    play(story, "a")


def test_an_agent_that_has_not_been_heard_of_may_still_be_loading(play):
    async def story(scene):
        scene.coordinator.silent["b.1"] = float("inf")
        scene.cluster.add("b")
        await scene.wait(0.6)
        scene.cluster.agent("b.1").answers = False
        await scene.wait(290.0)
        assert not scene.cluster.agent("b.1").killed
        await scene.wait(20.0)
        assert scene.cluster.agent("b.1").killed

    play(story, "a")


def test_a_silent_agent_that_answers_is_left_alone(play):
    async def story(scene):
        scene.coordinator.silent["a.1"] = 1000.0
        await scene.wait(400.0)
        assert not scene.cluster.agent("a.1").killed

    play(story, "a")


def test_the_agent_that_outlived_an_earlier_coordinator_goes_on(play):
    async def story(scene):
        scene.cluster.agents[NodeName("b", 4)] = MadeUpAgent(NodeName("b", 4))
        scene.cluster.add("b")
        await scene.wait(1.0)
        assert scene.cluster.started == ["a.1"]
        assert scene.cluster.agent("b.4").order.node == "b.4"

    play(story, "a")


def test_a_name_that_left_traces_is_never_used_again(play):
    async def story(scene):
        assert scene.cluster.started == ["a.13"]

    play(story, "a", seen=("a.9", "a.12", "ab.40", "coordinator.log"))


def test_a_cluster_that_does_not_answer_is_asked_again(play):
    async def story(scene):
        scene.cluster.unwell = 4
        scene.cluster.add("b")
        await scene.wait(5.0)
        assert sorted(scene.cluster.started) == ["a.1", "b.1"]

    play(story, "a")


def test_those_that_do_not_leave_are_killed_and_strays_are_told(play):
    async def story(scene):
        stray = scene.cluster.agents[NodeName("z", 1)] = MadeUpAgent(NodeName("z", 1))
        scene.cluster.agent("a.1").leave(AgentEnd.LEFT)
        scene.coordinator.over = True
        await scene.wait(1.0)
        await scene.supervisor.dismiss(0.05)
        assert scene.cluster.agent("b.1").killed
        assert stray.order.node == "z.1"
        assert stray.killed

    play(story, "a", "b")
