"""Real workers that take memory: the right one is ended, with its figure, and the others go on."""

from __future__ import annotations

import asyncio
import signal

import pytest
from hand_clock import HandClock

from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.engine.memory_policy import MemoryLimits
from raythena.payloads.workers.memory_watch import MemoryWatch
from raythena.payloads.workers.slot import SlotState, WorkerSlot
from raythena.runtime.node_memory import NodeMemory
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext, payload_plugin

MB = 1 << 20
MODULE = """
import time
def taking(event_range, context):
    size_mb = context.options["size_mb"].get(str(event_range.first_event), 1)
    block = bytearray(size_mb << 20)
    time.sleep(context.options["event_s"] if size_mb > 1 else 0.01)
    return bytes(8)
"""


async def compute(directory, size_mb, events, cores, event_s=60.0, **limits):
    (directory / "taking_memory.py").write_text(MODULE)
    options = {
        "function": "taking_memory:taking",
        "path": [str(directory)],
        "options": {"size_mb": {str(number): size for number, size in size_mb.items()}, "event_s": event_s},
    }
    payload = payload_plugin("python").factory()
    context = PayloadContext(
        "n", cores, directory / "s", options, "job", directory / "logs", memory=MemoryLimits(**limits, memory_reserve=0.0)
    )
    await payload.start(context)
    try:
        payload.feed([LeasedRange(n, EventRange(f"id-{n}", "lfn", "/pfn", "guid", n, n)) for n in range(events)])
        found = {}
        while len(found) < events:
            for outcome in await payload.poll(5.0):
                if isinstance(outcome, Done | Failed):
                    found[outcome.index] = outcome
        return found
    finally:
        await payload.stop()


def test_an_event_that_takes_too_much_fails_with_its_figure_and_the_others_go_on(tmp_path):
    found = asyncio.run(compute(tmp_path, {3: 300}, 12, 2, worker_memory_bytes=150 * MB))
    assert isinstance(found[3], Failed)
    assert found[3].kind is FailureKind.OUT_OF_MEMORY
    assert "157 MB" in found[3].message
    assert float(found[3].message.split(" took ")[1].split()[0]) > 157
    assert all(isinstance(outcome, Done) for index, outcome in found.items() if index != 3)


def test_where_the_node_may_give_too_little_for_all_there_are_fewer_workers(tmp_path):
    """Two events of one size do not fit together; one after the other they do."""
    found = asyncio.run(compute(tmp_path, {0: 200, 1: 200}, 2, 2, event_s=5.0, node_memory_bytes=330 * MB))
    kinds = sorted(outcome.kind if isinstance(outcome, Failed) else "done" for outcome in found.values())
    assert kinds == ["done", FailureKind.MEMORY_SHORT]


# ---- deaths that the kernel has decided


class Kernel(NodeMemory):
    """A machine on which the kernel has killed so often for want of memory."""

    killed = 4

    def kills(self):
        return self.killed


@pytest.fixture
def dead(tmp_path):
    slot = WorkerSlot(0, tmp_path / "log")
    slot.status = -signal.SIGKILL
    return slot


def watch(directory, slot, memory):
    context = PayloadContext("n", 1, directory, {}, "job", directory, clock=HandClock())
    made = MemoryWatch(context, [slot], memory)
    made._sizes = {0: 5 * 10**9}
    return made


def test_a_worker_killed_for_want_of_memory_is_told_from_one_that_was_killed(tmp_path, dead):
    memory = Kernel()
    seen = watch(tmp_path, dead, memory)
    assert seen.cause_of_death(dead)[0] is FailureKind.CRASH
    memory.killed += 1
    kind, text = seen.cause_of_death(dead)
    assert kind is FailureKind.OUT_OF_MEMORY
    assert "5.00 GB" in text
    assert seen.cause_of_death(dead)[0] is FailureKind.CRASH, "one count, one death"
    memory.killed += 1
    dead.status = -signal.SIGSEGV
    assert seen.cause_of_death(dead)[0] is FailureKind.CRASH


def test_no_worker_is_started_beyond_what_is_allowed(tmp_path):
    slots = [WorkerSlot(number, tmp_path / "log") for number in range(2)]
    context = PayloadContext("n", 2, tmp_path, {}, "job", tmp_path, clock=HandClock())
    made = MemoryWatch(context, slots, Kernel())
    slots[0].lifecycle.enter(SlotState.STARTING, 0.0)
    assert made.has_room()
    made._policy.allowed = 1
    assert not made.has_room()
