"""Everything that is known about one range, in order of time: the ledger's facts, and the log lines that mention it.

Logs are searched in the sessions that dealt with the range, from their ends backwards, so many bytes of each: a log may be
gigabytes long, and what happened to a range is said when it happened. Rule: what comes out of a log is foreign text; whoever
shows it makes it harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from raythena.domain.records import AttemptFailed
from raythena.storage.ledger_view import LedgerView, SessionRecord
from raythena.storage.range_records import RangeRecords
from raythena.storage.taskdir import TaskDirectory

SEARCHED_BYTES = 32_000_000
"""Of the end of each log file."""
LINES_KEPT = 200
"""Of each log file, the last ones."""
MAX_LINE = 2000
"""Characters of a line."""

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:[,.](\d+))?")


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One thing that is known."""

    at: float | None
    """Wall-clock seconds since the epoch; None where a log line says no time."""
    source: str
    """`ledger`, or the log file below the task's `logs`."""
    text: str


def story_of(task: TaskDirectory, view: LedgerView, records: RangeRecords, index: int) -> list[StoryLine]:
    """All about one range, in order of time. Raises IndexError, LedgerCorrupt, StorageError."""
    record = records.record(index)
    failures = [failure for failure in view.failures() if failure.range_index == index]
    told = [_of_failure(failure) for failure in failures]
    if record.wall_s is not None and record.started_at is not None:
        told.append(StoryLine(record.started_at, "ledger", f"attempt {record.attempt} began on {record.node}"))
        facts = f"ended after {record.wall_s:.3f} s, {record.size_bytes} bytes; its result counts ({record.state})"
        told.append(StoryLine(record.started_at + record.wall_s, "ledger", f"attempt {record.attempt} {facts}"))
    nodes = {failure.node for failure in failures} | {record.node}
    told += _mentions(task, view.sessions(), nodes, (f"range {index}", record.range_id))
    return sorted(told, key=lambda line: (line.at is None, line.at or 0.0))


def _of_failure(failure: AttemptFailed) -> StoryLine:
    end = "; given up" if failure.final else ""
    node = failure.node or "no node"
    return StoryLine(failure.at, "ledger", f"attempt {failure.attempt} on {node} failed ({failure.kind}{end}): {failure.message}")


def _mentions(
    task: TaskDirectory, sessions: tuple[SessionRecord, ...], nodes: set[str], names: tuple[str, str]
) -> Iterator[StoryLine]:
    """Lines of the logs that name the range."""
    index, range_id = map(re.escape, names)
    wanted = re.compile(rf"\b{index}\b(?!\.\d)|(?<![\w.-]){range_id}(?![\w-])")
    for session in dict.fromkeys(session.name for session in sessions):
        places = [task.logs / session, *(task.logs / session / node for node in sorted(nodes) if node and "/" not in node)]
        for place in places:
            for path in sorted(place.glob("*.log")) if place.is_dir() else ():
                yield from _in_file(path, path.relative_to(task.logs).as_posix(), wanted)


def _in_file(path: Path, name: str, wanted: re.Pattern[str]) -> list[StoryLine]:
    lines = [line for line in tail_of(path, SEARCHED_BYTES).splitlines() if wanted.search(line)]
    return [StoryLine(_time_of(line), name, line[:MAX_LINE]) for line in lines[-LINES_KEPT:]]


def tail_of(path: Path, n_bytes: int) -> str:
    """The end of a text file, from the beginning of a line; empty if it cannot be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - n_bytes))
            content = stream.read(n_bytes)
    except OSError:
        return ""
    if size > n_bytes:
        content = content.partition(b"\n")[2]
    return content.decode("utf-8", "replace")


def _time_of(line: str) -> float | None:
    found = _STAMP.match(line)
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1]).timestamp() + float(f"0.{found[2] or 0}")
    except ValueError:
        return None
