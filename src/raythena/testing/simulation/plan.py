"""What a simulated site is like, and what goes wrong there.

A `Plan` is a frozen value with a `repr` that can be pasted: with a seed it is the whole reproduction of a run. Faults happen
within the first `trouble_s` seconds; after that the world is kind, and the job must end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from raythena.engine.config import EngineConfig
from raythena.engine.desk import DeskConfig
from raythena.engine.node import NodeConfig


@dataclass(frozen=True)
class Plan:
    """Times in seconds, chances between 0 and 1, everything else counts."""

    events_per_input: tuple[int, ...] = (200, 200)
    events_per_output: int = 100
    nodes: int = 4
    cores: int = 2
    mean_event_s: float = 1.0
    spread: float = 0.6
    """Width of the log-normal distribution of event times."""
    slow_nodes: int = 0
    slowness: float = 5.0
    delay_s: float = 0.01
    """Typical time of a message on its way."""
    loss: float = 0.0
    """Chance that a message or an answer is lost."""
    duplication: float = 0.0
    """Chance that a message arrives twice, the second time up to `straying_s` later."""
    straying_s: float = 5.0
    trouble_s: float = 0.0
    crashes: int = 0
    """Of the coordinator."""
    deaths: int = 0
    """Nodes that vanish for good; another one comes instead."""
    cuts: int = 0
    """Nodes that are out of reach for a while, some longer than the coordinator waits."""
    payload_crashes: int = 0
    poison: int = 0
    """Events that always fail."""
    hangs: int = 0
    """Events that never end and are killed after `hang_limit_s`."""
    hang_limit_s: float = 10.0
    killers: int = 0
    """Events that take their node down."""
    flaky: float = 0.0
    """Chance that an attempt fails for no reason."""
    merge_failure: float = 0.0
    damage: float = 0.0
    """Chance that a range in a durable group turns out unreadable."""
    stalls: int = 0
    """Times the disk refuses for a while."""
    stops: int = 0
    """Times the session is stopped, to be resumed by another."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    desk: DeskConfig = field(default_factory=DeskConfig)
    node: NodeConfig = field(default_factory=NodeConfig)

    @property
    def n_events(self) -> int:
        """Events of the job."""
        return sum(self.events_per_input)

    @property
    def ideal_s(self) -> float:
        """Makespan if every core were always busy with healthy events of mean length."""
        return self.n_events * self.mean_event_s / (self.nodes * self.cores)

    @classmethod
    def drawn(cls, seed: int) -> Plan:
        """A small site with a random selection of troubles."""
        dice = random.Random(f"plan {seed}")
        events = tuple(dice.choice((3, 7, 20, 30)) for _ in range(dice.randint(1, 4)))
        nodes, cores = dice.randint(1, 5), dice.randint(1, 3)
        mean_s = dice.choice((0.05, 0.3, 1.0, 2.0))
        ideal_s = sum(events) * mean_s / (nodes * cores)

        def some(most: int) -> int:
            return dice.randint(1, most) if dice.random() < 0.4 else 0

        def chance(most: float) -> float:
            return dice.uniform(0.0, most) if dice.random() < 0.4 else 0.0

        return cls(
            events,
            dice.choice((2, 5, 10, 33)),
            nodes,
            cores,
            mean_s,
            dice.choice((0.1, 0.6, 1.2)),
            some(2),
            dice.choice((2.0, 5.0)),
            dice.choice((0.001, 0.02, 0.3)),
            chance(0.3),
            chance(0.3),
            trouble_s=1.5 * ideal_s + 5.0,
            crashes=some(5),
            deaths=some(3),
            cuts=some(3),
            payload_crashes=some(3),
            poison=some(3),
            hangs=some(2),
            hang_limit_s=max(5.0, 5.0 * mean_s),
            killers=some(1),
            flaky=chance(0.1),
            merge_failure=chance(0.5),
            damage=chance(0.05),
            stalls=some(2),
            stops=some(2),
            engine=EngineConfig(buffer_s=dice.choice((0.5, 2.0, 10.0)), drain_limit_s=10.0),
            desk=DeskConfig(hungry_interval_s=dice.choice((0.1, 0.5)), node_timeout_s=10.0),
            node=NodeConfig(group_events=dice.choice((1, 4, 64)), group_age_s=dice.choice((0.5, 3.0))),
        )
