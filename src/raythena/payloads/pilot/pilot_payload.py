"""Payload `pilot`: a real PanDA pilot runs AthenaMP on the node, and gets its ranges and leaves its results here.

One pilot at a time. It is started when the payload is, because AthenaMP takes minutes to be ready, and again whenever there are
ranges and no pilot. A pilot that is told "no more" ends its job, sends a final update, and would then sleep for a minute: it is
ended by us before (`pilot_end`). Its exit code means nothing.

Rules:
- A pilot that ends, however, leaves no process. Then what it finished without reporting is salvaged, then the rest goes back to
  the queue, whose rules say who is charged (see `range_queue`).
- An output is checked and moved out of the pilot's reach at once (`output_staging`).
- What is being computed is inferred from the order in which ranges were given: a pilot tells nobody. An event hangs when it is
  not reported long after its time limit; then the pilot is replaced, and that range alone is charged.
- Nothing the pilot does raises out of here. Only a pilot that never gets as far as asking for ranges, several times in a row,
  is a `PayloadError`.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raythena.domain.errors import InvalidInput, PayloadError, PayloadUnusable
from raythena.domain.results import FailureKind
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.pilot.output_staging import OutputStaging
from raythena.payloads.pilot.panda_server import Answer, HoldTimes, PandaServer
from raythena.payloads.pilot.pilot_account import PilotAccount
from raythena.payloads.pilot.pilot_end import Surroundings, hangs, why_end
from raythena.payloads.pilot.pilot_job import checked_document, pilot_job, takes_numbers
from raythena.payloads.pilot.pilot_memory import PilotMemory
from raythena.payloads.pilot.pilot_options import read_options
from raythena.payloads.pilot.range_queue import InFlight, RangeQueue
from raythena.payloads.pilot.recovery import RecoveryStore
from raythena.payloads.pilot.release import check_release, release_of
from raythena.payloads.pilot.running import RunningPilot, free_number
from raythena.payloads.restart_backoff import BackOff, RestartPolicy
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Failed, LeasedRange, PayloadContext, PayloadOutcome, PayloadPlugin

LOG = logging.getLogger(__name__)
_TICK_S = 0.1
_CPU_LOOK_S = 10.0
_FIRST_PER_CORE = 2
"""Ranges in the first answer, for each core, before any event time is known."""
BACK_OFF = BackOff(first_s=1.0, longest_s=60.0)


def check_options(options: Mapping[str, object], source: str) -> None:
    """Refuse options that cannot work. Raises InvalidInput naming the field."""
    check_release(read_options(options, source), source)
    if "job" in options:
        checked_document(options, source)


class PilotPayload:
    """The payload `pilot`."""

    def __init__(self) -> None:
        self._pilot: RunningPilot | None = None
        self._outcomes = OutcomeQueue()
        self._wanted = asyncio.Event()
        """Set when our own loop should look."""
        self._running = False
        self._draining = False
        self._drain_by = float("inf")
        self._dry = False
        self._start_at = 0.0
        self._first = True
        self._looked_at = 0.0
        self._rescued: dict[str, Path] = {}
        self._life: asyncio.Task[None] | None = None

    # ---- what the agent calls

    async def start(self, context: PayloadContext) -> None:
        """Find the pilot and begin to start it. Raises PayloadError, InvalidInput."""
        self._context, self._clock = context, context.clock
        self._options = read_options(context.options, "job")
        pilot_job(context, self._options, 1)  # a job that cannot be served is refused now
        context.scratch.mkdir(parents=True, exist_ok=True)
        context.log_dir.mkdir(parents=True, exist_ok=True)
        self._restarts = RestartPolicy(BACK_OFF, self._options.max_starts)
        self._account = PilotAccount(context.log_dir, self._options.log_limit_mb)
        self._recovery = RecoveryStore(context.scratch)
        self._range_queue = RangeQueue(context.cores)
        self._memory = PilotMemory(context, self._range_queue)
        self._make_staging()
        self._rescued = await asyncio.to_thread(self._recovery.open)
        self._release = await asyncio.to_thread(release_of, self._options, self._recovery.place / "release")
        if shutil.which("curl") is None:
            LOG.warning("there is no program curl on this node; pilots talk to their server through it")
        if self._release.defect and not self._options.patched:
            raise PayloadUnusable(self._release.defect)
        if self._release.warning:
            LOG.warning("%s", self._release.warning)
        self._running = True
        self._memory.start(lambda: self._pilot)
        self._life = asyncio.get_running_loop().create_task(self._live())

    def _make_staging(self) -> None:
        outputs = self._context.scratch / "outputs"
        outputs.mkdir(exist_ok=True)
        self._pace = Pace(self._context)
        self._staging = OutputStaging(
            outputs,
            self._range_queue,
            self._outcomes,
            recovery=self._recovery,
            pace=self._pace,
            clock=self._clock,
            on_result=self._had_result,
            on_defect=self._give_up,
            explain=self._memory.explained,
        )

    @property
    def appetite(self) -> int:
        """Ranges the payload would take now so that no core waits: the next answer, whatever the pilot has in its hands.

        Most of what it has is done and not yet reported, or will be before it asks again.
        """
        if self._refuses or (self._pilot and self._pilot.panda.said_no_more):
            return 0
        return max(0, self._context.cores * self._per_core - self._range_queue.waiting)

    @property
    def _refuses(self) -> bool:
        return self._draining or self._outcomes.fatal is not None or not self._running

    def feed(self, leases: Sequence[LeasedRange]) -> None:
        """Take ranges. Raises InternalError when one of them is held already."""
        self._outcomes.take_in(leases)
        if self._refuses:
            self._outcomes.release([lease.index for lease in leases])
            return
        new = []
        for lease in leases:
            if (found := self._rescued.pop(lease.event_range.range_id, None)) is not None:
                self._staging.publish(lease.index, found, begun_at=self._clock.wall_s())
            else:
                new.append(lease)
        self._range_queue.add(new)
        if new:
            self._set_dry(False)
            self._look_again()

    def release(self, indices: Sequence[int]) -> None:
        """Hand back ranges the pilot does not have. What it has cannot be asked back."""
        self._outcomes.release(self._range_queue.take_back(indices))
        if indices and self._range_queue.waiting == 0:
            self._set_dry(True)

    def collected(self, stretches: Iterable[Path]) -> None:
        """The agent has stored these outputs: they are deleted."""
        self._staging.collected(stretches)

    async def poll(self, timeout_s: float) -> list[PayloadOutcome]:
        """What happened since the last call; waits at most `timeout_s`. Raises PayloadError once all outcomes are handed over."""
        return await self._outcomes.poll(timeout_s)

    async def drain(self, deadline_s: float) -> None:
        """Release what the pilot does not have, tell it "no more", wait for its results at most `deadline_s` seconds."""
        self._draining = True
        self._drain_by = self._clock.monotonic_s() + deadline_s
        self._outcomes.release(self._range_queue.take_back())
        if self._pilot is not None:
            self._pilot.panda.draining = True
        self._look_again()
        while self._pilot is not None and self._running and self._outcomes.fatal is None:  # our own loop ends it
            await self._clock.sleep(_TICK_S / 2)
        self._outcomes.release(self._range_queue.abandon())

    async def stop(self) -> None:
        """End everything now. What was running is lost. Safe to call twice."""
        life, self._life = self._life, None
        if life is None:
            return
        self._running = False
        self._memory.stop()
        self._wanted.set()
        await asyncio.gather(life, return_exceptions=True)  # not cancelled: half a start or half an end would leave processes
        pilot, self._pilot = self._pilot, None
        if pilot is not None:
            await pilot.kill()
            await self._account.pilot_ended(pilot)
        self._account.close()
        self._staging.cancel()
        await asyncio.to_thread(self._recovery.close)
        self._outcomes.close()

    # ---- a pilot from start to end

    async def _live(self) -> None:
        """Start, watch and end pilots until the payload is stopped."""
        try:
            while self._outcomes.fatal is None and self._running:
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
        now = self._clock.monotonic_s()
        pilot = self._pilot
        await self._account.keep(pilot, self._staging.results, now, idle=not len(self._outcomes))
        if pilot is not None:
            await self._watch(pilot, now)
        elif (self._first or self._range_queue.waiting > 0) and not self._draining and now >= self._start_at:
            await self._begin()

    async def _begin(self) -> None:
        self._first = False
        self._account.starts += 1
        number = free_number(self._context.log_dir, self._account.starts)
        cores = self._range_queue.cores = self._memory.cores
        context = replace(self._context, cores=cores)
        job = pilot_job(context, self._options, context.numbers.take() if takes_numbers(context) else 1)
        hold = HoldTimes(busy_s=self._options.busy_hold_s, idle_s=self._options.idle_hold_s)
        panda = PandaServer(job, self._range_queue, cores, hold)
        panda.batch_per_core, panda.event_s = self._per_core, self._pace.mean_s
        panda.draining, panda.dry = self._draining, self._dry
        self._pilot = pilot = RunningPilot(
            number,
            self._recovery.place / f"run-{number}",
            panda,
            log_dir=self._context.log_dir,
            on_call=self._called,
            on_end=self._wanted.set,
            clock=self._clock,
        )
        self._memory.came(await pilot.start(self._options, self._release, job, cores))

    def _called(self, answer: Answer) -> None:
        """A request was answered (the answer is not sent yet)."""
        if answer.given:
            self._recovery.note(answer.given)
        if self._pilot is not None:
            self._pilot.busy_at = self._clock.monotonic_s()
            self._staging.take_news(self._pilot)
        self._wanted.set()

    def _had_result(self, pilot: RunningPilot) -> None:
        self._restarts.had_result()
        pilot.panda.batch_per_core, pilot.panda.event_s = self._per_core, self._pace.mean_s

    async def _watch(self, pilot: RunningPilot, now: float) -> None:
        self._staging.take_news(pilot)
        if now - self._looked_at > _CPU_LOOK_S:
            self._looked_at = now
            await asyncio.to_thread(pilot.look_at_cpu, now)
        await asyncio.to_thread(pilot.log.read)
        self._staging.take_logged(pilot)
        if self._memory.cores < self._range_queue.cores and not pilot.panda.draining:
            pilot.panda.draining = True  # it does what it has; its successor has fewer workers
            self._look_again()
        if pilot.log.over and pilot.over_seen_at is None:
            pilot.over_seen_at = now
        limit_s = self._pace.time_limit_s + self._options.report_grace_s
        hanging = [one for one in self._range_queue.in_flight_ranges if hangs(pilot, one, limit_s, now)]
        around = Surroundings(now, self._range_queue.out, self._drain_by if self._draining else None)
        if hanging:
            await self._end(pilot, f"event {hanging[0].lease.event_range.range_id} hangs", hanging)
        elif reason := why_end(pilot, self._options, around):
            await self._end(pilot, reason, [])

    async def _end(self, pilot: RunningPilot, reason: str, hanging: Sequence[InFlight]) -> None:
        """End the pilot: kill, salvage, charge, keep the logs, plan the next one."""
        # whatever it owes was lost through something it computed, unless that is known better
        crashed = not hanging and self._range_queue.out > 0 and not self._draining
        await pilot.kill()
        self._staging.take_news(pilot)
        await self._staging.finish()
        lost = self._range_queue.out
        if lost:
            await self._staging.salvage(pilot)
        if self._staging.charge_bad_outputs(pilot):
            crashed = False  # a pilot ends its job over an output it cannot find: that explains it
        story = f"pilot {pilot.number}: {reason}; {pilot.panda.record.n_reported} ranges reported"
        if lost:
            story += f", {lost} more in its hands, {lost - self._range_queue.out} of them salvaged"
        (LOG.warning if lost else LOG.info)("%s", story)
        self._staging.announce()
        self._charge(reason, hanging, crashed=crashed)
        if self._draining:
            self._outcomes.release(self._range_queue.abandon())
        self._plan_next(pilot, reason)
        await self._account.pilot_ended(pilot)
        self._pilot = None

    def _charge(self, reason: str, hanging: Sequence[InFlight], *, crashed: bool) -> None:
        """What the pilot had goes back to the queue, but for what is to blame for its end."""
        blamed = {one.token for one in hanging} | self._memory.condemned(crashed=crashed)
        for in_flight in self._range_queue.reclaim(blamed, crashed=crashed):
            held_s = self._staging.held_s(in_flight)
            kind = FailureKind.HANG if hanging else FailureKind.CRASH
            text = f"no result after {held_s:.0f} s" if hanging else f"the payload died: {reason}"
            kind, text = self._memory.explained(in_flight.token, kind, text)
            self._outcomes.finish(Failed(in_flight.index, kind, text, held_s))

    def _plan_next(self, pilot: RunningPilot, reason: str) -> None:
        """When the next pilot may be started, or that none will."""
        now = self._clock.monotonic_s()
        if pilot.panda.record.first_ranges_at is not None or pilot.panda.said_no_more or self._draining:
            self._first, self._start_at = False, now
            return
        self._first, self._start_at = True, now + self._restarts.ended(came_up=False, had_result=False)
        LOG.warning("pilot %d never asked for ranges: %s", pilot.number, reason)
        count = f"{self._restarts.failed_starts} of {self._options.max_starts}"
        self._outcomes.remark(f"a pilot never asked for ranges ({count} before the node is given up): {reason}")
        if self._restarts.is_exhausted:
            failed, known = self._restarts.failed_starts, "".join(f". {one}" for one in self._release.doubts)
            text = f"{failed} pilots in a row never asked for ranges; the last one: {reason}"
            self._give_up(PayloadUnusable(f"{text} (logs: {pilot.log_dir}){known}"))

    def _give_up(self, problem: PayloadError) -> None:
        if self._outcomes.give_up(problem):
            self._outcomes.release(self._range_queue.abandon())

    # ---- small things

    @property
    def _per_core(self) -> int:
        """Ranges for each core in one answer."""
        if not self._pace.finished:
            return min(_FIRST_PER_CORE, self._options.over_delivery)
        return max(1, min(self._options.over_delivery, int(self._options.ahead_s / max(self._pace.mean_s, 1e-3))))

    def _set_dry(self, dry: bool) -> None:
        self._dry = dry
        if self._pilot is not None:
            self._pilot.panda.dry = dry
            self._look_again()

    def _look_again(self) -> None:
        if self._pilot is not None:
            self._pilot.server.changed()
        self._wanted.set()


PLUGIN = PayloadPlugin("pilot", PilotPayload, check_options, needs_files=True, buffer_s=60.0, margin_s=60.0)
