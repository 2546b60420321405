"""What the parts of the engine share: the job, every range, every node, and how far the session has come.

Each part changes what is its own business and reads the rest. Nothing here decides anything.
"""

from __future__ import annotations

from raythena.domain.job import NO_MERGE, Job
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeTable
from raythena.engine import commands as do
from raythena.engine.budget import FailureBudget
from raythena.engine.deadline import Deadline
from raythena.engine.drain_loss import DrainLossMeter
from raythena.engine.engine_config import EngineConfig
from raythena.engine.fleet import Fleet, Node
from raythena.engine.holders import Holders
from raythena.engine.journal import Journal
from raythena.engine.merge_planner import MergePlanner
from raythena.engine.ready_queue import ReadyQueue
from raythena.engine.retry import RetryLedger


class JobState:
    """One session of one job. `wall_clock_offset` is added to monotonic seconds where the time of day is needed."""

    def __init__(self, job: Job, config: EngineConfig, wall_clock_offset: float, journal: Journal) -> None:
        self.job = job
        self.config = config
        self.wall_clock_offset = wall_clock_offset
        self.journal = journal
        self.table = RangeTable(job.inputs, given=job.ranges_given, awaited=job.upstream is not None)
        events = [] if job.ranges_given else [file.n_events for file in job.inputs]
        self.outputs = OutputMap.plan(events, job.events_per_output)
        self.merges = MergePlanner(self.outputs, config, merges=job.merge.kind != NO_MERGE)
        self.retries = RetryLedger(config)
        self.budget = FailureBudget(config.budget, len(self.table))
        self.deadline = Deadline(config.deadline)
        self.fleet = Fleet(self.table)
        self.pool = ReadyQueue(self.table)
        self.holders = Holders(self.table, self.fleet, self.pool, self.journal)
        self.stalled: str | None = None
        """Why the ledger takes nothing; None: it does."""
        self.stopping: str | None = None
        """Why nothing more is begun; None: work goes on."""
        self.end_meter: DrainLossMeter | None = None
        """Runs from the stop on."""

    def stop(self, reason: str, end_meter: DrainLossMeter) -> None:
        """From now on nothing more is begun."""
        self.stopping, self.end_meter = reason, end_meter

    def stall(self, reason: str | None) -> None:
        """The ledger takes nothing, for this reason; None: it does again."""
        self.stalled = reason

    def drain(self, node: Node) -> None:
        """Have a node begin nothing more."""
        if self.fleet.drain(node):
            self.journal.do(do.Drain(node.name))
