"""What becomes of outputs that workers report, and of the spools they lie in."""

import asyncio
from pathlib import Path

import pytest

from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.output_inspection import OutputInspector
from raythena.payloads.workers.output_intake import OutputIntake
from raythena.payloads.workers.protocol import DoneMessage
from raythena.payloads.workers.slot import InFlight, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext


class Bench:
    def __init__(self, directory):
        self.directory = directory
        self.outcomes = OutcomeQueue()
        self.pace = Pace(PayloadContext("n", 1, directory, {}, "job", directory))
        self.intake = OutputIntake(self.pace, self.outcomes)
        self.slot = WorkerSlot(0, Path("/none"))
        self.slot.inspector = OutputInspector(directory)

    def report(self, index, path, offset=None, size=None):
        lease = LeasedRange(index, EventRange(f"r-{index}", "lfn", "/pfn", "guid", index, index))
        self.outcomes.take_in([lease])
        message = DoneMessage(str(index), str(path), 0.5, 2.0, 1000.0, offset, size)
        self.intake.take(self.slot, InFlight(lease, str(index), 0.0), message, 2.5)
        (outcome,) = asyncio.run(self.outcomes.poll(0.0))
        return outcome


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_file_belongs_to_the_agent(bench):
    path = bench.directory / "out"
    path.write_text("data")
    assert bench.report(1, path) == Done(1, path, 4, 1000.0, 2.0, 0.5)
    assert (bench.slot.finished, bench.pace.mean_s, bench.pace.longest_s) == (1, 2.0, 2.5)


def test_an_output_that_is_not_there_fails_its_range(bench):
    outcome = bench.report(1, bench.directory / "nothing")
    assert (type(outcome), outcome.kind, outcome.wall_s) == (Failed, FailureKind.BAD_OUTPUT, 2.5)
    assert (bench.slot.finished, bench.pace.finished) == (0, 0)


def test_a_spool_is_deleted_when_its_worker_is_gone_and_all_of_it_is_collected(bench):
    path = bench.directory / "spool-1"
    path.write_text("abcdef")
    for index in (0, 1):
        done = bench.report(index, path, 3 * index, 3)
        assert (done.offset, done.whole_file) == (3 * index, False)
    bench.intake.collected([path])
    bench.intake.worker_gone(bench.slot)
    assert path.exists()
    bench.intake.collected([path, bench.directory / "unknown"])
    assert not path.exists()
