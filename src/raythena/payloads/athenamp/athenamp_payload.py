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
- Nothing AthenaMP says raises out of the payload. Only a transform that never comes up is a `PayloadError`.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from raythena.domain.container import launch
from raythena.domain.errors import InternalError, NumbersExhausted, PayloadError
from raythena.domain.payload_account import PayloadAccount
from raythena.domain.results import FailureKind
from raythena.payloads.account import AccountKeeper, read_report
from raythena.payloads.athenamp.channel import Asked, Broken, Channel, ChannelQueue, Given, Heard, News, Silence, Told
from raythena.payloads.athenamp.command import (
    CATALOGUE,
    TransformCommand,
    TransformOptions,
    check_options,
    environment_of,
    read_options,
    transform_command,
    whole_environment,
    with_channel,
)
from raythena.payloads.athenamp.flush import Flushes
from raythena.payloads.athenamp.messages import (
    CRASH_REASON,
    OUTPUT_REASON,
    TOKEN,
    RangeDone,
    RangeFailed,
    Unintelligible,
    decode,
    encode_flush,
    encode_range,
    token_of,
)
from raythena.payloads.athenamp.workplace import Workplace, processes_in
from raythena.payloads.latency import IdleClock, LatencySummary
from raythena.payloads.workers.output_inspection import BadOutput, Output
from raythena.payloads.workers.program import find_program
from raythena.payloads.workers.slot import describe_status, tail_of
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
from raythena.runtime.process_guard import ProcessGuard
from raythena.runtime.process_guard_main import EXEC_FAILED_STATUS, kill_quietly

LOG = logging.getLogger(__name__)
TICK_MIN_S, TICK_MAX_S = 0.02, 0.1
FAILED_STARTS_LIMIT = 3
"""Runs in a row that end before they ask for a range, before the payload is given up."""
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.05, 30.0
SPARE_SHARE = 16
"""For each so many cores one range more than cores is kept on the node, at least two: the next one is always there."""
STRAYS_LOGGED = 20
REASON_LENGTH = 4000
_NO_YAMPL = (
    "payload athenamp needs the Python module yampl on every node, and it cannot be imported: {problem}. It is not on PyPI: "
    "build python-yampl for the Python that runs raythena, and name the directory it is in as `yampl_path` in the payload's "
    "options, or put it into PYTHONPATH"
)


class Phase(Enum):
    """Where the current run stands."""

    DOWN = "down"
    STARTING = "starting"
    WORKING = "working"
    LAST_WORDS = "last words"
    """The transform has exited; what it said before is still being heard."""


@dataclass(slots=True)
class InFlight:
    """One range AthenaMP has."""

    lease: LeasedRange
    since: float
    at: float
    """The same moment, wall-clock seconds since the epoch."""
    announced: bool = False


@dataclass(slots=True)
class Run:
    """Books of one run of the transform."""

    number: int
    workplace: Workplace
    log: Path
    channel: Channel
    began: float
    job_number: int
    flushes: Flushes = field(default_factory=Flushes)
    pid: int | None = None
    status: int | None = None
    asked: bool = False
    results: int = 0
    trouble: str = ""
    ending: bool = False
    """We have ended it: what is in flight is not to blame."""

    def exit_summary(self) -> str:
        """How the transform ended, with the last lines of its log."""
        if self.trouble:
            return self.trouble
        tail = tail_of(self.log, 0)
        return f"{describe_status(self.status)}" + (f"; last lines of its log: {tail}" if tail else "; its log is empty")


class AthenaMPPayload:
    """The payload `athenamp`."""

    def __init__(self) -> None:
        self._range_queue = ChannelQueue()
        self._shelved: dict[str, LeasedRange] = {}
        self._in_flight: dict[str, InFlight] = {}
        self._held: set[int] = set()
        self._outcomes: list[PayloadOutcome] = []
        self._waiter: asyncio.Future[None] | None = None
        self._tokens = 0
        self._run: Run | None = None
        self._runs = 0
        self._phase = Phase.DOWN
        self._start_at = 0.0
        self._failed_starts = 0
        self._runs_without_result = 0
        self._strays = 0
        self._settled = 0
        """Ranges that came back in any way."""
        self._idle_since: deque[float] = deque()
        self._fatal: PayloadError | None = None
        self._draining = False
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._starter: asyncio.Task[None] | None = None
        self._process_guard = ProcessGuard()

    # --- the payload's face ---------------------------------------------------------------------------------------------------

    async def start(self, context: PayloadContext) -> None:
        """Start the transform; it is still initialising on return. Raises PayloadError, InvalidInput."""
        self._context = context
        self._options = read_options(context.options, "job")
        self._yampl = _yampl(self._options)
        self._pace = Pace(context)
        self._clock = IdleClock(time.monotonic())
        self._keeper = AccountKeeper(context.log_dir)
        self._loop = asyncio.get_running_loop()
        if "," in str(context.scratch):
            raise PayloadError(f"payload athenamp: AthenaMP misreads the comma in the scratch directory {context.scratch}")
        context.scratch.mkdir(parents=True, exist_ok=True)
        context.log_dir.mkdir(parents=True, exist_ok=True)
        self._tick_s = min(TICK_MAX_S, max(TICK_MIN_S, min(context.min_time_limit_s, context.first_time_limit_s) / 10))
        self._running = True
        try:
            self._check_program(transform_command(self._options, context, 1))
            await self._process_guard.start()
        except BaseException:
            await self.stop()
            raise
        self._begin_run()
        self._tick()

    def _check_program(self, command: TransformCommand) -> None:
        if not self._options.container.setup and self._options.container.engine == "none":
            path = self._options.environment.get("PATH", os.environ.get("PATH"))
            find_program(command.argv[0], None, path)

    @property
    def appetite(self) -> int:
        """Ranges the payload would take now so that no core waits."""
        if self._draining or self._fatal or not self._running:
            return 0
        cores = self._context.cores
        return max(0, cores * self._pace.wanted_per_core + max(2, cores // SPARE_SHARE) - len(self._held))

    def feed(self, leases: Sequence[LeasedRange]) -> None:
        """Take ranges. Raises InternalError when one of them is held already."""
        for lease in leases:
            if lease.index in self._held:
                raise InternalError(f"range {lease.index} was fed to a payload that still holds it")
            self._held.add(lease.index)
            if self._draining or self._fatal or not self._running:
                self._finish(Released(lease.index))
            else:
                self._shelve(lease)
        self._wake()

    def _shelve(self, lease: LeasedRange) -> None:
        self._tokens += 1
        token = token_of(self._tokens)
        try:
            answer = encode_range(token, lease.event_range)
        except ValueError as problem:
            self._finish(Failed(lease.index, FailureKind.REPORTED, str(problem)))
            return
        self._shelved[token] = lease
        self._range_queue.put(token, answer)

    def release(self, indices: Sequence[int]) -> None:
        """Hand ranges back that no worker has been given."""
        wanted = self._held.intersection(indices)
        if wanted:
            self._unshelve([token for token, lease in self._shelved.items() if lease.index in wanted])

    def _unshelve(self, tokens: Iterable[str]) -> None:
        for token in self._range_queue.withdraw(tokens):
            self._finish(Released(self._shelved.pop(token).index))
        self._wake()

    def collected(self, stretches: Iterable[Path]) -> None:
        """Nothing: every output is a file of its own."""

    async def poll(self, timeout_s: float) -> list[PayloadOutcome]:
        """What happened since the last call; waits at most `timeout_s`. Raises PayloadError once all outcomes are handed over."""
        if not self._outcomes and self._fatal is None and self._running:
            await self._wait_for_outcome(timeout_s)
        if not self._outcomes and self._fatal is not None:
            raise self._fatal
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    async def drain(self, deadline_s: float) -> None:
        """Release what is not in flight and end the transform with `No more events`; after `deadline_s` it is killed."""
        self._draining = True
        self._unshelve(list(self._shelved))
        deadline = time.monotonic() + deadline_s
        if self._run is not None:
            self._run.channel.close()
            if self._phase is Phase.STARTING:
                self._kill()
        while self._phase is not Phase.DOWN and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(TICK_MIN_S)
        if self._run is not None:
            self._kill()
            for token in list(self._in_flight):
                self._account_for(token, self._run, Released(self._in_flight[token].lease.index))
        self._wake()

    async def stop(self) -> None:
        """Kill every process. What was running is lost. Safe to call twice."""
        if not self._running:
            return
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._starter is not None:
            self._starter.cancel()
            await asyncio.gather(self._starter, return_exceptions=True)
        await self._process_guard.stop()
        if self._run is not None:
            self._clock.exited(time.monotonic())
            await asyncio.to_thread(self._run.channel.stop)
        self._report_latency()
        self._wake()

    def latency(self) -> LatencySummary:
        """What the cores have waited for so far."""
        return self._clock.summary()

    def _report_latency(self) -> None:
        summary = self._clock.summary()
        LOG.info("AthenaMP: %s", summary.in_words())
        try:
            summary.write(self._context.log_dir)
        except OSError as problem:
            LOG.warning("the account of waiting times could not be written: %s", problem)
        self._keeper.write(self._account())

    def _account(self) -> PayloadAccount:
        waiting = asdict(self._clock.summary())
        return PayloadAccount("athenamp", self._runs, None, waiting, self._keeper.reports, self._keeper.resource)

    def _keep_account(self, now: float) -> None:
        if self._keeper.is_due(self._runs, self._settled, now, idle=not self._held):
            self._loop.run_in_executor(None, self._keeper.write, self._account())

    # --- the life of a run ----------------------------------------------------------------------------------------------------

    def _begin_run(self) -> None:
        try:
            job_number = self._context.numbers.take()
        except NumbersExhausted as problem:
            self._give_up(problem)
            return
        self._runs += 1
        self._phase = Phase.STARTING
        self._idle_since.clear()
        name = f"raythena-{uuid.uuid4().hex[:12]}"
        directory = self._context.scratch / f"athenamp-{self._runs}"
        log = self._context.log_dir / ("athenamp.log" if self._runs == 1 else f"athenamp_{self._runs}.log")
        try:
            directory.mkdir()
            channel = Channel(self._yampl.ServerSocket(name, "local"), self._range_queue, self._relay(self._runs))
        except Exception as problem:  # noqa: BLE001 (whatever yampl raises; it ends the payload with its text)
            self._give_up(PayloadError(f"payload athenamp: no channel to AthenaMP: {type(problem).__name__}: {problem}"))
            return
        self._run = Run(self._runs, Workplace(directory), log, channel, time.monotonic(), job_number)
        channel.start()
        self._starter = self._loop.create_task(self._launch(self._run, name))

    async def _launch(self, run: Run, channel: str) -> None:
        """Write scripts, start the transform."""
        directory = run.workplace.directory
        cores = self._context.cores
        variables = environment_of(self._options, channel, cores)
        command = transform_command(self._options, self._context, run.job_number)
        plan = launch(self._options.container, with_channel(command.argv, channel), str(directory), variables)
        files = [*plan.files, *([(CATALOGUE, command.catalogue)] if command.catalogue else [])]
        LOG.info("AthenaMP, run %d: %s", run.number, plan.argv)
        try:
            await asyncio.to_thread(_write_files, directory, files)
            pid = await self._process_guard.spawn(
                plan.argv,
                env=whole_environment(variables),
                cwd=directory,
                stdout=run.log,
                stderr=run.log,
                on_exit=partial(self._exited, run),
                sweep_group=True,
            )
        except OSError as problem:
            run.trouble = f"could not be started: {problem}"
            self._exited(run, EXEC_FAILED_STATUS)
            return
        if run.status is None:
            run.pid = pid
            run.began = time.monotonic()
            if run.ending or self._draining:
                self._kill()

    def _relay(self, number: int) -> Callable[[News], None]:
        """How the channel's thread tells the event loop what happened in this run."""

        def tell(news: News) -> None:
            try:
                self._loop.call_soon_threadsafe(self._hear, number, news)
            except RuntimeError:
                return  # the loop is closed: nobody wants to know any more

        return tell

    def _kill(self) -> None:
        """End the run; the rest follows when its exit is known."""
        run = self._run
        if run is not None:
            run.ending = True
            if run.pid is not None and run.status is None:
                self._process_guard.kill(run.pid)

    def _exited(self, run: Run, status: int) -> None:
        if run is not self._run or not self._running:
            return
        run.status = status
        self._clock.exited(time.monotonic())
        if self._phase is not Phase.LAST_WORDS:
            self._phase = Phase.LAST_WORDS
            run.channel.finish()

    def _bury(self, run: Run) -> None:
        """The transform is gone and everything it said is known: account for what it still had."""
        self._run, self._phase = None, Phase.DOWN
        run.channel.stop()
        self._keeper.take_report(read_report(run.workplace.directory / "jobReport.json"))
        last = f"AthenaMP {run.exit_summary()}"
        n_in_flight = len(self._in_flight)
        for token, in_flight_range in list(self._in_flight.items()):
            index, lasted_s = in_flight_range.lease.index, time.monotonic() - in_flight_range.since
            if run.ending or (self._draining and run.status == 0):
                self._account_for(token, run, None if not self._draining else Released(index))
            else:
                text = f"{last} ({n_in_flight} events were in flight)"
                self._account_for(token, run, Failed(index, FailureKind.CRASH, text[-REASON_LENGTH:], lasted_s))
        if not run.ending and run.status != 0:
            LOG.warning("run %d: %s", run.number, last)
        self._decide_on_next(run, last)
        self._wake()

    def _decide_on_next(self, run: Run, last: str) -> None:
        """When the next run may begin, or that none will."""
        self._failed_starts = 0 if run.asked or self._draining else self._failed_starts + 1
        self._runs_without_result = 0 if run.results else self._runs_without_result + 1
        self._start_at = time.monotonic()
        if self._runs_without_result > 1:
            self._start_at += min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self._runs_without_result, 20))
        if self._failed_starts >= FAILED_STARTS_LIMIT:
            self._give_up(
                PayloadError(
                    f"AthenaMP ended {self._failed_starts} times in a row before it asked for events; {last} (log: {run.log})"
                )
            )

    def _give_up(self, problem: PayloadError) -> None:
        """The payload is beyond repair: everything held goes back, then `poll` raises."""
        if self._fatal is None:
            self._fatal = problem
            self._unshelve(list(self._shelved))
        self._wake()

    # --- what AthenaMP says ---------------------------------------------------------------------------------------------------

    def _hear(self, number: int, news: News) -> None:
        run = self._run
        if run is None or run.number != number or not self._running:
            return
        match news:
            case Asked():
                run.asked = True
                if run.flushes.in_round and self._in_flight and not len(self._range_queue):
                    self._flush(run, time.monotonic())
                if self._phase is Phase.STARTING:
                    self._phase = Phase.WORKING
            case Given():
                self._take_off(run, news)
            case Heard():
                self._understand(run, news)
            case Silence():
                self._bury(run)
            case Broken():
                LOG.error("the channel to AthenaMP is broken: %s", news.problem)
                run.trouble = f"its channel broke: {news.problem}"
                self._kill()
                self._phase = Phase.LAST_WORDS
                self._bury(run)
            case Told():
                LOG.info("AthenaMP was told that there are no more events")
        run.channel.in_flight = len(self._in_flight)
        self._wake()

    def _take_off(self, run: Run, given: Given) -> None:
        lease = self._shelved.pop(given.token)
        self._in_flight[given.token] = InFlight(lease, given.at, time.time() - (time.monotonic() - given.at))
        run.flushes.given()
        idle_since = self._idle_since.popleft() if self._idle_since else None
        self._clock.given(given.at, None if idle_since is None else given.at - idle_since, starved=given.starved)

    def _understand(self, run: Run, heard: Heard) -> None:
        try:
            message = decode(heard.message)
        except Unintelligible as problem:
            self._puzzle(run, heard.message, str(problem))
            return
        if isinstance(message, RangeDone | RangeFailed):
            if run.flushes.refused(message.token, heard.at):
                return
            run.flushes.reported()
            in_flight_range = self._in_flight.pop(message.token, None)
            if in_flight_range is None:
                self._note_stray(run, heard.message)
                return
            self._idle_since.append(heard.at)
            self._clock.result(heard.at)
            if isinstance(message, RangeDone):
                self._take_result(run, in_flight_range, message, heard.at)
            else:
                self._take_failure(run, in_flight_range, message, heard.at)

    def _take_result(self, run: Run, in_flight_range: InFlight, message: RangeDone, now: float) -> None:
        index, held_s = in_flight_range.lease.index, now - in_flight_range.since
        try:
            if not message.path:
                raise BadOutput(f"AthenaMP reported {len(message.paths)} files for one range: {', '.join(message.paths)[:500]}")
            output = run.workplace.inspect(message.path)
        except BadOutput as problem:
            self._finish(Failed(index, FailureKind.BAD_OUTPUT, str(problem), held_s))
            return
        run.results += 1
        self._pace.observe(message.wall_s, held_s)
        self._finish(Done(index, output.path, output.size_bytes, in_flight_range.at, message.wall_s or held_s, message.cpu_s))

    def _take_failure(self, run: Run, in_flight_range: InFlight, message: RangeFailed, now: float) -> None:
        kinds = {CRASH_REASON: FailureKind.CRASH, OUTPUT_REASON: FailureKind.BAD_OUTPUT}
        kind = kinds.get(message.reason, FailureKind.REPORTED)
        if message.error != "ERR_ATHENAMP_PROCESS":
            kind = FailureKind.PROTOCOL
        if kind is FailureKind.REPORTED:
            run.results += 1
        tail = run.workplace.log_of(message.token)
        text = f"{message.error}: {message.reason}" + (f"; last lines of the worker's log: {tail}" if tail else "")
        self._finish(Failed(in_flight_range.lease.index, kind, text[:REASON_LENGTH], now - in_flight_range.since))

    def _puzzle(self, run: Run, message: bytes, problem: str) -> None:
        """A message that cannot be understood costs the range it names, if it names one."""
        named = {token for token in TOKEN.findall(message.decode(errors="replace")) if token in self._in_flight}
        if len(named) != 1:
            self._note_stray(run, message)
            return
        in_flight_range = self._in_flight.pop(named.pop())
        self._idle_since.append(time.monotonic())
        text = f"AthenaMP sent a message that cannot be understood ({problem}): {message[:500]!r}"
        self._finish(Failed(in_flight_range.lease.index, FailureKind.PROTOCOL, text, time.monotonic() - in_flight_range.since))

    def _note_stray(self, run: Run, message: bytes) -> None:
        """Duplicates, and reports of ranges that were settled in another way: once too often is not an error."""
        self._strays += 1
        if self._strays <= STRAYS_LOGGED:
            LOG.warning("run %d: AthenaMP said something about no range in flight: %r", run.number, message[:500])

    # --- looking after it -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        run = self._run
        if run is None:
            wanted = bool(self._shelved) or self._failed_starts > 0
            if wanted and not self._draining and self._fatal is None and now >= self._start_at:
                self._begin_run()
        elif self._phase is Phase.STARTING:
            self._watch_start(run, now)
        elif self._phase is Phase.WORKING:
            self._watch_flights(run, now)
            self._fetch_held_back(run, now)
        self._keep_account(now)
        self._wake()
        self._timer = self._loop.call_later(self._tick_s, self._tick)

    def _watch_start(self, run: Run, now: float) -> None:
        limit_s = self._context.first_time_limit_s
        if run.pid is not None and not run.ending and now - run.began > limit_s:
            LOG.warning("AthenaMP did not ask for events within %g s and is killed", limit_s)
            run.trouble = f"did not ask for events within {limit_s:g} s"
            self._kill()

    def _watch_flights(self, run: Run, now: float) -> None:
        """Announce long events, and end those that take too long."""
        limit_s = self._pace.time_limit_s
        for token, in_flight_range in list(self._in_flight.items()):
            if not in_flight_range.announced:
                in_flight_range.announced = True
                self._outcomes.append(Started(in_flight_range.lease.index, in_flight_range.at))
            if now - in_flight_range.since > limit_s and not run.ending:
                text = f"no result after {now - in_flight_range.since:.1f} s; the time limit is {limit_s:.1f} s"
                self._account_for(
                    token, run, Failed(in_flight_range.lease.index, FailureKind.HANG, text, now - in_flight_range.since)
                )

    def _fetch_held_back(self, run: Run, now: float) -> None:
        """Make AthenaMP say what it holds back while a worker waits for a range there is none of."""
        since = run.channel.starved_since
        if since is None or not self._in_flight or not run.flushes.due(now, since, self._pace.mean_s):
            return
        if not self._options.flush:
            run.channel.close()
            return
        if run.flushes.heard_until is not None:
            self._find_unreported(run, run.flushes.heard_until)
        if self._in_flight:
            self._flush(run, now)

    def _flush(self, run: Run, now: float) -> None:
        like = next(iter(self._in_flight.values())).lease.event_range
        self._tokens += 1
        token = token_of(self._tokens)
        if run.channel.flush(encode_flush(token, like)):
            run.flushes.sent(token, now, time.time())

    def _find_unreported(self, run: Run, before: float) -> None:
        """Take outputs written so long ago that their reports would have come through by now."""
        for token in list(self._in_flight):
            output = run.workplace.salvaged(token, run.pid, before)
            if output is not None:
                self._salvage(run, token, output)

    def _account_for(self, token: str, run: Run, verdict: Failed | Released | None) -> None:
        """Settle a range in flight: its output, if it is there after all; otherwise the verdict.

        With None it stays in flight while the run lives, and goes back to the front of the queue when the run is over.
        """
        in_flight_range = self._in_flight[token]
        output = run.workplace.salvaged(token, run.pid if run.status is None else None)
        if output is not None:
            self._salvage(run, token, output)
        elif verdict is not None:
            del self._in_flight[token]
            if isinstance(verdict, Failed) and verdict.kind is FailureKind.HANG:
                self._kill_worker(run, token)
            self._finish(verdict)
        elif run is not self._run:
            del self._in_flight[token]
            self._shelved[token] = in_flight_range.lease
            self._range_queue.put(token, encode_range(token, in_flight_range.lease.event_range), in_front=True)

    def _salvage(self, run: Run, token: str, output: Output) -> None:
        in_flight_range = self._in_flight.pop(token)
        wall_s = max(0.0, output.path.stat().st_mtime - in_flight_range.at)
        LOG.info("the output of range %d was complete and not reported", in_flight_range.lease.index)
        run.results += 1
        self._pace.observe(wall_s, wall_s)
        self._finish(Done(in_flight_range.lease.index, output.path, output.size_bytes, in_flight_range.at, wall_s, 0.0))

    def _kill_worker(self, run: Run, token: str) -> None:
        """Kill the worker that has a range; AthenaMP starts another. All of AthenaMP when it cannot be told which one it is."""
        place = run.workplace.worker_of(token)
        victims = processes_in(place, run.pid) if place is not None and run.pid is not None else []
        for pid in victims:
            kill_quietly(pid, signal.SIGKILL)
        if not victims:
            LOG.warning("the worker that has %s cannot be told from the others: all of AthenaMP is restarted", token)
            self._kill()

    # --- small things ---------------------------------------------------------------------------------------------------------

    def _finish(self, outcome: Done | Failed | Released) -> None:
        self._held.discard(outcome.index)
        self._settled += 1
        self._outcomes.append(outcome)

    async def _wait_for_outcome(self, timeout_s: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, _resolve, self._waiter)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and (self._outcomes or self._fatal or not self._running):
            _resolve(self._waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _write_files(directory: Path, files: Iterable[tuple[str, str]]) -> None:
    for name, content in files:
        (directory / name).write_text(content, encoding="utf-8")


def _yampl(options: TransformOptions) -> Any:
    """The module yampl. Raises PayloadError saying what to do when it is missing."""
    if options.yampl_path is not None and str(options.yampl_path) not in sys.path:
        sys.path.insert(0, str(options.yampl_path))
    try:
        return importlib.import_module("yampl")
    except ImportError as problem:
        raise PayloadError(_NO_YAMPL.format(problem=problem)) from problem


PLUGIN = PayloadPlugin("athenamp", AthenaMPPayload, check_options)
