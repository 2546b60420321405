"""The promises, checked.

The judge looks at what really happened: at the engine, at a naive ledger kept beside whatever ledger is used, at what nodes
are told, and at the contents of the merged files. `PromiseBroken` tells the story that led there and how to see it again.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from raythena.domain.errors import InternalError
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import Indices, RangeState
from raythena.engine.engine import Engine
from raythena.engine.invariants import check
from raythena.testing.simulation.memory_ledger import MemoryLedger


class PromiseBroken(AssertionError):
    """A promise does not hold: which, how it came to that, and the line that shows it again."""

    def __init__(self, promise: str, story: Iterable[str], reproduction: str) -> None:
        super().__init__("\n".join([promise, "", "What happened last:", *story, "", f"Again: {reproduction}"]))
        self.promise = promise


class Judge:
    """Raises InternalError with the promise that is broken."""

    def __init__(self, job: Job, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self.outputs = OutputMap.plan([file.n_events for file in job.inputs], job.events_per_output)
        self.n_ranges = job.n_events
        self._records_seen = 0
        self._stored = np.zeros(job.n_events, dtype=bool)
        self._failed = np.zeros(job.n_events, dtype=bool)

    def after_step(self, engine: Engine) -> None:
        """The engine agrees with itself, and believes nothing that the ledger does not know."""
        check(engine)
        self._look_into_ledger()
        state = engine.table.state
        stored = (state == RangeState.STORED) | (state == RangeState.MERGED)
        _promise(not (stored & ~self._stored).any(), "a range counts as stored but is not in the ledger")
        _promise(not ((state == RangeState.FAILED) & ~self._failed).any(), "a range counts as failed but is not in the ledger")

    def _look_into_ledger(self) -> None:
        if self._records_seen != len(self._ledger.records):
            self._records_seen = len(self._ledger.records)
            for column, ranges in ((self._stored, self._ledger.stored), (self._failed, self._ledger.failed)):
                column[:] = False
                column[list(ranges)] = True

    def lent(self, ranges: Indices) -> None:
        """Work is handed out that is still to be done."""
        for index in ranges.tolist():
            _promise(index not in self._ledger.merged_ranges, f"range {index} is computed although it is merged")

    def acknowledged(self, group: str, ranges: Indices) -> None:
        """A node is told to forget a group: every range of it must have had an outcome in the ledger."""
        for index in ranges.tolist():
            durable = index in self._ledger.ever_durable
            _promise(durable, f"acknowledged means durable: group {group} is acknowledged, range {index} is not in the ledger")

    def merging(self, output: int, members: list[int]) -> None:
        """A merge takes exactly the ranges that are stored, none twice."""
        start, stop = self.outputs.interval(output)
        wanted = [index for index in range(start, stop) if index not in self._ledger.failed]
        _promise(sorted(members) == wanted, f"exactly once: output {output} is merged from {sorted(members)}, not {wanted}")

    def at_the_end(self, contents: dict[int, list[int]]) -> None:
        """Every event is in exactly one merged file or failed with a reason. `contents` are the ranges in each output file."""
        seen: dict[int, int] = {}
        for output in self._ledger.merged:
            for index in contents[output]:
                _promise(index not in seen, f"exactly once: range {index} is in outputs {seen.get(index)} and {output}")
                _promise(
                    self.outputs.output_of(index) == output, f"range {index} is in output {output}, where it does not belong"
                )
                seen[index] = output
        for index in range(self.n_ranges):
            failed = index in self._ledger.failed
            story = f"range {index} is {'both merged and' if failed else 'neither merged nor'} failed"
            _promise((index in seen) != failed, f"exactly once: {story}")
            _promise(not failed or self._ledger.failed[index] != "", f"range {index} failed without a reason")


def _promise(holds: bool, promise: str) -> None:
    if not holds:
        raise InternalError(promise)
