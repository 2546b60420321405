"""The coordinator's side of a gateway: hands it what is to be told, takes what it says, and watches over it.

Rules: a gateway that fails ends the job under the name of its error; what it says after the engine's last word has no effect; its
last word is waited for, but not for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from raythena.domain.errors import InternalError, RaythenaError
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.progress import Progress
from raythena.domain.range_report import DeliveredFile, RangeReport, RangeStatus, ReportedRange
from raythena.domain.ranges import EventRange, RangeLayout
from raythena.domain.records import Restored
from raythena.domain.results import MergedOutput
from raythena.domain.taxonomy import EndCause
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.runtime.clock import SYSTEM_CLOCK, Clock
from raythena.runtime.gateway_interface import (
    FinalOutput,
    Gateway,
    GatewayContext,
    HistoryReader,
    TaskHistory,
    gateway_plugin,
)
from raythena.runtime.session_config import DeliveryForm, SessionConfig, StopOrder
from raythena.runtime.session_end import SessionResult

logger = logging.getLogger(__name__)

_LEAST_S = 1.0
"""A gateway gets this long for its last word however late it is."""


class GatewayEffects(Protocol):
    """What a gateway can bring about in the coordinator."""

    def tell(self, event: ev.Event) -> None:
        """Hand an event to the engine and do what it says."""

    def obey(self, order: StopOrder) -> None:
        """Somebody wants an early end."""

    def stop(self, reason: str, cause: RaythenaError | None = None) -> None:
        """End the job early, because of an error."""


class GatewayRunner:
    """A session's gateway and the conversation with it. It is the gateway's `CoordinatorLine`."""

    def __init__(
        self,
        config: SessionConfig,
        gateway: Gateway,
        coordinator: GatewayEffects,
        layout: RangeLayout,
        settled: Callable[[], Awaitable[None]],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._config = config
        self._gateway = gateway
        self._coordinator = coordinator
        self._layout = layout
        self._settled = settled
        self._running: asyncio.Task[None] | None = None
        self._ends_by = config.ends_at
        self._n_new = 0
        """Of the ranges that are being handed over, how many the engine did not know."""

    def begin(self, restored: Restored) -> None:
        """Tell what an earlier life has told, and let the gateway work."""
        for output in restored.merged:
            self.output_merged(output)
        if isinstance(self._gateway, HistoryReader):
            self._gateway.resumed(history_of(restored, self._layout, self._config))
        self._running = asyncio.create_task(self._gateway.run(self))
        self._running.add_done_callback(self._gateway_ended)

    def _gateway_ended(self, running: asyncio.Task[None]) -> None:
        if running.cancelled() or (problem := running.exception()) is None:
            return
        logger.error("the gateway failed", exc_info=problem)
        cause = problem if isinstance(problem, RaythenaError) else InternalError(f"{type(problem).__name__}: {problem}")
        self._coordinator.stop(f"the gateway failed: {cause}", cause)

    # ---- what the gateway is told

    def ranges_wanted(self, command: do.RequestRanges) -> None:
        """See `Gateway.ranges_wanted`."""
        logger.info("asking for %d event ranges", command.count)
        self._gateway.ranges_wanted(command.count)

    def ranges_accepted(self, command: do.AcceptRanges) -> None:
        """The engine's answer to the ranges that the gateway is handing over."""
        self._n_new = command.n_new

    def report_due(self, command: do.PublishReport) -> None:
        """See `Gateway.report_due`."""
        self._gateway.report_due(range_report(command, self._layout, self._config))

    def output_merged(self, merged: MergedOutput) -> None:
        """See `Gateway.output_merged`."""
        for file in merged.files:
            path = str(Path(self._config.task_directory) / file.path)
            self._gateway.output_merged(FinalOutput(file.lfn, path, file.guid, file.size_bytes, file.adler32, file.n_events))

    def progressed(self, progress: Progress) -> None:
        """See `Gateway.progressed`."""
        self._gateway.progressed(progress)

    async def end(self, result: SessionResult) -> None:
        """Give the gateway its time for the last word."""
        await self._cancel()
        left_s = self._config.gateway_patience_s
        if self._ends_by is not None:
            left_s = min(left_s, max(_LEAST_S, self._ends_by - self._clock.wall_s()))
        try:
            await asyncio.wait_for(self._gateway.ended(result), left_s)
        except TimeoutError:
            logger.error("the gateway was not done with its last word after %.0f s", left_s)
        except Exception:  # it may be anybody's code; the job is over either way, and the log has it
            logger.exception("the gateway failed at its last word")

    async def _cancel(self) -> None:
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running], timeout=_LEAST_S)

    # ---- what the gateway says (`CoordinatorLine`)

    async def ranges_given(self, ranges: Sequence[EventRange]) -> int:
        """See `CoordinatorLine.ranges_given`."""
        chunk = await asyncio.to_thread(GivenRanges.pack, ranges, self._config.job.inputs)
        self._n_new = 0
        self._coordinator.tell(ev.RangesGiven(chunk))  # does at once what the engine says: `ranges_accepted`, unless all is over
        n_new = self._n_new
        logger.info("%d event ranges were given, %d of them new", len(chunk), n_new)
        await self._settled()
        return n_new

    def ranges_ended(self) -> None:
        """See `CoordinatorLine.ranges_ended`."""
        logger.info("there are no more event ranges")
        self._coordinator.tell(ev.RangesEnded())

    async def reports_acknowledged(self, numbers: Iterable[int]) -> None:
        """See `CoordinatorLine.reports_acknowledged`."""
        self._coordinator.tell(ev.ReportsAcknowledged(tuple(numbers)))
        await self._settled()

    def stop(self, reason: str, cause: EndCause = EndCause.ASKED, by: float | None = None) -> None:
        """See `CoordinatorLine.stop`."""
        self.hurry(by)
        self._coordinator.obey(StopOrder(reason, cause, by))

    def hurry(self, by: float | None) -> None:
        """Everything must be over at wall-clock time `by`, the gateway's last word included."""
        if by is not None:
            self._ends_by = by if self._ends_by is None else min(by, self._ends_by)


def gateway_of(config: SessionConfig) -> Gateway | None:
    """The gateway a session is configured with. Raises InvalidInput."""
    spec = config.gateway
    if spec is None:
        return None
    plugin = gateway_plugin(spec.kind)
    if plugin.check_options is not None:
        plugin.check_options(spec.options, "session")
    return plugin.factory(GatewayContext(config.job, config.session, Path(config.task_directory), spec.options))


def history_of(restored: Restored, layout: RangeLayout, config: SessionConfig) -> TaskHistory:
    """What a ledger remembers of a job whose ranges are given, in the gateway's words."""
    groups = [group for group in restored.groups if len(group.entries)]
    reports = [range_report(do.PublishReport(number=0, group=group, failures=()), layout, config) for group in groups]
    given = layout.event_ranges(np.arange(len(layout), dtype=np.int64)) if len(layout) else []
    return TaskHistory(given, reports, frozenset(map(layout.range_id, restored.failed.tolist())))


def range_report(command: do.PublishReport, layout: RangeLayout, config: SessionConfig) -> RangeReport:
    """What the engine wants published, in the gateway's words."""
    group = command.group
    if group is None:
        failures = ((RangeStatus.FATAL if failure.fatal else RangeStatus.FAILED, failure) for failure in command.failures)
        told = (ReportedRange(layout.range_id(each.range_index), status, None, each.message) for status, each in failures)
        return RangeReport(command.number, tuple(told))
    path = Path(config.task_directory) / group.path
    ids = [each.range_id for each in layout.event_ranges(group.entries["range"].astype("i8"))]
    if config.delivery.form is DeliveryForm.ARCHIVES:
        archive = DeliveredFile(str(path), group.size_bytes, group.adler32)
        return RangeReport(command.number, tuple(ReportedRange(each, RangeStatus.FINISHED) for each in ids), archive)
    rows = zip(ids, group.entries["size"].tolist(), group.entries["adler32"].tolist(), strict=True)
    files = ((each, DeliveredFile(str(path / config.output_name(each)), size, adler32)) for each, size, adler32 in rows)
    return RangeReport(command.number, tuple(ReportedRange(each, RangeStatus.FINISHED, file) for each, file in files))
