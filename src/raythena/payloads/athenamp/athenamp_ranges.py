"""The ranges a payload has for AthenaMP: waiting to be given out, or in flight. No clock, no process.

Rule: a range waits, or is in flight, or has left as an outcome. AthenaMP knows it by a token (see `messages`), which it keeps
when it comes back because the transform is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from raythena.payloads.athenamp.channel import ChannelQueue, Given
from raythena.payloads.athenamp.messages import encode_flush, encode_range, token_of
from raythena.runtime.payload_interface import LeasedRange


@dataclass(slots=True)
class InFlight:
    """One range AthenaMP has."""

    lease: LeasedRange
    since: float
    at: float
    """The same moment, wall-clock seconds since the epoch."""
    announced: bool = False

    @property
    def index(self) -> int:
        """Of the range."""
        return self.lease.index


class AthenaRanges:
    """The ranges of one node."""

    def __init__(self) -> None:
        self.queue = ChannelQueue()
        """What waits, shared with the channel's thread."""
        self.in_flight: dict[str, InFlight] = {}
        """By token."""
        self._waiting: dict[str, LeasedRange] = {}
        self._tokens = 0

    @property
    def are_waiting(self) -> bool:
        """Whether a range waits that AthenaMP has not been given, as far as is known here."""
        return bool(self._waiting)

    def add(self, lease: LeasedRange) -> None:
        """A range is to be computed. Raises ValueError when AthenaMP would misread it; then it is not taken."""
        token = self._next_token()
        answer = encode_range(token, lease.event_range)
        self._waiting[token] = lease
        self.queue.put(token, answer)

    def take_back(self, wanted: Iterable[int] | None = None) -> list[int]:
        """Remove ranges that wait (None: all of them); which were removed. What the thread has just given out stays."""
        indices = None if wanted is None else set(wanted)
        tokens = [token for token, lease in self._waiting.items() if indices is None or lease.index in indices]
        return [self._waiting.pop(token).index for token in self.queue.withdraw(tokens)]

    def given(self, given: Given, at: float) -> None:
        """The channel has given a range out, at wall-clock time `at`."""
        self.in_flight[given.token] = InFlight(self._waiting.pop(given.token), given.at, at)

    def put_back(self, token: str) -> None:
        """A range in flight is to be given out again, before all others."""
        lease = self.in_flight.pop(token).lease
        self._waiting[token] = lease
        self.queue.put(token, encode_range(token, lease.event_range), in_front=True)

    def flush(self) -> tuple[str, bytes]:
        """The token and the message of a flush; something must be in flight."""
        token = self._next_token()
        return token, encode_flush(token, next(iter(self.in_flight.values())).lease.event_range)

    def _next_token(self) -> str:
        self._tokens += 1
        return token_of(self._tokens)
