"""The driver's side of a session whose processes are forked on this machine; the fork server starts its coordinator again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from raythena.domain.errors import ClusterError, RaythenaError
from raythena.domain.progress import Progress
from raythena.runtime.cluster import Machine
from raythena.runtime.driver import Absence, take_over
from raythena.runtime.fork_requests import COORDINATOR_SOCKET, SERVER_SOCKET, ForkRequests, SessionPlan, address_in
from raythena.runtime.local_calls import BlockingCall, RemoteFailure, Unanswered
from raythena.runtime.message_codec import to_text
from raythena.runtime.session_config import SessionConfig, StopOrder
from raythena.runtime.session_end import SessionResult

_CALL_LIMIT_S = 30.0
_START_LIMIT_S = 120.0
_START_PAUSE_S = 0.5


class CoordinatorCalls(Protocol):
    """What the driver calls of `CoordinatorActor`, without loading all that a coordinator needs."""

    async def start(self) -> tuple[str, int] | None:
        """See `CoordinatorActor`."""

    async def progress(self) -> Progress:
        """See `CoordinatorActor`."""

    async def stop(self, order: StopOrder) -> None:
        """See `CoordinatorActor`."""

    async def ended(self) -> SessionResult:
        """See `CoordinatorActor`."""


class ProcessSession:
    """One session of the fork server with this private directory."""

    def __init__(self, config: SessionConfig, directory: Path, machines: Sequence[Machine]) -> None:
        self._plan = SessionPlan(config, tuple(machines))
        self._directory = directory
        self._ended: BlockingCall | None = None
        self._result: SessionResult | None = None
        self._absence = Absence()
        self._stop_order: StopOrder | None = None

    def start(self) -> None:
        """Have the fork server start a coordinator, and that take the task over. Raises SessionRefused, ClusterError."""
        server = address_in(self._directory, SERVER_SOCKET)
        try:
            BlockingCall(server, ForkRequests, "begin", to_text(self._plan)).value(_START_LIMIT_S)
            take_over(self._take_over, Unanswered, _START_PAUSE_S)
        except (Unanswered, RemoteFailure) as problem:
            raise ClusterError(f"the coordinator could not be started: {problem}") from problem

    def _take_over(self) -> tuple[str, int] | None:
        refusal: tuple[str, int] | None = self._call("start").value(_START_LIMIT_S)
        return refusal

    def _call(self, method: str, *arguments: Any) -> BlockingCall:
        return BlockingCall(address_in(self._directory, COORDINATOR_SOCKET), CoordinatorCalls, method, *arguments)

    def result(self) -> SessionResult:
        """How the job ended. Raises ClusterError."""
        if self._result is None:
            raise ClusterError("the job has not ended")
        return self._result

    def stop(self, order: StopOrder | str) -> None:
        """Ask for an early end; a text is a reason without hurry. Returns at once, the job goes on until it has drained."""
        self._stop_order = order if isinstance(order, StopOrder) else StopOrder(order)
        self._tell_to_stop(self._stop_order)

    def _tell_to_stop(self, order: StopOrder) -> None:
        try:
            self._call("stop", order).close()
        except (Unanswered, OSError):  # whoever follows that coordinator is told by `has_ended`
            return

    def has_ended(self, wait_s: float) -> bool:
        """Wait at most `wait_s` for the end of the job.

        Raises ClusterError when the coordinator stays away, or the error it fails with.
        """
        try:
            if self._ended is None:
                self._ended = self._call("ended")
                if self._stop_order is not None:  # this may be another coordinator, which has not been told
                    self._tell_to_stop(self._stop_order)
            if not self._ended.is_answered(wait_s):
                return False
            self._result = self._ended.value(_CALL_LIMIT_S)
        except (Unanswered, OSError) as problem:
            self._lost(problem)
            time.sleep(wait_s)
            return False
        except RemoteFailure as problem:
            raise _broken(problem) from problem
        return True

    def _lost(self, problem: Exception) -> None:
        if self._ended is not None:
            self._ended.close()
            self._ended = None
        self._absence.note(problem)

    def progress(self) -> Progress | None:
        """A snapshot of the job; None while the coordinator does not answer. Raises as `has_ended` does."""
        try:
            progress: Progress = self._call("progress").value(_CALL_LIMIT_S)
        except (Unanswered, OSError) as problem:
            self._absence.note(problem)
            return None
        except RemoteFailure as problem:
            raise _broken(problem) from problem
        self._absence.over()
        return progress


def _broken(problem: RemoteFailure) -> RaythenaError:
    """Our own error, if that is what came back from the coordinator (a later one may not get the ledger open, for instance)."""
    return ClusterError(f"the session broke: {problem}") if problem.is_defect else problem
