"""Payload `pilot`: a real PanDA pilot runs AthenaMP on the node, and gets its ranges and leaves its results here.

One pilot at a time. It is started when the payload is, because AthenaMP takes minutes to be ready, and again whenever there are
ranges and no pilot. A pilot that is told "no more" ends its job, sends a final update, and would then sleep for a minute: it is
ended by us before. Its exit code means nothing.

Rules:
- After its last report a pilot is given time for its final update only if the payload has written a job report. In
  event-service mode transforms write none; the pilot then calls the job failed (1187) and needs two minutes to say so.
- A pilot whose payload dies before it has got a range is ended as soon as its log tells: the pilot itself would take minutes to
  say so. The reason is what the payload said.
- A pilot that ends, however, leaves no process. Then what it finished without reporting is salvaged, then the rest goes back to
  the queue, whose rules say who is charged (see `range_queue`).
- An output is checked (place, size, checksum) and moved out of the pilot's reach at once.
- What is being computed is inferred from the order in which ranges were given: a pilot tells nobody. An event hangs when it is
  not reported long after its time limit; then the pilot is replaced, and that range alone is charged.
- Nothing the pilot does raises out of here. Only a pilot that never gets as far as asking for ranges, several times in a row,
  is a `PayloadError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raythena.domain.document import FieldPath
from raythena.domain.errors import InternalError, InvalidInput, PayloadError
from raythena.domain.node_job import NodeFacts, derive_node_job
from raythena.domain.panda import is_panda, parse_panda_job
from raythena.domain.payload_account import PayloadAccount
from raythena.domain.results import FailureKind
from raythena.payloads.account import AccountKeeper
from raythena.payloads.pilot.panda_server import Answer, Confirmed, Finished, GaveUp, HoldTimes, Oddity, PandaServer
from raythena.payloads.pilot.pilot_options import PilotOptions, read_options, served_document
from raythena.payloads.pilot.pilotlog import EventFacts
from raythena.payloads.pilot.range_queue import InFlight, RangeQueue
from raythena.payloads.pilot.recovery import RecoveryStore
from raythena.payloads.pilot.release import Release, find_release
from raythena.payloads.pilot.run_times import RunTimes, summary
from raythena.payloads.pilot.running import RunningPilot
from raythena.payloads.pilot.salvage import BadFile, Claim, claims, take_output
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import (
    Done,
    Failed,
    LeasedRange,
    PayloadContext,
    PayloadOutcome,
    PayloadPlugin,
    Released,
    Started,
)

LOG = logging.getLogger(__name__)
_TICK_S = 0.1
_CPU_LOOK_S = 10.0
_FIRST_PER_CORE = 2
"""Ranges in the first answer, for each core, before any event time is known."""
_STRAGGLERS_S = 3.0
"""For the last requests of a pilot whose log says that it has reported everything."""
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 1.0, 60.0
_MB = 1_000_000


def check_options(options: Mapping[str, Any], source: str) -> None:
    """Refuse options that cannot work. Raises InvalidInput naming the field."""
    read_options(options, source)
    if "job" in options:
        served_document(options, source)


class PilotPayload:
    """The payload `pilot`."""

    def __init__(self) -> None:
        self._pilot: RunningPilot | None = None
        self._outcomes: list[PayloadOutcome] = []
        self._stirred = asyncio.Event()
        """Set when somebody should look: outcomes for the agent, or work for our own loop."""
        self._wanted = asyncio.Event()
        self._checks: set[asyncio.Task[None]] = set()
        self._fatal: PayloadError | None = None
        self._running = False
        self._draining = False
        self._drain_by = float("inf")
        self._dry = False
        self._starts = 0
        self._transforms = 0
        """Pilots, of those that are gone, that got as far as starting one."""
        self._failed_starts = 0
        self._start_at = 0.0
        self._first = True
        self._looked_at = 0.0
        self._rescued: dict[str, Path] = {}
        self._times: list[RunTimes] = []
        self._credited = 0
        self._life: asyncio.Task[None] | None = None

    # ---- the payload's face

    async def start(self, context: PayloadContext) -> None:
        """Find the pilot and begin to start it. Raises PayloadError, InvalidInput."""
        self._context = context
        self._options = read_options(context.options, "job")
        self._job_for(1)  # a job that cannot be served is refused now
        context.scratch.mkdir(parents=True, exist_ok=True)
        context.log_dir.mkdir(parents=True, exist_ok=True)
        self._outputs = context.scratch / "outputs"
        self._outputs.mkdir(exist_ok=True)
        self._range_queue = RangeQueue(context.cores)
        self._pace = Pace(context)
        self._recovery = RecoveryStore(context.scratch)
        self._keeper = AccountKeeper(context.log_dir)
        self._rescued = await asyncio.to_thread(self._recovery.open)
        self._release = await asyncio.to_thread(self._find_release)
        if shutil.which("curl") is None:
            LOG.warning("there is no program curl on this node; pilots talk to their server through it")
        if self._release.warning:
            LOG.warning("%s", self._release.warning)
        self._running = True
        self._life = asyncio.get_running_loop().create_task(self._live())

    @property
    def appetite(self) -> int:
        """Ranges the payload would take now so that no core waits: the next answer, whatever the pilot has in its hands.

        Most of what it has is done and not yet reported, or will be before it asks again.
        """
        if not self._running or self._draining or self._fatal or (self._pilot and self._pilot.panda.said_no_more):
            return 0
        return max(0, self._context.cores * self._per_core - self._range_queue.waiting)

    def feed(self, leases: Sequence[LeasedRange]) -> None:
        """Take ranges. Raises InternalError when one of them is held already."""
        new = []
        for lease in leases:
            if lease.index in self._range_queue.held:
                raise InternalError(f"range {lease.index} was fed to a payload that still holds it")
            if self._draining or self._fatal or not self._running:
                self._outcomes.append(Released(lease.index))
            elif (found := self._rescued.pop(lease.event_range.range_id, None)) is not None:
                self._publish(lease.index, found, begun_at=time.time())
            else:
                new.append(lease)
        self._range_queue.add(new)
        if new:
            self._set_dry(False)
            self._look_again()
        self._stir()

    def release(self, indices: Sequence[int]) -> None:
        """Hand back ranges the pilot does not have. What it has cannot be asked back."""
        taken = self._range_queue.take_back(indices)
        self._outcomes += [Released(index) for index in taken]
        if indices and self._range_queue.waiting == 0:
            self._set_dry(True)
        self._stir()

    def collected(self, stretches: Iterable[Path]) -> None:
        """The agent has stored these outputs: they are deleted."""
        for path in stretches:
            path.unlink(missing_ok=True)
            (self._recovery.staged / path.name).unlink(missing_ok=True)

    async def poll(self, timeout_s: float) -> list[PayloadOutcome]:
        """What happened since the last call; waits at most `timeout_s`. Raises PayloadError once all outcomes are handed over."""
        if not self._outcomes and self._fatal is None and self._running:
            self._stirred.clear()
            try:
                await asyncio.wait_for(self._stirred.wait(), timeout_s)
            except TimeoutError:
                return []
        if not self._outcomes and self._fatal is not None:
            raise self._fatal
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    async def drain(self, deadline_s: float) -> None:
        """Release what the pilot does not have, tell it "no more", wait for its results at most `deadline_s` seconds."""
        self._draining = True
        self._drain_by = time.monotonic() + deadline_s
        self._outcomes += [Released(index) for index in self._range_queue.take_back()]
        if self._pilot is not None:
            self._pilot.panda.draining = True
        self._look_again()
        self._stir()
        while self._pilot is not None and self._running and self._fatal is None:  # noqa: ASYNC110  # our own loop has its tick
            await asyncio.sleep(_TICK_S / 2)
        self._outcomes += [Released(index) for index in self._range_queue.abandon()]
        self._stir()

    async def stop(self) -> None:
        """End everything now. What was running is lost. Safe to call twice."""
        life, self._life = self._life, None
        if life is None:
            return
        self._running = False
        self._wanted.set()
        await asyncio.gather(life, return_exceptions=True)  # not cancelled: half a start or half an end would leave processes
        pilot, self._pilot = self._pilot, None
        if pilot is not None:
            await pilot.kill()
            pilot.note_times()
            self._times.append(pilot.times)
            await asyncio.to_thread(self._keep_story, pilot)
        self._tell_times()
        for check in list(self._checks):
            check.cancel()
        await asyncio.to_thread(self._recovery.close)
        self._stir()

    # ---- what the pilot does

    def _called(self, answer: Answer) -> None:
        """A request was answered (the answer is not sent yet)."""
        if answer.given:
            self._recovery.note(answer.given)
        if self._pilot is not None:
            self._pilot.busy_at = time.monotonic()
        self._take_news()
        self._wanted.set()

    def _take_news(self) -> None:
        pilot = self._pilot
        if pilot is None:
            return
        for news in pilot.panda.take_news():
            match news:
                case Finished():
                    claim = Claim(news.in_flight.token, news.path, news.size_bytes, news.adler32)
                    self._check(self._take_output(pilot, news.in_flight, claim))
                case Confirmed():
                    self._check(asyncio.to_thread(_remove_inside, pilot.directory, news.path))
                case GaveUp():
                    self._check(self._take_failure(pilot, news))
                case Oddity():
                    LOG.warning("pilot %d: %s", pilot.number, news.text)
        self._announce()

    def _announce(self) -> None:
        """Tell which ranges have come among those being computed."""
        begun = self._range_queue.begin(time.monotonic())
        self._outcomes += [Started(in_flight.index, time.time()) for in_flight in begun]
        if self._outcomes:
            self._stir()

    def _check(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._checks.add(task)
        task.add_done_callback(self._checked)

    def _checked(self, task: asyncio.Task[None]) -> None:
        self._checks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._give_up(PayloadError(f"an output could not be taken, through a defect of the pilot payload: {problem!r}"))
        self._stir()

    async def _take_output(self, pilot: RunningPilot, in_flight: InFlight, claim: Claim) -> None:
        """Check and stage a reported output, then tell the agent."""
        try:
            await self._accept(pilot, in_flight, claim)
        except BadFile as problem:
            held_s = time.monotonic() - (in_flight.running_since or in_flight.given_at)
            self._outcomes.append(Failed(in_flight.index, FailureKind.BAD_OUTPUT, str(problem), held_s))

    def _take_early(self, pilot: RunningPilot) -> None:
        """Take what the pilot's log tells, long before the pilot reports it."""
        in_flight_ranges = {in_flight.token: in_flight for in_flight in self._range_queue.in_flight_ranges}
        for facts in pilot.log.take_new():
            if facts.token not in in_flight_ranges:
                continue
            if facts.finished:
                self._check(self._take_logged(pilot, in_flight_ranges[facts.token], facts))
            elif self._range_queue.settle(facts.token, early=True):
                self._outcomes.append(Failed(in_flight_ranges[facts.token].index, FailureKind.REPORTED, facts.text, facts.wall_s))
        self._announce()

    async def _take_logged(self, pilot: RunningPilot, in_flight: InFlight, facts: EventFacts) -> None:
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
        target = probe.rename(self._recovery.staged / in_flight.token)
        self._credit(pilot, in_flight, facts.path, target)

    async def _accept(self, pilot: RunningPilot, in_flight: InFlight, claim: Claim) -> None:
        """Stage an output and tell the agent. Raises BadFile."""
        target = self._recovery.staged / in_flight.token
        await asyncio.to_thread(self._stage, pilot, claim, target)
        self._credit(pilot, in_flight, claim.path, target)

    def _credit(self, pilot: RunningPilot, in_flight: InFlight, path: str, target: Path) -> None:
        """An output is staged: account for it and tell the agent."""
        held_s = time.monotonic() - (in_flight.running_since or in_flight.given_at)
        ended_at = target.stat().st_mtime
        facts = pilot.log.facts.get(in_flight.token)
        wall_s = facts.wall_s if facts and facts.wall_s else held_s
        cpu_s = facts.cpu_s if facts else 0.0
        begun_at = min(ended_at, time.time()) - wall_s
        if facts:
            pilot.times.event(os.path.dirname(path), begun_at, ended_at)  # noqa: PTH120  # a name, never opened
        self._pace.observe(wall_s, wall_s)
        pilot.panda.batch_per_core, pilot.panda.event_s = self._per_core, self._pace.mean_s
        self._failed_starts = 0
        self._credited += 1
        self._publish(in_flight.index, target, begun_at=begun_at, wall_s=wall_s, cpu_s=cpu_s)

    def _stage(self, pilot: RunningPilot, claim: Claim, target: Path) -> None:
        """For a thread: take an output."""
        pilot.log.read()
        take_output(claim, pilot.directory, target)

    async def _take_failure(self, pilot: RunningPilot, news: GaveUp) -> None:
        held_s = time.monotonic() - (news.in_flight.running_since or news.in_flight.given_at)
        await asyncio.to_thread(pilot.log.read)
        facts = pilot.log.facts.get(news.in_flight.token)
        reason = f"{facts.text} ({news.reason})" if facts and facts.text else news.reason
        self._outcomes.append(Failed(news.in_flight.index, FailureKind.REPORTED, reason, held_s))

    def _publish(self, index: int, staged: Path, *, begun_at: float, wall_s: float = 0.0, cpu_s: float = 0.0) -> None:
        """Hand a staged output to the agent, under a second name in its scratch directory: the first one outlives the agent."""
        path = self._outputs / staged.name
        try:
            os.link(staged, path)
        except OSError:
            staged.rename(path)  # a file system without links: then it does not
        size_bytes = path.stat().st_size
        self._outcomes.append(Done(index, path, size_bytes, begun_at, wall_s, cpu_s, 0, whole_file=False))

    # ---- the life of the pilots

    async def _live(self) -> None:
        """Start, watch and bury pilots until the payload is stopped."""
        try:
            while self._fatal is None and self._running:
                await self._step()
                self._wanted.clear()
                try:
                    await asyncio.wait_for(self._wanted.wait(), _TICK_S)
                except TimeoutError:
                    continue
        except (PayloadError, InvalidInput) as problem:
            self._give_up(problem if isinstance(problem, PayloadError) else PayloadError(str(problem)))
        except OSError as problem:
            self._give_up(PayloadError(f"the pilot cannot be run: {problem}"))

    async def _step(self) -> None:
        now = time.monotonic()
        pilot = self._pilot
        await self._keep_account(now)
        if pilot is None:
            needed = self._first or self._range_queue.waiting > 0
            if needed and not self._draining and now >= self._start_at:
                await self._begin()
            return
        self._take_news()
        if now - self._looked_at > _CPU_LOOK_S:
            self._looked_at = now
            await asyncio.to_thread(pilot.look_at_cpu, now)
        await asyncio.to_thread(pilot.log.read)
        self._take_early(pilot)
        if pilot.log.over and pilot.over_seen_at is None:
            pilot.over_seen_at = now
        hanging = [in_flight for in_flight in self._range_queue.in_flight_ranges if self._hangs(pilot, in_flight, now)]
        if hanging:
            await self._end(f"event {hanging[0].lease.event_range.range_id} hangs", hanging, crashed=False)
        elif reason := self._reason_to_end(pilot, now):
            await self._end(reason, [], crashed=self._has_crashed(pilot))

    async def _begin(self) -> None:
        self._first = False
        self._starts += 1
        given = "job" in self._context.options
        job = self._job_for(1 if given else self._context.numbers.take())
        hold = HoldTimes(busy_s=self._options.busy_hold_s, idle_s=self._options.idle_hold_s)
        panda = PandaServer(job, self._range_queue, self._context.cores, hold)
        panda.batch_per_core, panda.event_s = self._per_core, self._pace.mean_s
        panda.draining, panda.dry = self._draining, self._dry
        directory = self._recovery.place / f"run-{self._starts}"
        pilot = RunningPilot(
            self._starts, directory, panda, log_dir=self._context.log_dir, on_call=self._called, on_end=self._wanted.set
        )
        self._pilot = pilot
        await pilot.start(self._options, self._release, job, self._context.cores)

    def _hangs(self, pilot: RunningPilot, in_flight: InFlight, now: float) -> bool:
        if in_flight.running_since is None or in_flight.token in pilot.log.facts:
            return False
        return now - in_flight.running_since > self._pace.time_limit_s + self._options.report_grace_s

    def _reason_to_end(self, pilot: RunningPilot, now: float) -> str:
        """Why the pilot should be ended now; empty when it should not."""
        record, owes = pilot.panda.record, self._range_queue.out
        if pilot.status is not None:
            return pilot.exit_summary()
        if reason := self._end_of_payload(pilot, now):
            return reason
        if record.final_at is not None:
            return pilot.verdict()
        if self._draining and (now >= self._drain_by or not owes):
            return "the node is drained"
        if now - pilot.busy_at > self._options.silence_s:
            return f"it has asked nothing and used no CPU for {self._options.silence_s:.0f} s"
        done = pilot.panda.said_no_more and not owes
        if done and pilot.over_seen_at is not None and not pilot.has_job_report:
            return "it has reported everything"
        pilot.quiet_since = (pilot.quiet_since or now) if done else None
        if pilot.quiet_since is not None and now - pilot.quiet_since > self._options.final_update_s:
            return "it owes nothing and sends no final update"
        return ""

    def _end_of_payload(self, pilot: RunningPilot, now: float) -> str:
        """Why a pilot whose payload is gone too early should be ended; empty while there is something to wait for."""
        if pilot.panda.said_no_more and not self._range_queue.out:
            return ""
        if pilot.log.payload_status is not None and pilot.panda.record.first_ranges_at is None:
            return pilot.payload_obituary()
        if pilot.over_seen_at is not None and now - pilot.over_seen_at > _STRAGGLERS_S:
            return "its job ended early" + (f": {pilot.payload_obituary()}" if pilot.log.payload_status else "")
        return ""

    def _has_crashed(self, pilot: RunningPilot) -> bool:
        """Whether what it owes was lost through something it computed."""
        return self._range_queue.out > 0 and not self._draining

    async def _end(self, reason: str, hanging: Sequence[InFlight], *, crashed: bool) -> None:
        """Bury the pilot: kill, salvage, reclaim, charge, keep the logs."""
        pilot = self._pilot
        if pilot is None:
            return
        await pilot.kill()
        self._take_news()
        await self._finish_checks()
        lost = self._range_queue.out
        if lost:
            await asyncio.to_thread(pilot.log.read)
            self._take_early(pilot)
            await self._finish_checks()
            await self._salvage(pilot)
        if self._charge_bad_outputs(pilot):
            crashed = False  # a pilot ends its job over an output it cannot find: that explains it
        story = f"pilot {pilot.number}: {reason}; {pilot.panda.record.n_reported} ranges reported"
        if lost:
            story += f", {lost} more in its hands, {lost - self._range_queue.out} of them salvaged"
        (LOG.warning if lost else LOG.info)("%s", story)
        self._announce()
        kind = FailureKind.HANG if hanging else FailureKind.CRASH
        for in_flight in self._range_queue.reclaim({in_flight.token for in_flight in hanging}, crashed=crashed):
            held_s = time.monotonic() - (in_flight.running_since or in_flight.given_at)
            text = f"no result after {held_s:.0f} s" if hanging else f"the payload died: {reason}"
            self._outcomes.append(Failed(in_flight.index, kind, text, held_s))
        if self._draining:
            self._outcomes += [Released(index) for index in self._range_queue.abandon()]
        self._plan_next(pilot, reason)
        pilot.note_times()
        LOG.info("pilot %d: %s", pilot.number, pilot.times.in_words())
        self._times.append(pilot.times)
        if pilot.panda.record.n_events > pilot.panda.record.n_reported:
            LOG.warning(
                "pilot %d counts %d events, reported %d", pilot.number, pilot.panda.record.n_events, pilot.panda.record.n_reported
            )
        await asyncio.to_thread(self._keep_story, pilot)
        self._pilot = None
        self._stir()

    async def _finish_checks(self) -> None:
        while self._checks:
            await asyncio.gather(*self._checks, return_exceptions=True)

    async def _salvage(self, pilot: RunningPilot) -> None:
        """Take over what is finished and was not reported."""
        in_flight_ranges = {in_flight.token: in_flight for in_flight in self._range_queue.in_flight_ranges}
        for claim in await asyncio.to_thread(claims, pilot.directory, in_flight_ranges):
            try:
                await self._accept(pilot, in_flight_ranges[claim.token], claim)
                self._range_queue.settle(claim.token)
            except BadFile as problem:
                LOG.info("not salvaged: %s", problem)

    def _charge_bad_outputs(self, pilot: RunningPilot) -> bool:
        """Charge ranges AthenaMP called finished, and whose outputs cannot be used; whether there were any."""
        bad = [
            in_flight
            for in_flight in self._range_queue.in_flight_ranges
            if in_flight.token in pilot.log.facts and pilot.log.facts[in_flight.token].finished
        ]
        for in_flight in bad:
            self._range_queue.settle(in_flight.token)
            facts = pilot.log.facts[in_flight.token]
            text = f"the payload reported the output {facts.path!r}, which is missing or torn"
            self._outcomes.append(Failed(in_flight.index, FailureKind.BAD_OUTPUT, text, facts.wall_s))
        return bool(bad)

    def _plan_next(self, pilot: RunningPilot, reason: str) -> None:
        """When the next pilot may be started, or that none will."""
        self._first = False
        if pilot.panda.record.first_ranges_at is not None or pilot.panda.said_no_more or self._draining:
            self._start_at = time.monotonic()
            return
        self._failed_starts += 1
        self._start_at = time.monotonic() + min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2.0 ** (self._failed_starts - 1))
        self._first = True
        LOG.warning("pilot %d never asked for ranges: %s", pilot.number, reason)
        if self._failed_starts >= self._options.max_starts:
            known = f". {self._release.warning}" if self._release.warning else ""
            logs = pilot.log_dir
            self._give_up(
                PayloadError(
                    f"{self._failed_starts} pilots in a row never asked for ranges; the last one: {reason} (logs: {logs}){known}"
                )
            )

    def _give_up(self, problem: PayloadError) -> None:
        if self._fatal is None:
            self._fatal = problem
            self._outcomes += [Released(index) for index in self._range_queue.abandon()]
        self._stir()

    def _tell_times(self) -> None:
        account = summary(self._times)
        LOG.info("latency: %s", account.in_words())
        try:
            account.write(self._context.log_dir)
        except OSError as problem:
            LOG.warning("the account of latencies was not kept: %s", problem)
        self._keeper.write(self._account(self._times, self._transforms))

    async def _keep_account(self, now: float) -> None:
        pilot, times, transforms = self._pilot, self._times, self._transforms
        if pilot is not None:
            transforms += pilot.has_payload
        if not self._keeper.is_due((self._starts, transforms), self._credited, now, idle=not self._range_queue.held):
            return
        if pilot is not None:
            pilot.note_times()
            times = [*times, pilot.times]
        await asyncio.to_thread(self._keeper.write, self._account(times, transforms))

    def _account(self, times: list[RunTimes], transforms: int) -> PayloadAccount:
        return PayloadAccount(
            "pilot", transforms, self._starts, asdict(summary(times)), self._keeper.reports, self._keeper.resource
        )

    def _keep_story(self, pilot: RunningPilot) -> None:
        """For a thread: account and logs into the log directory, the rest away."""
        self._transforms += pilot.has_payload
        self._keeper.take_report(pilot.job_report())
        pilot.collect(self._options.log_limit_mb * _MB)
        pilot.remove()

    # ---- small things

    @property
    def _per_core(self) -> int:
        """Ranges for each core in one answer."""
        if not self._pace.finished:
            return min(_FIRST_PER_CORE, self._options.over_delivery)
        return max(1, min(self._options.over_delivery, int(self._options.ahead_s / max(self._pace.mean_s, 1e-3))))

    def _find_release(self) -> Release:
        options: PilotOptions = self._options
        return find_release(options.pilot, options.default_config, options.version, self._recovery.place / "release")

    def _job_for(self, job_number: int) -> dict[str, Any]:
        """What the pilot of a start is to get from getJob: the option, or the job of PanDA's made fit for this node."""
        context = self._context
        if "job" in context.options:
            return {**served_document(context.options, "job"), "coreCount": context.cores}
        job = context.job
        if job is None or not is_panda(job.source):
            raise InvalidInput("job", "payload.options.job", "is missing", hint="Only a job of PanDA's says itself what to run")
        panda_job = parse_panda_job(FieldPath("job", "", job.source))
        facts = NodeFacts(job_number, context.cores, self._options.max_events)
        return derive_node_job(panda_job, {file.lfn: file.pfn for file in job.inputs}, facts).document

    def _set_dry(self, dry: bool) -> None:
        self._dry = dry
        if self._pilot is not None:
            self._pilot.panda.dry = dry
            self._look_again()

    def _look_again(self) -> None:
        if self._pilot is not None:
            self._pilot.server.changed()
        self._wanted.set()

    def _stir(self) -> None:
        self._stirred.set()


def _remove_inside(directory: Path, name: str) -> None:
    """For a thread: remove a file the pilot named, if it lies where the pilot's files lie."""
    with contextlib.suppress(OSError, ValueError):
        path = os.path.realpath(name)
        if path.startswith(os.path.realpath(directory) + os.sep):
            os.unlink(path)  # noqa: PTH108  # a string that was resolved


PLUGIN = PayloadPlugin("pilot", PilotPayload, check_options, buffer_s=60.0, margin_s=60.0)
