"""The line between a node and the coordinator: messages and answers get lost, come late or twice; calls are repeated."""

from __future__ import annotations

from collections.abc import Callable

from raythena.engine.node_messages import CoordinatorReply
from raythena.testing.simulation.surroundings import CoordinatorAtSite, Surroundings

_PATIENCE_S = 2.0

Request = Callable[[CoordinatorAtSite], CoordinatorReply]
Answered = Callable[[CoordinatorReply], None]


class SimulatedLine:
    """One node's. `is_up` says whether the node still listens and speaks."""

    def __init__(self, site: Surroundings, is_up: Callable[[], bool]) -> None:
        self._site = site
        self._is_up = is_up
        self._session = site.session
        self._awaited: int | None = None
        self._calls = 0
        self._cut_until = 0.0
        self._deaf_until = 0.0

    @property
    def is_busy(self) -> bool:
        """A call has not been answered yet."""
        return self._awaited is not None

    @property
    def is_cut(self) -> bool:
        """Nothing gets through."""
        return self._site.now < max(self._cut_until, self._deaf_until)

    def cut(self, until: float, *, only_deaf: bool) -> None:
        """Nothing reaches the node until then, nor, unless it is `only_deaf`, leaves it."""
        self._deaf_until = until
        if not only_deaf:
            self._cut_until = until

    def call(self, request: Request, answered: Answered) -> None:
        """Ask the coordinator; whatever was asked before is forgotten."""
        self._calls += 1
        self._awaited = self._calls
        self._send(self._calls, request, answered)

    def _send(self, call: int, request: Request, answered: Answered) -> None:
        """Send, and send again until it is answered."""
        if not self._is_up() or self._awaited != call:
            return
        site, fault_model, plan = self._site, self._site.fault_model, self._site.plan

        def arrive() -> None:
            coordinator = site.coordinator
            if coordinator is not None and site.now >= self._cut_until and self._session == site.session:
                coordinator.when_awake(lambda: handle(coordinator))

        def handle(coordinator: CoordinatorAtSite) -> None:
            reply = request(coordinator)
            if not fault_model.happens(plan.loss):
                site.agenda.after(fault_model.flight_s(), lambda: self._receive(call, reply, answered))

        if not fault_model.happens(plan.loss):
            site.agenda.after(fault_model.flight_s(), arrive)
        if fault_model.happens(plan.duplication):
            site.agenda.after(fault_model.dice.uniform(0.0, plan.straying_s), arrive)
        site.agenda.after(_PATIENCE_S, lambda: self._send(call, request, answered))

    def _receive(self, call: int, reply: CoordinatorReply, answered: Answered) -> None:
        if self._is_up() and self._site.now >= self._deaf_until and self._awaited == call:
            self._awaited = None
            answered(reply)
