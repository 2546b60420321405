"""What a simulated site is like, and what goes wrong there.

A `Plan` is a frozen value that can be written down as a line of Python (`pasted`): with a seed it is the whole reproduction of a
run. Faults happen within the first `trouble_s` seconds; after that nothing fails any more, and the job must end.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass

from raythena.engine.engine_config import EngineConfig
from raythena.engine.exchange import ExchangeConfig
from raythena.engine.node_core import NodeConfig
from raythena.engine.restarts import AGENT_LIMITS, RestartLimits


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
    late_nodes: int = 0
    """Nodes that join at some time during the trouble instead of at the beginning."""
    leaving_nodes: int = 0
    """Nodes whose own allocation ends before the job, at some time during the trouble: they know when."""
    bad_nodes: int = 0
    """Nodes on which every event fails, at once, as long as the trouble lasts."""
    delay_s: float = 0.01
    """Typical time of a message on its way."""
    poll_s: float = 0.1
    """How often an agent looks at its payload when nothing else wakes it."""
    loss: float = 0.0
    """Chance that a message or an answer is lost."""
    late: float = 0.0
    """Chance that a message or an answer is overtaken by others: it takes up to `straying_s`."""
    duplication: float = 0.0
    """Chance that a message arrives twice, the second time up to `straying_s` later."""
    straying_s: float = 5.0
    trouble_s: float = 0.0
    crashes: int = 0
    """Of the coordinator, between any two steps."""
    commit_kills: float = 0.0
    """Chance that a commit kills the coordinator in the middle."""
    freezes: int = 0
    """Times the coordinator stands still for a while, and then goes on."""
    intruders: int = 0
    """Second coordinators started by mistake on the same task."""
    deaths: int = 0
    """Nodes that vanish, the agent alone or with its machine; another one comes to the same place."""
    cuts: int = 0
    """Nodes that are out of reach for a while, some longer than the coordinator waits."""
    partitions: int = 0
    """The same, for several nodes together."""
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
    """Chance that a merge task dies."""
    bad_merge: float = 0.0
    """Chance that a merge writes a file that lacks an event."""
    damage: float = 0.0
    """Chance that a range in a durable group turns out unreadable."""
    stalls: int = 0
    """Times the disk is full for a while."""
    full_scratches: int = 0
    """Times a node's own disk is full for a while: what is running there is lost, and nothing new is begun."""
    io_errors: float = 0.0
    """Chance that a commit fails once."""
    slow_disk_s: float = 0.0
    """A commit and a group take up to so long."""
    storage_patience_s: float = 15.0
    """How long the coordinator waits for a disk that refuses before it gives up the session."""
    stops: int = 0
    """Times somebody ends the session, to be resumed by another."""
    walltime_s: float = 0.0
    """Typical length of the allocations during the trouble; 0: they have no end."""
    walltime_known: bool = False
    """Whether the engine knows when the allocation ends."""
    warning_s: float = 0.0
    """So long before its end the batch system sends a signal; 0: it does not."""
    retries: int = 0
    """Times, once the job is done, that somebody mends what made events fail, most of it, and has them tried again."""
    given: bool = False
    """Somebody else hands the ranges out while the job runs, and is told what became of each; nothing is merged."""
    parallel: int = 0
    """The ranges that are handed out are the points of a scan with so many open at a time; 0: they were there before."""
    answer_s: float = 1.0
    """Whoever does takes up to so long for an answer."""
    silences: int = 0
    """Times they say nothing for a while."""
    merged: bool = True
    """Whether the outputs of a job that cuts its own ranges are merged, or stay in groups."""
    on_disk: bool = False
    """The real ledger and the real lease, in files."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    node_exchange: ExchangeConfig = field(default_factory=ExchangeConfig)
    node: NodeConfig = field(default_factory=NodeConfig)
    frail_nodes: int = 0
    """Nodes whose agents die seconds after they started, as long as the trouble lasts."""
    broken_payloads: int = 0
    """Nodes on which the payload fails soon after each start, as long as the trouble lasts."""
    frozen_agents: int = 0
    """Agents that do nothing any more and do not end."""
    loading_s: float = 0.0
    """During the trouble an agent takes up to so long to come up."""
    restarts: RestartLimits = AGENT_LIMITS
    upstream: bool = False
    """Another task makes the inputs while the job runs, and gives some of their events up."""

    @property
    def n_events(self) -> int:
        """Events of the job."""
        return sum(self.events_per_input)

    @property
    def ideal_s(self) -> float:
        """Makespan if every core were always busy with healthy events of mean length."""
        return self.n_events * self.mean_event_s / (self.nodes * self.cores)


def default_of(slot: Field[object]) -> object:
    """What a field of a plan is if nobody says anything."""
    return slot.default_factory() if slot.default_factory is not MISSING else slot.default


def pasted(value: object) -> str:
    """A plan, or another frozen value, as Python that makes it: what is as usual is left out."""
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    unusual = ((slot.name, getattr(value, slot.name)) for slot in fields(value) if getattr(value, slot.name) != default_of(slot))
    return f"{type(value).__name__}({', '.join(f'{name}={pasted(content)}' for name, content in unusual)})"
