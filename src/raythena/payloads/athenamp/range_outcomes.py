"""What became of ranges AthenaMP was given: from what it says, and from what lies on the disk.

Rules:
- A range AthenaMP says nothing about any more is looked for on disk before it counts as lost; what is complete there is done.
- A range over its time limit, or one whose memory is needed, costs the worker that has it its life.
- Messages that cannot be understood cost the range they name; messages about no range in flight cost nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from raythena.domain.results import FailureKind
from raythena.payloads.athena_memory import AthenaMemory, AthenaTree, RangeInWorker
from raythena.payloads.athenamp.athenamp_ranges import AthenaRanges, InFlight
from raythena.payloads.athenamp.channel import Given, Heard
from raythena.payloads.athenamp.messages import (
    CRASH_REASON,
    OUTPUT_REASON,
    TOKEN,
    RangeDone,
    RangeFailed,
    RangeReady,
    Unintelligible,
    decode,
)
from raythena.payloads.athenamp.transform_run import TransformRun
from raythena.payloads.latency import IdleClock
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.output_inspection import BadOutput, Output
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.clock import Clock, wall_of
from raythena.runtime.payload_interface import Done, Failed, Released

LOG = logging.getLogger(__name__)
STRAYS_LOGGED = 20
REASON_LENGTH = 4000
_ENDS_ITS_WORKER = frozenset({FailureKind.HANG, FailureKind.OUT_OF_MEMORY, FailureKind.MEMORY_SHORT})


class RangeOutcomes:
    """Turns what is known of ranges in flight into outcomes."""

    def __init__(
        self, ranges: AthenaRanges, outcomes: OutcomeQueue, pace: Pace, clock: Clock, memory: AthenaMemory | None = None
    ) -> None:
        self._ranges = ranges
        self._outcomes = outcomes
        self._pace = pace
        self._clock = clock
        self._memory = memory
        self.waiting = IdleClock(clock.monotonic_s())
        """What the cores have waited for."""
        self._strays = 0

    # ---- what AthenaMP says

    def given(self, run: TransformRun, given: Given) -> None:
        """A worker has been given a range."""
        self._ranges.given(given, wall_of(self._clock, given.at))
        run.flushes.given()
        run.given += 1
        idle_since = run.idle_since.popleft() if run.idle_since else None
        self.waiting.given(given.at, None if idle_since is None else given.at - idle_since, starved=given.starved)

    def heard(self, run: TransformRun, heard: Heard) -> None:
        """A message other than a question for a range has come."""
        try:
            message = decode(heard.message)
        except Unintelligible as problem:
            self._puzzle(run, heard.message, str(problem))
            return
        if isinstance(message, RangeReady) or run.flushes.refused(message.token, heard.at):
            return
        run.flushes.reported()
        in_flight = self._ranges.in_flight.pop(message.token, None)
        if in_flight is None:
            self._note_stray(run, heard.message)
            return
        run.idle_since.append(heard.at)
        self.waiting.result(heard.at)
        if isinstance(message, RangeDone):
            self._take_output(run, in_flight, message, heard.at)
        else:
            self._take_failure(run, in_flight, message, heard.at)

    def _take_output(self, run: TransformRun, in_flight: InFlight, message: RangeDone, now: float) -> None:
        held_s = now - in_flight.since
        try:
            if not message.path:
                raise BadOutput(f"AthenaMP reported {len(message.paths)} files for one range: {', '.join(message.paths)[:500]}")
            output = run.workplace.inspect(message.path)
        except BadOutput as problem:
            self._outcomes.finish(Failed(in_flight.index, FailureKind.BAD_OUTPUT, str(problem), held_s))
            return
        self._pace.observe(message.wall_s, held_s)
        self._tell(run, in_flight, output, message.wall_s or held_s, message.cpu_s)

    def _tell(self, run: TransformRun, in_flight: InFlight, output: Output, wall_s: float, cpu_s: float) -> None:
        run.results += 1
        self._outcomes.finish(Done(in_flight.index, output.path, output.size_bytes, in_flight.at, wall_s, cpu_s))

    def _take_failure(self, run: TransformRun, in_flight: InFlight, message: RangeFailed, now: float) -> None:
        kinds = {CRASH_REASON: FailureKind.CRASH, OUTPUT_REASON: FailureKind.BAD_OUTPUT}
        kind = kinds.get(message.reason, FailureKind.REPORTED)
        if message.error != "ERR_ATHENAMP_PROCESS":
            kind = FailureKind.PROTOCOL
        if kind is FailureKind.REPORTED:
            run.results += 1
        tail = run.workplace.log_of(message.token)
        text = f"{message.error}: {message.reason}"
        if kind is FailureKind.CRASH and self._memory and (word := self._memory.kernels_word(message.token)):
            kind, text = FailureKind.OUT_OF_MEMORY, f"{word}; {text}"
        text += f"; last lines of the worker's log: {tail}" if tail else ""
        self._outcomes.finish(Failed(in_flight.index, kind, text[:REASON_LENGTH], now - in_flight.since))

    def _puzzle(self, run: TransformRun, message: bytes, problem: str) -> None:
        """A message that cannot be understood costs the range it names, if it names one."""
        in_flight = self._ranges.in_flight
        named = {token for token in TOKEN.findall(message.decode(errors="replace")) if token in in_flight}
        if len(named) != 1:
            self._note_stray(run, message)
            return
        now, one = self._clock.monotonic_s(), in_flight.pop(named.pop())
        run.idle_since.append(now)
        text = f"AthenaMP sent a message that cannot be understood ({problem}): {message[:500]!r}"
        self._outcomes.finish(Failed(one.index, FailureKind.PROTOCOL, text, now - one.since))

    def _note_stray(self, run: TransformRun, message: bytes) -> None:
        """Duplicates, and reports of ranges that were settled in another way: once too often is not an error."""
        self._strays += 1
        if self._strays <= STRAYS_LOGGED:
            LOG.warning("run %d: AthenaMP said something about no range in flight: %r", run.number, message[:500])

    def keep_count(self, run: TransformRun) -> None:
        """Tell the channel how many ranges are out, and how many may be."""
        allowed = self._memory.allowed if self._memory else run.cores
        run.channel.account(run.given, len(self._ranges.in_flight), allowed if allowed < run.cores else None)

    # ---- what it does not say

    def watch(self, run: TransformRun, now: float) -> None:
        """Announce long events, and fail those that take too long."""
        limit_s = self._pace.time_limit_s
        for token, in_flight in list(self._ranges.in_flight.items()):
            if not in_flight.announced:
                in_flight.announced = True
                self._outcomes.started(in_flight.index, in_flight.at)
            lasted_s = now - in_flight.since
            if lasted_s > limit_s and not run.ending:
                text = f"no result after {lasted_s:.1f} s; the time limit is {limit_s:.1f} s"
                self.settle(run, token, Failed(in_flight.index, FailureKind.HANG, text, lasted_s))

    def tree(self, run: TransformRun | None) -> AthenaTree | None:
        """What is to be looked at when memory is; None when nothing runs that could be ended."""
        if run is None or run.pid is None or run.status is not None or run.ending:
            return None
        in_flight = {token: RangeInWorker(one.index, one.since) for token, one in self._ranges.in_flight.items()}
        return AthenaTree(run.pid, run.workplace.workers, in_flight)

    def needs_its_memory(self, run: TransformRun | None, token: str, kind: FailureKind, text: str) -> None:
        """A range is to fail so that its worker's memory comes back, unless it has come back meanwhile."""
        if run is not None and not run.ending and (one := self._ranges.in_flight.get(token)) is not None:
            self.settle(run, token, Failed(one.index, kind, text, self._clock.monotonic_s() - one.since))

    def transform_died(self, run: TransformRun, last: str) -> None:
        """The transform ended of its own accord: what it had fails, with what the kernel has to do with it."""
        in_flight, now = list(self._ranges.in_flight.items()), self._clock.monotonic_s()
        if not in_flight:
            return
        blamed, word = self._memory.blamed_for_the_end() if self._memory and run.status else ("", "")
        text = f"{last} ({len(in_flight)} events were in flight)"[-REASON_LENGTH:]
        outputs = run.workplace.outputs()
        for token, one in in_flight:
            kind, reason = (FailureKind.OUT_OF_MEMORY, f"{word}; {text}") if token == blamed else (FailureKind.CRASH, text)
            self.settle(run, token, Failed(one.index, kind, reason[:REASON_LENGTH], now - one.since), outputs)

    def find_unreported(self, run: TransformRun, before: float) -> None:
        """Take outputs written so long ago that their reports would have come through by now."""
        outputs = run.workplace.outputs()
        for token in list(self._ranges.in_flight):
            output = run.workplace.salvaged(token, run.pid, before, outputs)
            if output is not None:
                self._salvage(run, token, output)

    def settle(
        self, run: TransformRun, token: str, verdict: Failed | Released, outputs: Mapping[str, list[Path]] | None = None
    ) -> None:
        """A range in flight comes back: with its output, if it is there after all; otherwise as the verdict says.

        `outputs` is what lies in the workplace, where that was looked at for many ranges.
        """
        if self._salvaged(run, token, outputs):
            return
        del self._ranges.in_flight[token]
        if isinstance(verdict, Failed) and verdict.kind in _ENDS_ITS_WORKER and run.status is None:
            run.kill_worker(token)
        self._outcomes.finish(verdict)

    def give_again(self, run: TransformRun, token: str) -> None:
        """A range in flight goes back to the front of the queue, unless its output is there: the run was ended by us."""
        if not self._salvaged(run, token):
            self._ranges.put_back(token)

    def _salvaged(self, run: TransformRun, token: str, outputs: Mapping[str, list[Path]] | None = None) -> bool:
        output = run.workplace.salvaged(token, run.pid if run.status is None else None, outputs=outputs)
        if output is not None:
            self._salvage(run, token, output)
        return output is not None

    def _salvage(self, run: TransformRun, token: str, output: Output) -> None:
        in_flight = self._ranges.in_flight.pop(token)
        wall_s = max(0.0, output.path.stat().st_mtime - in_flight.at)
        LOG.info("the output of range %d was complete and not reported", in_flight.index)
        self._pace.observe(wall_s, wall_s)
        self._tell(run, in_flight, output, wall_s, 0.0)
