"""A gateway that is nothing but memory, for tests: ranges are put in, what is told about them is kept.

Options: `ranges`, the ranges it hands out, as mappings of the fields of `EventRange`; `journal`, a file that gets one JSON line
for everything told, so that a test can see what other processes were told; `acknowledge`, False to take no report; `per_answer`,
how many ranges an answer holds at most, whatever was wanted.

Rules: nothing is checked and nothing is copied; a test that hands in nonsense gets nonsense back. It forgets everything with the
coordinator's life, so a new life gets the same ranges again.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raythena.domain.progress import Progress
from raythena.domain.range_report import RangeReport
from raythena.domain.ranges import EventRange
from raythena.runtime.gateway_interface import CoordinatorLine, FinalOutput, GatewayContext, GatewayPlugin
from raythena.runtime.session_end import SessionResult


class MemoryGateway:
    """Hands out the ranges it was made with, in order, and remembers what it is told."""

    def __init__(self, context: GatewayContext) -> None:
        options = context.options
        self._waiting = deque(EventRange(**fields) for fields in options.get("ranges", ()))
        self._per_answer: int = options.get("per_answer", 1_000_000)
        self._acknowledges: bool = options.get("acknowledge", True)
        self._journal = Path(options["journal"]) if "journal" in options else None
        self._to_do: asyncio.Queue[Callable[[CoordinatorLine], Any]] = asyncio.Queue()
        self.wanted: list[int] = []
        """What was asked for, request by request."""
        self.reports: list[RangeReport] = []
        self.outputs: list[FinalOutput] = []
        self.progress: Progress | None = None
        """The latest."""
        self.result: SessionResult | None = None

    async def run(self, coordinator: CoordinatorLine) -> None:
        """See `Gateway`."""
        while True:
            answer = (await self._to_do.get())(coordinator)
            if answer is not None:
                await answer

    def ranges_wanted(self, count: int) -> None:
        """See `Gateway`."""
        self.wanted.append(count)
        self._note("wanted", count)
        taken = [self._waiting.popleft() for _ in range(min(count, self._per_answer, len(self._waiting)))]
        self._to_do.put_nowait(lambda line: line.ranges_given(taken) if taken else line.ranges_ended())

    def report_due(self, report: RangeReport) -> None:
        """See `Gateway`."""
        self.reports.append(report)
        self._note("report", asdict(report))
        if self._acknowledges:
            self._to_do.put_nowait(lambda line: line.reports_acknowledged([report.number]))

    def output_merged(self, output: FinalOutput) -> None:
        """See `Gateway`."""
        self.outputs.append(output)
        self._note("output", asdict(output))

    def progressed(self, progress: Progress) -> None:
        """See `Gateway`."""
        self.progress = progress

    async def ended(self, result: SessionResult) -> None:
        """See `Gateway`."""
        self.result = result
        self._note("ended", {"outcome": result.outcome, "exit_code": int(result.exit_code)})

    def _note(self, what: str, told: object) -> None:
        if self._journal is not None:
            with self._journal.open("a") as journal:
                journal.write(json.dumps([what, told]) + "\n")


PLUGIN = GatewayPlugin("memory", MemoryGateway)
