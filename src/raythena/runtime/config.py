"""Everything the processes of one session must agree on: sent once to the coordinator, which hands the agents their part."""

from __future__ import annotations

from dataclasses import dataclass, field

from raythena.domain.job import Job
from raythena.domain.taxonomy import EndCause
from raythena.engine.config import EngineConfig
from raythena.engine.desk import DeskConfig
from raythena.engine.node import NodeConfig

NODE_RESOURCE = "raythena_core"
"""Ray resource that marks a node as ours; its amount is the number of cores to keep busy."""


@dataclass(frozen=True, slots=True)
class PayloadLimits:
    """When an event counts as hanging; see `PayloadContext`."""

    min_time_limit_s: float = 60.0
    time_limit_factor: float = 20.0
    first_time_limit_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """One session: one run of one job in one allocation. A task may take several."""

    session: str
    """Unique for all time; a directory name."""
    task_directory: str
    """Absolute path on the shared file system."""
    job: Job
    engine: EngineConfig = field(default_factory=EngineConfig)
    desk: DeskConfig = field(default_factory=DeskConfig)
    node: NodeConfig = field(default_factory=NodeConfig)
    limits: PayloadLimits = field(default_factory=PayloadLimits)
    commit_interval_s: float = 0.1
    """Pause between two commits of the ledger: results wait at most this long for their acknowledgement."""
    storage_patience_s: float = 300.0
    """How long the disk may refuse before the job is given up."""
    coordinator_patience_s: float = 120.0
    """How long a node computes on without a coordinator before it leaves."""
    scratch_directory: str = ""
    """Node-local directory; empty: `$TMPDIR` or the system's."""
    batch_job: str = ""
    """Id of the batch job, for the lease file."""
    ends_at: float | None = None
    """Wall-clock seconds since the epoch at which the allocation ends and everything is killed; None: not known."""

    @property
    def namespace(self) -> str:
        """Ray namespace of this session's actors."""
        return f"raythena-{self.session}"


@dataclass(frozen=True, slots=True)
class StopOrder:
    """An early end is wanted."""

    reason: str
    cause: EndCause = EndCause.ASKED
    by: float | None = None
    """Wall-clock seconds since the epoch by which all must be over; None: running events get `EngineConfig.drain_limit_s`."""


COORDINATOR = "coordinator"
"""Name of the coordinator actor in its namespace."""


@dataclass(frozen=True, slots=True)
class AgentOrder:
    """What one agent is told."""

    node: str
    """Name of this incarnation of the node."""
    cores: int
    config: SessionConfig
