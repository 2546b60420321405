"""When points of a scan are handed out: what was asked for is kept until the policy has an answer.

Whoever computes asks for so many points and may have to wait for results first; a request is answered once, with as many points
as there are, and the end is told to whoever asks behind the last point. After a restart the supply leads its policy through what
the ledger has. It does no input or output, so that the simulator hands points out by the rules by which scans do.
"""

from __future__ import annotations

from collections.abc import Iterable

from raythena.domain.scan.trial import Point
from raythena.engine.scan_policy import ScanPolicy, TrialOutcome

MOST_AT_ONCE = 5000
"""Points that are proposed in one go: the ledger takes them together, and results that came meanwhile are not kept waiting."""


class ScanSupply:
    """The requests for points of one policy."""

    def __init__(self, policy: ScanPolicy) -> None:
        self.policy = policy
        self._wanted = 0

    def lead_through(self, points: Iterable[Point], outcomes: Iterable[TrialOutcome]) -> None:
        """An earlier life proposed these points, and these were settled. Raises InternalError, SearchDiverged."""
        for outcome in outcomes:
            self.policy.settled(outcome)
        for point in sorted(points, key=lambda point: point.number):
            self.policy.recall(point)

    def wanted(self, count: int) -> None:
        """So many points are asked for, whatever was asked for before."""
        self._wanted = count

    def settled(self, outcome: TrialOutcome) -> None:
        """A point has its result, or is given up."""
        self.policy.settled(outcome)

    @property
    def n_due(self) -> int:
        """Points that can be handed out now."""
        possible = self.policy.can_propose()
        return min(self._wanted, MOST_AT_ONCE, self._wanted if possible is None else possible)

    @property
    def waits_for_results(self) -> bool:
        """Points are asked for, and the searcher has none before another result."""
        return self._wanted > 0 and self.n_due == 0 and not self.policy.is_exhausted

    @property
    def is_over(self) -> bool:
        """Points are asked for, and there are no more."""
        return self._wanted > 0 and self.policy.is_exhausted

    def hand_out(self) -> tuple[Point, ...]:
        """The points that are due, perhaps after some computing; the request is answered if there are any."""
        points = tuple(self.policy.propose() for _ in range(self.n_due))
        if points:
            self._wanted = 0
        return points
