"""What a node knows of ranges by their index: derived from the job's inputs, or, where ranges or their files come while the job
runs, told with each lease; and which attempt each is, told with the lease of every range that was tried before.

What was told is forgotten once the node has no part in the range any more; memory follows what is in hand, not what has passed.
"""

from __future__ import annotations

from collections.abc import Callable

from raythena.domain.errors import InternalError
from raythena.domain.ids import OutputNumber, RangeIndex
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import EventRange, Indices, RangeLayout
from raythena.engine.node_messages import CoordinatorReply

_TIDY_ABOVE = 4096


class RangeBook:
    """Ranges by index. It says as well which results may share a group: those of one output, or of one input file."""

    def __init__(self, job: Job) -> None:
        self._layout = RangeLayout.of(job)
        self._outputs = (
            None if job.ranges_given else OutputMap.plan([file.n_events for file in job.inputs], job.events_per_output)
        )
        self._files = {file.lfn: index for index, file in enumerate(job.inputs)}
        self._told: dict[int, EventRange] = {}
        self._attempts: dict[int, int] = {}
        """Of ranges that were tried before."""
        self._tidy_above = _TIDY_ABOVE

    def learn(self, reply: CoordinatorReply, held: Callable[[], Indices]) -> None:
        """Take note of the ranges leased in a reply; `held` tells what the node has in hand besides."""
        if len(self._told) + len(self._attempts) > self._tidy_above:
            self._tidy(held().tolist())
        self._attempts.update(reply.attempts)
        if self._layout.is_told:
            indices = [index for ranges in reply.leases for index in ranges.tolist()]
            self._told.update(zip(indices, reply.given, strict=True))

    def _tidy(self, held: list[int]) -> None:
        self._told = {index: self._told[index] for index in held if index in self._told}
        self._attempts = {index: self._attempts[index] for index in held if index in self._attempts}
        self._tidy_above = 2 * (len(self._told) + len(self._attempts)) + _TIDY_ABOVE

    def attempt(self, index: int) -> int:
        """Which attempt at the range this node's is, counted from 1."""
        return self._attempts.get(index, 1)

    def event_range(self, index: int) -> EventRange:
        """The range as a payload needs it."""
        if not self._layout.is_told:
            return self._layout.event_range(index)
        if index not in self._told:
            raise InternalError(f"nobody told what range {index} is")
        return self._told[index]

    def output_of(self, range_index: RangeIndex) -> OutputNumber:
        """Number of the output, or of the input file where ranges are given."""
        if self._outputs is not None:
            return self._outputs.output_of(range_index)
        return OutputNumber(self._files[self.event_range(range_index).lfn])
