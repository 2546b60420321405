"""What the parts of a simulated site see of it and of each other.

Coordinator, nodes, payloads, the source of ranges and whoever makes trouble are made by the site and live in it. They know it
only through these protocols, so that each can be read alone and nothing is imported in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from raythena.domain.job import Job
from raythena.domain.ranges import Indices
from raythena.domain.records import Record
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.node_core import CoordinatorReply, Destinations, NodeMessage
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


class Coordinating(Protocol):
    """One life of a coordinator, for those who talk to it."""

    @property
    def finish(self) -> do.Finish | None:
        """How the job ended, once it has."""

    def when_awake(self, action: Callable[[], None]) -> None:
        """Do something now, or when it has thawed; never once it is dead."""

    def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """A node introduces itself."""

    def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """A node reports."""

    def tell(self, event: ev.Event) -> None:
        """Something happened."""

    def freeze(self, until: float) -> None:
        """Stand still."""


class Computing(Protocol):
    """One incarnation of a node, for those who make trouble for it."""

    @property
    def name(self) -> str:
        """Of host and incarnation."""

    @property
    def alive(self) -> bool:
        """Whether it still computes."""

    def die(self, why: str) -> None:
        """Vanish without a word."""

    def cut_off(self, until: float, *, only_deaf: bool) -> None:
        """Nothing reaches the node until then, nor, unless it is `only_deaf`, leaves it."""

    def fill_scratch(self, until: float) -> None:
        """The node's own disk takes nothing before `until`."""

    def crash_payload(self) -> None:
        """Everything in the payload is lost."""


class RangesOutside(Protocol):
    """Who hands out ranges and is told what became of them."""

    silent_until: float
    """Nothing is answered before this."""

    def wanted(self, coordinator: Coordinating, count: int) -> None:
        """A coordinator asks."""

    def report(self, coordinator: Coordinating, command: do.PublishReport) -> None:
        """A coordinator reports."""

    def lent(self, lease: Indices) -> None:
        """Ranges are given to a node."""


class Surroundings(Protocol):
    """The site, for those who live in it."""

    plan: Plan
    parts: Parts
    agenda: Agenda
    trace: Trace
    fault_model: FaultModel
    job: Job
    judge: Judge
    destinations: Destinations
    disk: SimulatedDisk
    meter: Meter
    ledger: WatchedLedger
    lease: Lease
    session: int
    host: str

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""

    @property
    def nodes(self) -> Sequence[Computing]:
        """Every incarnation of this session."""

    @property
    def coordinator(self) -> Coordinating | None:
        """Whose life it is."""

    @property
    def range_source(self) -> RangesOutside:
        """Where given ranges come from."""

    def commit(self, records: Sequence[Record]) -> None:
        """Make records durable. Raises StorageError."""

    def crash(self) -> None:
        """The coordinator dies, between any two steps."""

    def end(self, reason: str) -> None:
        """The session is over, and nobody was asked."""

    def given_up(self, name: str) -> None:
        """The coordinator believes that a node is gone."""

    def replace(self, name: str) -> None:
        """A node died."""
