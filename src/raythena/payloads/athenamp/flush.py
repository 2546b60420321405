"""When to flush AthenaMP, and what follows from a flush that came back. No clock, no sockets.

AthenaMP's scatterer handles its workers' messages one by one, and waits for an answer at each that asks for a range; what is
behind that message in its queue has to wait too. A flush is an answer that sends the worker back to the end of the queue. So
flushes come in *rounds*: the first one is followed at once by one for every other idle worker, until the first one's refusal
comes back. Then everything that was said before the round began has been heard.

Rules: between rounds there is a pause, which grows while rounds bring nothing to light; a range given out ends it all.
"""

from __future__ import annotations

PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 5.0
PAUSE_PER_EVENT = 0.1
"""The first pause, as a part of the mean event time: so much later than possible a last result may be heard."""
GROWTH = 1.5
ROUND_LIMIT_S = 30.0
"""A round that lasts longer has lost its first flush, with the worker that had it."""
REPORT_DELAY_S = 1.0
"""A worker reports an output at most so long after writing it."""


class Flushes:
    """All flushes of one run. `now` is monotonic, `at` seconds since the epoch."""

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self._first: str | None = None
        self._round_since = 0.0
        self._round_over = float("-inf")
        self._empty_rounds = 0
        self.heard_until: float | None = None
        """Outputs written before this moment, and not reported, never will be; None: nothing is known."""

    def due(self, now: float, starved_since: float, mean_event_s: float) -> bool:
        """Whether a worker that waits in vain since `starved_since` is to be flushed now."""
        if self._first is not None and now - self._round_since < ROUND_LIMIT_S:
            return True
        pause_s = max(PAUSE_MIN_S, PAUSE_PER_EVENT * mean_event_s) * GROWTH ** min(self._empty_rounds, 20)
        return now - max(starved_since, self._round_over) >= min(PAUSE_MAX_S, pause_s)

    @property
    def in_round(self) -> bool:
        """Whether workers that ask are to be flushed at once."""
        return self._first is not None

    def sent(self, token: str, now: float, at: float) -> None:
        """A flush is on its way."""
        self._sent[token] = at
        if self._first is None or now - self._round_since >= ROUND_LIMIT_S:
            self._first, self._round_since = token, now

    def refused(self, token: str, now: float) -> bool:
        """A worker has refused a range; False when it was no flush."""
        at = self._sent.pop(token, None)
        if at is None:
            return False
        if token == self._first:
            self._first, self._round_over = None, now
            self._empty_rounds += 1
            self.heard_until = at - REPORT_DELAY_S
        return True

    def reported(self) -> None:
        """A report of a range came through: more may follow soon."""
        self._empty_rounds = 0

    def given(self) -> None:
        """A range was given out: nobody waits in vain."""
        self._first, self._empty_rounds = None, 0
