"""A state that moves along a literal table, and remembers the way it came.

What is not in the table is a defect of ours: an InternalError that tells the last steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from raythena.domain.errors import InternalError

_STEPS_KEPT = 12
State = TypeVar("State", bound=Enum)


class Lifecycle(Generic[State]):
    """The state of `name`, beginning with `state`. `table` gives the states that may follow each one."""

    def __init__(self, name: str, table: Mapping[State, frozenset[State]], state: State) -> None:
        self._name = name
        self._table = table
        self._steps: deque[tuple[float, State]] = deque([(0.0, state)], maxlen=_STEPS_KEPT)
        self.state = state
        self.since = 0.0
        """When the state was entered, monotonic seconds."""

    def enter(self, state: State, now: float) -> None:
        """Go on to another state. Raises InternalError when the table does not allow it."""
        if state not in self._table[self.state]:
            way = ", ".join(f"{step.value} at {at:.3f}" for at, step in self._steps)
            raise InternalError(f"{self._name} cannot go from {self.state.value} to {state.value}; its last steps: {way}")
        self.state, self.since = state, now
        self._steps.append((now, state))
