"""The messages between a node and the coordinator. One message at a time, each answered once.

Frozen values, given by keyword: half of their fields are numbers, and numbers are easily swapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from raythena.domain.core_time import Idle, NodeTimes
from raythena.domain.ids import RangeIndex
from raythena.domain.ranges import EventRange, Indices
from raythena.domain.results import GroupReport, RangeFailure


class RunningRange(NamedTuple):
    """A range on a core, and for how long."""

    range_index: RangeIndex
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMessage:
    """What a node tells the coordinator: news since the last message, and how it stands."""

    node: str
    sequence: int
    groups: tuple[GroupReport, ...]
    failures: tuple[RangeFailure, ...]
    returned: Indices
    queued: int
    running: tuple[RunningRange, ...]
    waiting: tuple[RangeIndex, ...]
    unreported: int
    answers_recall: bool = False
    computed: int = 0
    computed_s: float = 0.0
    trouble: str = ""
    """Why the node can take no work now."""
    remarks: tuple[str, ...] = ()
    """What the payload wants people to know."""
    times: NodeTimes | None = None
    """What the cores did with their time, since the node began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorReply:
    """The coordinator's answer to one message."""

    leases: tuple[Indices, ...] = ()
    acknowledged: tuple[str, ...] = ()
    revoked: tuple[Indices, ...] = ()
    recall: int = 0
    flush: bool = False
    drain: bool = False
    register: bool = False
    """The coordinator does not know this node (any more): register before anything else."""
    stop: bool = False
    """The job is over."""
    next_exchange_s: float | None = None
    given: tuple[EventRange, ...] = ()
    """The ranges of `leases`, one by one, in a job whose ranges are given: a node cannot derive them from the inputs."""
    attempts: tuple[tuple[int, int], ...] = ()
    """(range, attempt) for each range of `leases` that was tried before; the others are tried for the first time."""
    idle_means: Idle = Idle.RANGES
    """What a core waits for that has no range."""
