"""What becomes of ranges in flight: by what AthenaMP says, and by what lies on the disk."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from hand_clock import HandClock
from test_memory_watch import Kernel

from athenamp_stand_in.content import write_evnt
from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.payloads.athena_memory import AthenaMemory
from raythena.payloads.athenamp.athenamp_ranges import AthenaRanges
from raythena.payloads.athenamp.channel import Given, Heard
from raythena.payloads.athenamp.range_outcomes import RangeOutcomes
from raythena.payloads.athenamp.transform_run import TransformRun
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext, Released, Started


class Bench:
    """One run that has no process: AthenaMP's messages and files are made by the test."""

    def __init__(self, directory):
        self.clock = HandClock()
        context = PayloadContext(
            "n", 2, directory, {}, "job", directory, first_time_limit_s=50.0, min_time_limit_s=1.0, clock=self.clock
        )
        self.guard = SimpleNamespace(killed=[])
        self.guard.kill = self.guard.killed.append
        self.run = TransformRun(1, context, self.guard)
        self.run.pid = 4711
        self.place = self.run.workplace.directory / "athenaMP-workers-EVNTtoHITS-sim" / "worker_0"
        self.place.mkdir(parents=True)
        self.ranges, self.outcomes = AthenaRanges(), OutcomeQueue()
        self.results = RangeOutcomes(self.ranges, self.outcomes, Pace(context), self.clock)

    def give(self, index):
        lease = LeasedRange(index, EventRange(f"r-{index}", "lfn", "/pfn", "guid", index, index))
        self.outcomes.take_in([lease])
        self.ranges.add(lease)
        token, _ = self.ranges.queue.take()
        self.results.given(self.run, Given(token, self.clock.now, self.clock.now, starved=False))
        return token

    def say(self, text):
        self.results.heard(self.run, Heard(text.encode(), self.clock.now))

    def output(self, token):
        path = self.place / f"HITS.{token}"
        write_evnt(path, [1])
        return path

    def taken(self):
        return asyncio.run(self.outcomes.poll(0.0))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_reported_output_is_done(bench):
    token = bench.give(1)
    path = bench.output(token)
    bench.clock.now += 3
    bench.say(f"{path},ID:{token},CPU:1.5,WALL:2.5")
    assert bench.taken() == [Done(1, path, path.stat().st_size, 1e9 + 100, 2.5, 1.5)]
    assert (bench.run.results, bench.ranges.in_flight) == (1, {})


def test_two_files_for_one_range_are_charged_to_it(bench):
    token = bench.give(1)
    bench.say(f"/a,/b,ID:{token},CPU:1,WALL:1")
    (failed,) = bench.taken()
    assert (failed.kind, failed.message) == (FailureKind.BAD_OUTPUT, "AthenaMP reported 2 files for one range: /a, /b")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ERR_ATHENAMP_PROCESS {}: Failed to process event range", FailureKind.CRASH),
        ("ERR_ATHENAMP_PROCESS {}: Failed to make output file", FailureKind.BAD_OUTPUT),
        ("ERR_ATHENAMP_PROCESS {}: Seek failed", FailureKind.REPORTED),
        ('ERR_ATHENAMP_PARSE "{}": Wrong format', FailureKind.PROTOCOL),
        ("nonsense about {}", FailureKind.PROTOCOL),
    ],
)
def test_a_failure_is_of_its_kind(bench, text, kind):
    bench.say(text.format(bench.give(1)))
    assert [one.kind for one in bench.taken()] == [kind]


def test_what_is_said_about_no_range_in_flight_costs_nothing(bench):
    token = bench.give(1)
    bench.say("nonsense")
    bench.say("/a,ID:rt0123456789x,CPU:1,WALL:1")
    assert bench.taken() == []
    assert list(bench.ranges.in_flight) == [token]


def test_an_event_is_announced_and_fails_when_its_time_is_up(bench):
    bench.give(1)
    bench.results.watch(bench.run, bench.clock.now + 1)
    assert bench.taken() == [Started(1, 1e9 + 100)]
    bench.results.watch(bench.run, bench.clock.now + 51)
    (failed,) = bench.taken()
    assert (failed.kind, failed.wall_s) == (FailureKind.HANG, 51.0)
    assert bench.guard.killed == [4711], "the worker is not known: all of AthenaMP goes"


def test_an_output_that_is_there_after_all_is_done_whatever_the_verdict(bench):
    token = bench.give(1)
    path = bench.output(token)
    bench.run.status = 1
    bench.results.settle(bench.run, token, Failed(1, FailureKind.CRASH, "dead"))
    assert [type(one) for one in bench.taken()] == [Done]
    assert path.exists()


def test_a_range_without_output_comes_back_as_the_verdict_says(bench):
    token = bench.give(1)
    bench.run.status = 1
    bench.results.settle(bench.run, token, Released(1))
    assert bench.taken() == [Released(1)]


def test_after_a_run_that_we_ended_ranges_are_given_again(bench):
    token, lost = bench.give(1), bench.give(2)
    bench.output(token)
    bench.run.status = -9
    for one in (token, lost):
        bench.results.give_again(bench.run, one)
    assert [type(one) for one in bench.taken()] == [Done]
    assert bench.ranges.queue.take()[0] == lost


def test_old_outputs_that_were_never_reported_are_found(bench):
    token = bench.give(1)
    path = bench.output(token)
    bench.run.pid = None
    bench.results.find_unreported(bench.run, path.stat().st_mtime - 1)
    assert bench.taken() == []
    bench.results.find_unreported(bench.run, path.stat().st_mtime + 1)
    assert [one.path for one in bench.taken()] == [Path(path)]


@pytest.fixture
def kernel(bench):
    """The kernel, which the bench's payload asks about deaths."""
    kernel = Kernel()
    context = PayloadContext("n", 2, bench.run.workplace.directory, {}, "job", bench.run.workplace.directory, clock=bench.clock)
    bench.memory = AthenaMemory(context, kernel)
    bench.results = RangeOutcomes(bench.ranges, bench.outcomes, Pace(context), bench.clock, bench.memory)
    return kernel


def test_a_worker_that_the_kernel_has_killed_for_want_of_memory_has_not_crashed(bench, kernel):
    first, second, third = bench.give(1), bench.give(2), bench.give(3)
    kernel.killed += 1
    bench.say(f"ERR_ATHENAMP_PROCESS {first}: Seek failed")
    bench.say(f"ERR_ATHENAMP_PROCESS {second}: Failed to process event range")
    bench.say(f"ERR_ATHENAMP_PROCESS {third}: Failed to process event range")
    kinds = [one.kind for one in bench.taken()]
    assert kinds == [FailureKind.REPORTED, FailureKind.OUT_OF_MEMORY, FailureKind.CRASH]


def test_a_range_whose_memory_is_needed_fails_with_the_verdict_and_its_worker_goes(bench, kernel):
    token = bench.give(1)
    bench.results.needs_its_memory(bench.run, token, FailureKind.MEMORY_SHORT, "too many")
    bench.results.needs_its_memory(bench.run, token, FailureKind.MEMORY_SHORT, "again")
    bench.results.needs_its_memory(None, token, FailureKind.MEMORY_SHORT, "after the end")
    assert [(one.kind, one.message) for one in bench.taken()] == [(FailureKind.MEMORY_SHORT, "too many")]
    assert bench.guard.killed == [4711]


def test_a_transform_the_kernel_has_killed_is_the_fault_of_its_largest_event_alone(bench, kernel):
    tokens = [bench.give(1), bench.give(2), bench.give(3)]
    bench.memory._tokens = dict(enumerate(tokens, 1))
    bench.memory._sizes = dict(zip(tokens, (10**9, 9 * 10**9, 10**9), strict=True))
    bench.run.status = -9
    kernel.killed += 1
    bench.results.transform_died(bench.run, "AthenaMP killed by signal 9")
    failed = {one.index: one for one in bench.taken()}
    assert {index: one.kind for index, one in failed.items()} == {
        1: FailureKind.CRASH,
        2: FailureKind.OUT_OF_MEMORY,
        3: FailureKind.CRASH,
    }
    assert "9.00 GB" in failed[2].message
    assert "3 events were in flight" in failed[1].message


def test_only_a_transform_that_runs_is_looked_at(bench):
    token = bench.give(7)
    tree = bench.results.tree(bench.run)
    assert (tree.root_pid, tree.in_flight[token].index) == (4711, 7)
    bench.run.ending = True
    assert bench.results.tree(bench.run) is None
    assert bench.results.tree(None) is None


def test_a_directory_is_listed_once_for_all_ranges_in_flight(bench, monkeypatch):
    """Not once for each range: both grow with the cores."""
    tokens = [bench.give(index) for index in range(50)]
    bench.output(tokens[7])
    looks = []
    outputs = bench.run.workplace.outputs
    monkeypatch.setattr(bench.run.workplace, "outputs", lambda: looks.append(1) or outputs())
    bench.results.find_unreported(bench.run, 0.0)
    assert (len(looks), len(bench.ranges.in_flight)) == (1, 50)
    bench.run.status = 1
    bench.results.transform_died(bench.run, "AthenaMP died")
    assert len(looks) == 2
    assert [one.index for one in bench.taken() if isinstance(one, Done)] == [7]
