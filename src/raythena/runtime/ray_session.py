"""The driver's side of a session on Ray: the coordinator is an actor, which Ray starts again when it dies."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raythena.domain.errors import ClusterError, InternalError, RaythenaError
from raythena.domain.progress import Progress
from raythena.runtime.actor import CoordinatorActor
from raythena.runtime.driver import Absence, take_over
from raythena.runtime.ray_backend import RayBackend
from raythena.runtime.session_config import COORDINATOR, SessionConfig, StopOrder
from raythena.runtime.session_end import SessionResult

_CALL_LIMIT_S = 30.0
_START_LIMIT_S = 120.0
_START_PAUSE_S = 1.0


class RaySession:
    """One session on the Ray cluster this process is connected to."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._handle: ActorHandle[object] | None = None
        self._ended: Any = None
        self._absence = Absence()
        self._stop_order: StopOrder | None = None

    def start(self) -> None:
        """Start the coordinator next to this process. Raises SessionRefused, ClusterError."""
        here = ray.get_runtime_context().get_node_id()
        factory: Any = ray.remote(CoordinatorActor)
        actor = factory.options(
            num_cpus=0,
            name=COORDINATOR,
            namespace=self._config.namespace,
            lifetime=None if self._config.joined else "detached",
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=10_000,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        try:
            self._handle = actor.remote(self._config, RayBackend)
            take_over(self._take_over, RayActorError, _START_PAUSE_S)
        except RayError as problem:
            raise ClusterError(f"the coordinator could not be started: {problem}") from problem

    def _take_over(self) -> tuple[str, int] | None:
        asked: object = self._actor.start.remote()
        refusal: tuple[str, int] | None = ray.get(asked, timeout=_START_LIMIT_S)
        return refusal

    def result(self) -> SessionResult:
        """How the job ended. Raises ClusterError."""
        try:
            result: SessionResult = ray.get(self._ended, timeout=_CALL_LIMIT_S)
        except RayError as problem:
            raise ClusterError(f"the coordinator was lost at the end: {problem}") from problem
        return result

    def stop(self, order: StopOrder | str) -> None:
        """Ask for an early end; a text is a reason without hurry. Returns at once, the job goes on until it has drained."""
        self._stop_order = order if isinstance(order, StopOrder) else StopOrder(order)
        self._actor.stop.remote(self._stop_order)

    @property
    def _actor(self) -> ActorHandle[object]:
        if self._handle is None:
            raise InternalError("the session was not started")
        return self._handle

    def has_ended(self, wait_s: float) -> bool:
        """Wait at most `wait_s` for the end of the job.

        Raises ClusterError when the coordinator stays away, or the error it fails with.
        """
        if self._ended is None:
            self._ended = self._actor.ended.remote()
            if self._stop_order is not None:  # this may be another coordinator, which has not been told
                self._actor.stop.remote(self._stop_order)
        try:
            ready, _ = ray.wait([self._ended], timeout=wait_s)
            if not ready:
                return False
            ray.get(self._ended)
        except RayActorError as problem:
            self._absence.note(problem)
            self._ended = None
            time.sleep(wait_s)
            return False
        except RayError as problem:
            raise _broken(problem) from problem
        return True

    def progress(self) -> Progress | None:
        """A snapshot of the job; None while the coordinator does not answer. Raises as `has_ended` does."""
        try:
            asked: object = self._actor.progress.remote()
            progress: Progress = ray.get(asked, timeout=_CALL_LIMIT_S)
        except (RayActorError, GetTimeoutError) as problem:
            self._absence.note(problem)
            return None
        except RayError as problem:
            raise _broken(problem) from problem
        self._absence.over()
        return progress


def _broken(problem: RayError) -> RaythenaError:
    """Our own error, if that is what came back from the coordinator (a later one may not get the ledger open, for instance)."""
    cause = getattr(problem, "cause", None)
    return cause if isinstance(cause, RaythenaError) else ClusterError(f"the session broke: {problem}")
