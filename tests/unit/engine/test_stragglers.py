"""Late events are begun a second time, but one that fails again and again comes to an end."""

from __future__ import annotations

import numpy as np

from raythena.domain.ranges import RangeState
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.testing.simulation.samples import group_of, small_job

HANGING = 5
NODES = ("a", "b")


class Site:
    """Two nodes with one core each: every event takes a second, one never ends and is killed after `limit_s`."""

    def __init__(self, config: EngineConfig) -> None:
        self.engine = Engine(small_job((6,), 6), None, config)
        self.now = 0.0
        self.groups = 0
        self.hanging: dict[str, float] = {}
        self.failures: list[str] = []
        for node in NODES:
            self.step(ev.NodeJoined(node=node, cores=1, held=np.empty(0, dtype=np.int64)))

    def step(self, event: ev.Event) -> None:
        for command in self.engine.step(event, self.now):
            match command:
                case do.Commit():
                    self.step(ev.Committed((command.ticket,)))
                case do.Lease():
                    self.take(command.node, command.ranges.tolist())

    def take(self, node: str, ranges: list[int]) -> None:
        if HANGING in ranges:
            self.hanging[node] = self.now
        if good := [index for index in ranges if index != HANGING]:
            self.groups += 1
            self.step(ev.GroupReported(group_of(f"g{self.groups}", node, 0, good)))

    def pass_time(self, limit_s: float) -> None:
        self.now += 0.5
        for node, since in list(self.hanging.items()):
            if self.now - since >= limit_s:
                del self.hanging[node]
                self.failures.append(node)
                self.step(ev.AttemptReported(RangeFailure(HANGING, FailureKind.HANG, "too long", node)))
        for node in NODES:
            running = ((HANGING, self.now - self.hanging[node]),) if node in self.hanging else ()
            self.step(ev.NodeReport(node=node, queued=0, running=running, waiting=(), unreported=0, computed=1, computed_s=1.0))
        self.step(ev.Tick())


def test_a_hanging_event_is_not_begun_anew_for_ever():
    site = Site(EngineConfig(max_attempts=3, straggler_min_s=1.0))
    both = False
    for _ in range(400):
        site.pass_time(limit_s=5.0)
        both = both or len(site.hanging) == 2
        if site.engine.table.state[HANGING] == RangeState.FAILED:
            break
    assert both, "the late event was never begun a second time"
    assert site.engine.table.state[HANGING] == RangeState.FAILED
    assert len(site.failures) == 3
