"""The task that makes a job's inputs, computed by somebody else while the job runs.

Files are made one after the other, at any time of the trouble; some lack events that were given up there, of some outputs nothing
is made, and sometimes nobody works on the task for a while. When somebody mends it, files are made again with more events, under
another GUID. A coordinator sees all of it whenever it looks, however often. Whatever it hands out must be in a file that is safe
in the ledger, at the place where the event is in that file, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from raythena.domain.errors import InternalError
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import Indices, RangeLayout
from raythena.domain.upstream import InputTaken
from raythena.engine import events as ev
from raythena.testing.simulation.surroundings import CoordinatorAtSite, Surroundings

_LACKS = 0.15
"""Chance that an event was given up, in an output where some were."""
_MENDED = 0.7


class SimulatedUpstream:
    """Makes a file of each input of the job."""

    def __init__(self, site: Surroundings) -> None:
        self._site = site
        dice = site.fault_model.dice
        bounds = np.cumsum([0, *(file.n_events for file in site.job.inputs)])
        self._outputs = OutputMap(bounds.astype(np.int64))
        self._lacking: set[int] = set()
        self._made: dict[int, InputTaken] = {}
        """The latest file of each output."""
        self._contents: dict[str, list[int]] = {}
        """The ranges whose events are in a file, in order, by its GUID."""
        self.ever_lacking: set[int] = set()
        self._idle_from = dice.uniform(0.0, 2 * site.plan.trouble_s) if dice.random() < 0.5 else float("inf")
        self._idle_until = self._idle_from + dice.uniform(0.0, 30.0)
        for number in range(self._outputs.n_outputs):
            self._give_up_some(number)
            site.agenda.after(dice.uniform(0.0, site.plan.trouble_s), partial(self._make_when_at_work, number))

    def _give_up_some(self, number: int) -> None:
        dice = self._site.fault_model.dice
        chance = dice.choice((0.0, 0.0, _LACKS, 1.0)) if dice.random() < 0.7 else 0.0
        self._lacking.update(index for index in range(*self._outputs.interval(number)) if dice.random() < chance)
        self.ever_lacking |= self._lacking

    @property
    def _is_idle(self) -> bool:
        return self._idle_from <= self._site.now < self._idle_until

    def _make_when_at_work(self, number: int) -> None:
        if self._is_idle:
            self._site.agenda.after(self._idle_until - self._site.now, lambda: self._make(number))
        else:
            self._make(number)

    def _make(self, number: int) -> None:
        start, stop = self._outputs.interval(number)
        missing = tuple(index for index in range(start, stop) if index in self._lacking)
        held = [index for index in range(start, stop) if index not in self._lacking]
        before = self._made.get(number)
        if held and (before is None or before.missing != missing):
            guid = f"INPUT-{number}-{len(self._contents)}"
            self._contents[guid] = held
            lfn = self._site.job.inputs[number].lfn
            self._made[number] = InputTaken(number, lfn, guid, 100 * len(held), 1, len(held), missing)
        elif not held:
            self._made.setdefault(number, InputTaken(number, "", "", 0, 1, 0, missing))
        self._site.trace.tell(f"input {number} is made with {len(held)} of {stop - start} events", "input made")

    def mend(self) -> None:
        """Most of what made events fail there is mended, and they were tried again."""
        dice = self._site.fault_model.dice
        self._lacking = {index for index in sorted(self._lacking) if dice.random() >= _MENDED}
        for number in range(self._outputs.n_outputs):
            self._make(number)

    # ---- what a coordinator sees

    def look(self, coordinator: CoordinatorAtSite) -> None:
        """A coordinator looks; it is told of everything, of some things again and again."""
        coordinator.tell(ev.UpstreamSeen("nobody works on the upstream task" if self._is_idle else ""))
        for number, file in list(self._made.items()):
            if not file.n_events:
                coordinator.tell(ev.InputWithheld(number))
            else:
                coordinator.tell(ev.InputMade(file))

    # ---- what must hold

    def leased(self, layout: RangeLayout, ranges: Indices) -> None:
        """A range is handed out with the file that has its event, at its place; the file is safe in the ledger."""
        safe = {file.guid for file in self._site.ledger.shadow.inputs}
        for index in ranges.tolist():
            told = layout.event_range(index)
            if told.guid not in safe:
                raise InternalError(f"range {index} is leased before the ledger has its input")
            held = self._contents[told.guid]
            if not 1 <= told.first_event <= len(held) or held[told.first_event - 1] != index:
                raise InternalError(f"range {index} is not event {told.first_event} of {told.guid}")

    def at_the_end(self) -> None:
        """What was given up for the upstream task's sake was given up there; all the rest came from it."""
        ledger = self._site.ledger.shadow
        self._given_up_there(index for index, reason in ledger.failed.items() if "upstream" in reason)
        unfounded = [index for index in ledger.stored if not any(index in held for held in self._contents.values())]
        if unfounded:
            raise InternalError(f"range {unfounded[0]} is stored, but no input ever had it")

    def _given_up_there(self, failed: Iterable[int]) -> None:
        for index in failed:
            if index not in self.ever_lacking:
                raise InternalError(f"range {index} is given up, but the upstream task never did")
            if index not in self._lacking and not self._site.plan.retries:
                raise InternalError(f"range {index} is given up, and in an input")
