"""A task whose ranges are handed out while it runs: the ledger grows with them, and knows what was reported."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_kit import failed, ranges_of, stored

from raythena.domain.errors import InternalError
from raythena.domain.event_range import EventRange
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.records import RangesTaken, ReportsTaken
from raythena.storage.ledger import Ledger, SessionInfo

INPUTS = tuple(InputFile(f"EVNT.{n}", f"/in/EVNT.{n}", 1000) for n in range(2))
JOB = Job("given", INPUTS, ("HITS",), PayloadSpec("python"), MergeSpec("none"), 1, ranges_given=True)


def ids(chunk: GivenRanges) -> list[str]:
    return [chunk.range_id(position) for position in range(len(chunk))]


def taken(names: list[str]) -> RangesTaken:
    ranges = [EventRange(name, INPUTS[n % 2].lfn, INPUTS[n % 2].pfn, "", n + 1, n + 1) for n, name in enumerate(names)]
    return RangesTaken(GivenRanges.pack(ranges, INPUTS))


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.create(tmp_path / "ledger.sqlite", JOB) as ledger:
        yield ledger


def test_a_job_whose_ranges_are_given_has_none_at_first(ledger: Ledger) -> None:
    assert ledger.n_ranges == 0
    with pytest.raises(InternalError, match="outside the job's 0 ranges"):
        ledger.commit([failed(0)])


def test_chunks_are_remembered_in_order_under_the_ids_they_had(ledger: Ledger) -> None:
    chunks = [taken([f"1-2-3-{n}-5" for n in range(7)]), taken(["any form", "1-2-3-99-5"]), taken(["x"])]
    ledger.commit(chunks[:1])
    ledger.commit(chunks[1:])
    assert ledger.n_ranges == 10
    ledger.close()
    with Ledger.open(ledger.path, JOB) as again:
        assert [ids(chunk) for chunk in again.restore().given] == [ids(record.chunk) for record in chunks]
        again.commit([stored("g", [9, 0])])
        with pytest.raises(InternalError, match="outside"):
            again.commit([stored("h", [10])])


def test_ranges_have_no_outcome_before_they_are_durable(ledger: Ledger) -> None:
    with pytest.raises(InternalError, match="outside"):
        ledger.commit([taken(["a"]), stored("g", [0])])
    assert (ledger.n_ranges, list(ledger.chunks())) == (0, [])
    ledger.commit([taken(["a"])])
    ledger.commit([stored("g", [0])])


def test_what_was_reported_is_not_reported_again(ledger: Ledger) -> None:
    ledger.commit([taken(list("abcdef"))])
    fatal = failed(4, 3, final=True)
    ledger.commit([stored("g", [0, 1]), stored("h", [2]), failed(3, 3, final=True), fatal, failed(5)])
    ledger.commit([ReportsTaken(("h",), (3,))])
    ledger.commit([ReportsTaken((), ())])
    ledger.close()
    with Ledger.open(ledger.path, JOB) as again:
        restored = again.restore()
    assert (ranges_of(restored), restored.reported, restored.unreported_failures) == ([0, 1, 2], frozenset({"h"}), (fatal,))


def test_whether_anybody_else_should_try_is_remembered(ledger: Ledger) -> None:
    ledger.commit([taken(["a", "b"])])
    records = [failed(0, 3, final=True), failed(1, 3, final=True)]
    records[1] = type(records[1])(1, 3, "n", records[1].kind, "m", True, 1.0, fatal=True)
    ledger.commit(records)
    assert ledger.restore().unreported_failures == tuple(records)
    assert ledger.restore().failed.tolist() == [0, 1]


@pytest.mark.parametrize("record", [ReportsTaken(("nobody",), ()), ReportsTaken((), (0,)), ReportsTaken((), (7,))])
def test_a_report_of_what_never_was_is_refused(ledger: Ledger, record: ReportsTaken) -> None:
    ledger.commit([taken(["a"])])
    with pytest.raises(InternalError):
        ledger.commit([record])
    assert ledger.restore().reported == frozenset()


class GrowingMachine(RuleBasedStateMachine):
    """The ledger of a growing task against lists, with a crash between any two steps."""

    @initialize()
    def create(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ledger-given-"))
        self.path = self.directory / "ledger.sqlite"
        self.ledger = Ledger.create(self.path, JOB)
        self.chunks: list[list[str]] = []
        self.outcomes: dict[int, str | None] = {}
        self.reported_groups: set[str] = set()
        self.reported_failures: set[int] = set()

    @property
    def count(self) -> int:
        return sum(map(len, self.chunks))

    @rule(size=st.integers(1, 9), text=st.booleans())
    def take(self, size: int, text: bool) -> None:
        record = taken([f"{'r' if text else '1-2-3'}-{self.count + n}-5" for n in range(size)])
        self.ledger.commit([record])
        self.chunks.append(ids(record.chunk))

    @rule(wanted=st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True))
    def store(self, wanted: list[int]) -> None:
        name = f"g{len(self.outcomes)}-{wanted[0]}"
        if all(index < self.count and index not in self.outcomes for index in wanted):
            self.ledger.commit([stored(name, wanted)])
            self.outcomes.update(dict.fromkeys(wanted, name))
        else:
            with pytest.raises(InternalError):
                self.ledger.commit([taken(["never"]), stored(name, wanted)])

    @precondition(lambda self: len(self.outcomes) < self.count)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from([index for index in range(self.count) if index not in self.outcomes]))
        self.ledger.commit([failed(index, 3, final=True)])
        self.outcomes[index] = None

    @precondition(lambda self: self.outcomes)
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        indices = data.draw(st.lists(st.sampled_from(sorted(self.outcomes)), max_size=4))
        groups = {self.outcomes[index] for index in indices} - {None}
        failures = {index for index in indices if self.outcomes[index] is None}
        self.ledger.commit([ReportsTaken(tuple(groups), tuple(failures))])
        self.reported_groups |= groups
        self.reported_failures |= failures

    @rule(peaceful=st.booleans())
    def restart(self, peaceful: bool) -> None:
        if peaceful:
            self.ledger.close()
        else:
            left = self.directory / "left"
            shutil.rmtree(left, ignore_errors=True)
            left.mkdir()
            for path in self.directory.glob("ledger.sqlite*"):
                shutil.copy(path, left)
            self.ledger.close()
            for path in left.iterdir():
                shutil.copy(path, self.directory)
        self.ledger = Ledger.open(self.path, JOB)
        self.ledger.begin_session(SessionInfo("s", "h", 1, 1.0))

    @invariant()
    def remembers(self) -> None:
        restored = self.ledger.restore()
        assert [ids(chunk) for chunk in restored.given] == self.chunks
        assert self.ledger.n_ranges == self.count
        assert ranges_of(restored) == sorted(index for index, group in self.outcomes.items() if group is not None)
        assert restored.reported == self.reported_groups
        open_failures = {index for index, group in self.outcomes.items() if group is None} - self.reported_failures
        assert {failure.range_index for failure in restored.unreported_failures} == open_failures
        assert np.array_equal(restored.failed, sorted(index for index, group in self.outcomes.items() if group is None))

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.directory, ignore_errors=True)


GrowingMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_a_growing_ledger = GrowingMachine.TestCase
