"""What a fault has cost, from what is on disk afterwards: the payload's own tally of events begun, and the coordinator's log.

Nothing here asks a running process. Times are wall-clock seconds since the epoch, of one machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) \w+ +[\w.]+: (.*)")


@dataclass(frozen=True)
class Begin:
    """An event was begun on a core."""

    at: float
    pid: int
    range_id: str


def read_tally(path: Path) -> list[Begin]:
    """Every event begun so far, in order; what `tallied` wrote."""
    if not path.exists():
        return []
    words = (line.split() for line in path.read_text().split("\n")[:-1])
    return sorted((Begin(float(at), int(pid), one) for at, pid, one in words), key=lambda begin: begin.at)


def begun_by(begins: Iterable[Begin], pids: Collection[int], until: float) -> set[str]:
    """What these processes had begun at a moment."""
    return {begin.range_id for begin in begins if begin.pid in pids and begin.at <= until}


def begun_last(begins: Iterable[Begin], pids: Collection[int], until: float) -> set[str]:
    """What was on the cores of these processes at a moment: the last event each of them had begun."""
    return set({begin.pid: begin.range_id for begin in begins if begin.pid in pids and begin.at <= until}.values())


def begun_again(begins: Iterable[Begin], ids: Collection[str], pids: Collection[int], after: float) -> dict[str, float]:
    """When each of these events was first begun, after a moment, by other processes than those."""
    again: dict[str, float] = {}
    for begin in begins:
        if begin.at > after and begin.range_id in ids and begin.pid not in pids:
            again.setdefault(begin.range_id, begin.at)
    return again


def log_lines(log: Path, after: float = 0.0) -> Iterator[tuple[float, str]]:
    """(time, text) of the lines of a log that were written after a moment."""
    if not log.exists():
        return
    for line in log.read_text().splitlines():
        if (found := _LINE.match(line)) is not None:
            at = time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) + int(found[2]) / 1000
            if at > after:
                yield at, found[3]


def first_line(log: Path, words: str, after: float) -> float | None:
    """When a line with these words was first written after a moment."""
    return next((at for at, text in log_lines(log, after) if words in text), None)
