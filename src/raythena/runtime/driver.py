"""The driver's side of a session: start the coordinator, watch it, stop it, learn how it ended.

The driver holds nothing: whatever it knows it asks the coordinator for, and if it dies, nothing is lost. While the coordinator
is being restarted its calls fail for a while; that is not an end. A session is run by Ray (`ray_session`) or by processes of
this machine (`process_session`); which of them is the cluster's to say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from raythena.domain.errors import ClusterError, ExitCode, RaythenaError
from raythena.domain.progress import Progress
from raythena.runtime.session_config import StopOrder
from raythena.runtime.session_end import SessionResult

_PATIENCE_S = 90.0
_START_ATTEMPTS = 4


class SessionRefused(RaythenaError):
    """The coordinator would not take the task over."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Session(Protocol):
    """One session of a task, from the command's side."""

    def start(self) -> None:
        """Have a coordinator take the task over. Raises SessionRefused, ClusterError."""

    def has_ended(self, wait_s: float) -> bool:
        """Wait at most `wait_s` for the end of the job.

        Raises ClusterError when the coordinator stays away, or the error it fails with.
        """

    def progress(self) -> Progress | None:
        """A snapshot of the job; None while the coordinator does not answer. Raises as `has_ended` does."""

    def stop(self, order: StopOrder | str) -> None:
        """Ask for an early end; a text is a reason without hurry. Returns at once, the job goes on until it has drained."""

    def result(self) -> SessionResult:
        """How the job ended. Raises ClusterError."""


def take_over(ask: Callable[[], tuple[str, int] | None], death: type[Exception], pause_s: float) -> None:
    """Have a coordinator take the task over, again when it dies over it, which `ask` tells by raising `death`.

    `ask` returns why it will not, as a message and an exit code, or None. Raises SessionRefused, and what `ask` raises.
    """
    for attempt in range(1, _START_ATTEMPTS + 1):
        try:
            refusal = ask()
        except death:
            if attempt == _START_ATTEMPTS:
                raise
            time.sleep(pause_s)
        else:
            if refusal is not None:
                message, exit_code = refusal
                raise SessionRefused(message, ExitCode(exit_code))
            return


class Absence:
    """For how long a coordinator has not answered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    def note(self, problem: Exception) -> None:
        """It did not answer. Raises ClusterError when that has been so for too long."""
        now = self._clock()
        self._since = self._since or now
        if now - self._since > _PATIENCE_S:
            raise ClusterError(f"the coordinator has been away for {now - self._since:.0f} s: {problem}") from problem

    def over(self) -> None:
        """It answered."""
        self._since = None
