"""`--jobNumber` of each start of a transform: no two starts in a task have the same one.

A transform makes its random seeds from this number, so two starts that share it would simulate with the same random numbers.
The number is made of three counters, each kept by somebody who never counts twice:

    ((coordinator - 1) x 16384 + agent) x 256 + start + 1

`coordinator` is the number under which the task's ledger knows the life of a coordinator, from 1; `agent` counts the agents that
coordinator has started, from 0, replacements included; `start` counts the transforms one agent has started, from 0, whatever
became of the payload in between. An agent that outlives its coordinator keeps its numbers, and no other agent has them.
"""

from __future__ import annotations

from raythena.domain.errors import InvalidInput, NumbersExhausted

MAX_JOB_NUMBER = 2**31 - 1
"""Transforms hand the number to C++ as an int."""

STARTS = 256
"""Starts of one agent."""

AGENTS = 16_384
"""Agents of one coordinator."""

COORDINATORS = MAX_JOB_NUMBER // (AGENTS * STARTS)
"""Coordinators of one task, 511."""

_LIMITS = {"session": (1, COORDINATORS), "node": (0, AGENTS - 1), "attempt": (0, STARTS - 1)}


def job_number(coordinator: int, agent: int, start: int) -> int:
    """The number of one start of a transform. Raises NumbersExhausted above the limits, InvalidInput below them."""
    counters = {"session": coordinator, "node": agent, "attempt": start}
    for name, value in counters.items():
        least, most = _LIMITS[name]
        if value < least:
            raise InvalidInput("job number", name, f"is {value}", expected=f"a whole number from {least} to {most}")
        if value > most:
            raise NumbersExhausted(
                f"no job number is left for another start of the transform: session {coordinator}, agent {agent}, start {start}; "
                f"the {name} may be {least} to {most}"
            )
    return ((coordinator - 1) * AGENTS + agent) * STARTS + start + 1


class JobNumbers:
    """The numbers of one agent, given out one by one."""

    def __init__(self, coordinator: int = 1, agent: int = 0) -> None:
        self._coordinator = coordinator
        self._agent = agent
        self.taken = 0
        """How many were given out."""

    def take(self) -> int:
        """The number of the next start. Raises NumbersExhausted when there is none."""
        number = job_number(self._coordinator, self._agent, self.taken)
        self.taken += 1
        return number
