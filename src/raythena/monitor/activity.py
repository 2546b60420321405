"""When cores were busy: core-seconds by node and stretch of time, events finished, how long events took.

Fed with groups of results as the ledger has them, in any order. Time is cut into `BINS` stretches of equal length, which doubles
whenever they do not reach; so memory depends on nodes, never on events or hours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from raythena.domain.node_name import NodeName
from raythena.domain.results import Entries

BINS = 512
_PER_DECADE, _SHORTEST_S, _DECADES = 10, 1e-3, 9
_LONGEST_S = 1e8
"""No clock can have shown more for an event, nor less than 0 for its start."""

Floats = npt.NDArray[np.float64]


class Activity:
    """Everything added so far. Times are wall-clock seconds since the epoch."""

    def __init__(self) -> None:
        self.began_at: float | None = None
        """Where the first stretch begins; None: nothing was added."""
        self.width_s = 1.0
        self._rows: dict[str, int] = {}
        self._busy: Floats = np.zeros((0, BINS))
        """Busy core-seconds, a row for each host, a column for each stretch."""
        self.finished: Floats = np.zeros(BINS)
        """Events that ended in each stretch."""
        self._times = np.zeros(_PER_DECADE * _DECADES, dtype=np.int64)

    def add(self, nodes: Sequence[str], places: npt.NDArray[np.int64], entries: Entries) -> None:
        """Results, each of the node in `nodes` at its place. What has times that no clock can have shown is left out."""
        start, wall_s = entries["start"], entries["wall_s"].astype(np.float64)
        sound = (start > 0) & (start < 1e11) & (wall_s >= 0) & (wall_s < _LONGEST_S)
        start, end, wall_s, places = start[sound], (start + wall_s)[sound], wall_s[sound], places[sound]
        if not len(start):
            return
        self._reach(float(start.min()), float(end.max()))
        rows = self._rows_of(nodes, places)
        self._spread(rows, start, end)
        self.finished += np.bincount(self._bins(end), minlength=BINS)
        classes = np.log10(np.maximum(wall_s, _SHORTEST_S) / _SHORTEST_S) * _PER_DECADE
        self._times += np.bincount(np.minimum(classes.astype(np.int64), len(self._times) - 1), minlength=len(self._times))

    def _rows_of(self, nodes: Sequence[str], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The row of the host of each result; new hosts get new ones."""
        row_of = np.zeros(len(nodes), dtype=np.int64)
        for place in np.unique(places).tolist():
            row_of[place] = self._rows.setdefault(NodeName.parse(nodes[place]).host, len(self._rows))
        missing = len(self._rows) - len(self._busy)
        if missing:
            self._busy = np.concatenate([self._busy, np.zeros((missing, BINS))])
        rows: npt.NDArray[np.int64] = row_of[places]
        return rows

    @property
    def used(self) -> int:
        """How many stretches there are until the last event."""
        filled = np.flatnonzero(self.finished)
        return int(filled[-1]) + 1 if len(filled) else 0

    def hosts(self) -> list[str]:
        """Every host that computed, by name."""
        return sorted(self._rows)

    def busy(self, host: str) -> Floats:
        """Busy core-seconds of a host in each stretch."""
        row: Floats = self._busy[self._rows[host]]
        return row

    def event_times(self) -> list[tuple[float, float, int]]:
        """(from seconds, to seconds, events) for each class of durations that has any, and those in between."""
        filled = np.flatnonzero(self._times)
        if not len(filled):
            return []
        bounds = _SHORTEST_S * 10 ** (np.arange(len(self._times) + 1) / _PER_DECADE)
        chosen = range(int(filled[0]), int(filled[-1]) + 1)
        return [(float(bounds[at]), float(bounds[at + 1]), int(self._times[at])) for at in chosen]

    def _bins(self, at: Floats) -> npt.NDArray[np.int64]:
        places = ((at - (self.began_at or 0.0)) / self.width_s).astype(np.int64)
        return np.clip(places, 0, BINS - 1)

    def _spread(self, rows: npt.NDArray[np.int64], start: Floats, end: Floats) -> None:
        """Add the seconds of some events to the rows of their hosts, each divided among the stretches it lies in."""
        first, last = self._bins(start), self._bins(end)
        busy, origin = self._busy.reshape(-1), self.began_at or 0.0
        for further in range(int((last - first).max()) + 1):
            reach = np.flatnonzero(first + further <= last)
            place = first[reach] + further
            begins = origin + place * self.width_s
            inside = np.minimum(end[reach], begins + self.width_s) - np.maximum(start[reach], begins)
            busy += np.bincount(rows[reach] * BINS + place, weights=np.maximum(inside, 0.0), minlength=len(busy))

    def _reach(self, first: float, last: float) -> None:
        """Have the stretches cover these times too."""
        old_origin, old_width = self.began_at, self.width_s
        earliest = first if old_origin is None else min(first, old_origin)
        latest = last if old_origin is None else max(last, old_origin + self.used * old_width)
        width_s = old_width
        while latest - np.floor(earliest / width_s) * width_s >= BINS * width_s:
            width_s *= 2
        origin = float(np.floor(earliest / width_s) * width_s)
        self.began_at, self.width_s = origin, width_s
        if old_origin is not None and (origin, width_s) != (old_origin, old_width):
            middles: Floats = old_origin + (np.arange(BINS, dtype=np.float64) + 0.5) * old_width
            moved = self._bins(middles)
            self.finished = _moved(self.finished, moved)
            self._busy = np.stack([_moved(row, moved) for row in self._busy]) if len(self._busy) else self._busy


def heat_cells(activity: Activity, cores: Mapping[str, int]) -> npt.NDArray[np.uint8]:
    """A row for each host by name, a column for each stretch until the last event: 255 where all its cores were busy."""
    hosts, used = activity.hosts(), activity.used
    cells = np.zeros((len(hosts), used), dtype=np.uint8)
    for row, host in enumerate(hosts):
        full_s = activity.width_s * cores.get(host, 1)
        cells[row] = np.clip(np.ceil(255 * activity.busy(host)[:used] / full_s), 0, 255).astype(np.uint8)
    return cells


def _moved(values: Floats, places: npt.NDArray[np.int64]) -> Floats:
    """The values at other places; those that come to one place are added."""
    sums: Floats = np.zeros(BINS, dtype=np.float64)
    np.add.at(sums, places, values)
    return sums
