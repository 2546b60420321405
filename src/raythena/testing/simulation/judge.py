"""The promises, checked.

The judge looks at what really happened: at the engine, at a naive ledger kept beside whatever ledger is used, at what nodes
are told, and at the contents of the merged files. `PromiseBroken` tells the story that led there and how to see it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from raythena.domain.errors import InternalError
from raythena.domain.ids import RangeIndex
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import Indices, RangeState, RangeTable
from raythena.domain.records import AttemptFailed, GroupStored, RangesReopened, RangesRetracted, Record
from raythena.engine.engine import Engine
from raythena.engine.invariants import check
from raythena.testing.simulation.disk import SimulatedDisk, place_of
from raythena.testing.simulation.memory_ledger import MemoryLedger

_FAILED = int(RangeState.FAILED)
_IS_STORED = np.asarray([state in (RangeState.STORED, RangeState.MERGED) for state in RangeState])

LOOK_EVERY = 16
REMARKS_TOLD = 5
"""Of each host, in one life of the coordinator."""


class PromiseBroken(AssertionError):
    """A promise does not hold: which, how it came to that, and the line that shows it again."""

    def __init__(self, promise: str, story: Iterable[str], reproduction: str) -> None:
        super().__init__("\n".join([promise, "", "What happened last:", *story, "", f"Again: {reproduction}"]))
        self.promise = promise
        self.reproduction = reproduction


class Judge:
    """Raises InternalError with the promise that is broken.

    What is told and what is merged is looked at every time. The engine as a whole is looked at after every 16th step, and after
    every single one from step `closely_from` on.
    """

    def __init__(self, job: Job, n_ranges: int, closely_from: int | None) -> None:
        self.outputs = OutputMap.plan([] if job.ranges_given else [file.n_events for file in job.inputs], job.events_per_output)
        self.n_ranges = n_ranges
        self.steps = 0
        self._closely_from = float("inf") if closely_from is None else closely_from
        self._stored = np.zeros(n_ranges, dtype=bool)
        self._failed = np.zeros(n_ranges, dtype=bool)
        self._ledger = MemoryLedger()
        self._table: RangeTable | None = None
        self._ids_compared = 0

    def watch(self, ledger: MemoryLedger) -> None:
        """This ledger holds what is durable."""
        self._ledger = ledger

    def committed(self, records: Sequence[Record]) -> None:
        """Records became durable; the ledger holds them."""
        for record in records:
            match record:
                case GroupStored(group):
                    self._stored[group.entries["range"]] = True
                case RangesRetracted(_, ranges):
                    self._stored[list(ranges)] = False
                case AttemptFailed(range_index=index, final=True):
                    self._failed[index] = True
                case RangesReopened(ranges):
                    self._failed[list(ranges)] = False
                case _:
                    pass

    def after_step(self, engine: Engine) -> None:
        """The engine agrees with itself, and believes nothing that the ledger does not know."""
        self.steps += 1
        if self.steps % LOOK_EVERY == 0 or self.steps >= self._closely_from:
            check(engine, ids=self._has_grown(engine.table))
            self.after_commit(engine)

    def _has_grown(self, table: RangeTable) -> bool:
        """Whether a table has ranges that were not looked at before: comparing the ids of all of them takes time."""
        grown = table is not self._table or len(table) != self._ids_compared
        self._table, self._ids_compared = table, len(table)
        return grown

    def after_commit(self, engine: Engine) -> None:
        """The engine believes nothing that the ledger does not know."""
        state = engine.table.state
        unfounded = _IS_STORED[state] & ~self._stored[: len(state)]
        if unfounded.any():
            _promise(False, f"range {int(np.argmax(unfounded))} counts as stored but is not in the ledger")
        unfounded = (state == _FAILED) & ~self._failed[: len(state)]
        if unfounded.any():
            _promise(False, f"range {int(np.argmax(unfounded))} counts as failed but is not in the ledger")

    def unsettled(self) -> str:
        """The first range without an outcome, in words; if there is none, the first that is not merged."""
        ledger = self._ledger
        for settled, what in ((ledger.is_durable, "has no outcome"), (ledger.merged_ranges.__contains__, "is not merged")):
            for index in range(self.n_ranges):
                if not settled(index) and index not in ledger.failed:
                    return f"range {index} {what}"
        return "every range is merged or failed"

    def leased(self, ranges: Indices) -> None:
        """Work is handed out that is still to be done."""
        for index in ranges.tolist():
            done = index in self._ledger.merged_ranges and index in self._ledger.stored
            _promise(not done, f"range {index} is computed although it is merged")

    def discarded(self, groups: Iterable[str]) -> None:
        """What a file that lacks events was made from is kept, so that it can be merged again."""
        kept = {output for output, merged in self._ledger.merged.items() if merged.missing}
        for group in self._ledger.groups_named(name for name in groups if self._ledger.knows(name)):
            needed = group.output in kept and len(group.entries) > 0
            _promise(not needed, f"group {group.name} is discarded, but its output lacks events")

    def look_at_files(self, disk: SimulatedDisk) -> None:
        """Whoever dies now: every merged file the ledger knows is there, and holds what the ledger says."""
        for output, merged in self._ledger.merged.items():
            start, stop = self.outputs.interval(output)
            wanted = [index for index in range(start, stop) if index not in merged.missing]
            found = disk.files.get(disk.file_of(merged))
            _promise(found is not None and sorted(found) == wanted, f"output {output} should hold {wanted}, its file {found}")

    def acknowledged(self, group: str, ranges: Indices) -> None:
        """A node is told to forget a group: every range of it must have had an outcome in the ledger."""
        for index in ranges.tolist():
            durable = index in self._ledger.ever_durable
            _promise(durable, f"acknowledged means durable: group {group} is acknowledged, range {index} is not in the ledger")

    def merging(self, output: int, members: list[int], missing: tuple[int, ...]) -> None:
        """A merge takes exactly the ranges that are stored, none twice; the others are those that are told to be missing."""
        start, stop = self.outputs.interval(output)
        failed = tuple(index for index in range(start, stop) if index in self._ledger.failed)
        _promise(missing == failed, f"exactly once: output {output} is told to lack {missing}, failed are {failed}")
        wanted = [index for index in range(start, stop) if index not in self._ledger.failed]
        _promise(sorted(members) == wanted, f"exactly once: output {output} is merged from {sorted(members)}, not {wanted}")

    def remarked(self, host: str, remarks: Sequence[str], warnings: Sequence[str]) -> None:
        """What payloads of a host remark is told to people, but only the first few times."""
        told = [warning for warning in warnings if warning.startswith(f"node {host}: ")]
        _promise(len(told) <= REMARKS_TOLD, f"remarks: {len(told)} of {host} are told; {REMARKS_TOLD} are enough")
        for remark in remarks:
            told_now = len(told) == REMARKS_TOLD or f"node {host}: {remark}" in told
            _promise(told_now, f"remarks: nobody is told that {host} says: {remark}")

    def at_the_end_unmerged(self) -> None:
        """Every event is in a group, or failed with a reason."""
        for index in range(self.n_ranges):
            stored, failed = index in self._ledger.stored, index in self._ledger.failed
            _promise(stored != failed, f"exactly once: range {index} is {'both' if stored else 'neither'} stored and failed")

    def at_the_end(self, disk: SimulatedDisk) -> None:
        """Every event is in exactly one merged file, in its place, or failed with a reason."""
        self.look_at_files(disk)
        seen: dict[int, int] = {}
        for output, merged in self._ledger.merged.items():
            for index in disk.files[place_of(merged)]:
                _promise(index not in seen, f"exactly once: range {index} is in outputs {seen.get(index)} and {output}")
                _promise(
                    self.outputs.output_of(RangeIndex(index)) == output,
                    f"range {index} is in output {output}, where it does not belong",
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
