"""What the actors of a simulated site may know of each other: the site as nodes, coordinators and troubles see it.

The site makes the actors and knows their classes; they know it by these protocols alone, so that no module needs another one that
needs it in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from raythena.domain.job import Job
from raythena.domain.ranges import Indices, RangeLayout
from raythena.domain.records import Record, Restored
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.node_core import Destinations
from raythena.engine.node_messages import CoordinatorReply, NodeMessage
from raythena.engine.restarts import AgentEnd
from raythena.testing.simulation.agenda import Agenda
from raythena.testing.simulation.disk import SimulatedDisk
from raythena.testing.simulation.fault_model import FaultModel
from raythena.testing.simulation.judge import Judge
from raythena.testing.simulation.meter import Meter
from raythena.testing.simulation.plan import Plan
from raythena.testing.simulation.simulated_lease import Lease
from raythena.testing.simulation.site_parts import Parts
from raythena.testing.simulation.storage import WatchedLedger
from raythena.testing.simulation.trace import Trace


@dataclass
class Host:
    """A place for a node; machines and their agents come and go there."""

    name: str
    slowness: float = 1.0
    is_bad: bool = False
    """Every event fails there as long as the trouble lasts."""
    is_frail: bool = False
    """Agents die soon after their start as long as the trouble lasts."""
    breaks_payloads: bool = False
    """The payload fails soon after its start as long as the trouble lasts."""
    leaves: bool = False
    """Its machines leave before the job is over, as long as the trouble lasts."""
    leaves_at: float = float("inf")
    """The machine of the moment."""
    incarnations: int = 0
    machine: int = 0
    """Counts the machines that were here; whoever starts agents takes each for another one."""
    is_up: bool = False
    """The machine of the moment is there."""

    @property
    def machine_name(self) -> str:
        """The machine of the moment."""
        return f"{self.name}#{self.machine}"


class CoordinatorAtSite(Protocol):
    """A coordinator, as others reach it."""

    finish: do.Finish | None

    def when_awake(self, action: Callable[[], None]) -> None:
        """Do something now, or when it has thawed; never once it is dead."""

    def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """A node introduces itself."""

    def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """A node reports."""

    def tell(self, event: ev.Event) -> None:
        """Something happened."""

    def lose(self, node: str) -> None:
        """A node is known to be dead."""

    def silence_s(self, node: str) -> float:
        """How long nothing has been heard of a node."""

    def freeze(self, until: float) -> None:
        """Stand still."""


class NodeAtSite(Protocol):
    """A node's agent, as others reach it."""

    name: str
    host: Host
    alive: bool
    is_frozen: bool

    @property
    def is_loading(self) -> bool:
        """It has not come up yet."""

    @property
    def is_out_of_reach(self) -> bool:
        """Nobody can say whether it lives."""

    def start(self) -> None:
        """Come up."""

    def end(self, how: AgentEnd, why: str) -> None:
        """End without having been told to."""

    def lose_machine(self, why: str) -> None:
        """Vanish together with the machine."""

    def leave(self) -> None:
        """End as it was told to."""

    def freeze(self) -> None:
        """Do nothing any more, and answer nobody."""

    def cut_off(self, until: float, *, only_deaf: bool) -> None:
        """Nothing reaches the node until then, nor, unless it is `only_deaf`, leaves it."""

    def fill_scratch(self, until: float) -> None:
        """The node's own disk takes nothing before `until`."""

    def crash_payload(self) -> None:
        """The payload dies with everything in it."""


class SourceAtSite(Protocol):
    """Whoever hands ranges out, as others reach them."""

    silent_until: float

    def wanted(self, coordinator: CoordinatorAtSite, count: int) -> None:
        """A coordinator asks for ranges."""

    def accepted(self, n_new: int) -> None:
        """A coordinator says how many of the last ranges it did not know."""

    def report(self, coordinator: CoordinatorAtSite, command: do.PublishReport) -> None:
        """A report is published."""

    def leased(self, ranges: Indices) -> None:
        """Ranges are handed on to a node."""


class UpstreamAtSite(Protocol):
    """The task that makes the inputs, as others reach it."""

    def look(self, coordinator: CoordinatorAtSite) -> None:
        """A coordinator looks at it."""

    def leased(self, layout: RangeLayout, ranges: Indices) -> None:
        """Ranges are handed on to a node."""


class Surroundings(Protocol):
    """A site."""

    plan: Plan
    parts: Parts
    job: Job
    agenda: Agenda
    trace: Trace
    fault_model: FaultModel
    judge: Judge
    disk: SimulatedDisk
    meter: Meter
    ledger: WatchedLedger
    lease: Lease
    destinations: Destinations
    session: int
    host: str
    """Where the session's coordinator runs."""
    hosts: list[Host]

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""

    @property
    def nodes(self) -> Sequence[NodeAtSite]:
        """Agents of this session, dead ones among them."""

    @property
    def coordinator(self) -> CoordinatorAtSite | None:
        """The one that lives."""

    @property
    def range_source(self) -> SourceAtSite:
        """Whoever hands ranges out."""

    @property
    def upstream(self) -> UpstreamAtSite | None:
        """The task that makes the inputs, if one does."""

    def begin_life_of_ledger(self) -> Restored:
        """What a new coordinator starts from, after it has reopened what it is to."""

    def commit(self, records: Sequence[Record]) -> None:
        """Make records durable. Raises StorageError."""

    def crash(self) -> None:
        """The coordinator dies; another one comes."""

    def end(self, reason: str) -> None:
        """The session is over, and nobody was asked."""

    def start_agent(self, host: Host) -> NodeAtSite:
        """Another incarnation begins at a host."""

    def living_agent(self, host: Host) -> NodeAtSite | None:
        """The agent of the machine that is at a host."""

    def agent_ended(self, node: NodeAtSite, how: AgentEnd) -> None:
        """An agent ended before the job."""

    def machine_lost(self, node: NodeAtSite) -> None:
        """A machine vanished with its agent."""

    def given_up(self, name: str) -> None:
        """The coordinator believes that a node is gone."""
