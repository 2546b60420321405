"""The nodes as the engine knows them: who is up, how fast, and what each of them holds.

What a node holds is kept as the leases it was given, as arrays; a lease is never searched. When ranges must be taken
back from a node, the arrays are filtered by the range table, which knows the holder of every range. Arrays that have
become mostly history are filtered early, so that memory stays within a small multiple of what is really held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from raythena.domain.ranges import Indices, RangeState, RangeTable
from raythena.domain.results import Entries

_SMOOTHING = 0.2
_COMPACT_ABOVE = 4096
_FOREVER_S = 1e12


@dataclass(slots=True)
class Node:
    """One node incarnation. `number` is its index in the range table's `node` column."""

    number: int
    name: str
    cores: int
    joined_at: float
    up: bool = True
    leases: list[Indices] = field(default_factory=list)
    listed: int = 0
    """Sum of the lengths of `leases`."""
    compact_above: int = _COMPACT_ABOVE
    """Filter `leases` once they list more than this; twice what was held then, so the cost per range stays constant."""
    duplicates: set[int] = field(default_factory=set)
    """Ranges held here whose first holder is another node."""
    suspect: int | None = None
    """The range suspected of killing nodes that it was given last."""
    queued: int = 0
    running: tuple[tuple[int, float], ...] = ()
    waiting: tuple[int, ...] = ()
    unreported: int = 0
    reported_at: float = 0.0
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

    def credit(self, entries: Entries) -> None:
        """Add accepted events to the node's account."""
        self.finished += len(entries)
        self.busy_s += float(entries["wall_s"].sum(dtype=np.float64))
        first = float(entries["start"].min())
        self.first_start = first if self.first_start is None else min(first, self.first_start)
        self.last_end = max(self.last_end, float((entries["start"] + entries["wall_s"]).max()))

    @property
    def host(self) -> str:
        """The node behind an incarnation's name `<node>.<incarnation>`."""
        return self.name.rpartition(".")[0] or self.name

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
        self.deserted_since: float | None = None
        """Since when there has been nobody to do the work, as far as was noted; None: somebody is there."""

    def __iter__(self) -> Iterator[Node]:
        return iter(self._by_number)

    def get(self, name: str) -> Node | None:
        """The node of that name, up or not."""
        return self._by_name.get(name)

    def number(self, number: int) -> Node:
        """The node with that index."""
        return self._by_number[number]

    def up(self) -> list[Node]:
        """The nodes that are up."""
        return [node for node in self._by_number if node.up]

    def join(self, name: str, cores: int, now: float) -> Node:
        """A node is up; a known one keeps its history."""
        node = self._by_name.get(name)
        if node is None:
            node = Node(len(self._by_number), name, cores, now)
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
        return node

    def leave(self, node: Node) -> None:
        """A node is given up."""
        node.up = False
        self.n_up -= 1
        self.n_aside -= node.aside
        self.total_speed -= node.speed
        node.leases, node.listed = [], 0
        node.queued, node.running, node.waiting, node.recalling = 0, (), (), 0

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

    def set_trouble(self, node: Node, trouble: str) -> None:
        """A node that is up can take no work now; "": it can again."""
        self.total_speed -= node.speed
        node.trouble = trouble
        self.total_speed += node.speed

    def slowness(self, node: Node) -> float:
        """How many times longer than usual events take on a node; 1 while unknown."""
        if node.mean_event_s is None or self.mean_event_s is None:
            return 1.0
        return node.mean_event_s / self.mean_event_s

    def lend(self, node: Node, ranges: Indices) -> None:
        """Note a lease. The range table must say the same."""
        node.leases.append(ranges)
        node.listed += len(ranges)
        if node.listed > node.compact_above:
            held = self.held(node)
            node.leases, node.listed = [held], len(held)
            node.compact_above = 2 * len(held) + _COMPACT_ABOVE

    def held(self, node: Node) -> Indices:
        """Every range the node is the first holder of, sorted. Costs the length of its leases."""
        if not node.leases:
            return np.empty(0, dtype=np.int64)
        # leases are ascending runs, which a merging sort puts together a hundred times faster than numpy.unique hashes them
        listed = np.sort(np.concatenate(node.leases), kind="stable")
        table = self._table
        is_first = np.diff(listed, prepend=-1) > 0
        mine = np.flatnonzero(is_first & (table.state[listed] == RangeState.LEASED) & (table.node[listed] == node.number))
        return np.take(listed, mine)

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
