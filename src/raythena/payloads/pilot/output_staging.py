"""Outputs and failures a pilot tells of: checked, moved out of its reach, told to the agent.

An output is checked (place, size, checksum) and staged in the recovery store at once; the agent gets it under a second name in
the payload's scratch directory, so that it outlives the agent. Three sources tell of outputs: the reports to the server, the
pilot's log some seconds earlier, and, when the pilot is gone, what lies in its directory.

Rules: checks read files, so they run in threads; `finish` waits for those that are under way. What cannot be used fails its range
when the pilot reported it, and is left to the other sources otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path

from raythena.domain.errors import PayloadError
from raythena.domain.results import FailureKind
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.pilot.panda_server import Confirmed, Finished, GaveUp, Oddity
from raythena.payloads.pilot.pilotlog import EventFacts
from raythena.payloads.pilot.range_queue import TOKEN, InFlight, RangeQueue
from raythena.payloads.pilot.recovery import RecoveryStore
from raythena.payloads.pilot.running import RunningPilot
from raythena.payloads.pilot.salvage import BadFile, Claim, claims, outputs_by_token, take_output
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.clock import Clock
from raythena.runtime.payload_interface import Done, Failed

LOG = logging.getLogger(__name__)
_TEXT_LIMIT = 1000


class OutputStaging:
    """Of one payload. `outputs` is the directory the agent takes outputs from."""

    def __init__(
        self,
        outputs: Path,
        range_queue: RangeQueue,
        outcomes: OutcomeQueue,
        *,
        recovery: RecoveryStore,
        pace: Pace,
        clock: Clock,
        on_result: Callable[[RunningPilot], None],
        on_defect: Callable[[PayloadError], None],
        explain: Callable[[str, FailureKind, str], tuple[FailureKind, str]] = lambda _, kind, text: (kind, text),
    ) -> None:
        self._outputs = outputs
        self._range_queue = range_queue
        self._outcomes = outcomes
        self._recovery = recovery
        self._pace = pace
        self._clock = clock
        self._on_result = on_result
        self._on_defect = on_defect
        self._explain = explain
        """What is known of a failure besides what the pilot says."""
        self._checks: set[asyncio.Task[None]] = set()
        self.explained = False
        """A range was charged with the end of the pilot of the moment."""
        self.results = 0
        """Outputs taken so far."""

    # ---- what a living pilot tells

    def take_news(self, pilot: RunningPilot) -> None:
        """What it has told the server."""
        for news in pilot.panda.take_news():
            match news:
                case Finished():
                    claim = Claim(news.in_flight.token, news.path, news.size_bytes, news.adler32)
                    self._check(self._take_reported(pilot, news.in_flight, claim))
                case Confirmed():
                    self._check(asyncio.to_thread(_remove_inside, pilot.directory, news.path))
                case GaveUp():
                    self._check(self._take_failure(pilot, news))
                case Oddity():
                    LOG.warning("pilot %d: %s", pilot.number, news.text)
        self.announce()

    def take_logged(self, pilot: RunningPilot) -> None:
        """What its log tells, long before it is reported."""
        in_flight_ranges = {in_flight.token: in_flight for in_flight in self._range_queue.in_flight_ranges}
        for facts in pilot.log.take_new():
            if facts.token not in in_flight_ranges:
                continue
            in_flight = in_flight_ranges[facts.token]
            if facts.finished:
                self._check(self._take_early(pilot, in_flight, facts))
            elif self._range_queue.settle(facts.token, early=True):
                kind, text = self._explain(facts.token, FailureKind.REPORTED, facts.text)
                self._outcomes.finish(Failed(in_flight.index, kind, text, facts.wall_s))
        self.announce()

    def announce(self) -> None:
        """Tell which ranges have come among those being computed."""
        for in_flight in self._range_queue.begin(self._clock.monotonic_s()):
            self._outcomes.started(in_flight.index, self._clock.wall_s())

    def held_s(self, in_flight: InFlight) -> float:
        """How long the pilot has had a range, on a core as far as is known."""
        return self._clock.monotonic_s() - (in_flight.running_since or in_flight.given_at)

    async def _take_reported(self, pilot: RunningPilot, in_flight: InFlight, claim: Claim) -> None:
        try:
            await self._stage(pilot, in_flight, claim)
        except BadFile as problem:
            self._outcomes.finish(Failed(in_flight.index, FailureKind.BAD_OUTPUT, str(problem), self.held_s(in_flight)))

    async def _take_early(self, pilot: RunningPilot, in_flight: InFlight, facts: EventFacts) -> None:
        """Take an output without disturbing the pilot, which will look at it when it reports it."""
        probe = self._recovery.staged / f"{in_flight.token}.early"
        try:
            await asyncio.to_thread(take_output, Claim(facts.token, facts.path), pilot.directory, probe, keep=True)
        except BadFile as problem:
            LOG.info("not taken before it is reported: %s", problem)
            return
        if self._range_queue.settle(facts.token, early=True) is None:
            probe.unlink(missing_ok=True)  # it was reported in the meantime
            return
        self._credit(pilot, in_flight, facts.path, probe.rename(self._recovery.staged / in_flight.token))

    async def _take_failure(self, pilot: RunningPilot, news: GaveUp) -> None:
        held_s = self.held_s(news.in_flight)
        await asyncio.to_thread(pilot.log.read)
        facts = pilot.log.facts.get(news.in_flight.token)
        reason = f"{facts.text} ({news.reason})" if facts and facts.text else news.reason
        kind, reason = self._explain(news.in_flight.token, FailureKind.REPORTED, reason)
        self._outcomes.finish(Failed(news.in_flight.index, kind, reason, held_s))

    # ---- what a dead one leaves

    async def salvage(self, pilot: RunningPilot) -> None:
        """Take over what is finished and was not reported. The pilot's processes are gone."""
        await asyncio.to_thread(pilot.log.read)
        self.take_logged(pilot)
        await self.finish()
        self._charge_culprits(pilot, await asyncio.to_thread(outputs_by_token, pilot.directory))
        in_flight_ranges = {in_flight.token: in_flight for in_flight in self._range_queue.in_flight_ranges}
        for claim in await asyncio.to_thread(claims, pilot.directory, in_flight_ranges):
            try:
                await self._stage(pilot, in_flight_ranges[claim.token], claim)
                self._range_queue.settle(claim.token)
            except BadFile as problem:
                LOG.info("not salvaged: %s", problem)

    def _charge_culprits(self, pilot: RunningPilot, outputs: Mapping[str, Sequence[Path]]) -> None:
        """Charge ranges that have several files, and those the pilot names where it says why it ended its job."""
        named = set(TOKEN.findall(pilot.log.complaint))
        for in_flight in list(self._range_queue.in_flight_ranges):
            paths = outputs.get(in_flight.token, ())
            if len(paths) < 2 and in_flight.token not in named:
                continue
            self._range_queue.settle(in_flight.token)
            self.explained = True
            kind = FailureKind.BAD_OUTPUT if len(paths) > 1 else FailureKind.PROTOCOL
            files = f"AthenaMP wrote {len(paths)} files for one range: {', '.join(map(str, paths))[:_TEXT_LIMIT]}"
            told = [files] if len(paths) > 1 else []
            told += [f"the pilot ended its job: {pilot.log.complaint}"] if pilot.log.complaint else []
            kind, text = self._explain(in_flight.token, kind, "; ".join(told))
            self._outcomes.finish(Failed(in_flight.index, kind, text, self.held_s(in_flight)))

    def charge_bad_outputs(self, pilot: RunningPilot) -> bool:
        """Charge ranges AthenaMP called finished, and whose outputs cannot be used; whether it is known what ended the pilot."""
        facts_of = pilot.log.facts
        bad = [one for one in self._range_queue.in_flight_ranges if one.token in facts_of and facts_of[one.token].finished]
        for in_flight in bad:
            self._range_queue.settle(in_flight.token)
            facts = facts_of[in_flight.token]
            text = f"the payload reported the output {facts.path!r}, which is missing or torn"
            text += f"; the pilot says: {pilot.log.complaint}" if pilot.log.complaint else ""
            self._outcomes.finish(Failed(in_flight.index, FailureKind.BAD_OUTPUT, text, facts.wall_s))
        explained, self.explained = self.explained, False
        return bool(bad) or explained

    # ---- staging and telling

    async def _stage(self, pilot: RunningPilot, in_flight: InFlight, claim: Claim) -> None:
        """Stage an output and tell the agent. Raises BadFile."""
        target = self._recovery.staged / in_flight.token

        def stage() -> None:
            pilot.log.read()
            take_output(claim, pilot.directory, target)

        await asyncio.to_thread(stage)
        self._credit(pilot, in_flight, claim.path, target)

    def _credit(self, pilot: RunningPilot, in_flight: InFlight, path: str, staged: Path) -> None:
        """An output is staged: note its times and tell the agent."""
        held_s = self.held_s(in_flight)
        ended_at = staged.stat().st_mtime
        facts = pilot.log.facts.get(in_flight.token)
        wall_s = facts.wall_s if facts and facts.wall_s else held_s
        cpu_s = facts.cpu_s if facts else 0.0
        begun_at = min(ended_at, self._clock.wall_s()) - wall_s
        if facts:
            pilot.times.event(os.path.dirname(path), begun_at, ended_at)  # noqa: PTH120  # a name, never opened
        self._pace.observe(wall_s, wall_s)
        self.results += 1
        self._on_result(pilot)
        self.publish(in_flight.index, staged, begun_at=begun_at, wall_s=wall_s, cpu_s=cpu_s)

    def publish(self, index: int, staged: Path, *, begun_at: float, wall_s: float = 0.0, cpu_s: float = 0.0) -> None:
        """Hand a staged output to the agent under a second name: the first one outlives the agent."""
        path = self._outputs / staged.name
        try:
            os.link(staged, path)
        except OSError:
            staged.rename(path)  # a file system without links: then it does not
        size_bytes = path.stat().st_size
        self._outcomes.finish(Done(index, path, size_bytes, begun_at, wall_s, cpu_s, 0, whole_file=False))

    def collected(self, paths: Iterable[Path]) -> None:
        """The agent has stored these outputs: they are deleted."""
        for path in paths:
            path.unlink(missing_ok=True)
            (self._recovery.staged / path.name).unlink(missing_ok=True)

    # ---- checks under way

    async def finish(self) -> None:
        """Wait for the checks that are under way."""
        while self._checks:
            await asyncio.gather(*self._checks, return_exceptions=True)

    def cancel(self) -> None:
        """Forget the checks that are under way."""
        for check in list(self._checks):
            check.cancel()

    def _check(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._checks.add(task)
        task.add_done_callback(self._checked)

    def _checked(self, task: asyncio.Task[None]) -> None:
        self._checks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._on_defect(PayloadError(f"an output could not be taken, through a defect of the pilot payload: {problem!r}"))


def _remove_inside(directory: Path, name: str) -> None:
    """For a thread: remove a file the pilot named, if it lies where the pilot's files lie."""
    with contextlib.suppress(OSError, ValueError):
        path = os.path.realpath(name)
        if path.startswith(os.path.realpath(directory) + os.sep):
            os.unlink(path)  # noqa: PTH108  # a string that was resolved
