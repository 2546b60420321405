"""The real things a simulated site is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raythena.domain.job import Job
from raythena.engine.departure import Departure
from raythena.engine.engine import Engine
from raythena.engine.exchange import NodeExchange
from raythena.engine.node_core import NodeCore
from raythena.engine.restarts import AgentRestarts, PayloadRestarts
from raythena.engine.scan_policy import PolicyRules, ScanPolicy, Searcher
from raythena.engine.scan_supply import ScanSupply
from raythena.testing.simulation.simulated_lease import Lease, LeaseInMemory
from raythena.testing.simulation.storage import SimulatedLedger


@dataclass(frozen=True)
class Parts:
    """Others in their place show that the judge notices."""

    engine: Callable[..., Engine] = Engine
    node_exchange: Callable[..., NodeExchange] = NodeExchange
    core: Callable[..., NodeCore] = NodeCore
    departure: Callable[..., Departure] = Departure
    agent_restarts: Callable[..., AgentRestarts] = AgentRestarts
    payload_restarts: Callable[..., PayloadRestarts] = PayloadRestarts
    scan_policy: Callable[[PolicyRules, Searcher], ScanPolicy] = ScanPolicy
    scan_supply: Callable[[ScanPolicy], ScanSupply] = ScanSupply
    ledger: Callable[[Job], SimulatedLedger] | None = None
    """None: in memory, or on disk if the plan says so."""
    lease: Callable[[Callable[[], float]], Lease] = LeaseInMemory
