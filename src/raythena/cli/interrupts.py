"""Which signals are a request of their own, decided without receiving any.

- SIGTERM and SIGHUP ask for an orderly end; one more ends everything at once.
- A batch system may send a signal to the whole process group, and the shell of the batch script pass it on as well: what comes
  within a moment is the same request.
- SIGUSR1 is a warning and no impatience: SIGTERM may follow it, and both are followed by the kill.
- SIGINT is a person's, and twice means twice.
- What was ignored when the command began stays ignored: `nohup` does that with SIGHUP, and a job started under it outlives its
  terminal.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

MOMENT_S = 3.0
"""Copies of one signal come within so long, and a person who means it waits longer."""


class Answer(StrEnum):
    """What a signal asks for."""

    DRAIN = "drain"
    NOTHING = "nothing"
    AT_ONCE = "at once"


@dataclass(slots=True)
class Interrupts:
    """Signals so far. `clock` gives seconds that never go backwards."""

    clock: Callable[[], float]
    _last: dict[signal.Signals, float] = field(default_factory=dict)
    _asked: bool = False

    def heard(self, number: signal.Signals) -> Answer:
        """A signal has come."""
        now = self.clock()
        copied = number != signal.SIGINT and now - self._last.get(number, float("-inf")) < MOMENT_S
        if copied:
            return Answer.NOTHING
        self._last[number] = now
        if number == signal.SIGUSR1:
            return Answer.NOTHING if self._asked else Answer.DRAIN
        again, self._asked = self._asked, True
        return Answer.AT_ONCE if again else Answer.DRAIN


def caught_signals() -> tuple[signal.Signals, ...]:
    """The signals a session answers, now."""
    answered = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
    return tuple(number for number in answered if number != signal.SIGHUP or not is_ignored(number))


def is_ignored(number: signal.Signals) -> bool:
    """Whether somebody has seen to it that a signal does nothing."""
    return signal.getsignal(number) == signal.SIG_IGN
