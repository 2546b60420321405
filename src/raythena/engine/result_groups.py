"""Results of a node on their way into group files: collected by output until a group is full, old, or wanted.

A result is in one place: in the open group of its output, in a group that is being written, or not here any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from raythena.domain.ids import OutputNumber


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """When a group is closed: at so many events or bytes, or so long after its first result."""

    events: int
    size_bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class FinishedRange:
    """One result on the node's scratch disk. `path` is a string so that this module need not know about files."""

    index: int
    path: str
    offset: int
    size_bytes: int
    whole_file: bool
    attempt: int
    cpu_s: float
    wall_s: float
    started_at: float


@dataclass(frozen=True, slots=True)
class GroupToWrite:
    """Results to be put into one group file, in event order."""

    number: int
    output: OutputNumber
    members: tuple[FinishedRange, ...]


@dataclass(slots=True)
class _OpenGroup:
    since: float
    size_bytes: int = 0
    members: list[FinishedRange] = field(default_factory=list)


class ResultGroups:
    """The groups of one node incarnation, numbered from 1."""

    def __init__(self, limits: GroupLimits) -> None:
        self._limits = limits
        self._open: dict[OutputNumber, _OpenGroup] = {}
        self._writing: dict[int, GroupToWrite] = {}
        self._last_number = 0

    def __bool__(self) -> bool:
        return bool(self._open or self._writing)

    @property
    def n_unreported(self) -> int:
        """What a node tells of results that are not in a durable group: ranges, and one for each group that is being written."""
        return sum(len(group.members) for group in self._open.values()) + len(self._writing)

    def indices(self) -> Iterator[int]:
        """Every range of which there is a result here."""
        for collecting in self._open.values():
            yield from (member.index for member in collecting.members)
        for closed in self._writing.values():
            yield from (member.index for member in closed.members)

    def add(self, output: OutputNumber, result: FinishedRange, now: float) -> None:
        """A range of an output is finished."""
        group = self._open.get(output)
        if group is None:
            group = self._open[output] = _OpenGroup(now)
        group.members.append(result)
        group.size_bytes += result.size_bytes

    def due(self, now: float, *, all_of_them: bool) -> list[GroupToWrite]:
        """Groups to be written now."""
        limits = self._limits
        outputs = [
            output
            for output, group in self._open.items()
            if all_of_them
            or len(group.members) >= limits.events
            or group.size_bytes >= limits.size_bytes
            or now - group.since >= limits.age_s
        ]
        return [self._close(output) for output in outputs]

    def _close(self, output: OutputNumber) -> GroupToWrite:
        members = sorted(self._open.pop(output).members, key=_by_index)
        self._last_number += 1
        group = GroupToWrite(self._last_number, output, tuple(members))
        self._writing[group.number] = group
        return group

    def written(self, number: int) -> None:
        """A group is durable, or nothing was left of it."""
        del self._writing[number]


def _by_index(result: FinishedRange) -> int:
    return result.index
