"""When something that ended is started again, and when it is given up: the agent of a node, the payload of an agent.

Whoever starts and watches processes (the supervisor, an agent, a simulated site) tells a policy of every start and every end and
does what it answers. What an end means stands in a table. A failure that counts is followed by a pause that doubles; a few in a
row, without anything in between that proves the thing sound, and it is given up.

A node whose agent is given up is not used again by this coordinator. When the last usable node is given up the job must stop:
to wait would only waste the allocation.

An agent that is silent may be dead, frozen, out of reach, or still loading its modules from a slow disk. It is asked for a sign
of life, and given longer to answer if it has never been heard of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

_End = TypeVar("_End", bound=StrEnum)


class AgentEnd(StrEnum):
    """How an agent's work ended while the job goes on."""

    LEFT = "it left"
    DIED = "its process died"
    COORDINATOR_LOST = "it found no coordinator"
    NUMBERS_EXHAUSTED = "it ran out of job numbers"
    PAYLOAD_FAILED = "its payload cannot be kept running"
    DISK_REFUSED = "a disk refused for too long"


class PayloadEnd(StrEnum):
    """How a payload ended while its agent goes on."""

    FAILED = "it failed"
    NO_ROOM = "the scratch disk refused"
    NUMBERS_EXHAUSTED = "it ran out of job numbers"
    UNUSABLE = "it says that another start would not help"


class Reaction(StrEnum):
    """What an end is answered with."""

    COUNT = "start again after a pause, unless it happened too often in a row"
    EXCUSE = "start again after the pause of the last failure; this end does not count"
    GIVE_UP = "another start would end the same way"


AFTER_AGENT: Mapping[AgentEnd, Reaction] = {
    AgentEnd.LEFT: Reaction.COUNT,
    AgentEnd.DIED: Reaction.COUNT,
    AgentEnd.COORDINATOR_LOST: Reaction.COUNT,
    AgentEnd.NUMBERS_EXHAUSTED: Reaction.COUNT,
    AgentEnd.PAYLOAD_FAILED: Reaction.GIVE_UP,
    AgentEnd.DISK_REFUSED: Reaction.GIVE_UP,
}

AFTER_PAYLOAD: Mapping[PayloadEnd, Reaction] = {
    PayloadEnd.FAILED: Reaction.COUNT,
    PayloadEnd.NO_ROOM: Reaction.EXCUSE,
    PayloadEnd.NUMBERS_EXHAUSTED: Reaction.GIVE_UP,
    PayloadEnd.UNUSABLE: Reaction.GIVE_UP,
}
"""Only another agent has other numbers."""


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """How patient a policy is."""

    max_failures: int
    """So many failures in a row end it."""
    first_pause_s: float
    """Pause after the first failure; doubles with every further one in a row."""
    longest_pause_s: float = 30.0
    stable_s: float = math.inf
    """Whatever lived longer than this is sound: failures before it do not count any more."""

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        return min(self.first_pause_s * 2.0 ** (failures - 1), self.longest_pause_s) if failures else 0.0


AGENT_LIMITS = RestartLimits(max_failures=5, first_pause_s=0.5, stable_s=60.0)
PAYLOAD_LIMITS = RestartLimits(max_failures=3, first_pause_s=1.0)


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Start it again after a pause."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not start it again. `is_last`: nothing of its kind is left."""

    is_last: bool = False


class Restarts(Generic[_End]):
    """The record of one thing that is started again and again."""

    def __init__(self, reactions: Mapping[_End, Reaction], limits: RestartLimits) -> None:
        self._reactions = reactions
        self.limits = limits
        self.failures = 0
        """In a row."""
        self._started_at = math.inf

    def started(self, now: float) -> None:
        """It was started."""
        self._started_at = now

    def proved_sound(self) -> None:
        """It did what it is for: earlier failures do not count any more."""
        self.failures = 0

    def ended(self, how: _End, now: float) -> StartAgain | GiveUp:
        """It ended although it is still needed: what to do."""
        if now - self._started_at > self.limits.stable_s:
            self.proved_sound()
        reaction = self._reactions[how]
        self.failures += reaction is not Reaction.EXCUSE
        if reaction is Reaction.GIVE_UP or self.failures >= self.limits.max_failures:
            return GiveUp()
        return StartAgain(self.limits.pause_s(self.failures))


class PayloadRestarts(Restarts[PayloadEnd]):
    """The payload of one agent. An event that it finished proves it sound."""

    def __init__(self, limits: RestartLimits = PAYLOAD_LIMITS) -> None:
        super().__init__(AFTER_PAYLOAD, limits)


@dataclass(frozen=True, slots=True)
class SilenceLimits:
    """When a silent agent is asked whether it lives, and how long it may take to answer."""

    silent_s: float
    answer_s: float
    """For an agent that has been heard of."""
    first_answer_s: float = 300.0
    """For one that has not."""


class AgentRestarts:
    """The agents of all nodes. Nodes are named by whatever tells one machine from another."""

    def __init__(self, silence: SilenceLimits, limits: RestartLimits = AGENT_LIMITS) -> None:
        self._silence = silence
        self._limits = limits
        self._usable: dict[str, Restarts[AgentEnd]] = {}
        self._heard: set[str] = set()
        """Nodes whose present agent has given a sign of life."""

    def node_appeared(self, node: str) -> None:
        """A machine is there, and is to have an agent."""
        self._usable.setdefault(node, Restarts(AFTER_AGENT, self._limits))

    def node_vanished(self, node: str) -> None:
        """A machine is gone."""
        self._usable.pop(node, None)

    def agent_started(self, node: str, now: float) -> None:
        """A node's agent was started, or found alive."""
        self._heard.discard(node)
        if node in self._usable:
            self._usable[node].started(now)

    def agent_heard(self, node: str) -> None:
        """A node's present agent has given a sign of life."""
        self._heard.add(node)

    def agent_ended(self, node: str, how: AgentEnd, now: float) -> StartAgain | GiveUp:
        """A node's agent ended before the job: what to do."""
        restarts = self._usable.get(node)
        if restarts is None:
            return GiveUp()
        decision = restarts.ended(how, now)
        if isinstance(decision, GiveUp):
            del self._usable[node]
            return GiveUp(is_last=not self._usable)
        return decision

    def answer_limit_s(self, node: str, silence_s: float) -> float | None:
        """Within what time an agent silent for so long must answer, or be killed; None: it need not be asked."""
        if silence_s <= self._silence.silent_s:
            return None
        return self._silence.answer_s if node in self._heard else self._silence.first_answer_s
