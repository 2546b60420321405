"""Outputs that workers report: checked, told to the agent, and removed where nobody else removes them.

An output that is a file of its own belongs to the agent from then on. A *spool* holds the outputs of many events; it is the
payload's, and is deleted once its worker writes to another one and the agent has collected every stretch of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.output_inspection import BadOutput, Output, Spool
from raythena.payloads.workers.protocol import DoneMessage
from raythena.payloads.workers.slot import InFlight, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Done


class OutputIntake:
    """Of one worker pool."""

    def __init__(self, pace: Pace, outcomes: OutcomeQueue) -> None:
        self._pace = pace
        self._outcomes = outcomes
        self._spools: dict[Path, Spool] = {}

    def take(self, slot: WorkerSlot, in_flight: InFlight, message: DoneMessage, held_s: float) -> str:
        """Check what was reported of a range the worker computed for `held_s` seconds: it is done, or why it is not."""
        assert slot.inspector is not None  # noqa: S101
        try:
            outputs = slot.inspector.inspect_each(message, len(in_flight.leases))
        except BadOutput as problem:
            return str(problem)
        slot.finished += 1
        self._pace.observe(message.wall_s, held_s)
        while slot.inspector.retired:
            self._remove_if_spent(slot.inspector.retired.pop())
        for position, output in enumerate(outputs):
            self._tell(in_flight, position, output, message)
        return ""

    def _tell(self, in_flight: InFlight, position: int, output: Output, message: DoneMessage) -> None:
        """One event of the range is done; its events took equally long, as far as is known."""
        if output.spool is not None:
            output.spool.uncollected += 1
            self._spools[output.path] = output.spool
        n_events = len(in_flight.leases)
        wall_s = message.wall_s / n_events
        times = (message.started_at + position * wall_s, wall_s, message.cpu_s / n_events)
        index = in_flight.leases[position].index
        self._outcomes.finish(Done(index, output.path, output.size_bytes, *times, output.offset, output.spool is None))

    def collected(self, stretches: Iterable[Path]) -> None:
        """The agent has copied these stretches (the spool's path, once for each)."""
        for path in stretches:
            spool = self._spools.get(path)
            if spool is not None:
                spool.uncollected -= 1
                self._remove_if_spent(spool)

    def worker_gone(self, slot: WorkerSlot) -> None:
        """The slot's worker writes to its spools no more."""
        if slot.inspector is not None:
            for spool in slot.inspector.spools.values():
                spool.closed = True
                self._remove_if_spent(spool)

    def _remove_if_spent(self, spool: Spool) -> None:
        if spool.closed and spool.uncollected <= 0:
            self._spools.pop(spool.path, None)
            spool.path.unlink(missing_ok=True)
