"""Which ranges the node holds, and where each of them is. No I/O, no clock.

A range waits here, or is *out*: given to the pilot. What is out cannot be asked back; the pilot keeps it in a cache and hands
it to AthenaMP in the order it came, one range to each free process. So the first ranges that are out, as many as there are
cores, are the ones being computed: nobody tells us, but nothing else is possible.

Rules:
- A range is in exactly one place: waiting, out, or gone from here as an outcome.
- The pilot knows a range by a *token* of ours, never by its id. Tokens are all of the same length and none is used twice:
  AthenaMP finds the output of a range by looking for its id in file names, and takes `lfn-1` for a part of `lfn-12`.
- When AthenaMP as a whole dies, any of the ranges on its cores may be to blame. They become *suspects*: on a node with few cores
  each is computed alone, on others a few at a time between ranges above suspicion, and who is under suspicion when it happens
  again is charged. Nobody is charged at the first time.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from raythena.runtime.payload_interface import LeasedRange

ALONE_UP_TO_CORES = 4
"""Up to so many cores a suspect is computed alone; beyond, that would be too dear."""


@dataclass(slots=True)
class InFlight:
    """One range in the pilot's hands."""

    lease: LeasedRange
    token: str
    given_at: float
    running_since: float | None = None
    """Since when it is among the first ones out."""
    suspect: bool = False

    @property
    def index(self) -> int:
        """Of the range."""
        return self.lease.index


TOKEN = re.compile(r"range\d{10}x\d{8}", re.ASCII)


def make_token(index: int, serial: int) -> str:
    """The name under which the pilot knows a range, given out for the `serial`-th time."""
    return f"range{index:010d}x{serial:08d}"


class RangeQueue:
    """The ranges of one node."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        """Workers the pilot has."""
        self._waiting: deque[LeasedRange] = deque()
        self._suspects: deque[LeasedRange] = deque()
        self._suspicion: set[int] = set()
        self._out: dict[str, InFlight] = {}
        self._known: set[str] = set()
        """Tokens of this pilot that it has reported."""
        self._early: set[str] = set()
        """Tokens of which we knew before."""
        self._serial = 0
        self.held: set[int] = set()
        """Ranges waiting or out."""

    # ---- ranges come and go

    def add(self, leases: Iterable[LeasedRange]) -> None:
        """Ranges to be computed. One that is held already must not come again."""
        for lease in leases:
            self.held.add(lease.index)
            (self._suspects if lease.index in self._suspicion else self._waiting).append(lease)

    def take_back(self, indices: Iterable[int] | None = None) -> list[int]:
        """Remove ranges that wait (None: all of them); which were removed."""
        wanted = None if indices is None else self.held.intersection(indices)
        taken: list[int] = []
        for queue in (self._waiting, self._suspects):
            kept = [one for one in queue if wanted is not None and one.index not in wanted]
            taken += [one.index for one in queue if wanted is None or one.index in wanted]
            queue.clear()
            queue.extend(kept)
        self.held.difference_update(taken)
        return taken

    @property
    def waiting(self) -> int:
        """Ranges that could be given out."""
        return len(self._waiting) + len(self._suspects)

    @property
    def out(self) -> int:
        """Ranges in the pilot's hands."""
        return len(self._out)

    def is_out(self, token: str) -> bool:
        """Whether the pilot has this range."""
        return token in self._out

    @property
    def in_flight_ranges(self) -> Iterator[InFlight]:
        """Ranges in the pilot's hands, in the order they were given."""
        return iter(self._out.values())

    # ---- to the pilot and back

    @property
    def alone(self) -> bool:
        """Whether the next range is to be computed with nothing beside it."""
        return bool(self._suspects) and self.cores <= ALONE_UP_TO_CORES

    def give(self, count: int, now: float) -> list[InFlight]:
        """Up to `count` ranges for the pilot; one suspect alone, if it must be and nothing else is out."""
        if self.alone:
            return [] if self._out else [self._lend(self._suspects.popleft(), now, suspect=True)]
        in_flight_ranges: list[InFlight] = []
        suspects_out = sum(in_flight.suspect for in_flight in self._out.values())
        while len(in_flight_ranges) < count and self._suspects and suspects_out < math.isqrt(self.cores):
            in_flight_ranges.append(self._lend(self._suspects.popleft(), now, suspect=True))
            suspects_out += 1
        while len(in_flight_ranges) < count and self._waiting:
            in_flight_ranges.append(self._lend(self._waiting.popleft(), now, suspect=False))
        return in_flight_ranges

    def _lend(self, lease: LeasedRange, now: float, *, suspect: bool) -> InFlight:
        self._serial += 1
        in_flight = InFlight(lease, make_token(lease.index, self._serial), now, suspect=suspect)
        self._out[in_flight.token] = in_flight
        return in_flight

    def begin(self, now: float) -> list[InFlight]:
        """The ranges that have come among those being computed since the last call."""
        begun = []
        for position, in_flight in enumerate(self._out.values()):
            if position >= self.cores:
                break
            if in_flight.running_since is None:
                in_flight.running_since = now
                begun.append(in_flight)
        return begun

    def settle(self, token: str, *, early: bool = False) -> InFlight | None:
        """It is known what became of a range; None: the pilot has no such range (any more). `early`: before it reported it."""
        in_flight = self._out.pop(token, None)
        if in_flight is not None:
            (self._early if early else self._known).add(token)
            self.held.discard(in_flight.index)
            self._suspicion.discard(in_flight.index)
        return in_flight

    def confirm(self, token: str) -> bool:
        """The pilot reports a range; True: we knew, and this is the first time."""
        if token not in self._early:
            return False
        self._early.discard(token)
        self._known.add(token)
        return True

    def was_settled(self, token: str) -> bool:
        """Whether a token came back before."""
        return token in self._known

    # ---- when the pilot is gone

    def reclaim(self, blamed: Iterable[str] = (), *, crashed: bool) -> list[InFlight]:
        """Nothing is out any more: all goes back to the front, except what is to be charged, which is returned.

        `blamed` are tokens charged whatever else is known. `crashed`: something being computed has killed the rest.
        """
        blamed = set(blamed)
        in_flight_ranges = list(self._out.values())
        self._out.clear()
        self._known.clear()
        self._early.clear()
        running = [in_flight for in_flight in in_flight_ranges if in_flight.running_since is not None]
        guilty = [in_flight for in_flight in in_flight_ranges if in_flight.token in blamed]
        if crashed and not guilty:
            guilty = running if len(running) == 1 else [in_flight for in_flight in running if in_flight.suspect]
            self._suspicion.update(in_flight.index for in_flight in running)
        self._suspicion.difference_update(in_flight.index for in_flight in guilty)
        self.held.difference_update(in_flight.index for in_flight in guilty)
        charged = {in_flight.token for in_flight in guilty}
        for in_flight in reversed(in_flight_ranges):
            if in_flight.token not in charged:
                suspected = in_flight.index in self._suspicion
                (self._suspects if suspected else self._waiting).appendleft(in_flight.lease)
        return guilty

    def abandon(self) -> list[int]:
        """Hand everything back: ranges that waited or were out."""
        indices = sorted(self.held)
        self._waiting.clear()
        self._suspects.clear()
        self._out.clear()
        self.held.clear()
        return indices
