"""The payload `athenamp` with the stand-in for AthenaMP."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import uproot

from athenamp_stand_in.content import write_evnt
from raythena.domain.ranges import EventRange
from raythena.payloads.athenamp import AthenaMPPayload
from raythena.runtime.payload_interface import Done, LeasedRange, PayloadContext, Released, Started

STAND_INS = Path(__file__).parents[2] / "stand_ins"
PROGRAM = STAND_INS / "bin" / "Sim_tf.py"
FIRST_NUMBER = 1001
PATIENCE_S = 120.0


def transform_options(evnt, plan, **more):
    """Options of a job whose input is `evnt`; `plan` is what the stand-in is told."""
    words = [sys.executable, str(PROGRAM), f"--inputEVNTFile={evnt}", "--outputHITSFile=HITS.1.root", "--eventService=True"]
    words += ["--CA", "--jobNumber={job_number}", "--preExec", "a=1"]
    environment = {"ATHENAMP_STAND_IN": json.dumps(plan)} | more.pop("environment", {})
    return {"command": words, "environment": environment, "yampl_path": str(STAND_INS / "python")} | more


def numbered(evnt, guid, number):
    return EventRange(f"EVNT.1.root-{number}", "EVNT.1.root", str(evnt), guid, number, number)


class Stage:
    """A started payload, and everything it has said."""

    def __init__(self, payload, evnt, guid, scratch):
        self.payload, self.evnt, self.guid, self.scratch = payload, evnt, guid, scratch
        self.done, self.failed, self.released, self.started = {}, {}, set(), set()

    def feed(self, *numbers, pfn=None):
        ranges = [(number, numbered(pfn or self.evnt, self.guid, number)) for number in numbers]
        self.payload.feed([LeasedRange(number, event_range) for number, event_range in ranges])

    async def until(self, condition):
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, (sorted(self.done), self.failed, self.released)
            for outcome in await self.payload.poll(0.1):
                self._enter(outcome)

    async def settled(self, count):
        """Until so many ranges have come back, and none twice."""
        await self.until(lambda: len(self.done) + len(self.failed) + len(self.released) >= count)
        assert len(self.done) + len(self.failed) + len(self.released) == count

    def numbers(self):
        """Event numbers in the outputs, by range."""
        return {index: event_number(done.path) for index, done in self.done.items()}

    def _enter(self, outcome):
        if isinstance(outcome, Started):
            self.started.add(outcome.index)
        elif isinstance(outcome, Done):
            assert outcome.index not in self.done
            self.done[outcome.index] = outcome
        elif isinstance(outcome, Released):
            self.released.add(outcome.index)
        else:
            self.failed[outcome.index] = outcome


def event_number(path):
    with uproot.open(path) as file:
        (number,) = file["HITS"]["EventNumber"].array(library="np").tolist()
    return number


@contextlib.asynccontextmanager
async def stage(directory, plan, cores=2, events=400, limits=None, **options):
    evnt = directory / "EVNT.1.root"
    guid = write_evnt(evnt, range(FIRST_NUMBER, FIRST_NUMBER + events))
    payload = AthenaMPPayload()
    scratch = directory / "scratch"
    limits = {"min_time_limit_s": 60.0, "first_time_limit_s": 120.0} | (limits or {})
    settings = transform_options(evnt, plan, **options)
    await payload.start(PayloadContext("node", cores, scratch, settings, "job", directory / "logs", **limits))
    try:
        yield Stage(payload, evnt, guid, scratch)
    finally:
        await payload.stop()


def play(scene, directory, plan=None, **settings):
    """Run `scene(stage)`, a coroutine function."""

    async def run():
        async with stage(directory, plan or {}, **settings) as place:
            await scene(place)

    asyncio.run(run())
