"""A scan at a simulated site: the real policy and supply hand out points, and a searcher that forgives nothing proposes them.

The scan lives and dies with the coordinator, as its gateway does; a new one is led through what the ledger has. What must hold
whatever happens: a point is in the ledger before anybody computes it, no point is lost or counted twice, and the points are those
that a scan nobody disturbed proposes when the same trials come to the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from raythena.domain.errors import InternalError
from raythena.domain.event_range import EventRange
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.records import RangesTaken, Record
from raythena.domain.scan.scan_file import Objective, ScanBudget
from raythena.domain.scan.search_space import Value, Values
from raythena.domain.scan.stopping_rule import RuleKind, StoppingRule
from raythena.domain.scan.trial import Point, TrialReport
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.scan_policy import PolicyRules, ScanPolicy, TrialOutcome
from raythena.engine.scan_supply import ScanSupply
from raythena.testing.simulation.simulated_source import SimulatedSource
from raythena.testing.simulation.surroundings import CoordinatorAtSite, Surroundings

_STEPS = (1.0, 2.0, 3.0)
_OBJECTIVES = (Objective("loss"),)


class ChainSearcher:
    """What it proposes depends on every word it was told, and on their order: one word less, and all that follows differs."""

    learns = True
    size: int | None = None

    def __init__(self) -> None:
        self._heard = hashlib.sha256()

    def ask(self, number: int) -> dict[str, Value]:
        """See `Searcher`."""
        self._heard.update(f"ask {number};".encode())
        return {"x": int.from_bytes(self._heard.digest()[:4]) / 2**32}

    def recall(self, number: int, parameters: Values) -> None:
        """See `Searcher`. Raises InternalError."""
        if self.ask(number) != parameters:
            raise InternalError(f"the same points: point {number} was {parameters}, and is another one after the restart")

    def tell(self, outcome: TrialOutcome) -> None:
        """See `Searcher`."""
        self._heard.update(f"tell {outcome.number} {outcome.values};".encode())


class SimulatedScan(SimulatedSource):
    """Hands out points instead of ranges that were there before."""

    def __init__(self, site: Surroundings) -> None:
        super().__init__(site, 0)
        self._n_points = site.plan.n_events
        self._rules = PolicyRules(
            _OBJECTIVES, ScanBudget(self._n_points), site.plan.parallel, StoppingRule(RuleKind.MEDIAN, startup=2)
        )
        self._points: list[Point] = []
        """Those the ledger has, in the order in which it took them."""
        self._supply = self._begun()

    def _begun(self) -> ScanSupply:
        parts = self._site.parts
        return parts.scan_supply(parts.scan_policy(self._rules, ChainSearcher()))

    def life_begins(self) -> None:
        """A new coordinator has read the ledger."""
        self._supply = self._begun()
        self._supply.lead_through(list(self._points), list(self._outcomes()))

    def _outcomes(self) -> Iterator[TrialOutcome]:
        """Of everything that is in the ledger."""
        ledger = self._site.ledger.shadow
        for index in sorted({*ledger.stored, *ledger.failed}):
            yield self._outcome(index)

    def _outcome(self, index: int) -> TrialOutcome:
        point = self._points[index]
        if index in self._site.ledger.shadow.failed:
            return TrialOutcome(point.number, None)
        loss = float(str(point.parameters["x"]))
        return TrialOutcome(point.number, (loss,), reports=tuple(TrialReport(step, loss + 1.0 / step, step) for step in _STEPS))

    def committed(self, record: Record) -> None:
        """Something became durable."""
        super().committed(record)
        if isinstance(record, RangesTaken):
            taken = record.chunk.event_ranges(np.arange(len(record.chunk), dtype=np.int64), self._site.job.inputs)
            self._points += [Point.from_text(each.point) for each in taken]

    # ---- handing out

    def _answer(self, coordinator: CoordinatorAtSite, count: int) -> None:
        self._supply.wanted(count)
        self._hand_out(coordinator)

    def _hand_out(self, coordinator: CoordinatorAtSite) -> None:
        points = self._supply.hand_out()
        if points:
            self._n_unknown = len(points)
            coordinator.tell(ev.RangesGiven(GivenRanges.pack(map(self._range_of, points), self._site.job.inputs)))
        elif self._supply.is_over:
            self._supply.wanted(0)
            coordinator.tell(ev.RangesEnded())

    def _range_of(self, point: Point) -> EventRange:
        file = self._site.job.inputs[0]
        return EventRange(
            f"point-{point.number}", file.lfn, file.pfn, file.guid, point.number, point.number, point=point.to_text()
        )

    # ---- being told

    def _taken(self, coordinator: CoordinatorAtSite, command: do.PublishReport, indices: list[int]) -> None:
        for index in indices:
            self._supply.settled(self._outcome(index))
        super()._taken(coordinator, command, indices)
        self._site.agenda.after(self._answer_s(), lambda: coordinator.when_awake(lambda: self._hand_out(coordinator)))

    # ---- the end

    def at_the_end(self) -> None:
        """Every point once, told as it stands in the ledger, and the points of a scan that nobody disturbed."""
        self._n_expected = self._n_points
        super().at_the_end()
        policy = ScanPolicy(self._rules, ChainSearcher())
        for outcome in self._outcomes():
            policy.settled(outcome)
        for found in self._points:
            expected = policy.propose()
            if found != expected:
                raise InternalError(f"the same points: point {expected.number} is {found}, and undisturbed {expected}")
