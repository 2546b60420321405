"""What an early end costs: core time that passed, between the stop and the last word, without an event to show for it.

Cores count as they were at the stop. What they computed after it counts as used when its event was accepted; events still
running at the last word lose the time they had before the stop as well.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from raythena.domain.results import Entries
from raythena.engine.commands import DrainLoss
from raythena.engine.fleet import Node


class DrainLossMeter:
    """Begins at the stop. `began` is in monotonic seconds, `wall_clock_offset` makes wall-clock ones of them."""

    def __init__(self, began: float, wall_clock_offset: float, cores: int) -> None:
        self._began = began
        self._wall_began = began + wall_clock_offset
        self._cores = cores
        self._used_s = 0.0

    def finished(self, entries: Entries) -> None:
        """Events were accepted: what of them fell behind the stop was used well."""
        ends = entries["start"] + entries["wall_s"]
        after_s = np.minimum(ends - self._wall_began, entries["wall_s"])
        self._used_s += float(after_s[np.isfinite(after_s) & (after_s > 0.0)].sum(dtype=np.float64))

    def read(self, nodes: Iterable[Node], deadline: float | None, now: float) -> DrainLoss:
        """The loss, if the session ends now; `nodes` are those still there."""
        drain_s = now - self._began
        ages_s = [age_s + now - node.reported_at for node in nodes for _, age_s in node.running]
        before_s = sum(max(0.0, age_s - drain_s) for age_s in ages_s)
        in_vain_s = max(0.0, self._cores * drain_s - self._used_s) + before_s
        return DrainLoss(
            drain_s=drain_s, core_s=in_vain_s, events_cut_off=len(ages_s), left_s=None if deadline is None else deadline - now
        )
