"""The conformance suite itself: an honest payload passes, and each way of cheating is found by the check that is there for it."""

import asyncio
import subprocess
import time

import pytest

from raythena.domain.results import FailureKind
from raythena.runtime.payload_interface import Done, Failed, Released, Started
from raythena.testing import payload_conformance as suite
from raythena.testing.payload_conformance import Nonconformity, Subject


class Honest:
    """A payload without processes that keeps the rules; mutants below break one each."""

    async def start(self, context):
        self.context, self.behaviour = context, context.options["behaviour"]
        self.waiting, self.running, self.outcomes, self.draining = [], {}, [], False

    @property
    def appetite(self):
        return 0 if self.draining else max(0, 8 - len(self.waiting))

    def feed(self, leases):
        self.waiting += [lease.index for lease in leases]
        self.go_on()

    def release(self, indices):
        for index in [index for index in self.waiting if index in indices]:
            self.waiting.remove(index)
            self.outcomes.append(Released(index))

    def collected(self, stretches):
        pass

    def go_on(self):
        if self.draining:
            self.release(list(self.waiting))
        while self.waiting and len(self.running) < self.context.cores:
            index = self.waiting.pop(0)
            self.running[index] = time.monotonic() + self.duration(index)
            self.outcomes.append(Started(index, time.time()))
        for index in [index for index, end in self.running.items() if end <= time.monotonic()]:
            del self.running[index]
            self.outcomes.append(self.outcome(index))
        if self.waiting and len(self.running) < self.context.cores:
            self.go_on()

    def duration(self, index):
        return 1.01 * self.context.min_time_limit_s if index in self.behaviour.hang else self.behaviour.event_s

    def outcome(self, index):
        kinds = {
            "fail": FailureKind.REPORTED,
            "crash": FailureKind.CRASH,
            "hang": FailureKind.HANG,
            "bad_output": FailureKind.BAD_OUTPUT,
        }
        for name, kind in kinds.items():
            if index in getattr(self.behaviour, name):
                return Failed(index, kind, "as asked")
        path = self.context.scratch / f"{index}-{time.monotonic_ns()}"
        path.write_text("data")
        return Done(index, path, 4, time.time(), 0.0, 0.0)

    async def poll(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        while not self.outcomes and time.monotonic() < deadline:
            await asyncio.sleep(0.002)
            self.go_on()
        outcomes, self.outcomes = self.outcomes, []
        return outcomes

    async def drain(self, deadline_s):
        self.draining = True
        deadline = time.monotonic() + deadline_s
        while self.running and time.monotonic() < deadline:
            self.go_on()
            await asyncio.sleep(0.002)
        self.go_on()
        self.outcomes += [Released(index) for index in self.running]
        self.running.clear()

    async def stop(self):
        pass


class LosesOne(Honest):
    def feed(self, leases):
        super().feed([lease for lease in leases if lease.index != 4])


class ReportsTwice(Honest):
    def outcome(self, index):
        outcome = super().outcome(index)
        if index == 4:
            self.outcomes.append(outcome)
        return outcome


class WritesElsewhere(Honest):
    def outcome(self, index):
        return Done(index, self.context.log_dir, 4, time.time(), 0.0, 0.0)


class SharesOutputs(Honest):
    def outcome(self, index):
        path = self.context.scratch / "all"
        path.write_text("data")
        return Done(index, path, 4, time.time(), 0.0, 0.0)


class LiesAboutSize(Honest):
    def outcome(self, index):
        done = super().outcome(index)
        return Done(index, done.path, 5, time.time(), 0.0, 0.0) if isinstance(done, Done) else done


class BlamesTheNext(Honest):
    def outcome(self, index):
        return Failed(index, FailureKind.CRASH, "collateral") if index - 1 in self.behaviour.crash else super().outcome(index)


class CallsCrashesFailures(Honest):
    def outcome(self, index):
        outcome = super().outcome(index)
        return Failed(index, FailureKind.REPORTED, "x") if isinstance(outcome, Failed) else outcome


class SaysNothingOfFailures(Honest):
    def outcome(self, index):
        outcome = super().outcome(index)
        return Failed(index, outcome.kind, " ") if isinstance(outcome, Failed) else outcome


class KillsTooSoon(Honest):
    def duration(self, index):
        return 0.1 if index in self.behaviour.hang else self.behaviour.event_s


class NeverAnnounces(Honest):
    async def poll(self, timeout_s):
        return [outcome for outcome in await super().poll(timeout_s) if not isinstance(outcome, Started)]


class KeepsEverything(Honest):
    def release(self, indices):
        if self.draining:
            super().release(indices)


class Insatiable(Honest):
    appetite = 5


class NotHungry(Honest):
    appetite = 0


class SleepsThrough(Honest):
    async def poll(self, timeout_s):
        await asyncio.sleep(0.3)
        return await super().poll(timeout_s + 6.0)


class DrainsForEver(Honest):
    async def drain(self, deadline_s):
        await super().drain(deadline_s + 3.0)


class ComputesWhileDraining(Honest):
    async def drain(self, deadline_s):
        while self.waiting or self.running:
            self.go_on()
            await asyncio.sleep(0.002)
        self.draining = True


LEFT: list[subprocess.Popen[bytes]] = []


class LeavesAProcess(Honest):
    async def stop(self):
        LEFT.append(subprocess.Popen(["sleep", "600"]))  # noqa: ASYNC220


MUTANTS = [
    (LosesOne, suite.check_every_event_is_done, "every range back"),
    (ReportsTwice, suite.check_every_event_is_done, "came back twice"),
    (WritesElsewhere, suite.check_every_event_is_done, "outside the scratch"),
    (SharesOutputs, suite.check_every_event_is_done, "same output"),
    (LiesAboutSize, suite.check_every_event_is_done, "does not fit"),
    (CallsCrashesFailures, suite.check_crash_costs_one_range, "expected"),
    (BlamesTheNext, suite.check_crash_costs_one_range, "expected"),
    (CallsCrashesFailures, suite.check_bad_output, "expected"),
    (SaysNothingOfFailures, suite.check_reported_failure, "without a message"),
    (KillsTooSoon, suite.check_hang_costs_one_range, "before its time limit"),
    (NeverAnnounces, suite.check_hang_costs_one_range, "never announced"),
    (KeepsEverything, suite.check_release, "every range back"),
    (Insatiable, suite.check_appetite, "do not still"),
    (NotHungry, suite.check_appetite, "cannot fill"),
    (SleepsThrough, suite.check_poll_keeps_its_time, "took"),
    (DrainsForEver, suite.check_drain_deadline, "took more than|should be released"),
    (ComputesWhileDraining, suite.check_drain, "were computed"),
    (LeavesAProcess, suite.check_stop_at_once, "processes left"),
]


@pytest.fixture
def _hurry(monkeypatch):
    """Nothing here has processes to wait for: what has not come in two seconds never will."""
    monkeypatch.setattr(suite, "PATIENCE_S", 2.0)
    monkeypatch.setattr(suite, "MIN_TIME_LIMIT_S", 0.8)
    yield
    for process in LEFT:
        process.kill()
        process.wait()
    LEFT.clear()


def test_an_honest_payload_passes_every_check(tmp_path):
    asyncio.run(suite.run_all(Subject(Honest, lambda behaviour: {"behaviour": behaviour}), tmp_path))
    assert sorted(place.name for place in tmp_path.iterdir()) == sorted(check.__name__ for check in suite.CHECKS)


@pytest.mark.usefixtures("_hurry")
@pytest.mark.parametrize(("mutant", "check", "complaint"), MUTANTS, ids=lambda value: getattr(value, "__name__", None))
def test_each_cheat_is_found(mutant, check, complaint, tmp_path):
    with pytest.raises(Nonconformity, match=complaint):
        asyncio.run(check(Subject(mutant, lambda behaviour: {"behaviour": behaviour}), tmp_path))
