"""The rules of restarts, checked from the whole history of what was started and how it ended.

What ended is started again after a pause that doubles, unless another start would not mend it, or it ended too often in
a row; nothing is given up earlier; and whoever gives up the last one says so. The history is that of one supervisor, or of one
agent with its payload.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from raythena.domain.errors import InternalError
from raythena.engine.restarts import AgentEnd, GiveUp, PayloadEnd, RestartLimits, StartAgain

_FINAL: frozenset[StrEnum] = frozenset(
    {AgentEnd.PAYLOAD_FAILED, AgentEnd.DISK_REFUSED, PayloadEnd.NUMBERS_EXHAUSTED, PayloadEnd.UNUSABLE}
)
_EXCUSED: frozenset[StrEnum] = frozenset({PayloadEnd.NO_ROOM})
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class _Life:
    how: StrEnum
    was_sound: bool
    """It proved that what was wrong before does not count."""


class RestartJudge:
    """Raises InternalError with the rule that is broken."""

    def __init__(self, what: str, limits: RestartLimits) -> None:
        self._what = what
        self._limits = limits
        self._lives: dict[str, list[_Life]] = {}
        self._began: dict[str, float] = {}
        self._sound: set[str] = set()
        self._usable: set[str] = set()
        self._may_start_at: dict[str, float] = {}

    def appeared(self, name: str) -> None:
        """Something is there that is to be kept running."""
        self._usable.add(name)

    def vanished(self, name: str) -> None:
        """It is gone, and nobody misses it."""
        self._usable.discard(name)

    def started(self, name: str, now: float) -> None:
        """It is started, or found running."""
        early_s = self._may_start_at.get(name, -math.inf) - now
        if early_s > _ROUNDING_S:
            raise InternalError(f"restarts: {self._what} {name} is started {early_s:.1f} s too early")
        self._began[name] = now
        self._sound.discard(name)

    def did_its_work(self, name: str) -> None:
        """It proved sound."""
        self._sound.add(name)

    def ended(self, name: str, how: StrEnum, decision: StartAgain | GiveUp, now: float) -> None:
        """It ended, and this is what is to follow."""
        if name not in self._usable:
            return
        sound = name in self._sound or now - self._began.get(name, math.inf) > self._limits.stable_s
        self._lives.setdefault(name, []).append(_Life(how, sound))
        failures = self._failures_in_a_row(name)
        must_end = how in _FINAL or failures >= self._limits.max_failures
        story = f"restarts: {self._what} {name} ended ({how}), failure {failures} in a row"
        if isinstance(decision, GiveUp):
            self._usable.discard(name)
            if not must_end:
                raise InternalError(f"{story}, and is given up too early")
            if decision.is_last != (not self._usable):
                raise InternalError(f"{story}; it is {'' if decision.is_last else 'not '}called the last, others: {self._usable}")
            return
        if must_end:
            raise InternalError(f"{story}, and is to be started all the same")
        doublings = max(failures - 1, 0)
        pause_s = min(self._limits.first_pause_s * 2.0**doublings, self._limits.longest_pause_s) if failures else 0.0
        if decision.pause_s < pause_s - _ROUNDING_S:
            raise InternalError(f"{story}, and is to be started after {decision.pause_s} s, not {pause_s} s")
        self._may_start_at[name] = now + pause_s

    def _failures_in_a_row(self, name: str) -> int:
        failures = 0
        for life in reversed(self._lives[name]):
            failures += life.how not in _EXCUSED
            if life.was_sound:
                break
        return failures
