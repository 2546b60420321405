"""Starting nodes: each on its own, a few times, never waited for."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raythena.domain.errors import InternalError
from raythena.engine.node_starts import NodePhase, NodeStarts, Retry, SetAside, StartPolicy

POLICY = StartPolicy(at_once=3, start_limit_s=100, max_failures=3, max_absences=5, first_pause_s=2, last_pause_s=10, stable_s=60)


def starts(*names, **changes):
    from dataclasses import replace

    return NodeStarts(names, replace(POLICY, **changes), 0.0)


def test_all_nodes_start_at_once_as_far_as_they_may():
    nodes = starts("a", "b", "c", "d", "e")
    assert nodes.due(0.0) == ["a", "b", "c"]
    assert nodes.due(1.0) == []
    nodes.came_up("b", 2.0)
    assert nodes.due(2.0) == ["d"]
    nodes.ended("a", "no route", 3.0)
    assert nodes.due(3.0) == ["e"]


def test_a_failure_costs_a_pause_that_doubles_and_in_the_end_the_node():
    nodes = starts("a")
    now = 0.0
    for pause_s in (2.0, 4.0):
        assert nodes.due(now) == ["a"]
        assert nodes.ended("a", "no such file", now) == Retry(pause_s, int(pause_s / 2), 3)
        assert nodes.due(now + pause_s - 0.1) == []
        now += pause_s
    assert nodes.due(now) == ["a"]
    assert nodes.ended("a", "still no such file", now) == SetAside(3)
    assert nodes.due(now + 1e6) == []
    assert nodes.reasons() == {"a": "still no such file"}
    assert nodes.hopeless


def test_a_node_that_was_up_is_waited_for_longer():
    nodes = starts("a")
    nodes.due(0.0)
    nodes.came_up("a", 1.0)
    now, pauses = 2.0, []
    while isinstance(verdict := nodes.ended("a", "gone", now), Retry):
        pauses.append(verdict.pause_s)
        now += verdict.pause_s
        assert nodes.due(now) == ["a"]
    assert pauses == [2, 4, 8, 10]
    assert verdict == SetAside(5)


def test_a_node_that_stayed_up_begins_anew():
    nodes = starts("a")
    now = 0.0
    for _ in range(20):
        assert nodes.due(now) == ["a"]
        nodes.came_up("a", now)
        now += 60.0
        assert nodes.ended("a", "rebooted", now) == Retry(2.0, 1, 5)
        now += 2.0


def test_a_node_that_flaps_does_not():
    nodes = starts("a")
    now, verdict = 0.0, None
    while not isinstance(verdict, SetAside):
        assert nodes.due(now) == ["a"]
        nodes.came_up("a", now)
        verdict = nodes.ended("a", "died again", now + 59.0)
        now += 59.0 + 10.0
    assert verdict.failures == 5


def test_a_start_that_takes_too_long_is_overdue_until_it_has_ended():
    nodes = starts("a", "b")
    nodes.due(0.0)
    nodes.came_up("b", 1.0)
    assert nodes.overdue(100.0) == []
    assert nodes.overdue(100.1) == ["a"]
    assert nodes.overdue(200.0) == ["a"]
    nodes.ended("a", "took too long", 201.0)
    assert nodes.overdue(300.0) == []


def test_hope_ends_with_the_last_node():
    nodes = starts("a", "b", max_failures=1)
    nodes.due(0.0)
    nodes.ended("a", "x", 0.0)
    assert not nodes.hopeless
    nodes.ended("b", "x", 0.0)
    assert nodes.hopeless


@pytest.mark.parametrize("what", [lambda n: n.came_up("a", 1.0), lambda n: n.ended("a", "x", 1.0)])
def test_what_cannot_happen_tells_the_story(what):
    nodes = starts("a", max_failures=1)
    nodes.due(0.0)
    nodes.ended("a", "x", 0.5)
    with pytest.raises(InternalError, match=r"cannot be .* after set aside; so far: waiting -> starting at 0.0 s"):
        what(nodes)


class ManyNodes(RuleBasedStateMachine):
    """Anything may happen to any node; each has a twin that is alone in the world and must fare the same."""

    @initialize(count=st.integers(1, 6))
    def begin(self, count):
        self.now = 0.0
        self.names = [f"n{i}" for i in range(count)]
        self.nodes = NodeStarts(self.names, POLICY, 0.0)
        self.layouts = {name: NodeStarts([name], POLICY, 0.0) for name in self.names}

    @rule(step=st.floats(0.0, 80.0))
    def time_passes(self, step):
        self.now += step

    @rule()
    def look(self):
        for name in self.nodes.due(self.now):
            assert self.layouts[name].due(self.now) == [name], "due because of the others"

    @rule(data=st.data())
    def something_happens(self, data):
        busy = [name for name in self.names if self.nodes.phase(name) in {NodePhase.STARTING, NodePhase.UP}]
        if not busy:
            return
        name = data.draw(st.sampled_from(busy))
        if self.nodes.phase(name) is NodePhase.STARTING and data.draw(st.booleans()):
            self.nodes.came_up(name, self.now)
            self.layouts[name].came_up(name, self.now)
        else:
            assert self.nodes.ended(name, "x", self.now) == self.layouts[name].ended(name, "x", self.now)

    @invariant()
    def never_too_many_at_once(self):
        if hasattr(self, "nodes"):
            starting = [name for name in self.names if self.nodes.phase(name) is NodePhase.STARTING]
            assert len(starting) <= POLICY.at_once

    @invariant()
    def nobody_is_forgotten(self):
        """Whoever is neither there nor set aside is started before long."""
        if hasattr(self, "nodes"):
            waiting = [name for name in self.names if self.nodes.phase(name) is NodePhase.WAITING]
            for name in waiting:
                assert self.layouts[name]._nodes[name].due_at <= self.now + POLICY.last_pause_s


ManyNodes.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestManyNodes = ManyNodes.TestCase
