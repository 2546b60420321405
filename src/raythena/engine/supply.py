"""When to ask for more event ranges, and for how many. Pure bookkeeping: it counts and compares, the engine asks.

Ranges come in chunks, and an answer takes as long as somebody else's cycle: seconds, often a minute. So the next chunk is asked
for while enough is left to bridge that time, as it was measured so far. One request is open at a time.
"""

from __future__ import annotations

from raythena.engine.engine_config import SupplyConfig

_FADING = 0.5


class Supply:
    """The conversation about ranges. Times are monotonic seconds."""

    def __init__(self, config: SupplyConfig) -> None:
        self._config = config
        self.ended = False
        """There are no more ranges."""
        self.asked_at: float | None = None
        """When the open request was made; None: none is open."""
        self.answer_s = 0.0
        """How long an answer takes: the longest one lately."""

    def reserve(self, cores: int, speed: float) -> int:
        """So many unleased ranges should be there; `speed` is in events per second, 0 while unknown."""
        config = self._config
        if cores == 0:
            return config.first_request
        lasting_s = max(config.ahead_s, config.answers_ahead * self.answer_s)
        return min(max(config.ahead_per_core * cores, int(speed * lasting_s)), config.max_ahead)

    def wanted(self, ready: int, cores: int, speed: float, beginnable: int | None) -> int:
        """How many ranges to ask for now, perhaps none. `beginnable` are those that can be begun in time; None: any number."""
        if self.ended or self.asked_at is not None:
            return 0
        reserve = self.reserve(cores, speed)
        if ready >= reserve:
            return 0
        goal = 2 * reserve if cores else reserve
        count = min(goal, self._config.max_ahead) - ready
        return count if beginnable is None else max(0, min(count, beginnable - ready))

    def asked(self, now: float) -> None:
        """A request is on its way."""
        self.asked_at = now

    def answered(self, now: float) -> None:
        """Ranges came, or the word that there are none; perhaps unasked."""
        if self.asked_at is not None:
            self.answer_s = max(now - self.asked_at, _FADING * self.answer_s)
            self.asked_at = None

    def end(self, now: float) -> None:
        """The word is that there are no more."""
        self.answered(now)
        self.ended = True

    def is_overdue(self, now: float) -> bool:
        """The answer has taken longer than anybody should wait."""
        return self.asked_at is not None and now - self.asked_at > self._config.patience_s
