"""What one worker of a payload is: how many cores it has, how many ranges it computes at a time, of how many events.

A *place* is where one range is computed at a time. Without more being said a worker has one core and one place, and a place is a
core. A worker of eight cores with eight ranges in flight has eight places as well; one that computes a single event with eight
threads has one, and a node of 64 cores eight. Nodes are counted in places wherever work is shared out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from raythena.domain.errors import InvalidInput

MAX_EVENTS_PER_RANGE = 1000
"""The seeds of so many events fit in a message with room to spare."""
MAX_CORES_PER_WORKER = 4096
MAX_RANGES_IN_FLIGHT = 4096


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """Of all workers of a payload. The fields are options of payloads made of workers."""

    events_per_range: int = 1
    """Events of one file in a row that a worker is given at once, at most."""
    cores_per_worker: int = 1
    ranges_in_flight: int = 1
    """Ranges that a worker computes at a time."""

    @classmethod
    def of(cls, options: Mapping[str, object], source: str = "job") -> WorkerShape:
        """What options of a payload say. Raises InvalidInput."""
        limits = (MAX_EVENTS_PER_RANGE, MAX_CORES_PER_WORKER, MAX_RANGES_IN_FLIGHT)
        given: dict[str, int] = {}
        for field, most in zip(fields(cls), limits, strict=True):
            value = options.get(field.name, 1)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                place = f"payload.options.{field.name}"
                raise InvalidInput(source, place, f"is {value!r}", expected=f"a whole number from 1 to {most:,}")
            given[field.name] = value
        return cls(**given)

    def workers(self, cores: int) -> int:
        """How many workers a node with `cores` cores has; 0: it is too small for one."""
        return cores // self.cores_per_worker

    def places(self, cores: int) -> int:
        """How many ranges such a node computes at a time. At least one, so that a node too small for a worker can say so."""
        return max(1, self.workers(cores) * self.ranges_in_flight)


WORKER_KINDS = ("python", "process")
"""Payloads made of workers; options of others mean what those say."""
SHAPE_OPTIONS = tuple(field.name for field in fields(WorkerShape))
