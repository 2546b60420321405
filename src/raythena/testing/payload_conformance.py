"""What any payload must pass: the rules of `raythena.runtime.payload_interface`, as checks to run against yours.

    import asyncio, pytest
    from raythena.testing.payload_conformance import CHECKS, Behaviour, Subject

    def options(behaviour: Behaviour) -> dict: ...       # have your payload behave so

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check, tmp_path):
        asyncio.run(check(Subject(MyPayload, options), tmp_path))

A payload is told by its options which event numbers misbehave and how (`Behaviour`); every other event must succeed. Each check
starts the payload in a directory of its own, keeps count of every range, and ends by stopping it and looking for processes left
behind. A broken rule is a `Nonconformity`, which pytest shows like any failed assertion.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, Payload, PayloadContext, PayloadOutcome, Remark, Started
from raythena.runtime.process_guard_main import descendants, kill_quietly, living_processes

CORES = 2
PATIENCE_S = 30.0
"""A payload that says nothing decisive for so long has lost something."""
CLOCK_TOLERANCE_S = 300.0
"""Times further from now than this are no seconds since the epoch."""
MIN_TIME_LIMIT_S = 1.0
FIRST_TIME_LIMIT_S = 20.0
ENOUGH = 12
"""Events after which the measured time limit holds."""


class Nonconformity(AssertionError):
    """A rule of payloads is broken. The text says which."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the events of a check are to behave. The tuples hold event numbers."""

    event_s: float = 0.0
    """Seconds an event keeps its core."""
    fail: tuple[int, ...] = ()
    """The payload itself reports that these failed."""
    crash: tuple[int, ...] = ()
    """These kill the process that computes them."""
    hang: tuple[int, ...] = ()
    """These never end."""
    bad_output: tuple[int, ...] = ()
    """These report an output that does not exist, is empty or lies elsewhere."""


def numbered_range(number: int) -> EventRange:
    """A range of one event of a file nobody reads."""
    return EventRange(f"EVNT.conformance-{number}", "EVNT.conformance", "/conformance/EVNT", "guid", number, number)


@dataclass(frozen=True, slots=True)
class Subject:
    """The payload under test."""

    factory: Callable[[], Payload]
    options: Callable[[Behaviour], dict[str, object]]
    """Options with which the payload behaves as asked."""
    event_range: Callable[[int], EventRange] = numbered_range
    """The range of event `number` (1, 2, …), for payloads that read their input."""


def require(condition: object, rule: str) -> None:
    """Raise Nonconformity with the text `rule` unless the condition holds."""
    if not condition:
        raise Nonconformity(rule)


@dataclass
class Trial:
    """A payload at work, and the account of what it was given and gave back. Range index and event number are the same."""

    subject: Subject
    payload: Payload
    scratch: Path
    out: set[int] = field(default_factory=set)
    """Ranges the payload holds."""
    done: dict[int, Done] = field(default_factory=dict)
    failed: dict[int, Failed] = field(default_factory=dict)
    released: set[int] = field(default_factory=set)
    started: dict[int, Started] = field(default_factory=dict)

    def feed(self, numbers: Sequence[int]) -> None:
        """Give the payload these events."""
        self.out.update(numbers)
        self.payload.feed([LeasedRange(number, self.subject.event_range(number)) for number in numbers])

    async def poll(self, timeout_s: float = 0.1) -> None:
        """Take what the payload has to say into account."""
        for outcome in await self.payload.poll(timeout_s):
            self._enter(outcome)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Poll until the condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            require(time.monotonic() < deadline, f"after {PATIENCE_S:.0f} s still not: {what}; {self.story()}")
            await self.poll()

    async def settle(self) -> None:
        """Poll until every range has come back, and a little longer for any that comes twice."""
        await self.until(lambda: not self.out, "every range back")
        await self.poll(0.05)

    def story(self) -> str:
        """The account in one line."""
        counts = f"{len(self.done)} done, {len(self.failed)} failed, {len(self.released)} released, out: {sorted(self.out)[:20]}"
        return counts + "".join(f"; {index}: {failed.kind} {failed.message[:300]}" for index, failed in self.failed.items())

    def require_failures(self, expected: dict[int, FailureKind]) -> None:
        """Exactly these ranges failed, in these ways."""
        found = {index: failed.kind for index, failed in self.failed.items()}
        require(found == expected, f"failures {found}, expected {expected}; {self.story()}")
        for failed in self.failed.values():
            require(failed.message.strip(), f"range {failed.index} failed without a message")

    def _enter(self, outcome: PayloadOutcome) -> None:
        if isinstance(outcome, Remark):
            require(outcome.text.strip(), "a remark without text")
            return
        if isinstance(outcome, Started):
            require(outcome.index in self.out, f"range {outcome.index} is said to have started, but is not held")
            require(abs(outcome.at - time.time()) < CLOCK_TOLERANCE_S, "Started.at must be seconds since the epoch")
            self.started[outcome.index] = outcome
            return
        require(outcome.index in self.out, f"range {outcome.index} came back twice, or was never fed: {outcome}")
        self.out.discard(outcome.index)
        if isinstance(outcome, Done):
            self._inspect(outcome)
            self.done[outcome.index] = outcome
        elif isinstance(outcome, Failed):
            self.failed[outcome.index] = outcome
        else:
            self.released.add(outcome.index)

    def _inspect(self, done: Done) -> None:
        inside = done.path.resolve().is_relative_to(self.scratch.resolve())
        require(inside, f"the output {done.path} of range {done.index} is outside the scratch directory")
        require(done.path.is_file(), f"the output {done.path} of range {done.index} is not there")
        size = done.path.stat().st_size
        require(done.size_bytes > 0, f"the output of range {done.index} is empty")
        exact = size == done.size_bytes and done.offset == 0
        require(
            exact if done.whole_file else size >= done.offset + done.size_bytes, f"{done} does not fit a file of {size} bytes"
        )
        require(done.wall_s >= 0 and done.cpu_s >= 0, f"negative times in {done}")
        require(abs(done.started_at - time.time()) < CLOCK_TOLERANCE_S, f"started_at of {done} is not seconds since the epoch")


def processes_of(scratch: Path, before: frozenset[int] | set[int] = frozenset()) -> list[int]:
    """Processes of a payload: below this process and not there `before`, or with the scratch directory in their environment."""
    found = set(descendants(os.getpid())) - before
    for pid, _ in living_processes():
        with contextlib.suppress(OSError):
            if pid != os.getpid() and os.fsencode(scratch) + b"/" in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
    return sorted(found)


def _settings(subject: Subject, behaviour: Behaviour, directory: Path) -> PayloadContext:
    return PayloadContext(
        node="conformance",
        cores=CORES,
        scratch=directory / "scratch",
        options=subject.options(behaviour),
        job_name="conformance",
        log_dir=directory / "logs",
        min_time_limit_s=MIN_TIME_LIMIT_S,
        time_limit_factor=5.0,
        first_time_limit_s=FIRST_TIME_LIMIT_S,
    )


@contextlib.asynccontextmanager
async def trial(subject: Subject, behaviour: Behaviour, directory: Path) -> AsyncIterator[Trial]:
    """A started payload; at the end it is stopped and must have left no process."""
    context = _settings(subject, behaviour, directory)
    context.scratch.mkdir(parents=True)
    context.log_dir.mkdir(parents=True)
    before = frozenset(descendants(os.getpid()))
    run = Trial(subject, subject.factory(), context.scratch)
    await run.payload.start(context)
    try:
        yield run
    finally:
        await run.payload.stop()
    left = processes_of(context.scratch, before)
    require(not left, f"processes left after stop: {left}")


async def check_every_event_is_done(subject: Subject, directory: Path) -> None:
    """Good events all come back as `Done`, each with an output of its own that stays until the agent takes it."""
    async with trial(subject, Behaviour(), directory) as run:
        run.feed(range(1, 61))
        await run.settle()
        run.require_failures({})
        require(len(run.done) == 60, f"60 events were fed; {run.story()}")
        stretches = {(done.path, done.offset) for done in run.done.values()}
        require(len(stretches) == 60, "two events have the same output")
        for done in run.done.values():
            run._inspect(done)


async def check_reported_failure(subject: Subject, directory: Path) -> None:
    """An event the payload gives up is `Failed(REPORTED)`; its neighbours are done."""
    async with trial(subject, Behaviour(fail=(3, 7)), directory) as run:
        run.feed(range(1, 11))
        await run.settle()
        run.require_failures({3: FailureKind.REPORTED, 7: FailureKind.REPORTED})


async def check_crash_costs_one_range(subject: Subject, directory: Path) -> None:
    """An event that kills its process is `Failed(CRASH)`; the ranges waiting behind it are computed."""
    async with trial(subject, Behaviour(event_s=0.002, crash=(5, 6, 20)), directory) as run:
        run.feed(range(1, 41))
        await run.settle()
        run.require_failures(dict.fromkeys((5, 6, 20), FailureKind.CRASH))
        require(len(run.done) == 37, f"37 events should be done; {run.story()}")


async def check_hang_costs_one_range(subject: Subject, directory: Path) -> None:
    """An event that never ends is `Failed(HANG)` once its time limit has passed; the others are done."""
    async with trial(subject, Behaviour(hang=(30,)), directory) as run:
        run.feed(range(1, 1 + ENOUGH))
        await run.settle()
        begin = time.monotonic()
        run.feed([30, *range(31, 45)])
        await run.settle()
        run.require_failures({30: FailureKind.HANG})
        lasted = time.monotonic() - begin
        require(lasted >= MIN_TIME_LIMIT_S, f"killed after {lasted:.2f} s, before its time limit of {MIN_TIME_LIMIT_S} s")
        require(30 in run.started, "an event that kept its core for a second was never announced with Started")


async def check_bad_output(subject: Subject, directory: Path) -> None:
    """A promised output that is not usable is `Failed(BAD_OUTPUT)`."""
    async with trial(subject, Behaviour(bad_output=(2, 9)), directory) as run:
        run.feed(range(1, 13))
        await run.settle()
        run.require_failures({2: FailureKind.BAD_OUTPUT, 9: FailureKind.BAD_OUTPUT})


async def check_everything_at_once(subject: Subject, directory: Path) -> None:
    """All misbehaviour mixed: each event is charged for its own."""
    behaviour = Behaviour(event_s=0.001, fail=(14, 40), crash=(15, 41, 42), hang=(43,), bad_output=(17, 44))
    async with trial(subject, behaviour, directory) as run:
        run.feed(range(1, 1 + ENOUGH))
        await run.settle()
        run.feed(range(1 + ENOUGH, 101))
        await run.settle()
        kinds = (FailureKind.REPORTED, behaviour.fail), (FailureKind.CRASH, behaviour.crash)
        more = (FailureKind.HANG, behaviour.hang), (FailureKind.BAD_OUTPUT, behaviour.bad_output)
        run.require_failures({number: kind for kind, numbers in (*kinds, *more) for number in numbers})


async def check_failed_range_can_be_fed_again(subject: Subject, directory: Path) -> None:
    """A range that has come back may be given again, and comes back again."""
    async with trial(subject, Behaviour(fail=(1,), crash=(2,)), directory) as run:
        for _ in range(3):
            run.failed.clear()
            run.feed([1, 2, 3])
            await run.settle()
            run.require_failures({1: FailureKind.REPORTED, 2: FailureKind.CRASH})


async def check_release(subject: Subject, directory: Path) -> None:
    """Released ranges come back without being computed, except those that run; what is not held is ignored."""
    async with trial(subject, Behaviour(event_s=0.15), directory) as run:
        run.feed(range(1, 41))
        await run.until(lambda: len(run.done) >= CORES, "the first events done")
        begin = time.monotonic()
        run.payload.release([*range(1, 41), 99_999])
        await run.settle()
        require(time.monotonic() - begin < 5.0, "releasing 40 events took more than 5 s")
        require(len(run.released) >= 40 - len(run.done), f"some of 40 ranges were lost; {run.story()}")
        require(len(run.released) >= 20, f"ranges that had not started were computed instead of released; {run.story()}")
        run.feed(sorted(run.released)[:3])
        await run.settle()
        run.require_failures({})


async def check_appetite(subject: Subject, directory: Path) -> None:
    """A payload is hungry enough to fill its cores, and full some time; after a drain it wants nothing."""
    async with trial(subject, Behaviour(event_s=0.05), directory) as run:
        require(run.payload.appetite >= CORES, f"an appetite of {run.payload.appetite} cannot fill {CORES} cores")
        run.feed(range(1, 2001))
        require(run.payload.appetite == 0, "2,000 events of 50 ms do not still the appetite")
        await run.until(lambda: len(run.done) >= 4, "four events done")
        await run.payload.drain(5.0)
        await run.settle()
        require(run.payload.appetite == 0, "a drained payload is still hungry")


async def check_poll_keeps_its_time(subject: Subject, directory: Path) -> None:
    """With nothing to tell, `poll` returns an empty list when its time is up."""
    async with trial(subject, Behaviour(), directory) as run:
        for timeout_s in (0.0, 0.2):
            begin = time.monotonic()
            require(await run.payload.poll(timeout_s) == [], "an idle payload has something to tell")
            waited = time.monotonic() - begin
            require(timeout_s - 0.05 <= waited < timeout_s + 5.0, f"poll({timeout_s}) took {waited:.2f} s")


async def check_drain(subject: Subject, directory: Path) -> None:
    """Draining lets running events end, hands the rest back, and hands back at once what is fed afterwards."""
    async with trial(subject, Behaviour(event_s=0.2), directory) as run:
        run.feed(range(1, 31))
        await run.until(lambda: run.done, "the first event done")
        begin = time.monotonic()
        await run.payload.drain(10.0)
        require(time.monotonic() - begin < 5.0, "draining events of 0.2 s took more than 5 s")
        await run.settle()
        run.require_failures({})
        require(len(run.done) + len(run.released) == 30, f"some of 30 ranges were lost; {run.story()}")
        require(len(run.released) >= 15, f"ranges that had not started were computed; {run.story()}")
        run.feed([100])
        await run.settle()
        require(100 in run.released, "a drained payload must hand back what it is fed")


async def check_drain_deadline(subject: Subject, directory: Path) -> None:
    """Draining ends at its deadline; an event that still runs is handed back uncharged."""
    async with trial(subject, Behaviour(hang=(1,)), directory) as run:
        run.feed([1])
        await run.until(lambda: 1 in run.started, "event 1 started")
        begin = time.monotonic()
        await run.payload.drain(0.5)
        require(time.monotonic() - begin < 3.0, "drain(0.5) took more than 3 s")
        await run.settle()
        require(run.released == {1}, f"event 1 was cut short by the drain and should be released; {run.story()}")


async def check_stop_in_the_middle(subject: Subject, directory: Path) -> None:
    """Stopping while events run leaves no process; stopping twice is safe."""
    async with trial(subject, Behaviour(event_s=0.05, hang=(3,)), directory) as run:
        run.feed(range(1, 31))
        await run.until(lambda: len(run.done) >= 2, "two events done")
        await run.payload.stop()
        await run.payload.stop()


async def check_stop_at_once(subject: Subject, directory: Path) -> None:
    """Stopping right after the start leaves no process."""
    async with trial(subject, Behaviour(), directory) as run:
        run.feed([1, 2])


async def check_killed_processes(subject: Subject, directory: Path) -> None:
    """Whatever process of the payload is killed, every range comes back, and the payload goes on."""
    before = frozenset(descendants(os.getpid()))
    async with trial(subject, Behaviour(event_s=0.02), directory) as run:
        for first in (1, 101, 201):
            run.feed(range(first, first + 40))
            await run.until(lambda first=first: len(run.done) >= first // 2 + 3, "the first events done")  # type: ignore[misc]
            victims = processes_of(run.scratch, before)
            for pid in victims if first > 1 else victims[:1]:
                kill_quietly(pid, signal.SIGKILL)
            await run.settle()
        require(set(failed.kind for failed in run.failed.values()) <= {FailureKind.CRASH}, run.story())
        require(len(run.failed) <= 3 * CORES, f"a kill may cost the event on each core, not more; {run.story()}")


Check = Callable[[Subject, Path], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    check_every_event_is_done,
    check_reported_failure,
    check_crash_costs_one_range,
    check_hang_costs_one_range,
    check_bad_output,
    check_everything_at_once,
    check_failed_range_can_be_fed_again,
    check_release,
    check_appetite,
    check_poll_keeps_its_time,
    check_drain,
    check_drain_deadline,
    check_stop_in_the_middle,
    check_stop_at_once,
    check_killed_processes,
)
"""All checks: `await check(subject, directory)`, each with an empty directory of its own. Raise Nonconformity."""


async def run_all(subject: Subject, directory: Path) -> None:
    """All checks, one after the other."""
    for check in CHECKS:
        place = directory / getattr(check, "__name__", "check")
        place.mkdir(parents=True)
        await asyncio.wait_for(check(subject, place), 4 * PATIENCE_S)
