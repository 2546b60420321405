"""Running some of ACTS's algorithms on one event.

ACTS has an event loop of its own, with threads, over consecutive events. Here Raythena has the events: a `Chain` takes one, puts
it where the algorithms look for it (a store with named objects), runs them one after the other in this thread, and hands out
what they left.

The rule everything rests on: an algorithm's random numbers come from the number of the event, its own position in the chain and
nothing else. So an event comes out the same whoever computes it, when, on which attempt, alone or among others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import isfunction

from raythena.demo.detector import Detector, log_level
from raythena.demo.extra import LibraryObject, optional


class AlgorithmFailed(Exception):
    """An algorithm of ACTS gave up on an event."""


@dataclass(frozen=True)
class Products:
    """What is in an event's store, by name. An object of it must not outlive it."""

    store: LibraryObject
    _handles: Mapping[str, LibraryObject]

    def __getitem__(self, name: str) -> LibraryObject:
        return self._handles[name](self.store)


class Chain:
    """Algorithms of ACTS in their order. `inputs` and `outputs` name the objects put in and taken out, with ACTS's types.

    `detector` is kept as long as the algorithms, which look at its sensors without owning them.
    """

    def __init__(
        self, detector: Detector, algorithms: Sequence[LibraryObject], inputs: Mapping[str, type], outputs: Mapping[str, type]
    ) -> None:
        examples = optional("acts.examples")
        self._detector = detector
        self._examples = examples
        self._algorithms = tuple(algorithms)
        self._inputs = {name: _handle(examples.WriteDataHandle, algorithms[0], name, kind) for name, kind in inputs.items()}
        self._outputs = {name: _handle(examples.ReadDataHandle, algorithms[-1], name, kind) for name, kind in outputs.items()}

    def run(self, event: int, given: Mapping[str, LibraryObject]) -> Products:
        """Run everything on what is `given`: for each of the inputs an object, or a function that makes it of those before it.

        The store takes objects over: what refers to one of them must refer to the one in the store. Raises AlgorithmFailed.
        """
        store = self._examples.WhiteBoard(log_level())
        products = Products(store, self._outputs)
        for name, value in given.items():
            self._inputs[name](self._context(0, event, store), value(products) if isfunction(value) else value)
        for position, algorithm in enumerate(self._algorithms, start=1):
            if algorithm.internalExecute(self._context(position, event, store)) != self._examples.ProcessCode.SUCCESS:
                raise AlgorithmFailed(f"{algorithm.name()} failed on event {event}")
        return products

    def write(self, writer: LibraryObject, event: int, products: Products) -> None:
        """Have one of ACTS's writers write what it is made for."""
        writer.write(self._context(len(self._algorithms) + 1, event, products.store))

    def _context(self, position: int, event: int, store: LibraryObject) -> LibraryObject:
        return self._examples.AlgorithmContext(position, event, store, 0)


def _handle(kind: LibraryObject, owner: LibraryObject, name: str, held: type) -> LibraryObject:
    handle = kind(owner, held, name)
    handle.initialize(name)
    return handle
