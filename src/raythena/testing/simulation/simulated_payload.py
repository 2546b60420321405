"""A payload that takes virtual time: cores, events of different length, events that fail, hang or kill."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from raythena.domain.errors import InternalError
from raythena.domain.results import FailureKind
from raythena.engine.node_core import NodeCore
from raythena.testing.simulation.surroundings import Host, Surroundings

_FAILS_AFTER_S = 0.2
"""On a bad node."""


class PayloadOwner(Protocol):
    """The node a payload computes on."""

    site: Surroundings
    host: Host
    name: str
    cores: int
    core: NodeCore

    @property
    def scratch_is_full(self) -> bool:
        """Nothing can be written on the node."""

    def lose_machine(self, why: str) -> None:
        """Vanish together with the machine."""

    def succeeded(self, index: int, began_at: float) -> None:
        """An event is finished."""

    def failed(self, index: int, kind: FailureKind) -> None:
        """An attempt failed."""

    def go_on(self) -> None:
        """Everything that may have become possible."""


class SimulatedPayload:
    """Tells its node what becomes of the ranges it is fed."""

    def __init__(self, node: PayloadOwner) -> None:
        self._node = node
        self._site = node.site
        self._waiting: deque[int] = deque()
        self._running: dict[int, float] = {}
        self._life = 0
        self.is_up = False
        """It takes and computes ranges."""

    @property
    def appetite(self) -> int:
        """Ranges it takes now: one in reserve for each core."""
        if not self.is_up:
            return 0
        return max(0, 2 * self._node.cores - len(self._running) - len(self._waiting))

    def start(self) -> None:
        """Come up, empty."""
        self.is_up = True

    def feed(self, indices: Iterable[int]) -> None:
        """Take ranges."""
        for index in indices:
            if index in self._running or index in self._waiting:
                raise InternalError(f"range {index} is fed twice to the payload of {self._node.name}")
            self._waiting.append(index)
        self._begin()

    def release(self, indices: Iterable[int]) -> None:
        """Hand back, a little later, what has not begun by then."""
        wanted = list(indices)
        self._later(0.02, lambda: self._give_back(wanted))

    def crash(self) -> None:
        """Everything in it is lost."""
        self.is_up = False
        self._stop_clock()
        self._waiting.clear()

    def stop(self) -> None:
        """The node is gone or the job over."""
        self.crash()

    def _stop_clock(self) -> None:
        self._life += 1
        for began_at in self._running.values():
            self._site.meter.ended(began_at, self._site.now)
        self._running.clear()

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        life = self._life
        self._site.agenda.after(delay_s, lambda: action() if self._life == life else None)

    def _give_back(self, wanted: list[int]) -> None:
        for index in wanted:
            if index in self._waiting:
                self._waiting.remove(index)
                self._node.core.released(index)
        self._node.go_on()

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self._node.cores:
            index = self._waiting.popleft()
            self._running[index] = self._site.now
            self._node.core.started(index, self._site.now)
            self._later(self._duration_s(index), lambda index=index: self._end(index))  # type: ignore[misc]

    def _duration_s(self, index: int) -> float:
        host, fault_model = self._node.host, self._site.fault_model
        if host.is_bad and fault_model.in_trouble:
            return _FAILS_AFTER_S
        return fault_model.duration_s(index, host.slowness)

    def _end(self, index: int) -> None:
        began_at = self._running.pop(index)
        self._site.meter.ended(began_at, self._site.now)
        fault_model = self._site.fault_model
        if self._node.host.is_bad and fault_model.in_trouble:
            self._fail(index, FailureKind.REPORTED)
            return
        if fault_model.kills(index):
            self._node.lose_machine(f"killed by range {index}")
            return
        if self._node.scratch_is_full:
            self._fail(index, FailureKind.SCRATCH_REFUSED)
            return
        kind = fault_model.failure(index)
        if kind is not None:
            self._fail(index, kind)
            return
        self._node.succeeded(index, began_at)
        self._go_on()

    def _fail(self, index: int, kind: FailureKind) -> None:
        self._node.failed(index, kind)
        self._go_on()

    def _go_on(self) -> None:
        self._begin()
        self._node.go_on()
