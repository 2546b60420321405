"""Merges from the engine's order to the file in its place: run somewhere, moved here, tried again while a disk refuses.

Merged outputs are moved into place here, before they are committed, so an output in the ledger exists. Only a file that is to
take the place of an older one lies beside it until it is committed (see `replacement`).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

from raythena.domain.errors import LedgerError, MergeError, StorageError
from raythena.domain.ids import RangeIndex
from raythena.domain.results import GroupReport, MergedOutput
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.runtime.clock import Clock
from raythena.runtime.merge_task import MergeOrder, for_streams
from raythena.runtime.session_config import SessionConfig
from raythena.storage.atomic import durable_rename
from raythena.storage.taskdir import TaskDirectory

logger = logging.getLogger(__name__)

_DISK_PAUSE_S = 1.0

Merge = Callable[[MergeOrder], Coroutine[None, None, MergedOutput]]
"""Runs `merge_output` somewhere. Raises MergeError, StorageError, or anything when the process running it died."""
FindGroups = Callable[[tuple[str, ...]], Coroutine[None, None, list[GroupReport]]]
"""The committed groups of these names."""


class MergeRunner:
    """Runs what the engine orders and tells it what came of it. `is_over`: nobody waits for merges any more."""

    def __init__(
        self,
        config: SessionConfig,
        merge: Merge,
        find_groups: FindGroups,
        tell: Callable[[ev.Event], None],
        *,
        is_over: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._config = config
        self._merge = merge
        self._find_groups = find_groups
        self._tell = tell
        self._is_over = is_over
        self._clock = clock
        self._root = Path(config.task_directory)

    async def run(self, command: do.StartMerge) -> MergedOutput | None:
        """Merge one output and move it into place; None: it failed, and the engine knows.

        Raises StorageError when a disk has refused for too long, LedgerError.
        """
        if command.delay_s:
            await self._clock.sleep(command.delay_s)
        lfn = self._config.job.outputs[command.output]
        groups: list[GroupReport] = []
        try:
            merged = await self._merge_patiently(command, groups)
        except MergeError as problem:
            logger.error("merging %s failed: %s", lfn, problem)
            bad = _by_group(groups, problem.bad_ranges)
            reasons = tuple(map(ev.BadOutput, map(RangeIndex, problem.bad_ranges), problem.reasons))
            self._tell(ev.MergeFailed(merge=command.merge, message=str(problem), bad=bad, reasons=reasons))
            return None
        except (StorageError, LedgerError):
            raise
        except Exception as problem:  # noqa: BLE001 (the merge process may die of anything; it goes into the log and to the engine)
            logger.error("merging %s failed: %s", lfn, problem)
            self._tell(ev.MergeFailed(merge=command.merge, message=f"{type(problem).__name__}: {problem}"))
            return None
        logger.info("merged %s: %d events in %.1f s", lfn, merged.n_events, merged.wall_s)
        self._tell(ev.MergeSucceeded(merge=command.merge, merged=merged))
        return merged

    async def _merge_patiently(self, command: do.StartMerge, groups: list[GroupReport]) -> MergedOutput:
        """Merge and move into place, again while a disk refuses; `groups` are filled in. Raises StorageError in the end."""
        since: float | None = None
        while True:
            try:
                groups[:] = await self._find_groups(command.groups)
                order = self._order(command, tuple(groups))
                merged = await self._merge(order)
                first, *others = [await self._placed(command, file) for file in merged.files]
                return replace(first, others=tuple(others))
            except StorageError as problem:
                since = since or self._clock.monotonic_s()
                if self._is_over() or self._clock.monotonic_s() - since > self._config.storage_patience_s:
                    raise
                logger.error("merging waits for the disk: %s", problem)
                self._tell(ev.MergeStalled(merge=command.merge, reason=str(problem)))
                await self._clock.sleep(_DISK_PAUSE_S)

    async def _placed(self, command: do.StartMerge, file: MergedOutput) -> MergedOutput:
        final = self._final_place(command, file)
        await asyncio.to_thread(durable_rename, self._root / file.path, final)
        return replace(file, path=str(final.relative_to(self._root)))

    def _final_place(self, command: do.StartMerge, file: MergedOutput) -> Path:
        """Where the ledger will know the file: where people look for it, unless an older one lies there and still counts."""
        directory = TaskDirectory(self._root)
        if not command.beside:
            return directory.outputs / file.lfn
        directory.replacing.mkdir(exist_ok=True)
        return directory.replacing / Path(file.path).name

    def _order(self, command: do.StartMerge, groups: tuple[GroupReport, ...]) -> MergeOrder:
        job = self._config.job
        lfn = job.outputs[command.output]
        token = uuid.uuid4().hex[:8]
        first = MergeOrder(
            self._config.task_directory,
            self._config.session,
            self._config.scratch_directory,
            command.output,
            lfn,
            str(uuid.uuid4()).upper(),
            job.merge,
            groups,
            command.expected,
            command.missing,
            f"outputs/.merging/{token}.{lfn}",
            command.attempt,
        )
        return for_streams(first, job)


def _by_group(groups: list[GroupReport], bad: tuple[int, ...]) -> tuple[ev.BadMembers, ...]:
    """Which of the bad ranges are in which group."""
    wanted = set(bad)
    found = ((group.name, tuple(sorted(wanted.intersection(group.entries["range"].tolist())))) for group in groups)
    return tuple(ev.BadMembers(name, tuple(map(RangeIndex, ranges))) for name, ranges in found if ranges)
