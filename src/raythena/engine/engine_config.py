"""The numbers the engine decides by. All of them have defaults that suit a laptop and a thousand nodes alike."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """How much may go wrong before the job is stopped. A limit is the smaller of the count and the fraction."""

    max_lost_nodes: int = 10_000
    """Nodes lost or set aside."""
    max_lost_node_fraction: float = 0.75
    """The same, of all nodes that ever joined."""
    few_lost_nodes: int = 3
    """The fraction allows at least so many."""
    lost_after_s: float = 120.0
    """A node counts as lost when it has been away for this long."""
    max_failed_events: int = 100_000
    """Events given up in this session."""
    max_failed_fraction: float = 0.1
    """The same, of all events of the job."""
    few_failed_events: int = 20
    """The fraction allows at least so many."""
    repeated_failures: int = 20
    """Attempts that fail with the same message before the release is believed to be broken."""
    repeated_nodes: int = 3
    """Nodes it must come from; all of them if there are fewer."""
    max_success_fraction: float = 0.02
    """The release works if more attempts than this succeed."""
    bad_node_failures: int = 10
    """Attempts in a row that fail on a node, while others succeed, before it is set aside; at least two per core and one more."""


@dataclass(frozen=True, slots=True)
class DeadlineConfig:
    """How the end of the allocation is met."""

    margin_s: float = 20.0
    """Time kept between the last event and the end, at least; half of it is for the report and the shutdown."""
    finish_probability: float = 0.7
    """An event is begun when at least so many of those seen were finished in the time left."""
    look_interval_s: float = 1.0
    """How often the learned event time is looked up anew."""


@dataclass(frozen=True, slots=True)
class SupplyConfig:
    """How ranges are asked for, and reported, when somebody else hands them out."""

    first_request: int = 1000
    """Ranges asked for while no node is there yet. Fewer for a small allocation, so that others are not kept waiting for them."""
    ahead_per_core: int = 4
    """Unleased ranges per core below which more are asked for."""
    ahead_s: float = 60.0
    """The same as a time of computing, once event times are known."""
    answers_ahead: float = 2.0
    """The same in answers: as many as are used up while so many requests are answered, one after the other."""
    max_ahead: int = 200_000
    """Unleased ranges, those asked for included, are never more than this, unless more are given than were asked for."""
    patience_s: float = 7200.0
    """With nothing left to do, a request unanswered for this long ends the job."""
    max_unacknowledged: int = 100_000
    """Ranges in reports that are published and not acknowledged."""
    report_patience_s: float = 7200.0
    """With nothing left to do, a report that nobody takes for this long ends the job."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Times are seconds, counts are ranges unless said otherwise."""

    max_attempts: int = 3
    """Attempts at one range before it is recorded as failed."""
    max_losses: int = 5
    """Times a range may be on a node that vanishes before it is recorded as failed."""
    retry_delay_s: float = 1.0
    """Pause before the second attempt at a range; doubles with every further one."""
    buffer_s: float = 2.0
    """Work a node holds ahead of its cores, in seconds of computing."""
    first_lease_per_core: int = 2
    """Ranges per core in a node's first lease, before any event time is known."""
    max_lease: int = 512
    """Ranges in one lease at most."""
    tail_interval_s: float = 0.2
    """Pause between two looks at the end of the job (recalls and duplicates)."""
    duplicate_stragglers: bool = True
    straggler_factor: float = 2.0
    """A running event may be duplicated on an idle core once it takes this many times the mean."""
    straggler_min_s: float = 1.0
    """No event is duplicated before it has run this long."""
    max_merges: int = 2
    """Merges running at the same time."""
    max_merge_attempts: int = 3
    keep_incomplete: bool = True
    """Whether the groups of an output that was merged without its failed events are kept, so that it can be merged again."""
    merge_retry_delay_s: float = 1.0
    no_node_limit_s: float = 300.0
    """The job is given up when no node has been up for this long."""
    upstream_patience_s: float = 60.0
    """With nothing left to do, an upstream task that is not finished and that nobody works on is waited for so long."""
    drain_limit_s: float = 30.0
    """After a stop is asked for, running events get this long to end."""
    abort_merge_limit_s: float = 600.0
    """After the job was given up for its failures, outputs that are complete get this long to be merged."""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    deadline: DeadlineConfig = field(default_factory=DeadlineConfig)
    supply: SupplyConfig = field(default_factory=SupplyConfig)
