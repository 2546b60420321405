"""The shared disk: group files that can be damaged or gone, and merged files with their contents."""

from __future__ import annotations

from collections.abc import Callable

from raythena.domain.results import GroupReport, MergedOutput


def place_of(merged: MergedOutput) -> str:
    """Where people look for a merged file."""
    return f"outputs/{merged.lfn}"


class SimulatedDisk:
    """`is_damaged()` is asked once for every range written."""

    def __init__(self, is_damaged: Callable[[], bool]) -> None:
        self._is_damaged = is_damaged
        self._groups: dict[str, set[int]] = {}
        self.files: dict[str, list[int]] = {}
        """Ranges in every merged file, by its path."""
        self.refused_until = 0.0
        """Nothing can be written before this."""

    def file_of(self, merged: MergedOutput) -> str:
        """Where a merged file is: as committed, or in its place."""
        return merged.path if merged.path in self.files else place_of(merged)

    def put_into_place(self, merged: MergedOutput) -> None:
        """A file replaces the older one, unless it has done so already."""
        if merged.path in self.files and merged.path != place_of(merged):
            self.files[place_of(merged)] = self.files.pop(merged.path)

    def write_group(self, group: GroupReport) -> None:
        """A node writes a group, some of whose ranges may not be readable later."""
        ranges = group.entries["range"].tolist()
        self._groups[group.name] = {index for index in ranges if not self._is_damaged()}

    def remove_groups(self, names: tuple[str, ...]) -> None:
        """They are not needed any more."""
        for name in names:
            self._groups.pop(name, None)

    def unreadable(self, group: GroupReport) -> tuple[int, ...]:
        """Ranges of the group that cannot be read."""
        readable = self._groups.get(group.name, set())
        return tuple(index for index in group.entries["range"].tolist() if index not in readable)
