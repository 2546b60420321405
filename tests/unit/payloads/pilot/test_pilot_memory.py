"""Verdicts about memory that come before a report, after it, or with the end of a pilot."""

from types import SimpleNamespace

import pytest
from test_memory_watch import Kernel

from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.payloads.pilot.pilot_memory import PilotMemory
from raythena.payloads.pilot.range_queue import RangeQueue
from raythena.runtime.payload_interface import LeasedRange, PayloadContext

DIED = "ERR_ATHENAMP_PROCESS range: Failed to process event range"


# ---- verdicts


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def memory(tmp_path, kernel):
    queue = RangeQueue(2)
    queue.add([LeasedRange(n, EventRange(f"r-{n}", "lfn", "/pfn", "guid", n, n)) for n in (1, 2, 3)])
    made = PilotMemory(PayloadContext("n", 2, tmp_path, {}, "job", tmp_path), queue, kernel)
    made.tokens = [one.token for one in queue.give(3, 1.0)]
    made.queue = queue
    return made


def pilot_that(kills):
    return SimpleNamespace(root_pid=1, workers=SimpleNamespace(kill=lambda token, root: kills), status=None)


def test_a_verdict_waits_for_the_report_and_is_used_once(memory):
    token = memory.tokens[0]
    memory.condemn(pilot_that(kills=True), token, FailureKind.MEMORY_SHORT, "too many workers")
    kind, text = memory.explained(token, FailureKind.REPORTED, DIED)
    assert (kind, text) == (FailureKind.MEMORY_SHORT, f"too many workers; {DIED}")
    assert memory.explained(token, FailureKind.REPORTED, DIED) == (FailureKind.REPORTED, DIED)


def test_a_worker_that_could_not_be_killed_has_no_verdict(memory):
    first, second, _ = memory.tokens
    memory.condemn(pilot_that(kills=False), first, FailureKind.MEMORY_SHORT, "too many workers")
    memory.condemn(None, first, FailureKind.MEMORY_SHORT, "too many workers")
    memory.queue.settle(second)
    memory.condemn(pilot_that(kills=True), second, FailureKind.MEMORY_SHORT, "it is done already")
    assert memory.condemned(crashed=False) == set()


def test_a_verdict_is_kept_for_a_pilot_that_ends_without_a_report(memory):
    first, second, _ = memory.tokens
    memory.condemn(pilot_that(kills=True), first, FailureKind.OUT_OF_MEMORY, "it took 9 GB")
    memory.condemn(pilot_that(kills=True), second, FailureKind.OUT_OF_MEMORY, "it took 8 GB")
    memory.queue.settle(second)
    assert memory.condemned(crashed=True) == {first}


def test_the_kernels_kill_is_told_from_a_crash(memory, kernel):
    token = memory.tokens[0]
    kernel.killed += 1
    assert memory.explained(token, FailureKind.REPORTED, "Seek failed")[0] is FailureKind.REPORTED
    assert memory.explained(token, FailureKind.REPORTED, DIED)[0] is FailureKind.OUT_OF_MEMORY
    assert memory.explained(token, FailureKind.REPORTED, DIED)[0] is FailureKind.REPORTED


def test_when_the_kernel_ends_all_the_event_that_took_far_more_is_charged(memory, kernel):
    first, second, _ = memory.tokens
    memory._memory._tokens, memory._memory._sizes = {1: first, 2: second}, {first: 10**9, second: 7 * 10**9}
    assert memory.condemned(crashed=True) == set()
    kernel.killed += 1
    assert memory.condemned(crashed=True) == {second}
    kind, text = memory.explained(second, FailureKind.CRASH, "the payload died")
    assert (kind, "7.00 GB" in text) == (FailureKind.OUT_OF_MEMORY, True)


def test_there_are_as_many_workers_as_memory_allows(memory):
    assert memory.cores == 2
    memory._memory._looks.policy.allowed = 1
    assert memory.cores == 1
