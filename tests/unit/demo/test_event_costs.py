"""What events have cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raythena.demo.event_costs import cpu_seconds, in_words
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.records import GroupStored
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.storage.ledger import Ledger, SessionInfo


def test_costs_are_those_of_committed_events_where_they_are_known(tmp_path: Path) -> None:
    job = Job("j", (InputFile("EVNT.1", "/data/EVNT.1", 6),), ("HITS.1",), PayloadSpec("python"), MergeSpec(), 6)
    ledger = Ledger.create(tmp_path / "ledger.sqlite", job)
    ledger.begin_session(SessionInfo("s", "host", 1, 0.0))
    for group, ranges in (("a", (0, 1, 2)), ("b", (4, 5))):
        entries = np.zeros(len(ranges), dtype=ENTRY_DTYPE)
        entries["range"], entries["cpu_s"] = ranges, [one / 4 for one in ranges]
        ledger.commit([GroupStored(GroupReport(group, "n", 0, f"staging/{group}.zip", 10, 1, entries))])
    ledger.close()
    assert sorted(cpu_seconds(tmp_path / "ledger.sqlite")) == [0.25, 0.5, 1.0, 1.25]


@pytest.mark.parametrize(
    ("cpu_s", "words"),
    [([0.1, 0.2, 0.6], "300 ms (100 to 600)"), ([0.0125], "12 ms (12 to 12)"), ([], "unknown")],
)
def test_in_words(cpu_s: list[float], words: str) -> None:
    assert in_words(np.array(cpu_s)) == words
