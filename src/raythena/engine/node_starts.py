"""When to start the node processes of an allocation, and when to give a node up.

Every node is on its own: what happens to one changes nothing for the others, and nobody waits for any. A node whose start fails
is tried again after pauses that double; one that has never been up is set aside after a few failures, with the last reason. One
that was up and was lost may come back (a reboot, a link that is mended), so it is tried for longer, and counts as new again when
it has stayed up for a while. At most so many nodes are starting at a time, because each start loads Python from the same disk.

The batch system is not asked which nodes are well: it learns of a death later than we do. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from raythena.domain.errors import InternalError

_STORY = 12
"""Transitions of a node that are remembered."""


@dataclass(frozen=True, slots=True)
class StartPolicy:
    """How patient we are."""

    at_once: int = 16
    start_limit_s: float = 120.0
    """A start that takes longer has failed."""
    max_failures: int = 4
    """In a row, of a node that was never up."""
    max_absences: int = 12
    """In a row, of a node that was up before."""
    first_pause_s: float = 2.0
    last_pause_s: float = 120.0
    stable_s: float = 60.0
    """A node that was up for so long begins anew when it fails."""


class NodePhase(StrEnum):
    """Where a node stands."""

    WAITING = "waiting"
    STARTING = "starting"
    UP = "up"
    ASIDE = "set aside"


_TRANSITIONS: frozenset[tuple[NodePhase, NodePhase]] = frozenset(
    {
        (NodePhase.WAITING, NodePhase.STARTING),
        (NodePhase.STARTING, NodePhase.UP),
        (NodePhase.STARTING, NodePhase.WAITING),
        (NodePhase.STARTING, NodePhase.ASIDE),
        (NodePhase.UP, NodePhase.WAITING),
        (NodePhase.UP, NodePhase.ASIDE),
    }
)


@dataclass(frozen=True, slots=True)
class Retry:
    """The node will be started again after a pause."""

    pause_s: float
    failures: int
    limit: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """The node will not be started again."""

    failures: int


@dataclass(slots=True)
class _Node:
    phase: NodePhase = NodePhase.WAITING
    since: float = 0.0
    due_at: float = 0.0
    failures: int = 0
    was_up: bool = False
    reason: str = ""
    story: list[str] = field(default_factory=list)


class NodeStarts:
    """The starts of all nodes but the head."""

    def __init__(self, names: Iterable[str], policy: StartPolicy, now: float) -> None:
        self._policy = policy
        self._nodes = {name: _Node(since=now, due_at=now) for name in names}

    def due(self, now: float) -> list[str]:
        """The nodes to start at this moment, those that have waited longest first; they count as starting from now on."""
        free = self._policy.at_once - sum(node.phase is NodePhase.STARTING for node in self._nodes.values())
        waiting = [
            (node.due_at, name) for name, node in self._nodes.items() if node.phase is NodePhase.WAITING and node.due_at <= now
        ]
        ready = [name for _, name in sorted(waiting, key=lambda entry: entry[0])][: max(0, free)]
        for name in ready:
            self._move(name, NodePhase.STARTING, now)
        return ready

    def overdue(self, now: float) -> list[str]:
        """The nodes whose start has taken too long. They stay so until they are said to have ended."""
        limit_s = self._policy.start_limit_s
        return [name for name, node in self._nodes.items() if node.phase is NodePhase.STARTING and now - node.since > limit_s]

    def came_up(self, name: str, now: float) -> None:
        """A node that was starting works now."""
        self._move(name, NodePhase.UP, now)
        node = self._nodes[name]
        node.was_up = True

    def ended(self, name: str, reason: str, now: float) -> Retry | SetAside:
        """A node that was starting or up is gone: what now."""
        node, policy = self._nodes[name], self._policy
        if node.phase is NodePhase.UP and now - node.since >= policy.stable_s:
            node.failures = 0
        node.failures += 1
        node.reason = reason
        limit = policy.max_absences if node.was_up else policy.max_failures
        if node.failures >= limit:
            self._move(name, NodePhase.ASIDE, now)
            return SetAside(node.failures)
        pause_s = min(policy.first_pause_s * 2.0 ** (node.failures - 1), policy.last_pause_s)
        self._move(name, NodePhase.WAITING, now)
        node.due_at = now + pause_s
        return Retry(pause_s, node.failures, limit)

    def phase(self, name: str) -> NodePhase:
        """Where a node stands."""
        return self._nodes[name].phase

    def reasons(self) -> dict[str, str]:
        """Why nodes are not there: the last reason of every node that is waiting to be tried again or set aside."""
        away = (NodePhase.WAITING, NodePhase.ASIDE)
        return {name: node.reason for name, node in self._nodes.items() if node.phase in away and node.reason}

    @property
    def hopeless(self) -> bool:
        """Whether every node is set aside."""
        return all(node.phase is NodePhase.ASIDE for node in self._nodes.values())

    def _move(self, name: str, phase: NodePhase, now: float) -> None:
        node = self._nodes[name]
        if (node.phase, phase) not in _TRANSITIONS:
            raise InternalError(f"node {name} cannot be {phase} after {node.phase}; so far: {'; '.join(node.story)}")
        node.story = [*node.story[1 - _STORY :], f"{node.phase} -> {phase} at {now:.1f} s"]
        node.phase, node.since = phase, now
