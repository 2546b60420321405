"""Small things to commit, and ways to compare what a ledger remembers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged, RangesRetracted, Restored
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport, MergedOutput


def job(n_events: int = 100, name: str = "study", outputs: Sequence[str] = ("HITS.1", "HITS.2")) -> Job:
    inputs = (InputFile("EVNT.1", "/data/EVNT.1", n_events),)
    return Job(name, inputs, tuple(outputs), PayloadSpec("python"), MergeSpec(), max(1, n_events // len(outputs)))


def stored(name: str, ranges: Sequence[int], *, output: int = 0, node: str = "node1", start: float = 100.0) -> GroupStored:
    entries = np.zeros(len(ranges), dtype=ENTRY_DTYPE)
    entries["range"] = ranges
    entries["size"] = 1000 + entries["range"]
    entries["adler32"] = entries["range"] * 7 + 1
    entries["attempt"] = 1
    entries["cpu_s"] = 0.5
    entries["wall_s"] = 2.0
    entries["start"] = start + entries["range"]
    return GroupStored(GroupReport(name, node, output, f"staging/{name}.zip", 5000, 77, entries))


def failed(
    index: int, attempt: int = 1, *, final: bool = False, message: str = "it broke", kind: FailureKind = FailureKind.CRASH
) -> AttemptFailed:
    return AttemptFailed(index, attempt, "node1", kind, message, final, at=123.5)


def merged(output: int, *, missing: tuple[int, ...] = (), n_events: int = 50, groups: tuple[str, ...] = ()) -> OutputMerged:
    lfn = f"HITS.{output + 1}"
    return OutputMerged(MergedOutput(output, lfn, f"outputs/{lfn}", "GUID", 1, 2, n_events, missing, 1.5), groups)


def retracted(group: str, *ranges: int) -> RangesRetracted:
    return RangesRetracted(group, ranges)


def contents(restored: Restored) -> tuple[object, ...]:
    """What was restored, in a form that can be compared."""
    groups = [(group.name, group.node, group.output, group.path, group.entries.tobytes()) for group in restored.groups]
    return groups, restored.merged, restored.failed.tolist(), restored.attempts, restored.losses


def ranges_of(restored: Restored) -> list[int]:
    return sorted(index for group in restored.groups for index in group.entries["range"].tolist())


def files_below(directory: Path) -> dict[str, str]:
    """Every file below a directory with a digest of its bytes."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
