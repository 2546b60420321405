"""The ranges a payload holds, and what became of them, waiting to be fetched by the agent.

Every payload needs the same four things of `Payload`'s contract: a range may not be fed twice, it comes back exactly once, `poll`
waits for the first outcome and no longer than asked, and a payload beyond repair says so only after its last outcome. They are
kept here. What a payload does with a range in between is its own business.

Rules: a range is held from `take_in` to `finish`. Outcomes leave in the order in which they came. One `poll` at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from raythena.domain.errors import InternalError, PayloadError
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadOutcome, Released, Remark, Started


class OutcomeQueue:
    """Of one payload. Belongs to one event loop."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._outcomes: list[PayloadOutcome] = []
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.fatal: PayloadError | None = None
        """Why the payload is beyond repair."""
        self.finished = 0
        """Ranges that came back in any way."""

    # ---- ranges

    def __len__(self) -> int:
        """How many ranges the payload holds."""
        return len(self._held)

    def take_in(self, leases: Iterable[LeasedRange]) -> None:
        """Ranges are fed: all of them, or none, and InternalError is raised, when one of them is held already or comes twice."""
        fed: set[int] = set()
        for lease in leases:
            if lease.index in self._held or lease.index in fed:
                raise InternalError(f"range {lease.index} was fed to a payload that still holds it")
            fed.add(lease.index)
        self._held |= fed

    def held_of(self, indices: Iterable[int]) -> set[int]:
        """Those of `indices` that are held."""
        return self._held.intersection(indices)

    def started(self, index: int, at: float) -> None:
        """A core began working on a range at wall-clock time `at`."""
        self._add(Started(index, at))

    def finish(self, outcome: Done | Failed | Released) -> None:
        """A range comes back. Raises InternalError when it is not held: it would come back twice."""
        if outcome.index not in self._held:
            raise InternalError(f"a payload hands back range {outcome.index}, which it does not hold: {type(outcome).__name__}")
        self._held.discard(outcome.index)
        self.finished += 1
        self._add(outcome)

    def release(self, indices: Iterable[int]) -> None:
        """Ranges come back that were never started."""
        for index in indices:
            self.finish(Released(index))

    def remark(self, text: str) -> None:
        """People should know something while the job runs."""
        self._add(Remark(text))

    # ---- the end

    def give_up(self, problem: PayloadError) -> bool:
        """The payload is beyond repair; False when that was known, and the first reason stays."""
        if self.fatal is not None:
            return False
        self.fatal = problem
        self._wake()
        return True

    def close(self) -> None:
        """Nothing more is to be waited for."""
        self._closed = True
        self._wake()

    # ---- the agent fetches

    async def poll(self, timeout_s: float) -> list[PayloadOutcome]:
        """What happened since the last call; waits at most `timeout_s`. Raises PayloadError once all outcomes are handed over."""
        if not self._outcomes and self.fatal is None and not self._closed:
            await self._wait(timeout_s)
        if not self._outcomes and self.fatal is not None:
            raise self.fatal
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    async def _wait(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout_s, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _add(self, outcome: PayloadOutcome) -> None:
        self._outcomes.append(outcome)
        self._wake()

    def _wake(self) -> None:
        # the waiter goes on in the next turn of the loop: what is added in this turn goes with it
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
