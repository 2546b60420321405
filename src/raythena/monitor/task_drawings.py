"""The drawings of a task's report, each above the table that says the same in figures."""

from __future__ import annotations

import numpy as np

from raythena.monitor.activity import heat_cells
from raythena.monitor.report_drawings import bars, heat_map, shares
from raythena.monitor.report_tables import Kind, written
from raythena.monitor.task_reading import ReportedTask


def task_drawings(read: ReportedTask) -> dict[str, str]:
    """HTML by the name of the table it stands above."""
    activity, accounting = read.activity, read.accounting
    cores = {node.host: node.cores for node in accounting.nodes}
    finished, times = activity.finished[: activity.used], activity.event_times()
    began_at = activity.began_at or 0.0
    span = (written(began_at, Kind.TIME), written(began_at + activity.used * activity.width_s, Kind.TIME))
    cells = heat_cells(activity, cores)
    mean = f"{100 * float(np.mean(cells)) / 255:.1f} %" if cells.size else "nothing"
    occupancy = heat_map(cells, f"Occupancy of {len(cells):,} nodes from {span[0]} to {span[1]}: {mean} in the mean")
    rate = [float(count) / activity.width_s for count in finished]
    counts = [float(count) for _, _, count in times]
    drawn = {
        "core_time": shares(accounting.core_s, accounting.allocated_s, "Shares of core time, listed below"),
        "nodes": occupancy and f"<p>Occupancy: a row for each node by name, time from left to right.</p>{occupancy}",
        "throughput": bars(rate, "Events finished", *span, written(max(rate, default=0.0), Kind.RATE)),
    }
    if times:
        ends = (written(times[0][0], Kind.SECONDS), written(times[-1][1], Kind.SECONDS))
        drawn["event_times"] = bars(counts, "Distribution of event times", *ends, f"{max(counts):,.0f} events")
    return drawn
