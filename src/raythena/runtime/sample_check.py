"""The first finished events show whether what the payload writes can be merged, before everything is computed in vain.

As soon as an output is to be stored, the merger is shown it (see `runtime.merger_interface`). If it says that outputs of this
kind cannot be merged, and says so again of another event, the job is stopped with its reason. If it says that this very output
is no good, the next event is looked at: events are charged where their output is merged, and only when none of `TRIES` is any
good is the job stopped.

Rule: only the merger's word stops a job. A disk that refuses, or a process that dies, proves nothing; then merging will tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace

from raythena.domain.errors import MergeError, RaythenaError
from raythena.domain.job import NO_MERGE
from raythena.domain.results import GroupReport, MergedOutput
from raythena.runtime.merge_runner import Merge
from raythena.runtime.merge_task import MergeOrder, for_streams
from raythena.runtime.session_config import SessionConfig

logger = logging.getLogger(__name__)

TRIES = 5
"""Events looked at before a payload is thought to write nothing that can be merged."""
CONFIRMED = 2
"""Events of which a merger must say that nothing of their kind can be merged: a program may fail once for reasons of its own."""

Sampler = Callable[[MergeOrder], Coroutine[None, None, None]]
"""Runs `merge_task.check_sample` somewhere. Raises MergeError, StorageError, or anything when the process running it died."""


class SampleCheck:
    """Looks at one event after the other until the merger has accepted one. `stop` ends the job."""

    def __init__(self, config: SessionConfig, sampler: Sampler | None, stop: Callable[[str, RaythenaError], None]) -> None:
        self._config = config
        self._sampler = sampler
        self._stop = stop
        self._is_looking = False
        self._settled = sampler is None or config.job.merge.kind == NO_MERGE
        self._no_good: set[int] = set()
        self._refusals = 0

    @property
    def wanted(self) -> bool:
        """Another event should be looked at."""
        return not self._settled and not self._is_looking

    async def look(self, group: GroupReport) -> None:
        """Look at the outputs of a group, one after the other, until the question is settled."""
        if self._sampler is None or not self.wanted:
            return
        self._is_looking = True
        try:
            for entry in range(len(group.entries)):
                if not self._settled:
                    await self._look_at(self._sampler, replace(group, entries=group.entries[entry : entry + 1]))
        finally:
            self._is_looking = False

    async def _look_at(self, sampler: Sampler, group: GroupReport) -> None:
        index = int(group.entries["range"][0])
        if index in self._no_good:
            return
        try:
            await sampler(self._order(group))
            self._settled = True
        except MergeError as problem:
            self._judge(index, problem)
        except Exception as problem:  # noqa: BLE001 (as the rule above says: whatever else goes wrong is merging's to find again)
            logger.warning("whether outputs can be merged is not known: %s", problem)
            self._settled = True

    def _judge(self, index: int, problem: MergeError) -> None:
        if problem.bad_ranges and not problem.reasons:  # lost since it was stored: nothing is known of what it was
            return
        self._no_good.add(index)
        self._refusals += not problem.reasons
        if self._refusals < CONFIRMED and len(self._no_good) < TRIES:
            logger.warning("the output of range %d cannot be merged: %s", index, problem)
            return
        self._settled = True
        found = "outputs cannot be merged" if self._refusals else f"none of {len(self._no_good)} outputs can be merged"
        self._stop(f"{found}: {problem}", MergeError(f"{found}: {problem}"))

    def _order(self, group: GroupReport) -> MergeOrder:
        config = self._config
        lfn = config.job.outputs[group.output]
        guid = str(uuid.uuid4()).upper()
        places = (config.task_directory, config.session, config.scratch_directory)
        return for_streams(MergeOrder(*places, group.output, lfn, guid, config.job.merge, (group,), 1, (), ""), config.job)


class LookBeforeMerge:
    """A merge that is ordered while a sample is looked at begins afterwards, in the process that looked.

    Starting another process takes longer than any look should. One that takes more than `patience_s` is waited for no more.
    """

    def __init__(self, merge: Merge, sampler: Sampler, patience_s: float = 10.0) -> None:
        self._merge = merge
        self._sampler = sampler
        self._patience_s = patience_s
        self._idle = asyncio.Event()
        self._idle.set()

    async def check_sample(self, order: MergeOrder) -> None:
        """Look at the sample; one at a time."""
        self._idle.clear()
        try:
            await self._sampler(order)
        finally:
            self._idle.set()

    async def merge(self, order: MergeOrder) -> MergedOutput:
        """Merge, when nothing is looked at."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self._patience_s)
        return await self._merge(order)
