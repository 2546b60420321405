"""Node processes from the head's side: shell scripts in place of nodes, and a Ray that lists whom we say."""

import asyncio
import contextlib
import time

import pytest

from raythena.engine.node_starts import NodePhase, StartPolicy
from raythena.launch import remote_nodes
from raythena.launch.node_process import NodeOrder
from raythena.launch.ray_head import RayNode
from raythena.launch.remote_nodes import NodeSpec, RemoteNodes

POLICY = StartPolicy(at_once=8, start_limit_s=5.0, max_failures=2, first_pause_s=0.05, last_pause_s=0.1)
LIVES = "read order; read stop; exit 0"
"""A node process that does what it should."""


class Site:
    """Nodes that are scripts; `ray` is what Ray lists."""

    def __init__(self, monkeypatch, scripts, policy=POLICY):
        self.ray = {}
        self.told = []
        monkeypatch.setattr(remote_nodes, "_LOOK_S", 0.02)
        monkeypatch.setattr(remote_nodes, "_STOP_LIMIT_S", 0.5)
        monkeypatch.setattr(remote_nodes, "_CUT_OFF_LIMIT_S", 0.5)
        monkeypatch.setattr(remote_nodes, "ray_nodes", self._listed)
        specs = [NodeSpec(name, ("sh", "-c", script)) for name, script in scripts.items()]
        self.nodes = RemoteNodes(specs, self._order, {"PATH": "/usr/bin:/bin"}, policy, self.told.append)

    def _order(self, spec, name):
        return NodeOrder(name, "h:1", "secret", 0, "", "", "", "")

    def _listed(self):
        return [RayNode(name, name, "10.0.0.1", alive) for name, alive in self.ray.items()]

    def phase(self, name):
        return self.nodes._starts.phase(name)

    async def until(self, condition, what, limit_s=20.0):
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, f"{what}; told: {self.told}"
            await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def running(self):
        self.nodes.begin()
        try:
            yield self
        finally:
            await self.nodes.stop()


def play(site, story):
    async def whole():
        async with site.running():
            await story()

    asyncio.run(whole())


def test_a_node_is_up_when_ray_lists_it(monkeypatch, tmp_path):
    order = tmp_path / "order"
    site = Site(monkeypatch, {"a": f"read order; echo $order > {order}.part; mv {order}.part {order}; read stop"})

    async def story():
        await site.until(order.exists, "the order")
        assert site.phase("a") is NodePhase.STARTING
        site.ray["a.1"] = True
        await site.until(lambda: site.phase("a") is NodePhase.UP, "up")
        assert site.nodes.failure() == ""

    play(site, story)
    assert NodeOrder.parse(order.read_bytes()) == NodeOrder("a.1", "h:1", "secret", 0, "", "", "", "")
    assert [text for text in site.told if "again" in text or "aside" in text] == [], "the end of all is no failure"


def test_a_node_that_does_not_start_is_tried_again_and_told_with_its_last_words(monkeypatch):
    site = Site(monkeypatch, {"a": "echo srun: error: no such node; exit 3", "b": LIVES})

    async def story():
        await site.until(lambda: site.phase("a") is NodePhase.ASIDE, "set aside")
        assert site.nodes.failure() == "", "there is another node"

    play(site, story)
    reason = "sh ended with 3: srun: error: no such node"
    assert site.told == [f"node a: {reason}; again in 0 s (1 of 2)", f"node a is set aside: {reason}"]


def test_what_the_node_process_says_itself_counts_more(monkeypatch):
    script = """read order; echo banner; echo 'raythena-node: {"say": "ended", "reason": "no room on /tmp"}'; exit 1"""
    site = Site(monkeypatch, {"a": script})

    async def story():
        await site.until(site.nodes.failure, "no hope")
        assert site.nodes.failure() == "none of 1 other nodes can be used: a: no room on /tmp"

    play(site, story)


def test_a_command_that_is_not_there_is_a_reason_too(monkeypatch):
    site = Site(monkeypatch, {})
    site.nodes = RemoteNodes([NodeSpec("a", ("no-such-srun",))], site._order, {}, POLICY, site.told.append)

    async def story():
        await site.until(site.nodes.failure, "no hope")
        assert "no-such-srun cannot be run: No such file or directory" in site.nodes.failure()

    play(site, story)


def test_where_standard_input_is_not_passed_on_a_file_is_the_channel(monkeypatch, tmp_path):
    """The order is in it, for its owner's eyes only; it goes when the node is to end."""
    copy = tmp_path / "copy"
    script = f"letter=${{0#--order=}}; cp $letter {copy}.part; stat -c %a $letter >> {copy}.part; mv {copy}.part {copy}; "
    script += "while [ -e $letter ]; do sleep 0.02; done"
    site = Site(monkeypatch, {})
    spec = NodeSpec("a", ("sh", "-c", script), by_file=True)
    letters = tmp_path / "letters"
    letters.mkdir()
    site.nodes = RemoteNodes([spec], site._order, {"PATH": "/usr/bin:/bin"}, POLICY, site.told.append, letters=letters)

    async def story():
        await site.until(copy.exists, "the order")
        assert [path.name for path in letters.iterdir()] == ["a.1"]

    began = time.monotonic()
    play(site, story)
    order, mode, _ = copy.read_text().split("\n")
    assert NodeOrder.parse(order.encode()).name == "a.1"
    assert mode == "600"
    assert list(letters.iterdir()) == []
    assert time.monotonic() - began < 10


def test_a_start_that_takes_too_long_is_ended(monkeypatch):
    quick = StartPolicy(start_limit_s=0.1, max_failures=1)
    site = Site(monkeypatch, {"a": LIVES}, quick)

    async def story():
        await site.until(lambda: site.phase("a") is NodePhase.ASIDE, "set aside")

    play(site, story)
    assert site.told == ["node a is set aside: not up after 0 s"]


def test_a_node_that_ray_gave_up_is_ended_and_started_again(monkeypatch):
    site = Site(monkeypatch, {"a": LIVES, "b": LIVES})

    async def story():
        site.ray |= {"a.1": True, "b.1": True}
        await site.until(lambda: site.phase("a") is site.phase("b") is NodePhase.UP, "up")
        site.ray["a.1"] = False
        await site.until(lambda: "a.2" in {start.name for start in site.nodes._now.values()}, "another start")
        site.ray["a.2"] = True
        await site.until(lambda: site.phase("a") is NodePhase.UP, "back")
        assert site.phase("b") is NodePhase.UP

    play(site, story)
    assert "node a: its Ray node is dead; again in 0 s (1 of 12)" in site.told


def test_a_process_out_of_reach_does_not_keep_its_node_from_starting_again(monkeypatch):
    site = Site(monkeypatch, {"a": "read order; trap '' TERM; while :; do sleep 0.05; done"})
    monkeypatch.setattr(remote_nodes, "_STOP_LIMIT_S", 3.0)

    async def story():
        site.ray["a.1"] = True
        await site.until(lambda: site.phase("a") is NodePhase.UP, "up")
        began = time.monotonic()
        site.ray["a.1"] = False
        await site.until(lambda: "a.2" in {start.name for start in site.nodes._now.values()}, "another start")
        assert time.monotonic() - began < 3.0
        assert [start.name for start in site.nodes._left] == ["a.1"]

    play(site, story)
    assert site.nodes._left == set(), "both were ended in the end"


def test_one_that_does_not_end_is_cut_off(monkeypatch):
    stubborn = "trap '' TERM; while :; do sleep 0.05; done"
    site = Site(monkeypatch, {"a": stubborn}, StartPolicy(start_limit_s=0.1, max_failures=1))

    async def story():
        await site.until(lambda: site.phase("a") is NodePhase.ASIDE, "cut off")

    began = time.monotonic()
    play(site, story)
    assert time.monotonic() - began < 15


def test_lines_without_end_do_no_harm(monkeypatch):
    site = Site(monkeypatch, {"a": "read order; head -c 300000 /dev/zero | tr '\\0' x; echo; echo last words; exit 1"})

    async def story():
        await site.until(lambda: site.phase("a") is NodePhase.ASIDE, "set aside")

    play(site, story)
    assert "last words" in site.told[-1]
    assert len(site.told[-1]) < 3000


def test_ray_may_be_away_for_a_moment(monkeypatch):
    site = Site(monkeypatch, {"a": LIVES})
    answers = iter([RuntimeError("GCS unavailable")] * 3)

    def listed():
        problem = next(answers, None)
        if problem:
            raise problem
        return [RayNode("a.1", "a.1", "10.0.0.1", True)]

    monkeypatch.setattr(remote_nodes, "ray_nodes", listed)

    async def story():
        await site.until(lambda: site.phase("a") is NodePhase.UP, "up in the end")

    play(site, story)


def test_a_defect_ends_the_hope(monkeypatch):
    site = Site(monkeypatch, {"a": LIVES})
    monkeypatch.setattr(site.nodes, "_order", None)

    def broken(*_):
        raise KeyError("a defect")

    monkeypatch.setattr(site.nodes._starts, "due", broken)

    async def story():
        await site.until(lambda: "a defect" in site.nodes.failure(), "the failure")

    play(site, story)


@pytest.mark.parametrize("scripts", [{}, {"a": LIVES}])
def test_an_end_before_the_beginning(monkeypatch, scripts):
    site = Site(monkeypatch, scripts)
    asyncio.run(site.nodes.stop())
    assert site.nodes.failure() == ""
