"""The gateway `tune`: points of a scan as event ranges, results of trials as news for the searcher.

It owns the policy of the scan and decides nothing else. A point is in the ledger, with its parameters, before a node gets it; a
result is in the ledger before the searcher hears of it. So a new life of the coordinator is told everything there is to know
(`resumed`), leads a new searcher through it, and proposes what the old one would have proposed.

Searchers compute, some for seconds: in a thread, one question at a time, and asked for by the engine before a core is idle.

Options: `scan`, the scan file's content; `source`, its name; `warm`, results of earlier scans (`warm_start`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from raythena.domain.event_range import EventRange
from raythena.domain.progress import Progress
from raythena.domain.range_report import RangeReport
from raythena.domain.scan.scan_file import Scan, parse_scan
from raythena.domain.scan.trial import Point, TrialResult
from raythena.engine.scan_policy import Breeder, PolicyRules, ScanPolicy, TrialOutcome
from raythena.engine.scan_supply import ScanSupply
from raythena.runtime.gateway_interface import CoordinatorLine, FinalOutput, GatewayContext, GatewayPlugin, TaskHistory
from raythena.runtime.session_end import SessionResult
from raythena.storage.checkpoint_files import KeptCheckpoints
from raythena.tune.searcher_interface import SearchProblem, searcher_for
from raythena.tune.trial_archives import number_of, outcome_of, outcomes_of, range_id_of

logger = logging.getLogger(__name__)


def read_options(options: dict[str, Any]) -> tuple[Scan, SearchProblem, list[TrialResult]]:
    """The scan, the problem its searcher solves, and what is known before. Raises InvalidInput."""
    source = str(options.get("source", "scan"))
    scan = parse_scan(options.get("scan"), source)
    warm = [TrialResult.from_bytes(text.encode()) for text in options.get("warm", ())]
    return scan, SearchProblem.of(scan, source), warm


class ScanGateway:
    """See the module, and `Gateway`."""

    def __init__(self, context: GatewayContext) -> None:
        self._scan, self._problem, self._warm = read_options(context.options)
        self._file = context.job.inputs[0]
        self._history: TaskHistory | None = None
        self._task_directory = context.task_directory
        self._checkpoints = KeptCheckpoints(context.task_directory)
        self._wanted: int | None = None
        """Asked for, and the supply has not heard of it."""
        self._reports: list[RangeReport] = []
        self._wake = asyncio.Event()

    # ---- told by the coordinator

    def resumed(self, history: TaskHistory) -> None:
        """See `HistoryReader`."""
        self._history = history

    def ranges_wanted(self, count: int) -> None:
        """See `Gateway`."""
        self._wanted = count
        self._wake.set()

    def report_due(self, report: RangeReport) -> None:
        """See `Gateway`."""
        self._reports.append(report)
        self._wake.set()

    def output_merged(self, output: FinalOutput) -> None:
        """See `Gateway`: nothing is merged."""

    def progressed(self, progress: Progress) -> None:
        """See `Gateway`: nobody is told."""

    async def ended(self, result: SessionResult) -> None:
        """See `Gateway`: everything is in the ledger."""

    # ---- at work

    async def run(self, coordinator: CoordinatorLine) -> None:
        """See `Gateway`."""
        history, self._history = self._history, None
        supply = await asyncio.to_thread(self._rebuilt, history)
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._take_reports(supply, coordinator)
            await self._propose(supply, coordinator)

    def _rebuilt(self, history: TaskHistory | None) -> ScanSupply:
        """In a thread: the supply, led through everything that happened. Raises InvalidInput, StorageError, SearchDiverged."""
        scan = self._scan
        searcher = searcher_for(self._problem, scan.search.method)
        for number, result in enumerate(self._warm, start=1):
            searcher.recall(-number, result.parameters)
            outcome = outcome_of(result, scan.objectives)
            searcher.tell(TrialOutcome(-number, outcome.values))
        if isinstance(searcher, Breeder):
            self._checkpoints = KeptCheckpoints(self._task_directory, needed_for=2 * scan.search.parallel)
        policy = ScanPolicy(PolicyRules(scan.objectives, scan.budget, scan.search.parallel, scan.stopping), searcher)
        supply = ScanSupply(policy)
        if history is not None:
            outcomes = [outcome for report in history.finished for outcome in outcomes_of(report, scan.objectives)]
            outcomes += [TrialOutcome(number_of(range_id), None) for range_id in history.failed]
            self._forget_checkpoints(outcomes)
            supply.lead_through((Point.from_text(each.point) for each in history.given), outcomes)
            logger.info("%d points were proposed before, %d of them are open", policy.n_proposed, policy.n_open)
        return supply

    async def _take_reports(self, supply: ScanSupply, coordinator: CoordinatorLine) -> None:
        reports, self._reports = self._reports, []
        if not reports:
            return
        for outcome in await asyncio.to_thread(self._outcomes, reports):
            supply.settled(outcome)
        await coordinator.reports_acknowledged([report.number for report in reports])

    def _forget_checkpoints(self, outcomes: Iterable[TrialOutcome]) -> None:
        """Trials are recorded: of their checkpoints, that of the best stays."""
        sign = self._scan.objectives[0].sign
        for outcome in outcomes:
            counts = outcome.values is not None and not outcome.stopped_early
            self._checkpoints.settled(outcome.number, sign * outcome.values[0] if counts and outcome.values else None)

    def _outcomes(self, reports: Sequence[RangeReport]) -> list[TrialOutcome]:
        outcomes = [outcome for report in reports for outcome in outcomes_of(report, self._scan.objectives)]
        self._forget_checkpoints(outcomes)
        return outcomes

    async def _propose(self, supply: ScanSupply, coordinator: CoordinatorLine) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            supply.wanted(wanted)
        if supply.n_due:
            points = await asyncio.to_thread(supply.hand_out)
            await coordinator.ranges_given([self._range_of(point) for point in points])
        elif supply.is_over:
            supply.wanted(0)
            coordinator.ranges_ended()

    def _range_of(self, point: Point) -> EventRange:
        file = self._file
        return EventRange(
            range_id_of(point.number), file.lfn, file.pfn, file.guid, point.number, point.number, point=point.to_text()
        )


def _check_options(options: dict[str, object], source: str) -> None:
    scan, problem, _ = read_options(options)
    searcher_for(problem, scan.search.method)


PLUGIN = GatewayPlugin("tune", ScanGateway, _check_options)
