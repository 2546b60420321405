"""AthenaMP's workers that take memory: the stand-in's, and those the kernel has killed."""

import json

import pytest
from athenamp_kit import play
from hand_clock import HandClock
from test_memory_watch import Kernel

from raythena.domain.results import FailureKind
from raythena.engine.memory_policy import MemoryLimits
from raythena.payloads.athena_memory import AthenaMemory
from raythena.payloads.memory_looks import FRESH_S, MemoryLooks
from raythena.runtime.payload_interface import PayloadContext

MB = 1 << 20


def limits(**limits):
    return {"memory": MemoryLimits(**limits, memory_reserve=0.0)}


def test_an_event_that_takes_too_much_costs_its_worker_and_fails_with_its_figure(tmp_path):
    async def scene(place):
        place.feed(*range(1, 9))
        await place.settled(8)
        failed = place.failed.pop(3)
        assert failed.kind is FailureKind.OUT_OF_MEMORY
        assert "payload.worker_memory_bytes allows 262 MB" in failed.message
        assert float(failed.message.split(" took ")[1].split()[0]) > 262
        assert (place.failed, len(place.done)) == ({}, 7)
        assert place.payload._account.runs == 1, "AthenaMP itself goes on"

    plan = {"greedy": [3], "greedy_mb": 400, "greedy_s": 3600}
    play(scene, tmp_path, plan, limits=limits(worker_memory_bytes=250 * MB))


@pytest.mark.parametrize("flush", [True, False])
def test_where_there_is_too_little_for_all_workers_fewer_ranges_are_in_flight(tmp_path, flush):
    """Two events of one size do not fit together. What comes later is computed one after the other."""
    times = tmp_path / "times"

    async def scene(place):
        place.feed(1, 2)
        await place.settled(1)
        (failed,) = place.failed.values()
        assert failed.kind is FailureKind.MEMORY_SHORT
        began = len(times.read_text().splitlines())
        place.feed(*range(11, 17))
        await place.settled(8)
        assert len(place.failed) == 1
        assert most_at_once(times.read_text().splitlines()[began:]) == 1

    plan = {"greedy": [1, 2], "greedy_mb": 300, "greedy_s": 8, "event_s": 0.1, "times": str(times)}
    play(scene, tmp_path, plan, limits=limits(node_memory_bytes=520 * MB), flush=flush)


def most_at_once(lines):
    """Events that were computed at the same time, by what the workers have noted."""
    now, most = 0, 0
    for line in map(json.loads, lines):
        if line.get("event", 0) > 10 and line["event"] < 1000:
            now += 1 if line["what"] == "begin" else -1
            most = max(most, now)
    return most


# ---- deaths that the kernel has decided


@pytest.fixture
def context(tmp_path):
    return PayloadContext("n", 2, tmp_path, {}, "job", tmp_path, clock=HandClock())


def test_a_death_is_explained_once_and_not_long_afterwards(context):
    kernel = Kernel()
    looks = MemoryLooks(context, 2, kernel)
    assert not looks.explains_a_death()
    kernel.killed += 2
    assert looks.explains_a_death()
    assert looks.explains_a_death()
    assert not looks.explains_a_death()
    kernel.killed += 1
    looks._count()
    context.clock.now += FRESH_S + 1
    assert not looks.explains_a_death(), "that was another death"


def test_the_kernels_word_has_the_figure_when_there_is_one(context):
    kernel = Kernel()
    memory = AthenaMemory(context, kernel)
    assert memory.kernels_word("a") == ""
    memory._sizes = {"a": 5 * 10**9}
    kernel.killed += 2
    assert memory.kernels_word("a") == "its worker was killed by the kernel for want of memory, with 5.00 GB when last seen"
    assert memory.kernels_word("b") == "its worker was killed by the kernel for want of memory"


def test_the_end_of_all_is_the_fault_of_an_event_that_took_far_more_than_the_others(context):
    kernel = Kernel()
    memory = AthenaMemory(context, kernel)
    memory._tokens, memory._sizes = {1: "a", 2: "b"}, {"a": 5 * 10**9, "b": 10**9}
    assert memory.blamed_for_the_end() == ("", "")
    kernel.killed += 1
    token, text = memory.blamed_for_the_end()
    assert (token, "5.00 GB" in text) == ("a", True)
    kernel.killed += 1
    memory._sizes = {"a": 5 * 10**9, "b": 4 * 10**9}
    assert memory.blamed_for_the_end() == ("", ""), "nobody is to blame"
