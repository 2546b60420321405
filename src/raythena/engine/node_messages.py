"""The messages between a node and the coordinator. One message at a time, each answered once.

Frozen values, given by keyword: half of their fields are numbers, and numbers are easily swapped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from raythena.domain.core_time import Idle, NodeTimes
from raythena.domain.ids import RangeIndex
from raythena.domain.ranges import EventRange, Indices
from raythena.domain.results import GroupReport, RangeFailure


class RunningRange(NamedTuple):
    """A range on a core, and for how long."""

    range_index: RangeIndex
    age_s: float


@dataclass(frozen=True, slots=True)
class RunningRanges(Collection[RunningRange]):
    """Everything that is on the cores of a node, as two arrays of one length: every message carries it, and packing and unpacking
    arrays takes a tenth of the time that pairs take."""

    indices: Indices
    ages_s: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[RunningRange]:
        return map(RunningRange, map(RangeIndex, self.indices.tolist()), self.ages_s.tolist())

    def __contains__(self, pair: object) -> bool:
        return any(running == pair for running in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMessage:
    """What a node tells the coordinator: news since the last message, and how it stands."""

    node: str
    sequence: int
    groups: tuple[GroupReport, ...]
    failures: tuple[RangeFailure, ...]
    returned: Indices
    queued: int
    running: RunningRanges | tuple[RunningRange, ...]
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
    min_exchange_s: float = 0.0
    """However badly the node needs ranges, it says nothing sooner: the coordinator has many nodes."""
    given: tuple[EventRange, ...] = ()
    """The ranges of `leases`, one by one, in a job whose ranges are given: a node cannot derive them from the inputs."""
    attempts: tuple[tuple[int, int], ...] = ()
    """(range, attempt) for each range of `leases` that was tried before; the others are tried for the first time."""
    idle_means: Idle = Idle.RANGES
    """What a core waits for that has no range."""
