"""Everything the processes of one session must agree on: sent once to the coordinator, which hands the agents their part."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum

from raythena.domain.job import Job
from raythena.domain.range_report import archive_name, delivered_name
from raythena.domain.reopening import RetryRequest
from raythena.domain.taxonomy import EndCause
from raythena.engine.engine_config import EngineConfig
from raythena.engine.exchange import ExchangeConfig
from raythena.engine.memory_policy import MemoryLimits
from raythena.engine.node_core import NodeConfig
from raythena.runtime.payload_interface import PayloadPlugin, TimeLimits
from raythena.storage.taskdir import group_path

SESSION_VARIABLE = "RAYTHENA_SESSION"
NODE_ENDS_AT_VARIABLE = "RAYTHENA_NODE_ENDS_AT"
"""Set for an agent: when its node leaves, in seconds since the epoch."""
"""Tells a command the name of its session, whose lease somebody holds for it."""
NODE_RESOURCE = "raythena_core"
"""Ray resource that marks a node as ours; its amount is the number of cores to keep busy."""


def new_session_name() -> str:
    """A name that no other session has, and that sorts by time."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """What connects the session to a workload manager. `kind` names an entry point of the group `raythena.gateways`; `options`
    are handed to it untouched."""

    kind: str
    options: dict[str, object] = field(default_factory=dict)


class DeliveryForm(StrEnum):
    """How outputs that are not merged here are left for whoever takes them away."""

    ARCHIVES = "archives"
    """One ZIP archive for each group of events (PanDA: `zip_output`)."""
    FILES = "files"
    """One file for each event (PanDA: `es_output`)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where and how outputs of given ranges are put."""

    form: DeliveryForm = DeliveryForm.ARCHIVES
    directory: str = ""
    """Absolute path on the shared file system; empty: `staging` in the task directory. Files lie in directories of their own
    below it, by session, node and group, so that no result can ever overwrite another one."""
    prefix: str = ""
    """An output is called `<prefix>.<range id>`; empty: the first output file the job promises."""


@dataclass(frozen=True, slots=True)
class JoinedNodes:
    """Nodes of a Ray cluster that somebody else runs."""

    most: int = 0
    """So many at a time, 0: all."""
    cores: int = 0
    """To use on each, 0: as many as it has for Ray."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """One session: one run of one job in one allocation. A task may take several."""

    session: str
    """Unique for all time; a directory name."""
    task_directory: str
    """Absolute path on the shared file system."""
    job: Job
    engine: EngineConfig = field(default_factory=EngineConfig)
    node_exchange: ExchangeConfig = field(default_factory=ExchangeConfig)
    node: NodeConfig = field(default_factory=NodeConfig)
    limits: TimeLimits = field(default_factory=TimeLimits)
    memory: MemoryLimits = field(default_factory=MemoryLimits)
    commit_interval_s: float = 0.1
    """Pause between two commits of the ledger: results wait at most this long for their acknowledgement."""
    storage_patience_s: float = 300.0
    """How long a disk may refuse before the job is given up, or the node whose own disk it is."""
    coordinator_patience_s: float = 120.0
    """How long a node computes on without a coordinator before it leaves."""
    frozen_agent_s: float = 20.0
    """An agent that is silent, and does not answer for so long when it is asked whether it lives, is replaced."""
    scratch_directory: str = ""
    """Node-local directory; empty: `$TMPDIR` or the system's."""
    joined: JoinedNodes | None = None
    """Set in a cluster that is not ours: nothing may outlive the command there, and cores are reserved."""
    batch_job: str = ""
    """Id of the batch job, for the lease file."""
    command_line: str = ""
    """The command that began the session, for the job report."""
    began_at: float | None = None
    """Wall-clock seconds since the epoch at which the command began, and its nodes were ours; None: not known."""
    ends_at: float | None = None
    """Wall-clock seconds since the epoch at which the allocation ends and everything is killed; None: not known."""

    retry: RetryRequest | None = None
    """Events that were given up and get new attempts; None: none do."""
    gateway: GatewaySpec | None = None
    """None: ranges are cut here, and nobody is told anything."""
    gateway_patience_s: float = 60.0
    """How long the gateway may take for its last word."""
    delivery: Delivery = field(default_factory=Delivery)

    @property
    def engine_rules(self) -> EngineConfig:
        """What the engine decides by. An output told to somebody outside is never merged again, so nothing is kept for that."""
        return self.engine if self.gateway is None else replace(self.engine, keep_incomplete=False)

    def group_path(self, name: str) -> str:
        """Where a group lies: relative to the task directory, or absolute."""
        if not self.job.ranges_given:
            return group_path(name)
        base = self.delivery.directory or "staging"
        if self.delivery.form is DeliveryForm.FILES:
            return f"{base}/{name}"
        return f"{base}/{name.rpartition('/')[0]}/{archive_name(self.job.job_id, name)}"

    def output_name(self, range_id: str) -> str:
        """What the output of a given range is called."""
        return delivered_name(self.delivery.prefix or next(iter(self.job.outputs), "event"), range_id)

    def made_to_suit(self, plugin: PayloadPlugin) -> SessionConfig:
        """With the buffer and the margin that this payload needs at least, where less was configured."""
        deadline = replace(self.engine.deadline, margin_s=max(self.engine.deadline.margin_s, plugin.margin_s))
        engine = replace(self.engine, buffer_s=max(self.engine.buffer_s, plugin.buffer_s), deadline=deadline)
        return replace(self, engine=engine)

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
    number: int = 0
    """Counts the agents of one coordinator from 0, in the order in which they were started; no two have the same one."""
    coordinator: int = 1
    """Number of that coordinator in the ledger."""
