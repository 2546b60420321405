"""The life of one worker, with clocks and processes of the test's own."""

import asyncio

import pytest
from hand_clock import HandClock

from raythena.domain.errors import PayloadError
from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.memory_watch import MemoryWatch
from raythena.payloads.workers.output_intake import OutputIntake
from raythena.payloads.workers.range_dispatch import RangeDispatch
from raythena.payloads.workers.slot import MAX_FAILED_STARTS, SlotState, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.payloads.workers.worker_supervisor import GRACE_S, PoolParts, WorkerSupervisor
from raythena.runtime.node_memory import NodeMemory
from raythena.runtime.payload_interface import Failed, LeasedRange, PayloadContext, Released, Started


class Transport:
    def __init__(self):
        self.aborted = False

    def write(self, data):
        pass

    def abort(self):
        self.aborted = True


class Spawner:
    def __init__(self):
        self.exits, self.killed = [], []

    async def start(self):
        pass

    async def spawn(self, spawn, on_exit):
        self.exits.append(on_exit)
        return 1000 + len(self.exits)

    def failed_start(self, spawn, how):
        return None

    def kill(self, pid):
        self.killed.append(pid)

    async def stop(self):
        pass


class Bench:
    """One slot. Time stands still unless a test moves it; a tick comes when a test asks for it."""

    def __init__(self, directory):
        (directory / "sockets").mkdir()
        self.clock = clock = HandClock()
        limits = {"min_time_limit_s": 1.0, "time_limit_factor": 20.0, "first_time_limit_s": 50.0}
        self.context = PayloadContext("n", 1, directory, {}, "job", directory, clock=clock, **limits)
        self.outcomes, self.spawner = OutcomeQueue(), Spawner()
        self.slot = WorkerSlot(0, directory / "worker_0.log")
        pace = Pace(self.context)
        self.dispatch = RangeDispatch([self.slot], pace, self.outcomes, clock)
        intake = OutputIntake(pace, self.outcomes)
        self.memory = MemoryWatch(self.context, [self.slot], NodeMemory(proc=directory))  # process ids here are made up
        parts = PoolParts(self.context, [self.slot], pace, self.dispatch, intake, self.outcomes, self.memory)
        self.supervisor = WorkerSupervisor(parts, self.spawner, directory / "sockets", None)

    async def tick(self, seconds=0.0):
        self.clock.now += seconds
        self.supervisor._look_after(self.slot, self.clock.now)
        await asyncio.gather(*self.supervisor._tasks)

    async def ready(self):
        await self.tick()
        assert self.supervisor.connected(self.slot, Transport())
        self.slot.was_ready = True
        self.slot.lifecycle.enter(SlotState.READY, self.clock.now)

    def feed(self, *indices):
        leases = [LeasedRange(i, EventRange(f"r-{i}", "lfn", "/pfn", "guid", i, i)) for i in indices]
        self.outcomes.take_in(leases)
        self.dispatch.add(leases)

    async def die(self, status=1):
        if self.slot.transport:
            self.supervisor.hung_up(self.slot)
        self.spawner.exits[-1](status)

    async def polled(self):
        return await self.outcomes.poll(0.0)


def play(scene, directory):
    async def run():
        bench = Bench(directory)
        try:
            await scene(bench)
        finally:
            await bench.supervisor.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_second_connection_is_refused(tmp_path):
    async def scene(bench):
        await bench.ready()
        assert not bench.supervisor.connected(bench.slot, Transport())

    play(scene, tmp_path)


def test_an_event_is_announced_once_and_killed_when_its_time_is_up(tmp_path):
    async def scene(bench):
        await bench.ready()
        bench.feed(1)
        await bench.tick(1.0)
        await bench.tick(1.0)
        assert await bench.polled() == [Started(1, 1e9 + 100.0)]
        await bench.tick(50.0)
        (failed,) = await bench.polled()
        assert (failed.kind, failed.wall_s) == (FailureKind.HANG, 52.0)
        assert "the time limit is 50.0 s" in failed.message
        assert bench.spawner.killed == [1001]
        assert bench.slot.state is SlotState.ENDING

    play(scene, tmp_path)


def test_the_range_of_a_worker_that_dies_is_charged_and_the_next_worker_comes_at_once(tmp_path):
    async def scene(bench):
        await bench.ready()
        bench.feed(1, 2)
        await bench.die(-11)
        (failed,) = await bench.polled()
        assert (failed.index, failed.kind) == (1, FailureKind.CRASH)
        assert "SIGSEGV" in failed.message
        await bench.tick()
        assert bench.slot.state is SlotState.STARTING
        assert bench.slot.incarnation == 2

    play(scene, tmp_path)


def test_workers_that_never_become_ready_end_the_payload_after_pauses(tmp_path):
    async def scene(bench):
        bench.feed(1)
        for failed in range(MAX_FAILED_STARTS):
            await bench.tick(bench.slot.respawn_at - bench.clock.now if failed else 0.0)
            await bench.die(3)
        assert bench.slot.respawn_at > bench.clock.now
        assert await bench.polled() == [Released(1)]
        with pytest.raises(PayloadError, match="3 workers in a row died before they were ready"):
            await bench.polled()
        await bench.tick(100.0)
        assert bench.slot.state is SlotState.EMPTY

    play(scene, tmp_path)


def test_a_pause_is_kept(tmp_path):
    async def scene(bench):
        for _ in range(2):
            await bench.tick(bench.slot.respawn_at - bench.clock.now)
            await bench.die(3)
        assert bench.slot.respawn_at == bench.clock.now + 0.2
        await bench.tick(0.1)
        assert bench.slot.state is SlotState.EMPTY
        await bench.tick(0.11)
        assert bench.slot.state is SlotState.STARTING

    play(scene, tmp_path)


def test_a_worker_that_says_nothing_after_its_start_is_killed(tmp_path):
    async def scene(bench):
        await bench.tick()
        await bench.tick(50.1)
        assert bench.spawner.killed == [1001]
        await bench.tick(GRACE_S)
        assert bench.spawner.killed == [1001, 1001]

    play(scene, tmp_path)


def test_a_connection_that_outlives_its_process_is_cut(tmp_path):
    async def scene(bench):
        await bench.ready()
        transport = bench.slot.transport
        bench.spawner.exits[-1](0)
        await bench.tick(GRACE_S - 0.1)
        assert not transport.aborted
        await bench.tick(0.2)
        assert transport.aborted

    play(scene, tmp_path)


def test_what_a_worker_holds_that_breaks_the_protocol_goes_back_and_one_range_is_charged(tmp_path):
    async def scene(bench):
        await bench.ready()
        bench.feed(1)
        bench.supervisor.break_off(bench.slot, FailureKind.PROTOCOL, "nonsense")
        assert await bench.polled() == [Failed(1, FailureKind.PROTOCOL, "nonsense", 0.0)]
        assert bench.slot.distrusted

    play(scene, tmp_path)


def test_draining_kills_who_is_not_ready_and_starts_nobody(tmp_path):
    async def scene(bench):
        await bench.tick()
        asyncio.get_running_loop().call_later(0.05, bench.spawner.exits[-1], -9)
        await bench.supervisor.drain(1e9)
        assert bench.spawner.killed == [1001]
        await bench.tick(10.0)
        assert bench.slot.state is SlotState.EMPTY

    play(scene, tmp_path)
