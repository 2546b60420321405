"""What is wrong with the events of the outputs, from event numbers alone.

Every output has a sequence it must hold. Where the sequence read from it differs, the difference is told in the order of its
gravity: events that are nowhere, events that are there twice, events that should not be there, events in the wrong file, the
wrong order. All of it is done on arrays; nothing is made per event.

Inputs may repeat each other's numbers; an event is then identified by its number and the output it belongs in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raythena.validation.findings import Finding, Severity

Numbers = npt.NDArray[np.int64]
_NAMED = 5


@dataclass(frozen=True)
class Contents:
    """One output: the event numbers it must hold, those recorded as failed, and those read from it, each in order."""

    lfn: str
    expected: Numbers
    failed: Numbers
    found: Numbers | None
    """None: it could not be read, or is not there."""

    @property
    def right(self) -> bool:
        """Exactly the expected events, in their order; or nobody knows."""
        return self.found is None or np.array_equal(self.expected, self.found)

    @property
    def strangers(self) -> Numbers:
        """Events that are here and should not be, each once."""
        return np.setdiff1d(self.found, self.expected) if self.found is not None else np.empty(0, dtype=np.int64)


def compare(outputs: Sequence[Contents]) -> Iterator[Finding]:
    """What is wrong with the outputs, taken together. Nothing, when each holds exactly what it must."""
    if all(output.right for output in outputs):
        return
    everywhere = _Whereabouts(outputs)
    for output in outputs:
        if output.found is not None and not output.right:
            findings = list(_differences(output, output.found, everywhere))
            yield from findings or [_order(output, output.found)]


class _Whereabouts:
    """Where events belong, and where they turned up instead."""

    def __init__(self, outputs: Sequence[Contents]) -> None:
        self._outputs = outputs
        self.strangers = _union(output.strangers for output in outputs)
        self.expected = _union(output.expected for output in outputs)
        self.failed = _union(output.failed for output in outputs)
        self.at_home = _union(np.intersect1d(output.expected, output.found) for output in outputs if output.found is not None)

    def homes(self, events: Numbers) -> str:
        """The outputs in which events belong, for a person."""
        return _list([output.lfn for output in self._outputs if np.isin(events, output.expected).any()])

    def hosts(self, events: Numbers) -> str:
        """The outputs in which events are strangers, for a person."""
        return _list([output.lfn for output in self._outputs if np.isin(events, output.strangers).any()])


def _differences(output: Contents, found: Numbers, everywhere: _Whereabouts) -> Iterator[Finding]:
    numbers, counts = np.unique(found, return_counts=True)
    wanted, wanted_counts = np.unique(output.expected, return_counts=True)
    absent = np.setdiff1d(wanted, numbers, assume_unique=True)
    gone = np.isin(absent, everywhere.strangers, invert=True)
    yield from _finding("event-lost", output, absent[gone], "{n} missing from {file} and found in no other output: {events}")
    moved = absent[~gone]
    yield from _finding(
        "event-misplaced", output, moved, "{n} missing from {file}, found in {others}: {events}", everywhere.hosts
    )
    due = np.ones(len(numbers), dtype=np.int64)
    due[np.isin(numbers, wanted)] = wanted_counts[np.isin(wanted, numbers)]
    yield from _finding("event-lost", output, numbers[counts < due], "{n} in {file} fewer times than in the inputs: {events}")
    yield from _finding("event-duplicated", output, numbers[counts > due], "{n} in {file} more than once: {events}")
    yield from _strangers(output, everywhere)


def _strangers(output: Contents, everywhere: _Whereabouts) -> Iterator[Finding]:
    """Events that should not be in this output."""
    strangers, homes = output.strangers, everywhere.homes
    known = np.isin(strangers, everywhere.expected)
    at_home = np.isin(strangers, everywhere.at_home)
    failed = np.isin(strangers, everywhere.failed)
    yield from _finding("event-duplicated", output, strangers[at_home], "{n} in {file} as well as in {others}: {events}", homes)
    yield from _finding(
        "event-misplaced", output, strangers[known & ~at_home], "{n} in {file} instead of {others}: {events}", homes
    )
    yield from _finding(
        "failed-event-present", output, strangers[failed & ~known], "{n} recorded as failed, yet in {file}: {events}"
    )
    yield from _finding("event-unknown", output, strangers[~known & ~failed], "{n} in {file}, but in no input: {events}")


def _finding(
    code: str, output: Contents, events: Numbers, text: str, others: Callable[[Numbers], str] | None = None
) -> Iterator[Finding]:
    if len(events):
        count = "1 event is" if len(events) == 1 else f"{len(events):,} events are"
        told = text.format(n=count, file=output.lfn, events=named(events), others=others(events) if others else "")
        yield Finding(code, Severity.ERROR, output.lfn, told, len(events))


def _order(output: Contents, found: Numbers) -> Finding:
    """Everything is there, so only the order can differ."""
    moved = np.flatnonzero(output.expected != found)
    place = int(moved[0])
    text = (
        f"the events of {output.lfn} are complete, but not in the order of the inputs: number {place + 1} is event "
        f"{found[place]} instead of {output.expected[place]}"
    )
    return Finding("order-wrong", Severity.ERROR, output.lfn, text, len(moved))


def named(events: Numbers) -> str:
    """The first few events, by number."""
    return _list([str(event) for event in events[: _NAMED + 1].tolist()])


def _list(names: list[str]) -> str:
    return ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])])


def _union(parts: Iterable[Numbers]) -> Numbers:
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *parts]))
