"""A job of many allocations, as it is written down: what was asked for, and what is known of each allocation that began."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """What was asked for when the chain was submitted."""

    until_done: bool
    max_allocations: int
    """In all."""
    idle_limit: int = 3
    """So many allocations in a row that finish no event end the chain."""


@dataclass(frozen=True, slots=True)
class AllocationBegun:
    """One allocation of the chain, as it began."""

    job_id: str
    began_at: float
    """Seconds since the epoch."""
    finished: int
    """Events finished by then."""
    restarts: int = 0
    """How often the batch system had put it back in the queue."""
