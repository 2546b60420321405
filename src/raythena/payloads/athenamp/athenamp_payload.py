"""Payload `athenamp`: AthenaMP on a node, fed directly, without a pilot in between.

Theory of operation. One *run* is one life of the transform, with a directory, a channel and a log of its own. Ranges wait on a
queue; the channel's thread gives one to each worker that asks. From then on a range is *in flight*, until AthenaMP reports it,
or its output is found, or the transform is gone.

    DOWN ──ranges on the queue──> STARTING ──first question──> WORKING ──exit──> LAST_WORDS ──silence──> DOWN
                                      └───────────────exit──────────────────────────^

AthenaMP reports nothing while one of its workers waits for a range. When the node has none left, what the others finish would be
held back, so a waiting worker is *flushed*: it gets a range that no file has, refuses it, and meanwhile the reports come through.

Rules:
- A range is in exactly one place: on the queue, in flight, or on its way to the agent as an outcome.
- When a worker dies, AthenaMP says which range it had and starts another worker. When the transform dies, what was in flight is
  looked for on disk; what is not complete there has failed.
- A range over its time limit costs the worker that has it its life, and the whole transform only when that worker is not known.
- When memory is short fewer ranges are in flight than there are workers: the rest waits on the queue.
- Nothing AthenaMP says raises out of the payload. Only a transform that never comes up is a `PayloadError`.

Parts: `athenamp_ranges`: what waits and what is in flight; `transform_run`: one life of the transform; `range_outcomes`: what
became of ranges; `transform_account`: the account. Here is what the agent calls, and when a run begins and ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path

from raythena.domain.errors import ContainerError, InvalidInput, NumbersExhausted, PayloadError, PayloadUnusable
from raythena.domain.results import FailureKind
from raythena.payloads.athena_memory import AthenaMemory
from raythena.payloads.athenamp.athenamp_ranges import AthenaRanges
from raythena.payloads.athenamp.channel import Asked, Broken, Given, Heard, News, Silence, Told
from raythena.payloads.athenamp.command import check_options, read_options, transform_command
from raythena.payloads.athenamp.range_outcomes import RangeOutcomes
from raythena.payloads.athenamp.transform_account import TransformAccount
from raythena.payloads.athenamp.transform_run import TransformRun, import_yampl, search_path
from raythena.payloads.latency import LatencySummary
from raythena.payloads.lifecycle import Lifecycle
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.restart_backoff import BackOff, RestartPolicy
from raythena.payloads.workers.program import find_program
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Failed, LeasedRange, PayloadContext, PayloadOutcome, PayloadPlugin, Released
from raythena.runtime.process_guard import ProcessGuard
from raythena.runtime.process_guard_main import EXEC_FAILED_STATUS

LOG = logging.getLogger(__name__)
TICK_MIN_S, TICK_MAX_S = 0.02, 0.1
MAX_FAILED_STARTS = 3
"""Runs in a row that end before they ask for a range, before the payload is given up."""
BACK_OFF = BackOff(first_s=0.2, longest_s=30.0, free=1)
SPARE_SHARE = 16
"""For each so many cores one range more than cores is kept on the node, at least two: the next one is always there."""


class Phase(Enum):
    """Where the current run stands."""

    DOWN = "down"
    STARTING = "starting"
    WORKING = "working"
    LAST_WORDS = "last words"
    """The transform has exited; what it said before is still being heard."""


PHASES = {
    Phase.DOWN: frozenset({Phase.STARTING}),
    Phase.STARTING: frozenset({Phase.WORKING, Phase.LAST_WORDS}),
    Phase.WORKING: frozenset({Phase.LAST_WORDS}),
    Phase.LAST_WORDS: frozenset({Phase.DOWN}),
}


class AthenaMPPayload:
    """The payload `athenamp`."""

    def __init__(self) -> None:
        self._ranges = AthenaRanges()
        self._outcomes = OutcomeQueue()
        self._lifecycle: Lifecycle[Phase] = Lifecycle("AthenaMP", PHASES, Phase.DOWN)
        self._restarts = RestartPolicy(BACK_OFF, MAX_FAILED_STARTS)
        self._run: TransformRun | None = None
        self._start_at = 0.0
        self._draining = False
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._starter: asyncio.Task[None] | None = None
        self._process_guard = ProcessGuard()

    # ---- what the agent calls

    async def start(self, context: PayloadContext) -> None:
        """Start the transform; it is still initialising on return. Raises PayloadError, InvalidInput."""
        self._context, self._clock = context, context.clock
        self._options = read_options(context.options, "job")
        self._yampl = import_yampl(self._options)
        self._pace = Pace(context)
        self._memory = AthenaMemory(context)
        self._results = RangeOutcomes(self._ranges, self._outcomes, self._pace, context.clock, self._memory)
        self._account = TransformAccount(context.log_dir, self._results.waiting)
        self._loop = asyncio.get_running_loop()
        if "," in str(context.scratch):
            raise PayloadError(f"payload athenamp: AthenaMP misreads the comma in the scratch directory {context.scratch}")
        context.scratch.mkdir(parents=True, exist_ok=True)
        context.log_dir.mkdir(parents=True, exist_ok=True)
        self._tick_s = min(TICK_MAX_S, max(TICK_MIN_S, min(context.min_time_limit_s, context.first_time_limit_s) / 10))
        self._running = True
        try:
            self._check_program()
            await self._process_guard.start()
        except BaseException:
            await self.stop()
            raise
        self._memory.start(
            lambda: self._results.tree(self._run),
            lambda token, kind, text: self._results.needs_its_memory(self._run, token, kind, text),
        )
        self._begin_run()
        self._tick()

    def _check_program(self) -> None:
        """What can be known to fail before the first run. Raises PayloadError, InvalidInput."""
        command = transform_command(self._options, self._context, 1)
        command.argv("channel")
        if not self._options.container.setup and self._options.container.engine == "none":
            find_program(command.program[0], None, search_path(self._options))

    @property
    def appetite(self) -> int:
        """Ranges the payload would take now so that no core waits."""
        if self._refuses:
            return 0
        cores = min(self._context.cores, self._memory.allowed)
        return max(0, cores * self._pace.wanted_per_core + max(2, cores // SPARE_SHARE) - len(self._outcomes))

    @property
    def _refuses(self) -> bool:
        return self._draining or self._outcomes.fatal is not None or not self._running

    def feed(self, leases: Sequence[LeasedRange]) -> None:
        """Take ranges. Raises InternalError when one of them is held already."""
        self._outcomes.take_in(leases)
        for lease in leases:
            if self._refuses:
                self._outcomes.finish(Released(lease.index))
                continue
            try:
                self._ranges.add(lease)
            except ValueError as problem:
                self._outcomes.finish(Failed(lease.index, FailureKind.REPORTED, str(problem)))

    def release(self, indices: Sequence[int]) -> None:
        """Hand ranges back that no worker has been given."""
        if wanted := self._outcomes.held_of(indices):
            self._outcomes.release(self._ranges.take_back(wanted))

    def collected(self, stretches: Iterable[Path]) -> None:
        """Nothing: every output is a file of its own."""

    async def poll(self, timeout_s: float) -> list[PayloadOutcome]:
        """What happened since the last call; waits at most `timeout_s`. Raises PayloadError once all outcomes are handed over."""
        return await self._outcomes.poll(timeout_s)

    async def drain(self, deadline_s: float) -> None:
        """Release what is not in flight and end the transform with `No more events`; after `deadline_s` it is killed."""
        self._draining = True
        self._outcomes.release(self._ranges.take_back())
        deadline = self._clock.monotonic_s() + deadline_s
        if self._run is not None:
            self._run.channel.close()
            if self._lifecycle.state is Phase.STARTING:
                self._run.kill()
        while self._lifecycle.state is not Phase.DOWN and self._clock.monotonic_s() < deadline:
            await self._clock.sleep(TICK_MIN_S)
        if self._run is not None:
            self._run.kill()
            for token, in_flight in list(self._ranges.in_flight.items()):
                self._results.settle(self._run, token, Released(in_flight.index))

    async def stop(self) -> None:
        """Kill every process. What was running is lost. Safe to call twice."""
        if not self._running:
            return
        self._running = False
        self._memory.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._starter is not None:
            self._starter.cancel()
            await asyncio.gather(self._starter, return_exceptions=True)
        await self._process_guard.stop()
        if self._run is not None:
            self._results.waiting.exited(self._clock.monotonic_s())
            await asyncio.to_thread(self._run.channel.stop)
        self._account.close()
        self._outcomes.close()

    def latency(self) -> LatencySummary:
        """What the cores have waited for so far."""
        return self._results.waiting.summary()

    # ---- a run begins

    def _begin_run(self) -> None:
        try:
            context = self._context
            if not self._options.flush:  # then nothing can be withheld: there are fewer workers from the start
                context = replace(context, cores=min(context.cores, self._memory.allowed))
            command = transform_command(self._options, context, context.numbers.take())
            run = TransformRun(self._account.runs + 1, context, self._process_guard)
            run.open(self._yampl, self._ranges.queue, self._relay(run))
        except (NumbersExhausted, PayloadError) as problem:
            self._give_up(problem)
            return
        self._account.runs += 1
        self._run = run
        self._lifecycle.enter(Phase.STARTING, self._clock.monotonic_s())
        self._starter = self._loop.create_task(self._launch(run, partial(run.launch, self._options, command)))

    async def _launch(self, run: TransformRun, launch: Callable[[Callable[[int], None]], Awaitable[int]]) -> None:
        try:
            pid = await launch(partial(self._exited, run))
        except (OSError, InvalidInput) as problem:
            run.trouble = f"could not be started: {problem}"
            self._exited(run, EXEC_FAILED_STATUS)
            return
        if run.status is None:
            run.pid = pid
            self._memory.came(pid)
            run.began = self._clock.monotonic_s()
            if run.ending or self._draining:
                run.kill()

    def _relay(self, run: TransformRun) -> Callable[[News], None]:
        """How the channel's thread tells the event loop what happened in this run."""

        def tell(news: News) -> None:
            try:
                self._loop.call_soon_threadsafe(self._hear, run, news)
            except RuntimeError:
                return  # the loop is closed: nobody wants to know any more

        return tell

    # ---- a run goes on

    def _hear(self, run: TransformRun, news: News) -> None:
        if run is not self._run or not self._running:
            return
        now = self._clock.monotonic_s()
        match news:
            case Asked():
                self._asked(run, now)
            case Given():
                self._results.given(run, news)
            case Heard():
                self._results.heard(run, news)
            case Silence():
                self._end_run(run)
            case Broken():
                LOG.error("the channel to AthenaMP is broken: %s", news.problem)
                run.trouble = f"its channel broke: {news.problem}"
                run.kill()
                if self._lifecycle.state is not Phase.LAST_WORDS:
                    self._lifecycle.enter(Phase.LAST_WORDS, now)
                self._end_run(run)
            case Told():
                LOG.info("AthenaMP was told that there are no more events")
        self._results.keep_count(run)

    def _asked(self, run: TransformRun, now: float) -> None:
        run.asked = True
        if run.flushes.in_round and self._ranges.in_flight and (not len(self._ranges.queue) or run.channel.is_full):
            self._flush(run, now)
        if self._lifecycle.state is Phase.STARTING:
            self._lifecycle.enter(Phase.WORKING, now)

    def _tick(self) -> None:
        now = self._clock.monotonic_s()
        run, phase = self._run, self._lifecycle.state
        if run is None:
            wanted = self._ranges.are_waiting or self._restarts.failed_starts > 0
            if wanted and not self._refuses and now >= self._start_at:
                self._begin_run()
        elif phase is Phase.STARTING:
            self._watch_start(run, now)
        elif phase is Phase.WORKING:
            self._results.watch(run, now)
            self._results.keep_count(run)
            self._fetch_held_back(run, now)
        self._account.keep(self._outcomes.finished, now, idle=not len(self._outcomes))
        self._timer = self._loop.call_later(self._tick_s, self._tick)

    def _watch_start(self, run: TransformRun, now: float) -> None:
        limit_s = self._context.first_time_limit_s
        if run.pid is not None and not run.ending and now - run.began > limit_s:
            LOG.warning("AthenaMP did not ask for events within %g s and is killed", limit_s)
            run.trouble = f"did not ask for events within {limit_s:g} s"
            run.kill()

    def _fetch_held_back(self, run: TransformRun, now: float) -> None:
        """Make AthenaMP say what it holds back while a worker waits for a range there is none of."""
        since = run.channel.starved_since
        if since is None or not self._ranges.in_flight or not run.flushes.due(now, since, self._pace.mean_s):
            return
        if not self._options.flush:
            run.channel.close()
            return
        if run.flushes.heard_until is not None:
            self._results.find_unreported(run, run.flushes.heard_until)
        if self._ranges.in_flight:
            self._flush(run, now)

    def _flush(self, run: TransformRun, now: float) -> None:
        token, message = self._ranges.flush()
        if run.channel.flush(message):
            run.flushes.sent(token, now, self._clock.wall_s())

    # ---- a run ends

    def _exited(self, run: TransformRun, status: int) -> None:
        if run is not self._run or not self._running:
            return
        run.status = status
        now = self._clock.monotonic_s()
        self._results.waiting.exited(now)
        if self._lifecycle.state is not Phase.LAST_WORDS:
            self._lifecycle.enter(Phase.LAST_WORDS, now)
            run.channel.finish()

    def _end_run(self, run: TransformRun) -> None:
        """The transform is gone and everything it said is known: account for what it still had."""
        now = self._clock.monotonic_s()
        self._run = None
        self._lifecycle.enter(Phase.DOWN, now)
        run.channel.stop()
        self._account.run_ended(run.workplace.directory)
        last = f"AthenaMP {run.exit_summary()}"
        released = self._draining and (run.ending or run.status == 0)
        for token, one in list(self._ranges.in_flight.items()) if released or run.ending else ():
            if released:
                self._results.settle(run, token, Released(one.index))
            else:
                self._results.give_again(run, token)
        self._results.transform_died(run, last)
        if not run.ending and run.status != 0:
            LOG.warning("run %d: %s", run.number, last)
        self._decide_on_next(run, last)

    def _decide_on_next(self, run: TransformRun, last: str) -> None:
        """When the next run may begin, or that none will."""
        pause_s = self._restarts.ended(came_up=run.asked or self._draining, had_result=run.results > 0)
        self._start_at = self._clock.monotonic_s() + pause_s
        if self._restarts.is_exhausted:
            text = f"AthenaMP ended {self._restarts.failed_starts} times in a row before it asked for events; {last}"
            kind = ContainerError if run.engine_failed else PayloadUnusable
            self._give_up(kind(f"{text} (log: {run.log})"))

    def _give_up(self, problem: PayloadError) -> None:
        """The payload is beyond repair: everything held goes back, then `poll` raises."""
        if self._outcomes.give_up(problem):
            self._outcomes.release(self._ranges.take_back())


PLUGIN = PayloadPlugin("athenamp", AthenaMPPayload, check_options, needs_files=True)
