"""The end of the allocation: what may still be begun, and when to stop so that everything finished is stored and told.

Looking back from `at`, the moment at which everything is killed:

    ... events are begun | events end | groups are stored | outputs are merged | report, shutdown | at
                         ^ at - margin - event time      ^ at - margin + closing               ^ at - reserve

Nothing is begun that will probably not finish. How long events take is learned: a histogram of all that finished, of which the
`finish_probability` quantile counts, times how much slower than the rest a node is. Core time thrown away, by idling or by
cutting events off, is nearly flat in that probability up to 0.7 and grows fast beyond 0.9; at 0.7 few events are cut off.

How long groups, commits and merges take is learned too. Before anything is known, no event is believed to be shorter than the
time that has passed since the first one was handed out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raythena.engine.engine_config import DeadlineConfig

_PER_OCTAVE = 8
_SHORTEST_S = 2.0**-10
_OCTAVES = 32
_BINS = _PER_OCTAVE * _OCTAVES
_LONGEST_S = _SHORTEST_S * 2.0**_OCTAVES
_BIN_ENDS_S: npt.NDArray[np.float64] = _SHORTEST_S * 2.0 ** ((np.arange(_BINS) + 1) / _PER_OCTAVE)
_BIN_MIDDLES_S: npt.NDArray[np.float64] = _BIN_ENDS_S * 2.0 ** (-0.5 / _PER_OCTAVE)
_WAITING = 1024
"""Times collected before they are sorted into the histogram, which costs the same for one as for many."""
_SMOOTHING = 0.2
_MAX_DELAY_S = 60.0
"""A group that took longer to be told of was delayed by something that is over."""
_FASTEST, _SLOWEST = 0.1, 100.0


class EventTimes:
    """How long events take: a histogram with bins 9 % wide, from a millisecond to weeks."""

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(_BINS, dtype=np.int64)
        self._waiting: list[npt.NDArray[np.float32]] = []
        self._n_waiting = 0

    def add(self, wall_s: npt.NDArray[np.float32]) -> None:
        """Take note of finished events; what no clock can have shown is left out."""
        self._waiting.append(wall_s)
        self._n_waiting += len(wall_s)
        if self._n_waiting >= _WAITING:
            self._sort_in()

    def _sort_in(self) -> None:
        if self._waiting:
            times = np.concatenate(self._waiting)
            times = times[np.isfinite(times) & (times >= 0.0)]
            bins = np.log2(np.clip(times, _SHORTEST_S, _LONGEST_S) / _SHORTEST_S) * _PER_OCTAVE
            self._counts += np.bincount(np.minimum(bins.astype(np.int64), _BINS - 1), minlength=_BINS)
            self._waiting, self._n_waiting = [], 0

    def quantile_s(self, probability: float) -> float | None:
        """The time within which this fraction of events is finished, rounded up to the end of a bin; None while unknown."""
        self._sort_in()
        cumulated = np.cumsum(self._counts)
        if cumulated[-1] == 0:
            return None
        position = int(np.searchsorted(cumulated, probability * cumulated[-1]))
        return float(_SHORTEST_S * 2.0 ** ((position + 1) / _PER_OCTAVE))

    def mean_above_s(self, seconds: float) -> float | None:
        """The mean time of the events that took longer than this, to the width of a bin; None when none did."""
        self._sort_in()
        longer = self._counts * (seconds < _BIN_ENDS_S)
        total = int(longer.sum())
        return None if total == 0 else max(seconds, float((longer * _BIN_MIDDLES_S).sum() / total))


@dataclass(frozen=True, slots=True)
class StopTimes:
    """When to stop waiting, after a stop, for what is still under way."""

    events: float
    """Running events, and groups of those that ended."""
    merges: float


class Deadline:
    """`at` is the end of the allocation in the engine's monotonic seconds; None while unknown."""

    def __init__(self, config: DeadlineConfig) -> None:
        self.config = config
        self.at: float | None = None
        self.times = EventTimes()
        self._first_lease_at: float | None = None
        self._group_s = 0.0
        self._commit_s = 0.0
        self._merge_s = 0.0
        self._event_s: float | None = None
        self._event_s_of = float("-inf")

    def learn_end(self, at: float | None) -> None:
        """The end of the allocation is known, or known better."""
        self.at = at

    # ---- what is learned

    def leased(self, now: float) -> None:
        """Work is handed out."""
        if self._first_lease_at is None:
            self._first_lease_at = now

    def group_took(self, delay_s: float) -> None:
        """A group was told so long after its last event had ended."""
        self._group_s += _SMOOTHING * (min(max(delay_s, 0.0), _MAX_DELAY_S) - self._group_s)

    def commit_took(self, seconds: float) -> None:
        """A record was durable so long after it was made."""
        self._commit_s += _SMOOTHING * (max(seconds, 0.0) - self._commit_s)

    def merge_took(self, seconds: float) -> None:
        """A merge took so long; the slowest of late counts."""
        if np.isfinite(seconds):
            self._merge_s = max(seconds, (1.0 - _SMOOTHING) * self._merge_s)

    # ---- what follows

    @property
    def closing_s(self) -> float:
        """From the end of an event to the commit of its group."""
        return self._group_s + 2.0 * self._commit_s

    @property
    def reserve_s(self) -> float:
        """For the report and the shutdown."""
        return self.config.margin_s / 2.0

    @property
    def margin_s(self) -> float:
        """From the end of the last event to the end of the allocation."""
        return max(self.config.margin_s, self.reserve_s + self.closing_s + self._merge_s)

    def left_s(self, now: float) -> float:
        """Computing time left; infinite while no end is known."""
        return float("inf") if self.at is None else self.at - self.margin_s - now

    def event_s(self, now: float) -> float:
        """What an event must be given to finish, probably."""
        if now - self._event_s_of >= self.config.look_interval_s:
            self._event_s_of = now
            self._event_s = self.times.quantile_s(self.config.finish_probability)
        if self._event_s is not None:
            return self._event_s
        return 0.0 if self._first_lease_at is None else now - self._first_lease_at

    def may_begin(self, now: float, slowness: float = 1.0) -> bool:
        """Whether an event begun now will probably finish. `slowness`: times the usual that events take on the node."""
        left_s = self.left_s(now)
        return left_s == float("inf") or (left_s > 0.0 and left_s >= self.event_s(now) * _bounded(slowness))

    def beginnable(self, now: float, cores: int, mean_s: float, slowness: float = 1.0) -> int | None:
        """Events a node can still begin one after the other so that they probably finish; None: any number."""
        if self.at is None:
            return None
        if not self.may_begin(now, slowness):
            return 0
        spare_s = self.left_s(now) - self.event_s(now) * _bounded(slowness)
        return cores * (1 + int(min(spare_s / max(mean_s, _SHORTEST_S), 1e9)))

    def stop_times(self, now: float, within_s: float) -> StopTimes:
        """When to give up waiting, if everything must be over `within_s` from now."""
        after_events_s = min(self.margin_s, 0.5 * within_s)
        closing_s = min(self.closing_s, 0.5 * after_events_s)
        reserve_s = min(self.reserve_s, 0.5 * after_events_s)
        end = now + within_s
        return StopTimes(end - after_events_s + closing_s, end - reserve_s)


def _bounded(slowness: float) -> float:
    return min(max(slowness, _FASTEST), _SLOWEST)
