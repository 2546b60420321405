"""The nodes as the engine knows them: who is up, how fast, and what each of them holds.

A node's record is changed here and nowhere else; the other parts of the engine say what happened. Which ranges a node leases
is in its `LeaseList`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from raythena.domain.ids import NodeNumber, RangeIndex
from raythena.domain.node_name import NodeName
from raythena.domain.ranges import Indices, RangeTable
from raythena.domain.results import Entries
from raythena.engine.events import NodeReport
from raythena.engine.lease_list import LeaseList
from raythena.engine.node_messages import RunningRange

_SMOOTHING = 0.2
_RECALL_PATIENCE_S = 5.0
"""A node that does not answer a recall for so long is asked again."""
_NO_RANGES: Indices = np.empty(0, dtype=np.int64)
_FOREVER_S = 1e12


@dataclass(slots=True)
class Node:
    """One node incarnation. `number` is its index in the range table's `node` column."""

    number: NodeNumber
    name: str
    host: str
    cores: int
    joined_at: float
    leases: LeaseList
    up: bool = True
    duplicates: set[RangeIndex] = field(default_factory=set)
    """Ranges leased here whose first holder is another node."""
    suspect: RangeIndex | None = None
    """The range suspected of killing nodes that it was given last."""
    queued: int = 0
    running: Collection[RunningRange] = ()
    waiting: tuple[RangeIndex, ...] = ()
    unreported: int = 0
    reported_at: float = 0.0
    next_report_s: float = 0.0
    """After that it will report again, at the latest."""
    recalling: int = 0
    """Ranges asked back and not answered for."""
    recalled_at: float = 0.0
    empty_recall_at: float = float("-inf")
    """When it last had nothing to give back."""
    mean_event_s: float | None = None
    finished: int = 0
    busy_s: float = 0.0
    first_start: float | None = None
    last_end: float = 0.0
    draining: bool = False
    aside: bool = False
    """It fails whatever it is given, and is given nothing more."""
    trouble: str = ""
    """Why it can take no work now, by its own account."""
    held_until: float = float("-inf")
    """It gets no lease before this."""

    @property
    def speed(self) -> float:
        """Events per second of the whole node; 0 while unknown, and when nothing more is to be expected of it."""
        return self.cores / self.mean_event_s if self.mean_event_s and not (self.aside or self.trouble) else 0.0

    @property
    def has_nothing(self) -> bool:
        """By its own account: nothing queued, on a core, or finished and not reported."""
        return self.queued == 0 and not self.running and self.unreported == 0

    @property
    def surplus(self) -> int:
        """Unbegun ranges its own cores will not begin at once."""
        return self.queued - max(0, self.cores - len(self.running))

    def is_asked_back(self, now: float) -> bool:
        """A recall is open, and may yet be answered."""
        return self.recalling > 0 and now - self.recalled_at < _RECALL_PATIENCE_S

    @property
    def idle_cores(self) -> int:
        """Cores that will have nothing to do and could be given something."""
        return 0 if self.draining or self.aside or self.trouble else max(0, self.cores - self.queued - len(self.running))


class Fleet:
    """All nodes, past and present."""

    def __init__(self, table: RangeTable) -> None:
        self._table = table
        self._by_name: dict[str, Node] = {}
        self._by_number: list[Node] = []
        self.total_speed = 0.0
        self.mean_event_s: float | None = None
        self.n_up = 0
        self.n_aside = 0
        """Nodes that are up and set aside."""
        self.idle: set[NodeNumber] = set()
        """Nodes that are up and have cores with nothing to do."""
        self.deserted_since: float | None = None
        """Since when there has been nobody to do the work, as far as was noted; None: somebody is there."""

    def __iter__(self) -> Iterator[Node]:
        return iter(self._by_number)

    def get(self, name: str) -> Node | None:
        """The node of that name, up or not."""
        return self._by_name.get(name)

    def number(self, number: NodeNumber) -> Node:
        """The node with that index."""
        return self._by_number[number]

    def up(self) -> list[Node]:
        """The nodes that are up."""
        return [node for node in self._by_number if node.up]

    def join(self, name: str, cores: int, now: float) -> Node:
        """A node is up; a known one keeps its history."""
        node = self._by_name.get(name)
        if node is None:
            number = NodeNumber(len(self._by_number))
            node = Node(number, name, NodeName.parse(name).host, cores, now, LeaseList(self._table, number))
            self._by_name[name] = node
            self._by_number.append(node)
            self.n_up += 1
        elif node.up:
            self.total_speed -= node.speed
        else:
            node.up = True
            self.n_up += 1
            self.n_aside += node.aside
        node.cores = cores
        self.total_speed += node.speed
        node.reported_at = now
        node.queued, node.running, node.waiting, node.recalling = 0, (), (), 0
        node.draining = False
        self._note_idleness(node)
        return node

    def leave(self, node: Node) -> None:
        """A node is given up."""
        node.up = False
        self.n_up -= 1
        self.n_aside -= node.aside
        self.total_speed -= node.speed
        node.leases.replace(_NO_RANGES)
        node.duplicates.clear()
        node.queued, node.running, node.waiting, node.recalling = 0, (), (), 0
        self._note_idleness(node)

    def _note_idleness(self, node: Node) -> None:
        if node.up and node.idle_cores > 0:
            self.idle.add(node.number)
        else:
            self.idle.discard(node.number)

    @property
    def n_usable(self) -> int:
        """Nodes that are up and may be given work."""
        return self.n_up - self.n_aside

    def note_presence(self, now: float) -> None:
        """Look whether anybody is there to do the work."""
        if self.n_usable > 0:
            self.deserted_since = None
        elif self.deserted_since is None:
            self.deserted_since = now

    def set_aside(self, node: Node) -> None:
        """A node that is up gets no more work."""
        if not node.aside:
            self.total_speed -= node.speed
            node.aside = True
            self.n_aside += 1
            self._note_idleness(node)

    def set_trouble(self, node: Node, trouble: str) -> None:
        """A node that is up can take no work now; "": it can again."""
        self.total_speed -= node.speed
        node.trouble = trouble
        self.total_speed += node.speed
        self._note_idleness(node)

    def slowness(self, node: Node) -> float:
        """How many times longer than usual events take on a node; 1 while unknown."""
        if node.mean_event_s is None or self.mean_event_s is None:
            return 1.0
        return node.mean_event_s / self.mean_event_s

    # ---- what nodes say

    def report(self, node: Node, event: NodeReport, now: float) -> None:
        """A node says how it stands, and how long the events took that it finished."""
        node.queued, node.running, node.waiting = event.queued, event.running, event.waiting
        node.unreported, node.reported_at, node.next_report_s = event.unreported, now, event.next_report_s
        self._note_idleness(node)
        if event.computed > 0:
            self.learn(node, event.computed, event.computed_s)

    def learn(self, node: Node, count: int, wall_s: float) -> None:
        """`count` events took `wall_s` core-seconds together on a node. A time that no clock can have shown is ignored."""
        if not 0.0 <= wall_s < _FOREVER_S:
            return
        mean = max(wall_s / count, 1e-6)
        before = node.speed if node.up else 0.0
        weight = 1.0 - (1.0 - _SMOOTHING) ** min(count, 16)
        node.mean_event_s = mean if node.mean_event_s is None else node.mean_event_s + weight * (mean - node.mean_event_s)
        self.mean_event_s = mean if self.mean_event_s is None else self.mean_event_s + weight * (mean - self.mean_event_s)
        if node.up:
            self.total_speed += node.speed - before

    def credit(self, node: Node, entries: Entries) -> None:
        """Events of a node were accepted."""
        node.finished += len(entries)
        node.busy_s += float(entries["wall_s"].sum(dtype=np.float64))
        first = float(entries["start"].min())
        node.first_start = first if node.first_start is None else min(first, node.first_start)
        node.last_end = max(node.last_end, float((entries["start"] + entries["wall_s"]).max()))

    # ---- what nodes are given, and asked for

    def lease(self, node: Node, ranges: Indices) -> None:
        """Ranges are on their way to a node, its own from now on. The range table must say the same."""
        node.leases.add(ranges)
        node.queued += len(ranges)
        self._note_idleness(node)

    def lease_duplicate(self, node: Node, index: RangeIndex) -> None:
        """A range is on its way to a second node."""
        node.duplicates.add(index)
        node.queued += 1
        self._note_idleness(node)

    def drop_duplicate(self, node: Node, index: RangeIndex) -> None:
        """A node is not a range's second holder any more."""
        node.duplicates.discard(index)

    def keep_duplicates(self, node: Node, indices: Iterable[RangeIndex]) -> None:
        """Of these ranges, and no others, a node is the second holder."""
        node.duplicates = set(indices)

    def give_suspect(self, node: Node, index: RangeIndex) -> None:
        """A node gets a range that is suspected of killing nodes."""
        node.suspect = index

    def recall(self, node: Node, count: int, now: float) -> None:
        """A node is asked to give ranges back."""
        node.recalling, node.recalled_at = count, now

    def gave_back(self, node: Node, count: int, now: float) -> None:
        """A node answered a recall, or gives back unasked; perhaps nothing."""
        node.recalling = 0
        node.empty_recall_at = now if count == 0 else float("-inf")

    def hold_off(self, node: Node, until: float) -> None:
        """A node is to get no lease before then."""
        node.held_until = until

    def drain(self, node: Node) -> bool:
        """A node is to begin nothing more; False: it was told already."""
        told, node.draining = node.draining, True
        self._note_idleness(node)
        return not told
