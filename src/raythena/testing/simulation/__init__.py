"""A simulated site: real engine, node exchange, node core, restart policies, and ledger if wanted; everything else is virtual.

    from raythena.testing.simulation import simulate
    simulate(17)                                  # everything about this run follows from its seed
    simulate(17, Plan(nodes=1000, cores=128))     # a site of one's own

From a shell: `raythena simulate --first 17 --seeds 1`. What is modelled, and what is not: `docs/simulation.md`.
"""

from raythena.engine.engine_config import BudgetConfig, DeadlineConfig, EngineConfig, SupplyConfig
from raythena.engine.exchange import ExchangeConfig
from raythena.engine.node_core import NodeConfig
from raythena.engine.restarts import RestartLimits
from raythena.testing.simulation.judge import PromiseBroken
from raythena.testing.simulation.memory_ledger import MemoryLedger
from raythena.testing.simulation.plan import Plan
from raythena.testing.simulation.site import Result, simulate
from raythena.testing.simulation.site_parts import Parts

__all__ = [
    "BudgetConfig",
    "DeadlineConfig",
    "EngineConfig",
    "ExchangeConfig",
    "MemoryLedger",
    "NodeConfig",
    "Parts",
    "Plan",
    "PromiseBroken",
    "RestartLimits",
    "Result",
    "SupplyConfig",
    "simulate",
]
