"""Whoever hands event ranges out and wants to know what became of them, as PanDA does through Harvester's files.

Ranges are given on request, late, more or fewer than wanted, and sometimes again; what a dead coordinator had not made durable is
given to the next one. Reports are taken late. Everything told is written down here, and must be true: a range told to be finished
is stored in the ledger, one told to be failed has failed there, and nobody is ever told the opposite.
"""

from __future__ import annotations

from collections.abc import Sequence

from raythena.domain.errors import InternalError
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.ids import OutputNumber, RangeIndex
from raythena.domain.ranges import EventRange, Indices, RangeLayout
from raythena.domain.records import RangesTaken, Record
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.testing.simulation.samples import given_range
from raythena.testing.simulation.surroundings import CoordinatorAtSite, Surroundings


class SimulatedSource:
    """Has `n_ranges` to hand out."""

    def __init__(self, site: Surroundings, n_ranges: int) -> None:
        self._site = site
        self._ranges = [given_range(site.job, number) for number in range(n_ranges)]
        self._n_expected = n_ranges
        self._layout = RangeLayout(site.job.inputs, given=True)
        """Ranges that are safe in the ledger."""
        self._safe: set[str] = set()
        self._known_to: dict[CoordinatorAtSite, set[str]] = {}
        """Ranges that the present coordinator has been given, or found in the ledger."""
        self._n_unknown = 0
        self.silent_until = 0.0
        """Nothing is answered before this."""
        self.told: dict[int, str] = {}
        """What became of ranges, by index: finished or failed."""

    def output_of(self, range_index: RangeIndex) -> OutputNumber:
        """Results of one input file may lie in one group."""
        return OutputNumber(self._layout.file_of(range_index))

    def committed(self, record: Record) -> None:
        """Something became durable."""
        if isinstance(record, RangesTaken):
            self._layout.append(record.chunk)
            self._safe.update(record.chunk.range_id(position) for position in range(len(record.chunk)))

    # ---- handing out

    def wanted(self, coordinator: CoordinatorAtSite, count: int) -> None:
        """A coordinator asks; the answer comes when it comes."""
        self._site.agenda.after(self._answer_s(), lambda: coordinator.when_awake(lambda: self._answer(coordinator, count)))

    def _answer_s(self) -> float:
        silent_s = max(0.0, self.silent_until - self._site.now)
        return silent_s + self._site.fault_model.dice.uniform(0.0, self._site.plan.answer_s)

    def _answer(self, coordinator: CoordinatorAtSite, count: int) -> None:
        dice = self._site.fault_model.dice
        waiting = [each for each in self._ranges if each.range_id not in self._safe]
        if not waiting:
            coordinator.tell(ev.RangesEnded())
            return
        given = waiting[: max(1, int(count * dice.uniform(0.2, 1.5)))]
        if self._site.fault_model.happens(0.2):
            given = [*given, *self._some_again()]
        before = set(self._known_to.get(coordinator, self._safe))
        self._known_to = {coordinator: before | {each.range_id for each in given}}
        self._n_unknown = len(self._known_to[coordinator]) - len(before)
        coordinator.tell(ev.RangesGiven(GivenRanges.pack(given, self._site.job.inputs)))

    def accepted(self, n_new: int) -> None:
        """A coordinator counts as new what neither it nor an earlier one has taken, and nothing else."""
        if n_new != self._n_unknown:
            raise InternalError(f"exactly once: {n_new} ranges were taken for new, {self._n_unknown} were new")

    def _some_again(self) -> list[EventRange]:
        return self._site.fault_model.dice.sample(self._ranges, min(3, len(self._ranges)))

    def life_begins(self) -> None:
        """A new coordinator has read the ledger; whoever hands ranges out does not notice."""

    def leased(self, ranges: Indices) -> None:
        """A range that is lost with the coordinator must not be computed: whoever gave it believes that nobody has it."""
        for index in ranges.tolist():
            if index >= len(self._layout):
                raise InternalError(f"range {index} is leased before the ledger has it")

    # ---- being told

    def report(self, coordinator: CoordinatorAtSite, command: do.PublishReport) -> None:
        """A report is published; it is taken a while later, and that is told another while later."""
        finished = [] if command.group is None else command.group.entries["range"].tolist()
        failed = [failure.range_index for failure in command.failures]
        self._check(finished, failed, "" if command.group is None else command.group.name)

        def take() -> None:
            self._note(finished, "finished")
            self._note(failed, "failed")
            self._taken(coordinator, command, [*finished, *failed])

        self._site.agenda.after(self._answer_s(), take)

    def _taken(self, coordinator: CoordinatorAtSite, command: do.PublishReport, indices: list[int]) -> None:
        """A report with these ranges was taken: a while later the coordinator learns of it."""
        acknowledge = ev.ReportsAcknowledged((command.number,))
        self._site.agenda.after(self._answer_s(), lambda: coordinator.when_awake(lambda: coordinator.tell(acknowledge)))

    def _check(self, finished: list[int], failed: Sequence[int], group: str) -> None:
        ledger = self._site.ledger.shadow
        for index in finished:
            if ledger.stored.get(index) != group:
                raise InternalError(f"range {index} is reported finished in {group}, where the ledger does not have it")
        for index in failed:
            if index not in ledger.failed:
                raise InternalError(f"range {index} is reported failed, but has not failed in the ledger")

    def _note(self, indices: Sequence[int], status: str) -> None:
        for index in indices:
            if self.told.setdefault(index, status) != status:
                raise InternalError(f"exactly once: range {index} is reported {status} after it was reported {self.told[index]}")
        self._site.trace.tell_of(indices, f"is known to the source as {status}")

    # ---- the end

    def at_the_end(self) -> None:
        """Everything was handed out once, and its outcome was reported as it stands in the ledger."""
        ledger, n_ranges = self._site.ledger.shadow, self._n_expected
        if len(self._layout) != n_ranges or len(self._safe) != n_ranges:
            raise InternalError(
                f"exactly once: {len(self._layout)} ranges were taken, {len(self._safe)} of {n_ranges} different ones"
            )
        for index in range(n_ranges):
            expected = "failed" if index in ledger.failed else "finished" if index in ledger.stored else "nothing"
            if self.told.get(index) != expected:
                raise InternalError(f"exactly once: range {index} was told to be {self.told.get(index)}, here it is {expected}")
