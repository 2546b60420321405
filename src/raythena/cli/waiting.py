"""What cores have waited for, for `raythena report`: the payloads' own accounts, which they leave in their log directories.

A payload that keeps no such account is not mentioned.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from raythena.payloads.latency import FILE_NAME, LatencySummary, read_summary


def node_latencies(logs: Path) -> dict[str, LatencySummary]:
    """The account of each life of each node, by `<session>/<node>`; of those that are there and can be read."""
    places = sorted(path.parent for path in logs.glob(f"*/*/{FILE_NAME}"))
    found = {place.relative_to(logs).as_posix(): read_summary(place) for place in places}
    return {name: summary for name, summary in found.items() if summary is not None}


def in_one_line(latencies: Mapping[str, LatencySummary]) -> str:
    """All nodes in a few words; empty when nothing was measured."""
    first = [one.first_range_s for one in latencies.values() if one.first_range_s is not None]
    waits = sum(one.waits for one in latencies.values())
    parts = [f"first range {max(first):.1f} s after the start at the latest"] if first else []
    if waits:
        mean_s = sum(one.waits * (one.mean_wait_s or 0.0) for one in latencies.values()) / waits
        name, longest = max(latencies.items(), key=lambda entry: entry[1].longest_wait_s or 0.0)
        at_worst = f"{1000 * (longest.longest_wait_s or 0.0):.1f} ms at worst (node {name.rpartition('/')[2]})"
        parts.append(f"{1000 * mean_s:.1f} ms between two events, {at_worst}")
    return "; ".join(parts)
