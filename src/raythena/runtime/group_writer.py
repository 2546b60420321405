"""Puts finished outputs of a node into group files on the shared file system, and says what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.engine.result_groups import FinishedRange, GroupToWrite
from raythena.runtime.range_book import RangeBook
from raythena.runtime.session_config import SessionConfig
from raythena.storage.groups import Member, write_group
from raythena.storage.single_files import write_files


class GroupWriter:
    """Of one node incarnation. Everything here waits for disks: it is called in a thread."""

    def __init__(self, config: SessionConfig, node: str, book: RangeBook) -> None:
        self._config = config
        self._node = node
        self._book = book
        self._root = Path(config.task_directory)

    def name_of(self, group: GroupToWrite) -> str:
        """What the group is called: unique in the task."""
        return f"{self._config.session}/{self._node}/{group.number:06d}"

    def write(self, group: GroupToWrite) -> tuple[GroupReport | None, dict[int, str]]:
        """Make a group durable. Gives its report, None if nothing is in it, and what is wrong with outputs that were not taken.

        Raises StorageError.
        """
        name = self.name_of(group)
        target = self._root / self._config.group_path(name)
        written = (write_group if target.suffix == ".zip" else write_files)(target, map(self._member, group.members))
        for member in group.members:
            if member.whole_file:
                Path(member.path).unlink(missing_ok=True)
        if not len(written.indices):
            return None, written.bad
        kept = [member for member in group.members if member.index not in written.bad]
        entries = np.empty(len(kept), dtype=ENTRY_DTYPE)
        entries["range"] = written.indices
        entries["size"] = written.sizes
        entries["adler32"] = written.adlers
        for column in ("attempt", "cpu_s", "wall_s"):
            entries[column] = [getattr(member, column) for member in kept]
        entries["start"] = [member.started_at for member in kept]
        sizes = (written.size_bytes, written.adler32)
        return GroupReport(name, self._node, group.output, self._config.group_path(name), *sizes, entries), written.bad

    def _member(self, result: FinishedRange) -> Member:
        size_bytes = None if result.whole_file else result.size_bytes
        given = self._config.job.ranges_given
        name = self._config.output_name(self._book.event_range(result.index).range_id) if given else ""
        return Member(result.index, Path(result.path), result.offset, size_bytes, name)
