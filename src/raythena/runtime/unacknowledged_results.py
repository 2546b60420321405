"""What a node does for its unacknowledged results while the coordinator is away: it notes them beside their groups.

Nothing is written while the coordinator answers. Writing takes place in a thread; a disk that refuses is asked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from raythena.domain.errors import StorageError
from raythena.domain.results import GroupReport
from raythena.runtime.session_config import AgentOrder
from raythena.storage.taskdir import TaskDirectory
from raythena.storage.unacknowledged import keep_unacknowledged

logger = logging.getLogger(__name__)

AWAY_AFTER_S = 5.0
"""A coordinator that has not answered for so long may not come back."""


class UnacknowledgedResults:
    """Those of one node. Times are monotonic seconds."""

    def __init__(self, order: AgentOrder, now: float) -> None:
        self._staging = TaskDirectory(Path(order.config.task_directory)).staging
        self._session, self._node = order.config.session, order.node
        self._answered_at = now
        self._kept: frozenset[str] = frozenset()
        """Names of the groups in the note."""
        self._writing: asyncio.Task[None] | None = None

    def answered(self, now: float) -> None:
        """The coordinator is there."""
        self._answered_at = now

    def look(self, groups: Mapping[str, GroupReport], now: float) -> None:
        """Note these groups if the coordinator is away and there is more than last time."""
        if now - self._answered_at < AWAY_AFTER_S or groups.keys() <= self._kept:
            return
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(list(groups.values())))

    async def _write(self, groups: list[GroupReport]) -> None:
        try:
            await asyncio.to_thread(keep_unacknowledged, self._staging, self._session, self._node, groups)
        except StorageError as problem:
            logger.warning("results that wait for the coordinator cannot be noted: %s", problem)
            return
        self._kept = frozenset(group.name for group in groups)
