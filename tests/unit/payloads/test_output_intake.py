"""What becomes of outputs that workers report, and of the spools they lie in."""

import asyncio
from pathlib import Path

import pytest

from raythena.domain.ranges import EventRange
from raythena.payloads.outcome_queue import OutcomeQueue
from raythena.payloads.workers.output_inspection import OutputInspector
from raythena.payloads.workers.output_intake import OutputIntake
from raythena.payloads.workers.protocol import DoneMessage
from raythena.payloads.workers.slot import InFlight, WorkerSlot
from raythena.payloads.workers.time_limit import Pace
from raythena.runtime.payload_interface import Done, LeasedRange, PayloadContext


class Bench:
    def __init__(self, directory):
        self.directory = directory
        self.outcomes = OutcomeQueue()
        self.pace = Pace(PayloadContext("n", 1, directory, {}, "job", directory))
        self.intake = OutputIntake(self.pace, self.outcomes)
        self.slot = WorkerSlot(0, Path("/none"))
        self.slot.inspector = OutputInspector(directory)

    def report_each(self, path, offset, sizes):
        leases = tuple(LeasedRange(n, EventRange(f"r-{n}", "lfn", "/pfn", "guid", n, n)) for n in (1, 2, 3))
        self.outcomes.take_in(leases)
        message = DoneMessage("1", str(path), 1.5, 6.0, 1000.0, offset, None, sizes)
        problem = self.intake.take(self.slot, InFlight(leases, "1", 0.0), message, 7.0)
        return problem or asyncio.run(self.outcomes.poll(0.0))

    def report(self, index, path, offset=None, size=None):
        lease = LeasedRange(index, EventRange(f"r-{index}", "lfn", "/pfn", "guid", index, index))
        self.outcomes.take_in([lease])
        message = DoneMessage(str(index), str(path), 0.5, 2.0, 1000.0, offset, size)
        problem = self.intake.take(self.slot, InFlight((lease,), str(index), 0.0), message, 2.5)
        return problem or asyncio.run(self.outcomes.poll(0.0))[0]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_file_belongs_to_the_agent(bench):
    path = bench.directory / "out"
    path.write_text("data")
    assert bench.report(1, path) == Done(1, path, 4, 1000.0, 2.0, 0.5)
    assert (bench.slot.finished, bench.pace.mean_s, bench.pace.longest_s) == (1, 2.0, 2.5)


def test_an_output_that_is_not_there_is_told(bench):
    assert "No such file" in bench.report(1, bench.directory / "nothing")
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


def test_each_event_of_a_range_has_its_stretch_and_its_share_of_the_time(bench):
    path = bench.directory / "spool-1"
    path.write_text("..aabbbc")
    first, second, third = bench.report_each(path, 2, [2, 3, 1])
    assert (first.offset, first.size_bytes, first.started_at, first.wall_s, first.cpu_s) == (2, 2, 1000.0, 2.0, 0.5)
    assert (second.index, second.offset, second.size_bytes, second.started_at) == (2, 4, 3, 1002.0)
    assert (third.index, third.offset, third.size_bytes, third.started_at) == (3, 7, 1, 1004.0)
    bench.intake.worker_gone(bench.slot)
    bench.intake.collected([path, path])
    assert path.exists()
    bench.intake.collected([path])
    assert not path.exists()


@pytest.mark.parametrize(
    ("offset", "sizes", "problem"),
    [
        (0, [1, 1], "2 sizes for 3 events"),
        (0, [1, 0, 1], "a stretch of 0 bytes, for event 2 of 3"),
        (0, [3, 3, 3], "but a stretch of 9 bytes at 0 was reported"),
        (None, [1, 1, 1], "sizes go with offset"),
        (None, None, "one output for 3 events"),
    ],
)
def test_outputs_that_do_not_fit_the_events_are_told(bench, offset, sizes, problem):
    path = bench.directory / "spool-1"
    path.write_text("..aabbbc")
    assert problem in bench.report_each(path, offset, sizes)
    assert bench.slot.finished == 0
