"""What a node's cores do with their time, measured on the node. No I/O.

Every core is either on an attempt or idle. Attempts are told with their own times: when one began, and how long it took by the
payload's clock. Idle cores are counted: at each `look` the time since the last one is booked for all of them, on what the node
waits for at that moment. An attempt that turns out to have begun or ended before the last look takes the time in between back,
or adds it. So the cost of an event is constant, and nothing is remembered but sums.

Computing is what payloads measured, waiting what the node counted. Where the two contradict each other, because a payload tells
of more attempts at a time than there are cores, some waiting is negative, which the account of the task shows as an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sized
from typing import Protocol

from raythena.domain.core_time import NOT_WANTED, Idle, NodeTimes
from raythena.domain.results import FailureKind


class Holding(Protocol):
    """What a node has for its cores (`NodeCore` is one)."""

    trouble: str
    """Why nothing can be begun now."""

    @property
    def queue(self) -> Sized:
        """Ranges not yet handed to the payload."""

    @property
    def computing(self) -> int:
        """Ranges in the payload, on a core or not."""


class CoreTimes:
    """The account of one life of a node. Times are wall-clock seconds since the epoch."""

    def __init__(self) -> None:
        self._cores = 0
        self._began_at = 0.0
        self._looked_at = 0.0
        self._cause = Idle.INITIALISATION
        """What idle cores wait for."""
        self._new = 0
        """Idle cores on which the payload has not begun anything since it was started."""
        self._running: dict[int, float] = {}
        """When the attempts on cores began, by range."""
        self._idle_s: defaultdict[Idle, float] = defaultdict(float)
        self._thrown_s: defaultdict[str, float] = defaultdict(float)
        self._computed_s = 0.0
        self._idle_means: Idle | None = None
        """What a core waits for that has no range; None: nobody has said."""

    def begin(self, cores: int, at: float) -> None:
        """The node is there, all its cores are idle."""
        self._cores = self._new = cores
        self._began_at = self._looked_at = at

    def payload_starts(self) -> None:
        """What computes is started, perhaps again: no core has begun anything with it."""
        for index in list(self._running):
            self.failed(index, FailureKind.CRASH, 0.0)
        self._new = self._cores

    def told(self, idle_means: Idle) -> None:
        """The coordinator says what a core waits for that has no range."""
        self._idle_means = idle_means

    def look(self, now: float, node: Holding) -> None:
        """Book the time since the last look; what cores wait for from now on follows from what the node has."""
        self._book(now - self._looked_at)
        self._looked_at = now
        if node.trouble:
            self._cause = Idle.DISK
        elif self._idle_means is None or len(node.queue) + node.computing > len(self._running):
            self._cause = Idle.BETWEEN
        else:
            self._cause = self._idle_means

    def started(self, index: int, at: float) -> None:
        """A core began an attempt."""
        if index not in self._running:
            self._book_one(at - self._looked_at)
            self._running[index] = at
            self._new = max(0, self._new - 1)

    def done(self, index: int, began_at: float, wall_s: float, *, is_wanted: bool) -> None:
        """An attempt ended with a result; one that nobody wants is thrown away."""
        self._end(index, began_at, began_at + wall_s)
        if is_wanted:
            self._computed_s += wall_s
        else:
            self._thrown_s[NOT_WANTED] += wall_s

    def failed(self, index: int, reason: str, wall_s: float) -> None:
        """An attempt ended without a result, after `wall_s` on a core or, where that is 0, about now."""
        began_at = self._running.get(index)
        if began_at is None and not wall_s:
            return  # it never was on a core, or has left it long ago: its output turned out bad
        began_at = self._looked_at - wall_s if began_at is None else began_at
        ended_at = began_at + wall_s if wall_s else max(began_at, self._looked_at)
        self._end(index, began_at, ended_at)
        self._thrown_s[reason] += ended_at - began_at

    def read(self, node: str) -> NodeTimes:
        """The account as of the last look."""
        return NodeTimes(
            node=node,
            cores=self._cores,
            began_at=self._began_at,
            as_of=self._looked_at,
            computed_s=self._computed_s,
            open_s=sum(self._looked_at - began_at for began_at in self._running.values()),
            thrown_away_s=dict(self._thrown_s),
            idle_s={str(cause): idle_s for cause, idle_s in self._idle_s.items()},
        )

    def _end(self, index: int, began_at: float, ended_at: float) -> None:
        """A core is free again, since `ended_at`; until the attempt really began, at `began_at`, it waited for it."""
        self.started(index, began_at)
        self._book_one(began_at - self._running.pop(index))
        self._book_one(self._looked_at - ended_at)

    def _book(self, seconds: float) -> None:
        """All idle cores have waited."""
        idle = self._cores - len(self._running)
        new = min(self._new, idle) if self._cause is Idle.BETWEEN else 0
        self._idle_s[Idle.INITIALISATION] += new * seconds
        self._idle_s[self._cause] += (idle - new) * seconds

    def _book_one(self, seconds: float) -> None:
        """One core has waited `seconds` more than was booked; fewer, if negative."""
        cause = Idle.INITIALISATION if self._new and self._cause is Idle.BETWEEN else self._cause
        self._idle_s[cause] += seconds
