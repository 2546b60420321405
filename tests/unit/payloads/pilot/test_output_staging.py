"""Outputs a pilot tells of, with files and without a pilot."""

import asyncio
import json

import pytest

from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.pilot.output_staging import OutputStaging
from raythena.payloads.pilot.panda_server import HoldTimes, PandaServer
from raythena.payloads.pilot.range_queue import RangeQueue
from raythena.payloads.pilot.recovery import RecoveryStore
from raythena.payloads.pilot.running import RunningPilot
from raythena.payloads.pilot.wire import Call
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.clock import SYSTEM_CLOCK
from raythena.runtime.payload_interface import Done, LeasedRange, PayloadContext, Started


class Bench:
    def __init__(self, directory):
        self.queue, self.outcomes = RangeQueue(1), OutcomeQueue()
        panda = PandaServer({"PandaID": 4711}, self.queue, 1, HoldTimes())
        self.recovery = RecoveryStore(directory)
        self.recovery.open()
        self.pilot = RunningPilot(1, self.recovery.place / "run-1", panda, log_dir=directory, on_call=print, on_end=print)
        self.job = self.pilot.directory / "PanDA_Pilot-4711"
        self.job.mkdir(parents=True)
        self.outputs = directory / "outputs"
        self.outputs.mkdir()
        self.defects, self.told = [], []
        pace = Pace(PayloadContext("n", 1, directory, {}, "job", directory))
        self.staging = OutputStaging(
            self.outputs,
            self.queue,
            self.outcomes,
            recovery=self.recovery,
            pace=pace,
            clock=SYSTEM_CLOCK,
            on_result=self.told.append,
            on_defect=self.defects.append,
        )

    def give(self, *indices):
        leases = [LeasedRange(i, EventRange(f"r-{i}", "lfn", "/pfn", "guid", i, i)) for i in indices]
        self.outcomes.take_in(leases)
        self.queue.add(leases)
        return [one.token for one in self.queue.give(len(indices), SYSTEM_CLOCK.monotonic_s())]

    def output(self, token, text="hits"):
        path = self.job / f"HITS.{token}"
        path.write_text(text)
        return path

    def report(self, token, path, status="finished", **more):
        entry = {"eventRangeID": token, "eventStatus": status, "pfn": str(path), "fsize": 4, **more}
        call = Call("updateEventRanges", {"eventRanges": json.dumps([{"eventRanges": [entry]}])}, modern=False)
        self.pilot.panda.answer(call, 1.0, 1.0)

    def log(self, token, path="", status="finished", words=""):
        message = {"id": token, "status": status, "output": str(path), "cpu": "1.5", "wall": "2.5", "message": words}
        with (self.pilot.directory / "pilotlog.txt").open("a") as stream:
            stream.write(f"Handling out message: {message}\n")
        self.pilot.log.read()

    async def taken(self):
        await self.staging.finish()
        return [one for one in await self.outcomes.poll(0.0) if not isinstance(one, Started)]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def run(scene):
    return asyncio.run(asyncio.wait_for(scene(), 60))


def test_a_reported_output_is_the_agents_and_is_kept_until_it_is_collected(bench):
    (token,) = bench.give(1)

    async def scene():
        bench.report(token, bench.output(token))
        bench.staging.take_news(bench.pilot)
        return await bench.taken()

    (done,) = run(scene)
    assert (type(done), done.index, done.size_bytes, done.whole_file) == (Done, 1, 4, False)
    assert done.path.parent == bench.outputs
    assert not list(bench.job.iterdir())
    assert [path.name for path in bench.recovery.staged.iterdir()] == [token]
    assert (bench.told, bench.staging.results) == ([bench.pilot], 1)
    bench.staging.collected([done.path])
    assert not list(bench.recovery.staged.iterdir())
    assert not list(bench.outputs.iterdir())


def test_an_output_that_is_not_what_was_reported_fails_its_range(bench):
    (token,) = bench.give(1)

    async def scene():
        bench.report(token, bench.output(token, "something else"))
        bench.staging.take_news(bench.pilot)
        return await bench.taken()

    (failed,) = run(scene)
    assert failed.kind is FailureKind.BAD_OUTPUT
    assert "has 14 bytes, 4 were reported" in failed.message


def test_what_the_log_tells_is_taken_at_once_with_its_times_and_the_pilot_keeps_its_file(bench):
    (token,) = bench.give(1)
    path = bench.output(token)

    async def scene():
        bench.log(token, path)
        bench.staging.take_logged(bench.pilot)
        early = await bench.taken()
        assert path.exists()
        bench.report(token, path)
        bench.staging.take_news(bench.pilot)
        return early, await bench.taken()

    (done,), late = run(scene)
    assert (done.index, done.wall_s, done.cpu_s) == (1, 2.5, 1.5)
    assert late == []
    assert not path.exists(), "the pilot has reported it: nobody needs the file any more"


def test_a_failure_is_told_with_what_the_log_says(bench):
    first, second = bench.give(1, 2)

    async def scene():
        bench.report(first, "", "failed", errorCode=1220)
        bench.log(first, status="failed", words="ERR_ATHENAMP_PROCESS: Seek failed")
        bench.log(second, status="failed", words="ERR_ATHENAMP_PROCESS: no geometry")
        bench.staging.take_news(bench.pilot)
        bench.staging.take_logged(bench.pilot)
        return await bench.taken()

    failed = {one.index: one.message for one in run(scene)}
    assert failed[1].startswith("ERR_ATHENAMP_PROCESS: Seek failed (the pilot reports the range failed, error code 1220")
    assert failed[2] == "ERR_ATHENAMP_PROCESS: no geometry"


def test_of_a_dead_pilot_what_is_finished_is_taken_and_what_is_torn_is_charged(bench):
    whole, torn, running = bench.give(1, 2, 3)
    bench.log(whole, bench.output(whole))
    bench.log(torn, bench.job / "nothing")

    async def scene():
        await bench.staging.salvage(bench.pilot)
        assert bench.staging.charge_bad_outputs(bench.pilot)
        assert not bench.staging.charge_bad_outputs(bench.pilot)
        return await bench.taken()

    outcomes = {one.index: one for one in run(scene)}
    assert type(outcomes[1]) is Done
    assert outcomes[2].kind is FailureKind.BAD_OUTPUT
    assert [one.token for one in bench.queue.in_flight_ranges] == [running]


def test_a_defect_is_told_and_not_swallowed(bench):
    (token,) = bench.give(1)
    bench.outputs.rmdir()

    async def scene():
        bench.report(token, bench.output(token))
        bench.staging.take_news(bench.pilot)
        await bench.taken()

    run(scene)
    (defect,) = bench.defects
    assert "through a defect of the pilot payload" in str(defect)


def test_a_range_with_two_files_is_charged_with_what_the_pilot_said_and_no_other(bench):
    double, named, innocent = bench.give(1, 2, 3)
    place = bench.job / "athenaMP-workers-EVNTtoHITS-sim" / "worker_0"
    place.mkdir(parents=True)
    for name in (f"HITS.{double}", f"HITS.{double}_000"):
        (place / name).write_text("hits")
    bench.pilot.log.complaint = f"Failed to handle out message: ERR_ATHENAMP_PARSE {named}"

    async def scene():
        await bench.staging.salvage(bench.pilot)
        assert bench.staging.charge_bad_outputs(bench.pilot), "it is known what ended the pilot"
        assert not bench.staging.charge_bad_outputs(bench.pilot)
        return await bench.taken()

    outcomes = {one.index: one for one in run(scene)}
    assert set(outcomes) == {1, 2}
    assert outcomes[1].kind is FailureKind.BAD_OUTPUT
    assert "wrote 2 files for one range" in outcomes[1].message
    assert all("the pilot ended its job: Failed to handle out message" in one.message for one in outcomes.values())
    assert [one.token for one in bench.queue.in_flight_ranges] == [innocent]
