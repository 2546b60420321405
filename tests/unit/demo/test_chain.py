"""Running ACTS's algorithms on one event."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raythena.demo.chain import AlgorithmFailed, Chain
from raythena.demo.detector import Detector

NO_DETECTOR = Detector(None, None, None)


@pytest.fixture
def examples() -> ModuleType:
    import acts.examples

    return acts.examples  # type: ignore[no-any-return]


def noting(examples: Any, seen: list[tuple[str, int, int]], name: str, answer: str = "SUCCESS") -> Any:
    """An algorithm that notes its name, the event and its position, and answers as told."""
    import acts

    class Noting(examples.IAlgorithm):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name, acts.logging.ERROR)

        def execute(self, context: Any) -> Any:
            seen.append((name, context.eventNumber, context.algorithmNumber))
            return getattr(examples.ProcessCode, answer)

    return Noting()


def chain_of(examples: Any, *algorithms: Any) -> Chain:
    container = examples.SimParticleContainer
    return Chain(NO_DETECTOR, algorithms, {"given": container, "made": container}, {"given": container, "made": container})


def test_algorithms_run_in_order_each_with_a_number_of_its_own(examples: ModuleType) -> None:
    seen: list[tuple[str, int, int]] = []
    chain_of(examples, noting(examples, seen, "one"), noting(examples, seen, "two")).run(7, {})
    assert seen == [("one", 7, 1), ("two", 7, 2)]


def test_a_failure_has_a_name_and_ends_the_chain(examples: ModuleType) -> None:
    seen: list[tuple[str, int, int]] = []
    chain = chain_of(examples, noting(examples, seen, "bad", "ABORT"), noting(examples, seen, "next"))
    with pytest.raises(AlgorithmFailed, match="bad failed on event 3"):
        chain.run(3, {})
    assert [name for name, _, _ in seen] == ["bad"]


def test_what_is_given_is_there_and_may_be_made_of_what_is_there(examples: ModuleType) -> None:
    def made(products: Any) -> Any:
        assert len(products["given"]) == 0
        return examples.SimParticleContainer()

    chain = chain_of(examples, noting(examples, [], "one"))
    products = chain.run(1, {"given": examples.SimParticleContainer(), "made": made})
    assert len(products["made"]) == 0


def test_every_event_has_a_store_of_its_own(examples: ModuleType) -> None:
    chain = chain_of(examples, noting(examples, [], "one"))
    assert len(chain.run(1, {"given": examples.SimParticleContainer()})["given"]) == 0
    with pytest.raises(KeyError, match="given"):
        chain.run(2, {})["given"]
