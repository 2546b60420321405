"""What is drawn: event times, the events that fail, the troubles of messages and disks. One seed, one generator."""

from __future__ import annotations

import math
import random

from raythena.domain.results import FailureKind
from raythena.testing.simulation.agenda import Agenda
from raythena.testing.simulation.plan import Plan

_KINDS = (FailureKind.REPORTED, FailureKind.CRASH, FailureKind.PROTOCOL, FailureKind.BAD_OUTPUT)

_MENDED = 0.7
"""Chance that a fault is mended."""


class FaultModel:
    """Answers every question that begins with "does it happen that"."""

    def __init__(self, seed: int, plan: Plan, agenda: Agenda) -> None:
        self.dice = random.Random(f"fate {seed}")
        self._plan = plan
        self._agenda = agenda
        ill = self.dice.sample(range(plan.n_events), min(plan.n_events, plan.poison + plan.hangs + plan.killers))
        self.ill = frozenset(ill)
        """Ranges that cannot succeed."""
        self._poison = set(ill[: plan.poison])
        self._hanging = set(ill[plan.poison : plan.poison + plan.hangs])
        self._killers = set(ill[plan.poison + plan.hangs :])
        self._message_rate = 1.0 / plan.delay_s
        mean_log = math.log(plan.mean_event_s) - plan.spread**2 / 2
        self._durations_s = [self.dice.lognormvariate(mean_log, plan.spread) for _ in range(plan.n_events)]

    def mend(self) -> None:
        """Most of what makes events fail is mended; what brought their nodes down as well."""
        for ill in (self._poison, self._hanging):
            ill.difference_update([index for index in sorted(ill) if self.dice.random() < _MENDED])
        self._killers.clear()

    @property
    def longest_s(self) -> float:
        """No attempt takes longer on a node that is not slow."""
        return max(self._plan.hang_limit_s, *self._durations_s)

    @property
    def in_trouble(self) -> bool:
        """Whether faults still happen."""
        return self._agenda.now < self._plan.trouble_s

    def happens(self, chance: float) -> bool:
        """Whether something of that chance happens, now."""
        return chance > 0.0 and self._agenda.now < self._plan.trouble_s and self.dice.random() < chance

    def times(self, count: int) -> list[float]:
        """When `count` faults happen."""
        return sorted(self.dice.uniform(0.0, self._plan.trouble_s) for _ in range(count))

    def delay_s(self) -> float:
        """How long a message takes."""
        return self.dice.expovariate(self._message_rate)

    def flight_s(self) -> float:
        """How long a message takes that may be overtaken by others."""
        if self.happens(self._plan.late):
            return self.dice.uniform(0.0, self._plan.straying_s)
        return self.delay_s()

    def disk_s(self) -> float:
        """How long a commit, or the writing of a group, takes."""
        slow_s = self._plan.slow_disk_s
        return self.dice.uniform(0.0, slow_s) if slow_s and self.in_trouble else self.delay_s()

    def duration_s(self, index: int, slowness: float) -> float:
        """How long a range keeps its core."""
        if index in self._hanging:
            return self._plan.hang_limit_s
        return self._durations_s[index] * slowness

    def kills(self, index: int) -> bool:
        """Whether the event takes its node down."""
        return index in self._killers

    def failure(self, index: int) -> FailureKind | None:
        """How an attempt that has run its time fails; None when it does not."""
        if index in self._hanging:
            return FailureKind.HANG
        if index in self._poison or self.happens(self._plan.flaky):
            return _KINDS[index % len(_KINDS)]
        return None
