"""Nodes of another allocation join a session through its task directory, and leave when it is over: scripts in place of nodes."""

import asyncio
import contextlib
import json
import stat
import sys
import time

import pytest

from raythena.domain.errors import ClusterError, InvalidInput
from raythena.engine.node_starts import StartPolicy
from raythena.launch import added_nodes, join_desk, remote_nodes
from raythena.launch.added_nodes import AddedNodes, specs_here
from raythena.launch.join_desk import JoinAnswer, JoinDesk
from raythena.launch.launcher import LauncherPlugin, LaunchOrder, NodeCommand
from raythena.launch.remote_nodes import NodeSpec
from raythena.storage.task_lease import TaskLease
from raythena.storage.taskdir import TaskDirectory

POLICY = StartPolicy(max_failures=2, first_pause_s=0.05, last_pause_s=0.1)
NODE = """
import sys
from pathlib import Path
order = sys.stdin.readline()
Path(sys.argv[1]).with_suffix(".part").write_text(order)
Path(sys.argv[1]).with_suffix(".part").rename(sys.argv[1])
print('raythena-node: {"say": "up"}', flush=True)
sys.stdin.read()
Path(sys.argv[1]).unlink()
"""


class Site:
    """A task with a session, and two nodes that may join it."""

    def __init__(self, tmp_path):
        self.task = TaskDirectory(tmp_path / "task")
        self.task.root.mkdir()
        self.orders = [tmp_path / "a", tmp_path / "b"]
        self.specs = [NodeSpec(path.name, (sys.executable, "-c", NODE, str(path)), cores=3) for path in self.orders]
        self.told = []
        self.answer = JoinAnswer(head="10.0.0.1:99", token="secret")
        self.lease = TaskLease(self.task.lease)
        self._places = 0

    def added(self, ends_at=None, policy=POLICY):
        order = LaunchOrder({"SLURM_JOB_ID": "8"}, "/scratch", str(self.task.root), policy=policy, tell=self.told.append)
        return AddedNodes(self.task, self.specs, order, ends_at)

    def _private(self, base):
        self._places += 1
        place = base / f"rt-{self._places:08d}"
        place.mkdir(mode=0o700)
        return place

    @contextlib.asynccontextmanager
    async def session(self, name):
        """Somebody works on the task, and answers."""
        if not self.task.lease.exists():
            self.lease.acquire(name)
        desk = JoinDesk(self.task.root, name, lambda: self.answer, self._private, self.told.append)
        desk.open()
        try:
            yield
        finally:
            await desk.close()

    def hand_over(self, name):
        """The lease goes to another session, as it does when a head has died."""
        holder = json.loads(self.task.lease.read_bytes())
        self.task.lease.write_bytes(json.dumps({**holder, "session": name}).encode())

    def order(self, number):
        return json.loads(self.orders[number].read_text())

    async def until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.told
            await asyncio.sleep(0.01)

    @property
    def nodes_are_there(self):
        return all(path.exists() for path in self.orders)


@pytest.fixture
def site(tmp_path, monkeypatch):
    for module in (added_nodes, join_desk):
        monkeypatch.setattr(module, "LOOK_S", 0.02)
    monkeypatch.setattr(remote_nodes, "_LOOK_S", 0.02)
    return Site(tmp_path)


def test_nodes_join_and_leave_with_the_session(site):
    async def story():
        async with site.session("first"):
            run = asyncio.create_task(site.added(ends_at=5e9).run())
            await site.until(lambda: site.nodes_are_there)
            order = site.order(0)
            assert (order["head"], order["token"], order["cores"], order["ends_at"]) == ("10.0.0.1:99", "secret", 3, 5e9 - 10)
            assert (order["job_id"], order["continuation"]) == ("", None), "they do not succeed the head, nor end its job"
            assert order["name"] != site.order(1)["name"]
            (answer,) = site.task.root.glob("rt-*/*")
            assert stat.S_IMODE(answer.stat().st_mode) == 0o600
            assert "2 nodes of 8: may join" in site.told
        site.lease.release()
        assert await run == "the job is over"
        assert not any(path.exists() for path in site.orders)
        assert not list(site.task.root.glob("rt-*/*")), "the secret is gone"
        assert not (site.task.root / "joining").exists()

    asyncio.run(asyncio.wait_for(story(), 60))
    assert {text.partition(" after")[0] for text in site.told if "is there" in text} == {"node a is there", "node b is there"}


def test_they_join_whoever_takes_the_place_of_a_head(site):
    """The lease goes from a dead head to another session; the answer of the first may stay, where nobody can remove it."""

    async def story():
        async with site.session("first"):
            run = asyncio.create_task(site.added().run())
            await site.until(lambda: site.nodes_are_there)
            site.answer = JoinAnswer(head="10.0.0.2:99", token="another")
            site.hand_over("second")
            async with site.session("second"):
                await site.until(lambda: site.nodes_are_there and site.order(0)["token"] == "another")
                assert site.order(0)["head"] == "10.0.0.2:99"
                site.task.lease.unlink()
                assert await run == "the job is over"

    asyncio.run(asyncio.wait_for(story(), 60))


def test_told_to_leave_they_leave(site):
    async def story():
        async with site.session("first"):
            added = site.added()
            run = asyncio.create_task(added.run())
            await site.until(lambda: site.nodes_are_there)
            added.end()
            assert await run == "told to leave"
            assert not any(path.exists() for path in site.orders)
            assert not (site.task.root / "joining").exists()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_before_their_allocation_ends_they_leave(site):
    async def story():
        async with site.session("first"):
            assert await site.added(ends_at=time.time() + 9).run() == "the end of this allocation is near"
            assert await site.added(ends_at=time.time() + 12).run() == "the end of this allocation is near"
            assert not any(path.exists() for path in site.orders)

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_head_that_cannot_be_reached_says_why(site):
    site.answer = JoinAnswer(refusal="the job runs on one node, which is known as 127.0.0.1: give it launch.interface")

    async def story():
        async with site.session("first"):
            await site.added().run()

    with pytest.raises(ClusterError, match="known as 127"):
        asyncio.run(asyncio.wait_for(story(), 60))


def test_without_an_answer_nobody_waits_for_ever(site, monkeypatch):
    monkeypatch.setattr(added_nodes, "ANSWER_LIMIT_S", 0.1)
    site.lease.acquire("first")
    with pytest.raises(ClusterError, match="does not answer"):
        asyncio.run(asyncio.wait_for(site.added().run(), 60))
    assert not (site.task.root / "joining").exists()


def test_nodes_that_all_fail_are_an_error(site):
    site.specs = [NodeSpec("a", ("sh", "-c", "echo no such partition; exit 1"))]

    async def story():
        async with site.session("first"):
            await site.added().run()

    with pytest.raises(ClusterError, match="no such partition"):
        asyncio.run(asyncio.wait_for(story(), 60))


def test_where_nobody_works_there_is_nothing_to_join(site):
    assert asyncio.run(site.added().run()) == "nobody is at work on this task"


# ---- which nodes


def order(**environ):
    return LaunchOrder(environ, "", "/task", nodes=2)


def plugin(name, commands=None):
    return LauncherPlugin(name, bool, lambda _: None, lambda _: "", commands)


def test_under_slurm_every_node_gets_a_step_this_one_too():
    environ = {"SLURM_JOB_ID": "8", "SLURM_JOB_NODELIST": "n[1-4]", "SLURM_JOB_CPUS_PER_NODE": "2(x4)"}
    specs = specs_here(plugin("slurm"), order(**environ))
    assert [spec.name for spec in specs] == ["n1", "n2"]
    assert all(spec.argv[0] == "srun" and f"--nodelist={spec.name}" in spec.argv for spec in specs)


def test_elsewhere_the_launcher_says_how():
    (spec,) = specs_here(plugin("local", lambda _, program: [NodeCommand("here", program)]), order())
    assert (spec.name, spec.argv[-1]) == ("here", "raythena.launch.node_process")
    with pytest.raises(InvalidInput, match="cannot start anything"):
        specs_here(plugin("ray"), order())
    with pytest.raises(InvalidInput, match="remote_stdin"):
        specs_here(plugin("ssh"), LaunchOrder({}, "", "/task", remote_stdin=False))
